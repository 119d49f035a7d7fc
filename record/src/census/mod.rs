//! What the blocks of a copied heap are: follows the collector's own lists, and labels a block where an object's header, the
//! size that follows from it and the size of its block agree.
//!
//! Nothing about a build is taken for granted: the list of all objects is the one that passes through the main thread,
//! the table of strings is the one that counts as many as there are. Where they are not found, or what they lead to does
//! not fit, blocks stay unknown and the census says why.

mod blocks;
mod buffers;
mod layout;
mod objects;
mod strings;
mod tables;

use std::collections::HashSet;

use shared::Addr;
use shared::heap::Heap;
use shared::trace::census::{Census, Findings, Label, ObjectKind, TableFill};

use crate::locate::global::Global;
use crate::target::Memory;
use blocks::Blocks;
use layout::{HEAD, Head, Layout};

/// Behind the collector's counters, its list of objects is not farther away.
const LIST_WITHIN: u64 = 64;
/// So many objects may be in the making when the target is stopped, of any number.
const MAY_MISFIT: u64 = 2;
/// Beyond that, one of so many.
const MISFIT_SHARE: u64 = 200;

/// The census of a VM's heap. `memory` has its segments and the first bytes of its direct blocks as they were in the stop;
/// `later` is the target that runs again, from which the fill of large tables is read: exact but for what has changed since.
pub fn take(global: &Global, heap: &Heap, memory: &impl Memory, later: Option<&impl Memory>) -> Census {
    let layout = if global.gc64 { &layout::GC64 } else { &layout::NO_GC64 };
    let mut walk =
        Walk { memory, later, layout, global, blocks: Blocks::of(heap), found: Found::default(), otherwhite: 0 };
    let mut findings = Findings::default();
    findings.problem = walk.all(&mut findings).err();
    walk.finish(findings)
}

/// Objects with numbers, each with its block's, and how many were looked at.
#[derive(Debug, Default)]
struct Found {
    strings: Vec<(usize, u64)>,
    tables: Vec<(usize, TableFill)>,
    protos: Vec<(usize, u64)>,
    objects: u64,
    /// The blocks of those whose size is not their block's.
    misfits: HashSet<usize>,
}

struct Walk<'a, M, L> {
    memory: &'a M,
    later: Option<&'a L>,
    layout: &'static Layout,
    global: &'a Global,
    blocks: Blocks,
    found: Found,
    /// The white of what the collector has found dead.
    otherwhite: u8,
}

impl<M: Memory, L: Memory> Walk<'_, M, L> {
    /// Labels all that can be; says why not more could.
    fn all(&mut self, findings: &mut Findings) -> Result<(), String> {
        let first = self.global.alloc + 16 + 2 * self.layout.reference as u64;
        let places = (first..first + LIST_WITHIN).step_by(self.layout.reference);
        let list = places.into_iter().find(|place| self.walk_list(*place)).ok_or("no list of all objects was found")?;
        let state = self.byte(list - 7).and_then(|state| layout::STATES.get(usize::from(state)));
        findings.collector = state.copied().unwrap_or_default().to_owned();
        self.walk_finalized(list + 5 * self.layout.reference as u64);
        let (objects, misfits) = (self.found.objects, self.found.misfits.len() as u64);
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
        let passed = main.is_some_and(|main| self.blocks.label(main).kind == ObjectKind::VmState);
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
        // An object that does not fit its block gets no label by which a list that comes back would be known.
        for _ in 0..=self.blocks.len() {
            match next.filter(|addr| *addr != 0) {
                Some(addr) => next = self.object(addr),
                None => return,
            }
        }
    }

    fn forget(&mut self) {
        self.blocks.forget();
        self.found = Found::default();
    }

    fn byte(&self, addr: Addr) -> Option<u8> {
        let mut byte = [0];
        self.memory.read(addr, &mut byte).ok()?;
        Some(byte[0])
    }

    fn reference(&self, addr: Addr) -> Option<Addr> {
        let mut word = [0; 8];
        self.memory.read(addr, &mut word[..self.layout.reference]).ok()?;
        Some(u64::from_le_bytes(word))
    }

    /// The first bytes of what is at an address, as far as so many are its own.
    fn head(&self, addr: Addr, room: u64) -> Option<Head> {
        let mut head = Head([0; HEAD]);
        let own = usize::try_from(room).unwrap_or(HEAD).min(HEAD);
        self.memory.read(addr, &mut head.0[..own]).ok()?;
        Some(head)
    }

    /// Whether the collector has found an object dead, by its `marked`.
    fn is_garbage(&self, marked: u8) -> bool {
        marked & self.otherwhite != 0 && marked & layout::FIXED == 0
    }

    /// Labels the block at an address that an object refers to, if it is in use, of this size and nobody else's.
    fn label_part(&mut self, addr: Addr, bytes: u64, label: Label) -> bool {
        let found =
            self.blocks.find(addr).filter(|at| self.blocks.is_unknown(*at) && self.blocks.block(*at).fits(bytes));
        if let Some(at) = found {
            self.blocks.set(at, label);
        }
        found.is_some()
    }

    fn finish(self, findings: Findings) -> Census {
        fn in_order<T: Copy>(mut found: Vec<(usize, T)>) -> Vec<T> {
            found.sort_unstable_by_key(|(at, _)| *at);
            found.into_iter().map(|(_, number)| number).collect()
        }
        let Found { strings, tables, protos, .. } = self.found;
        let (strings, tables, protos) = (in_order(strings), in_order(tables), in_order(protos));
        Census { findings, labels: self.blocks.into_labels(), strings, tables, protos }
    }
}

#[cfg(test)]
mod tests;
