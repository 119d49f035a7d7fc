//! nginx's shared zones by name, from outside and without a symbol: mappings that processes share, the `ngx_shm_zone_t`s
//! in nginx's heap that name them, and the slab pool at the start of each.

mod cycle;
mod names;
mod slab;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use shared::Addr;
use shared::heap::layout::PAGE;
use shared::trace::breakdown::Zone;

use crate::target::{Mapping, Memory};
use names::Label;

/// The zones of one process. Keeps their names, so that the process's heap is looked through only when there are new
/// shared mappings.
#[derive(Debug, Default)]
pub struct Zones {
    /// The shared mappings there are; those that no name was found for have none.
    known: BTreeMap<Key, Option<Label>>,
}

/// A zone, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundZone {
    /// Its mapping.
    pub range: Range<Addr>,
    /// What it is, and what its slab pool says.
    pub zone: Zone,
}

/// Start, end and inode: another mapping in the same place has another inode.
type Key = (Addr, Addr, u64);

impl Zones {
    /// The zones among the mappings, ascending. The process runs on; of each zone and of the heap only figures and names
    /// are kept. Reading a zone's first page puts it into the process's page table, should it not be there.
    pub fn look(&mut self, memory: &impl Memory, mappings: &[Mapping]) -> Vec<FoundZone> {
        let shared: Vec<&Mapping> = mappings.iter().filter(|mapping| may_be_zone(mapping)).collect();
        let keys: BTreeSet<Key> = shared.iter().map(|mapping| key(mapping)).collect();
        self.known.retain(|key, _| keys.contains(key));
        if self.known.len() < keys.len() {
            let nameless: Vec<&Mapping> =
                shared.iter().copied().filter(|mapping| self.label(mapping).is_none()).collect();
            let mut labels = names::find(memory, mappings, &nameless);
            self.known.extend(nameless.iter().map(|mapping| (key(mapping), labels.remove(&mapping.start))));
        }
        let zone = |mapping: &&Mapping| {
            let Label { name, module, size } = self.label(mapping)?.clone();
            let slab = slab::read(memory, mapping.start, size).unwrap_or_default();
            let zone = Zone { name, module, size, pages: slab.pages, free_pages: slab.free_pages, slots: slab.slots };
            Some(FoundZone { range: mapping.start..mapping.end, zone })
        };
        shared.iter().filter_map(zone).collect()
    }

    fn label(&self, mapping: &Mapping) -> Option<&Label> {
        self.known.get(&key(mapping))?.as_ref()
    }
}

/// Whether a zone may be in it: `MAP_SHARED` without a file, which the kernel shows as `/dev/zero`, or a System V segment,
/// and room for a pool's head and a page of blocks.
fn may_be_zone(mapping: &Mapping) -> bool {
    let nothing = mapping.file.as_ref().is_none_or(|file| file.to_string_lossy().starts_with("/dev/zero"));
    mapping.shared && !mapping.executable && nothing && mapping.end - mapping.start >= 2 * PAGE
}

fn key(mapping: &Mapping) -> Key {
    (mapping.start, mapping.end, mapping.inode.1)
}
