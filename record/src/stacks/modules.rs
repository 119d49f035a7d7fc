//! The code of a process by address: the files that are mapped, each read once code of it is met on a stack.

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
    /// Its code, to look at the instructions of a call.
    code: door::Module,
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
pub struct Modules {
    mappings: Vec<Mapping>,
    /// The number of the file behind a mapping's start, once it was read; none if it cannot be.
    read: BTreeMap<Addr, Option<usize>>,
    known: Vec<Known>,
    pub(super) unwinder: UnwinderX86_64<Vec<u8>>,
}

impl Modules {
    /// Nothing known yet.
    pub fn new() -> Modules {
        Modules { mappings: Vec::new(), read: BTreeMap::new(), known: Vec::new(), unwinder: UnwinderX86_64::new() }
    }

    /// Looks at the mappings anew. Files that are where they were stay known. Returns whether any has changed.
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
        self.mappings = now;
        changed
    }

    /// Where the code at an address is; the file is read if it was not.
    pub fn place(&mut self, target: &Target, addr: Addr) -> Place {
        let after = self.mappings.partition_point(|mapping| mapping.start <= addr);
        let Some(mapping) = after.checked_sub(1).map(|at| &self.mappings[at]).filter(|mapping| mapping.contains(addr))
        else {
            return Place::Nowhere;
        };
        if mapping.file.is_none() {
            return if mapping.anonymous { Place::Made } else { Place::Nowhere };
        }
        let number = match self.read.get(&mapping.start) {
            Some(read) => *read,
            None => {
                let mapping = mapping.clone();
                let read = self.read(target, &mapping);
                self.read.insert(mapping.start, read);
                read
            }
        };
        number.map_or(Place::Nowhere, |number| Place::File(number, self.known[number].code.addr_of(addr)))
    }

    fn read(&mut self, target: &Target, mapping: &Mapping) -> Option<usize> {
        let code = door::Module::load(target, mapping).ok()?;
        let section = |name: &str| code.image.section(name);
        let [text, frames, header, debug] = [".text", ".eh_frame", ".eh_frame_hdr", ".debug_frame"].map(section);
        let sections = ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma: text.map(|(range, _)| range),
            eh_frame_svma: frames.clone().map(|(range, _)| range),
            eh_frame: frames.map(|(_, bytes)| bytes),
            eh_frame_hdr_svma: header.clone().map(|(range, _)| range),
            eh_frame_hdr: header.map(|(_, bytes)| bytes),
            debug_frame: debug.map(|(_, bytes)| bytes),
            ..ExplicitModuleSectionInfo::default()
        };
        let name = code.name.to_string_lossy().into_owned();
        // The distance of the mapped file from its own addresses.
        let base = code.addr_of(0).wrapping_neg();
        self.unwinder.add_module(framehop::Module::new(name.clone(), mapping.start..mapping.end, base, sections));
        let module = Module { name, build_id: code.image.build_id.clone() };
        if let Some(number) = self.known.iter().position(|known| known.module == module) {
            return Some(number);
        }
        self.known.push(Known { module, path: code.path.clone(), code });
        Some(self.known.len() - 1)
    }

    /// A file by its number.
    pub fn known(&self, number: usize) -> &Known {
        &self.known[number]
    }
}

impl Known {
    /// Whether the call that returns to an address in the file calls what a register holds. (`ff d0` to `ff d7`: group 5,
    /// `call r/m64` of a register; but `e8` five bytes before it is a call of a fixed place.)
    pub fn calls_register(&self, return_address: u64) -> bool {
        let code = self.code.image.code(return_address.wrapping_sub(5));
        matches!(code.get(..5), Some([first, _, _, 0xff, 0xd0..=0xd7]) if *first != 0xe8)
    }

    /// Whether what stands before an address in the file can be a call: `e8` and a distance, or group 5 with 2 in the middle
    /// of its second byte, and so many bytes behind as that asks for.
    pub fn is_behind_call(&self, return_address: u64) -> bool {
        let code = self.code.image.code(return_address.wrapping_sub(6));
        let Some([long, fixed, _, short, by, register, ..]) = code.get(..6) else { return false };
        let calls = |first: u8, second: u8, forms: &[u8]| {
            first == 0xff && second >> 3 & 7 == 2 && forms.contains(&(second >> 6))
        };
        *fixed == 0xe8 || calls(*long, *fixed, &[0, 2]) || calls(*short, *by, &[1]) || calls(*by, *register, &[0, 3])
    }
}
