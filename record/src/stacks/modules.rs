//! The code of a process by address: the files that are mapped, and their unwind tables.

use std::collections::BTreeMap;
use std::path::PathBuf;

use framehop::x86_64::UnwinderX86_64;
use framehop::{ExplicitModuleSectionInfo, Unwinder as _};
use shared::Addr;
use shared::trace::stacks::Module;

use crate::door;
use crate::target::{Mapping, Target};

/// A file with code that was met.
#[derive(Debug)]
pub struct Known {
    /// What the trace says of it.
    pub module: Module,
    /// A path by which we can open it.
    pub path: PathBuf,
    /// Its code and where that starts in the file's own addresses, to look at the instructions of a call.
    text: (u64, Vec<u8>),
}

/// Where code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a file: its number among those known, and the address in it.
    File(usize, u64),
    /// In memory that a program has made executable itself.
    Made,
    /// Nowhere.
    Nowhere,
}

/// The process's code.
#[derive(Default)]
pub struct Modules {
    mappings: Vec<Mapping>,
    /// By a mapping's start the number of the file behind it and what to add to its addresses to get those in memory; none
    /// if it cannot be read.
    read: BTreeMap<Addr, Option<(usize, u64)>>,
    known: Vec<Known>,
    pub(super) unwinder: UnwinderX86_64<Vec<u8>>,
}

impl Modules {
    /// Looks at the mappings anew, and reads the files that are new. Returns whether any has changed.
    pub fn look(&mut self, target: &Target) -> bool {
        let mappings = target.mappings().unwrap_or_default();
        let now: Vec<Mapping> = mappings.into_iter().filter(|mapping| mapping.executable).collect();
        let changed = now != self.mappings;
        let same = |start: &Addr| {
            let at = |mappings: &[Mapping]| mappings.iter().find(|mapping| mapping.start == *start).cloned();
            at(&now).is_some_and(|mapping| Some(mapping) == at(&self.mappings))
        };
        let gone: Vec<Addr> = self.read.keys().filter(|start| !same(start)).copied().collect();
        for start in gone {
            self.read.remove(&start);
            self.unwinder.remove_module(start);
        }
        for mapping in now.iter().filter(|mapping| mapping.file.is_some()) {
            if !self.read.contains_key(&mapping.start) {
                let read = self.read(target, mapping);
                self.read.insert(mapping.start, read);
            }
        }
        self.mappings = now;
        changed
    }

    /// Where the code at an address is.
    pub fn place(&self, addr: Addr) -> Place {
        let after = self.mappings.partition_point(|mapping| mapping.start <= addr);
        let Some(mapping) = after.checked_sub(1).map(|at| &self.mappings[at]).filter(|mapping| mapping.contains(addr))
        else {
            return Place::Nowhere;
        };
        if mapping.file.is_none() {
            return if mapping.anonymous { Place::Made } else { Place::Nowhere };
        }
        match self.read.get(&mapping.start) {
            Some(Some((number, bias))) => Place::File(*number, addr.wrapping_sub(*bias)),
            _ => Place::Nowhere,
        }
    }

    fn read(&mut self, target: &Target, mapping: &Mapping) -> Option<(usize, u64)> {
        let code = door::Module::load(target, mapping).ok()?;
        let section = |name: &str| code.image.section(name);
        let [text, frames, header, debug] = [".text", ".eh_frame", ".eh_frame_hdr", ".debug_frame"].map(section);
        let sections = ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma: text.as_ref().map(|(range, _)| range.clone()),
            eh_frame_svma: frames.clone().map(|(range, _)| range),
            eh_frame: frames.map(|(_, bytes)| bytes),
            eh_frame_hdr_svma: header.clone().map(|(range, _)| range),
            eh_frame_hdr: header.map(|(_, bytes)| bytes),
            debug_frame: debug.map(|(_, bytes)| bytes),
            ..ExplicitModuleSectionInfo::default()
        };
        let name = code.name.to_string_lossy().into_owned();
        let bias = code.addr_of(0).wrapping_neg();
        self.unwinder.add_module(framehop::Module::new(name.clone(), mapping.start..mapping.end, bias, sections));
        let module = Module { name, build_id: code.image.build_id.clone() };
        let number = self.known.iter().position(|known| known.module == module);
        let number = number.unwrap_or_else(|| {
            let text = text.map(|(range, bytes)| (range.start, bytes)).unwrap_or_default();
            self.known.push(Known { module, path: code.path, text });
            self.known.len() - 1
        });
        Some((number, bias))
    }

    /// A file by its number.
    pub fn known(&self, number: usize) -> &Known {
        &self.known[number]
    }
}

impl Known {
    /// So many bytes of code before an address.
    fn before(&self, addr: u64, bytes: u64) -> &[u8] {
        let (start, text) = &self.text;
        let at = addr.wrapping_sub(bytes).wrapping_sub(*start);
        usize::try_from(at).ok().and_then(|at| text.get(at..)).unwrap_or_default()
    }

    /// Whether the call that returns to an address in the file calls what a register holds. (`ff d0` to `ff d7`: group 5,
    /// `call r/m64` of a register; but `e8` five bytes before it is a call of a fixed place.)
    pub fn calls_register(&self, return_address: u64) -> bool {
        let code = self.before(return_address, 5);
        matches!(code.get(..5), Some([first, _, _, 0xff, 0xd0..=0xd7]) if *first != 0xe8)
    }

    /// Whether what stands before an address in the file can be a call: `e8` and a distance, or group 5 with 2 in the middle
    /// of its second byte, and so many bytes behind as that asks for.
    pub fn is_behind_call(&self, return_address: u64) -> bool {
        let code = self.before(return_address, 6);
        let Some([long, fixed, _, short, by, register, ..]) = code.get(..6) else { return false };
        let calls = |first: u8, second: u8, forms: &[u8]| {
            first == 0xff && second >> 3 & 7 == 2 && forms.contains(&(second >> 6))
        };
        *fixed == 0xe8 || calls(*long, *fixed, &[0, 2]) || calls(*short, *by, &[1]) || calls(*by, *register, &[0, 3])
    }
}
