//! Finds the `ngx_shm_zone_t` of each shared mapping: in private memory, by the mapping's address and size.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::size_of;
use std::ops::Range;

use shared::Addr;
use shared::heap::layout::PAGE;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::cycle;
use crate::target::{Mapping, Memory};

/// How a zone is configured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label {
    /// Its name.
    pub(super) name: String,
    /// The name of the module that its `tag` is; empty if it is none.
    pub(super) module: String,
    /// Bytes, before the kernel rounds them up to pages.
    pub(super) size: u64,
}

/// So much is read at once.
const PIECE: u64 = 1 << 20;
/// The longest name taken for one.
const NAME_MAX: u64 = 255;
/// The longest name of a module, with its end.
const MODULE_MAX: u64 = 64;
/// From an `ngx_module_t` to its `name`, behind two indices.
const MODULE_NAME: u64 = 16;
/// So many places that look like an `ngx_shm_zone_t` are looked at closely; nginx has one for each zone and each cycle, and
/// its Lua module one more.
const MAX_PLACES: usize = 10_000;
/// From an `ngx_shm_zone_t` to its `shm.addr`, behind `data`.
const SHM_ADDR: u64 = 8;

/// An `ngx_shm_zone_t` of nginx's `src/core/ngx_cycle.h` without its first word, `data`. The same in all releases since
/// 2009; what later ones have is behind it.
#[derive(Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct ShmZone {
    addr: Addr,
    size: u64,
    name_len: u64,
    name: Addr,
    log: Addr,
    _exists: u64,
    init: Addr,
    tag: Addr,
}

/// What one `ngx_shm_zone_t` says.
struct Candidate {
    at: Addr,
    label: Label,
    /// The `ngx_cycle_t` that it is of.
    cycle: Option<Addr>,
}

/// The labels of the shared mappings, by their start. The heap is looked at first; the rest only while a label is missing.
pub(super) fn find(memory: &impl Memory, mappings: &[Mapping], zones: &[&Mapping]) -> BTreeMap<Addr, Label> {
    let mut search = Search {
        memory,
        mappings,
        zones: zones.iter().map(|zone| (zone.start, zone.end - zone.start)).collect(),
        places: 0,
        found: Vec::new(),
        bytes: vec![0; PIECE as usize + size_of::<ShmZone>()],
    };
    let mut private: Vec<&Mapping> = mappings.iter().filter(|mapping| mapping.data && mapping.file.is_none()).collect();
    private.sort_by_key(|mapping| mapping.anonymous);
    let mut labels = BTreeMap::new();
    for mapping in private {
        let before = search.found.len();
        for piece in (mapping.start..mapping.end).step_by(PIECE as usize) {
            search.look(piece..mapping.end.min(piece + PIECE), mapping.end);
        }
        if search.found.len() > before {
            let sure;
            (labels, sure) = search.decide();
            if sure == zones.len() {
                break;
            }
        }
    }
    labels
}

struct Search<'a, M> {
    memory: &'a M,
    mappings: &'a [Mapping],
    /// Lengths by start.
    zones: BTreeMap<Addr, u64>,
    /// What looked like an `ngx_shm_zone_t`, so far.
    places: usize,
    found: Vec<(Addr, Candidate)>,
    bytes: Vec<u8>,
}

