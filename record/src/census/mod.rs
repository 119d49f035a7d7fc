//! What the blocks of a copied heap are: follows the collector's own lists, and labels a block where an object's header, the
//! size that follows from it and the size of its block agree.
//!
//! Nothing about a build is taken for granted: the list of all objects is the one that passes through the main thread,
//! the table of strings is the one that counts as many as there are. Where they are not found, or what they lead to does
//! not fit, blocks stay unknown and the census says why.

mod blocks;
mod buffers;
mod code;
mod layout;
mod names;
mod objects;
mod strings;
mod tables;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use shared::Addr;
use shared::heap::Heap;
use shared::trace::census::{Census, Findings, Label, ObjectKind};
use shared::trace::names::Names;

use crate::locate::global::Global;
use crate::target::Memory;
use blocks::Blocks;
use code::Collector;
use layout::{Head, Layout};
use names::Uses;

pub use code::{Code, Place, TEXT, TraceCode};

/// So much of each direct block's mapping an [`Image`] has: where an object starts there, its header is in it.
pub const DIRECT_HEAD: usize = 256;
/// Behind the collector's counters, its list of objects is not farther away.
const LIST_WITHIN: u64 = 64;
/// So many objects may be in the making when the target is stopped, of any number.
const MAY_MISFIT: u64 = 2;
/// Beyond that, one of so many.
const MISFIT_SHARE: u64 = 200;

/// A copy of a heap: all of its segments, and the first bytes of its direct blocks.
pub trait Image {
    /// What stands at an address, if all of it was copied, in one piece.
    fn bytes(&self, addr: Addr, len: usize) -> Option<&[u8]>;
}

/// What a census is asked for beside itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The VM's code.
    pub code: bool,
    /// Where its functions were written.
    pub names: bool,
}

/// A VM's census, with what else was wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// What its blocks are.
    pub census: Census,
    /// Empty where its objects are laid out in no known way.
    pub code: Option<Code>,
    /// None where its objects are laid out in no known way.
    pub names: Option<Names>,
}

/// The census of a VM's heap, as it was in the stop, with what is wanted beside. `later` is the target that runs again,
/// from which the fill of large tables is read: exact but for what has changed since. Nothing, and that soon, once it is to
/// `stop`.
pub fn take(
    global: &Global,
    heap: &Heap,
    image: &impl Image,
    later: Option<&impl Memory>,
    wanted: Wanted,
    stop: &AtomicBool,
) -> Option<Taken> {
    let layout = if global.gc64 { &layout::GC64 } else { &layout::NO_GC64 };
    let mut findings = Findings::default();
    let Some(blocks) = Blocks::of(heap, image) else {
        findings.problem = Some("the heap was not copied as a whole".into());
        let blocks = heap.chunks.iter().filter(|chunk| chunk.used).count() + heap.direct.len();
        let census = Census { findings, labels: vec![Label::default(); blocks], ..Census::default() };
        return Some(Taken { census, code: wanted.code.then(Code::default), names: None });
    };
    let mut walk = Walk {
        stop,
        later,
        layout,
        global,
        blocks,
        objects: 0,
        misfits: HashSet::new(),
        otherwhite: 0,
        string: layout.strings[0],
    };
    findings.problem = walk.all(&mut findings).err();
    walk.finish(findings, wanted)
}

struct Walk<'a, L> {
    stop: &'a AtomicBool,
    later: Option<&'a L>,
    layout: &'static Layout,
    global: &'a Global,
    blocks: Blocks<'a>,
    /// How many were looked at.
    objects: u64,
    /// The blocks of those whose size is not their block's.
    misfits: HashSet<Addr>,
    /// The white of what the collector has found dead.
    otherwhite: u8,
    /// Where a string has its length, and how large its header is.
    string: [usize; 2],
}