impl<M: Memory> Search<'_, M> {
    /// Looks through a piece of a mapping that ends at `end`. Where a part is gone by now, the rest is looked through.
    fn look(&mut self, piece: Range<Addr>, end: Addr) {
        // What starts in the piece may end behind it.
        let len = (piece.end - piece.start + size_of::<ShmZone>() as u64 - 8).min(end - piece.start);
        let mut bytes = std::mem::take(&mut self.bytes);
        let read = self.memory.read(piece.start, &mut bytes[..len as usize]);
        if read.is_ok() {
            self.look_at(piece.start, &bytes[..len as usize]);
        }
        self.bytes = bytes;
        let half = ((piece.end - piece.start) / 2).next_multiple_of(PAGE);
        if read.is_err() && piece.end - piece.start > PAGE {
            self.look(piece.start..piece.start + half, end);
            self.look(piece.start + half..piece.end, end);
        }
    }

    fn look_at(&mut self, start: Addr, bytes: &[u8]) {
        let (Some((&first, _)), Some((&last, _))) = (self.zones.first_key_value(), self.zones.last_key_value()) else {
            return;
        };
        for (index, word) in bytes.chunks_exact(8).enumerate() {
            let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
            if word % PAGE != 0 || !(first..=last).contains(&word) {
                continue;
            }
            let Some(&len) = self.zones.get(&word) else { continue };
            let Ok((zone, _)) = ShmZone::read_from_prefix(&bytes[index * 8..]) else { break };
            if zone.size.checked_next_multiple_of(PAGE) != Some(len) || self.places == MAX_PLACES {
                continue;
            }
            self.places += 1;
            let at = (start + index as u64 * 8).wrapping_sub(SHM_ADDR);
            self.found.extend(self.candidate(at, &zone).map(|candidate| (zone.addr, candidate)));
        }
    }

    fn candidate(&self, at: Addr, zone: &ShmZone) -> Option<Candidate> {
        // nginx calls `init` of each zone that it has mapped.
        let executable = self.mappings.iter().any(|mapping| mapping.executable && mapping.contains(zone.init));
        if !executable || !(1..=NAME_MAX).contains(&zone.name_len) {
            return None;
        }
        let name = String::from_utf8(self.text(zone.name, zone.name_len)?).ok()?;
        if name.len() as u64 != zone.name_len || name.chars().any(char::is_control) {
            return None;
        }
        let label = Label { name, module: self.module(zone.tag).unwrap_or_default(), size: zone.size };
        Some(Candidate { at, label, cycle: cycle::of_log(self.memory, zone.log) })
    }

    /// The name of an `ngx_module_t`. Some modules tag their zones with something else.
    fn module(&self, tag: Addr) -> Option<String> {
        let text = self.text(self.memory.word(tag.checked_add(MODULE_NAME)?)?, MODULE_MAX)?;
        let name = text.split(|&byte| byte == 0).next().filter(|name| name.len() < text.len())?;
        let is_name = name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_name.then(|| String::from_utf8_lossy(name).into_owned())
    }

    /// `len` bytes at `addr`, or as many as its mapping has.
    fn text(&self, addr: Addr, len: u64) -> Option<Vec<u8>> {
        let mapping = self.mappings.iter().find(|mapping| mapping.contains(addr))?;
        let mut bytes = vec![0; len.min(mapping.end - addr) as usize];
        self.memory.read(addr, &mut bytes).ok()?;
        Some(bytes)
    }

    /// One label for each zone, and for how many that is sure: those in force say so. Where none of them is known to be in
    /// force, they must agree.
    fn decide(&self) -> (BTreeMap<Addr, Label>, usize) {
        let cycles = self.found.iter().filter_map(|(_, candidate)| candidate.cycle).collect();
        let in_force = cycle::zones_in_force(self.memory, self.mappings, &cycles);
        let (mut labels, mut sure) = (BTreeMap::new(), 0);
        for &start in self.zones.keys() {
            let all = || self.found.iter().filter(|(zone, _)| *zone == start).map(|(_, candidate)| candidate);
            let mut distinct: BTreeSet<&Label> =
                all().filter(|candidate| in_force.contains(&candidate.at)).map(|candidate| &candidate.label).collect();
            sure += usize::from(distinct.len() == 1);
            if distinct.is_empty() {
                distinct = all().map(|candidate| &candidate.label).collect();
            }
            if let (Some(&label), 1) = (distinct.first(), distinct.len()) {
                labels.insert(start, label.clone());
            }
        }
        (labels, sure)
    }
}