impl<L: Memory> Walk<'_, L> {
    /// Labels all that can be; says why not more could.
    fn all(&mut self, findings: &mut Findings) -> Result<(), String> {
        self.blocks.label_own();
        let first = self.global.alloc + 16 + 2 * self.layout.reference as u64;
        let places = (first..first + LIST_WITHIN).step_by(self.layout.reference);
        let list = places.into_iter().find(|place| self.walk_list(*place)).ok_or("no list of all objects was found")?;
        let state = self.byte(list - 7).and_then(|state| layout::STATES.get(usize::from(state)));
        findings.collector = state.copied().unwrap_or_default().to_owned();
        self.walk_finalized(list + 5 * self.layout.reference as u64);
        let (objects, misfits) = (self.objects, self.misfits.len() as u64);
        if misfits > MAY_MISFIT + objects / MISFIT_SHARE {
            self.forget();
            return Err(format!("{misfits} of {objects} objects do not fit their blocks"));
        }
        findings.strings = self.label_strings()?;
        // What the VM's state refers to and is neither object nor string.
        self.label_buffers();
        Ok(())
    }

    /// Walks the list that starts at a place in the global state. Nothing is labelled if it is not that of all objects.
    fn walk_list(&mut self, place: Addr) -> bool {
        // `currentwhite` stands two words of 32 bits before the list, `state` behind it.
        let Some(white) = self.byte(place - 8).map(|byte| byte & layout::WHITES).filter(|white| matches!(white, 1 | 2))
        else {
            return false;
        };
        self.otherwhite = white ^ layout::WHITES;
        self.chain(self.reference(place).unwrap_or_default());
        let main = self.blocks.find(self.global.main_thread);
        let passed = main.is_some_and(|main| self.blocks.label(&main).kind == ObjectKind::VmState);
        if !passed {
            self.forget();
        }
        passed
    }

    /// Userdata and C values that wait for their finalizers: a ring.
    fn walk_finalized(&mut self, place: Addr) {
        self.chain(self.reference(place).unwrap_or_default());
    }

    /// Labels the objects of a list, to its end or to where it leaves the heap or comes back.
    fn chain(&mut self, first: Addr) {
        let mut next = Some(first);
        while let Some(addr) = next.filter(|addr| *addr != 0 && !self.is_stopped()) {
            next = self.object(addr);
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn forget(&mut self) {
        self.blocks.forget();
        self.blocks.label_own();
        (self.objects, self.misfits) = (0, HashSet::new());
    }

    fn byte(&self, addr: Addr) -> Option<u8> {
        self.blocks.read(addr, 1).map(|bytes| bytes[0])
    }

    fn word(&self, addr: Addr) -> Option<u64> {
        self.blocks.read(addr, 8).map(|bytes| Head(bytes).word(0))
    }

    fn reference(&self, addr: Addr) -> Option<Addr> {
        self.blocks.read(addr, self.layout.reference).map(|bytes| Head(bytes).reference(self.layout, 0))
    }

    /// Whether the collector has found an object dead, by its `marked`.
    fn is_garbage(&self, marked: u8) -> bool {
        marked & self.otherwhite != 0 && marked & layout::FIXED == 0
    }

    /// Labels the block at an address that an object refers to, if it is in use, of this size and nobody else's.
    fn label_part(&mut self, addr: Addr, bytes: u64, label: Label) {
        if let Some(block) = self.blocks.find(addr).filter(|block| self.blocks.is_unknown(block) && block.fits(bytes)) {
            self.blocks.set(&block, label);
        }
    }

    /// The labels, and the numbers of objects in their order; what is wanted beside.
    fn finish(self, findings: Findings, wanted: Wanted) -> Option<Taken> {
        let mut code = (wanted.code || wanted.names).then(Collector::default);
        let mut uses = wanted.names.then(Uses::default);
        let mut census = Census { findings, ..Census::default() };
        for block in self.blocks.in_order() {
            if self.is_stopped() {
                return None;
            }
            let block = match block {
                Ok(block) => block,
                Err(label) => {
                    census.labels.push(label);
                    continue;
                }
            };
            let (label, head) = (self.blocks.label(&block), Head(block.bytes));
            census.labels.push(label);
            if let Some(code) = &mut code {
                code.take(&self, &block);
            }
            if let Some(uses) = &mut uses {
                uses.take(&self, &block);
            }
            match label.kind {
                ObjectKind::String => census.strings.push(head.int(self.string[0])),
                ObjectKind::Table => census.tables.push(self.fill(&block)),
                ObjectKind::Proto => census.protos.push(head.int(self.layout.proto[1])),
                _ => {}
            }
        }
        let code = code.map(Collector::finish);
        let names = uses.zip(code.as_ref()).map(|(uses, code)| uses.names(code));
        Some(Taken { census, code: code.filter(|_| wanted.code), names })
    }
}

#[cfg(test)]
mod tests;
