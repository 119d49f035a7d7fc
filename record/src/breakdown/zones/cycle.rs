//! Which `ngx_shm_zone_t`s belong to the configuration in force, an `ngx_cycle_t` of nginx's `src/core/ngx_cycle.h`.
//! Memory that was freed after a reload may still hold those of older ones, and their names may be overwritten.

use std::collections::BTreeSet;
use std::path::PathBuf;

use shared::Addr;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::target::{Mapping, Memory};

/// From an `ngx_cycle_t` to its `pool`, behind `conf_ctx`; to its `log`; and to its `new_log`, which the last points to.
const POOL: u64 = 8;
const LOG: u64 = 16;
const NEW_LOG: u64 = 24;
/// Its list of zones is within so many bytes; in nginx 1.22 it is at 432.
const CYCLE_BYTES: usize = 768;
/// The least an `ngx_shm_zone_t` takes, and the most that is thinkable.
const ZONE_BYTES: std::ops::RangeInclusive<u64> = 72..=256;
/// A list of more elements, or of more parts, is none.
const MAX_ZONES: usize = 10_000;
/// So much of a mapping is looked at for the pointer to the cycle.
const MAX_STATIC: u64 = 4 << 20;

/// An `ngx_list_t` of nginx's `src/core/ngx_list.h`: where its last part is, its first part, and what all parts have.
#[derive(Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct List {
    _last: Addr,
    first: Part,
    size: u64,
    capacity: u64,
    pool: Addr,
}

/// An `ngx_list_part_t`.
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Part {
    elements: Addr,
    count: u64,
    next: Addr,
}

/// The cycle that a zone's log is of.
pub(super) fn of_log(memory: &impl Memory, log: Addr) -> Option<Addr> {
    let cycle = log.checked_sub(NEW_LOG)?;
    (memory.word(cycle + LOG)? == log).then_some(cycle)
}

/// The zones of those cycles that the program's static data points to, as its `ngx_cycle` does: addresses of
/// `ngx_shm_zone_t`s.
pub(super) fn zones_in_force(memory: &impl Memory, mappings: &[Mapping], cycles: &BTreeSet<Addr>) -> BTreeSet<Addr> {
    let mut found = BTreeSet::new();
    for mapping in static_data(mappings) {
        let mut bytes = vec![0; (mapping.end - mapping.start).min(MAX_STATIC) as usize];
        if memory.read(mapping.start, &mut bytes).is_ok() {
            let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
            found.extend(words.filter(|word| cycles.contains(word)));
        }
    }
    found.into_iter().flat_map(|cycle| zones(memory, cycle).unwrap_or_default()).collect()
}

/// The data of the program and the zero pages behind it; not of its libraries and modules, some of which keep a pointer
/// to a cycle that is over.
fn static_data(mappings: &[Mapping]) -> impl Iterator<Item = &Mapping> {
    let program = program(mappings);
    let of_program = move |mapping: &Mapping| mapping.file.is_some() && mapping.file.as_ref() == program;
    let mut behind = 0;
    mappings.iter().filter(|mapping| mapping.data).filter(move |mapping| {
        let zero_pages = mapping.anonymous && mapping.start == behind;
        behind = if of_program(mapping) { mapping.end } else { 0 };
        of_program(mapping) || zero_pages
    })
}

/// The program's file: the one in front of the heap; without a heap, as with jemalloc, the lowest.
fn program(mappings: &[Mapping]) -> Option<&PathBuf> {
    // What has a name and no file is the heap and the main thread's stack.
    let mut named = (0..mappings.len()).filter(|&index| {
        let mapping = &mappings[index];
        mapping.data && mapping.file.is_none() && !mapping.anonymous
    });
    match (named.next(), named.next()) {
        (Some(heap), Some(_)) => mappings[..heap].iter().rev().find_map(|mapping| mapping.file.as_ref()),
        _ => mappings.iter().find_map(|mapping| mapping.file.as_ref()),
    }
}

/// The elements of the cycle's list of zones: the first list in it whose elements have a zone's size.
fn zones(memory: &impl Memory, cycle: Addr) -> Option<Vec<Addr>> {
    let mut bytes = [0; CYCLE_BYTES];
    memory.read(cycle, &mut bytes).ok()?;
    let pool = memory.word(cycle + POOL)?;
    let mut lists = (0..CYCLE_BYTES).step_by(8).filter_map(|at| List::read_from_prefix(&bytes[at..]).ok());
    let (list, _) = lists.find(|(list, _)| {
        list.pool == pool && ZONE_BYTES.contains(&list.size) && list.first.count <= list.capacity && list.capacity > 0
    })?;
    let (mut zones, mut part) = (Vec::new(), list.first);
    for _ in 0..MAX_ZONES {
        if part.count > list.capacity || part.count > (MAX_ZONES - zones.len()) as u64 {
            return None;
        }
        zones.extend((0..part.count).map(|index| part.elements.wrapping_add(index * list.size)));
        if part.next == 0 {
            return Some(zones);
        }
        let mut bytes = [0; size_of::<Part>()];
        memory.read(part.next, &mut bytes).ok()?;
        part = Part::read_from_bytes(&bytes).ok()?;
    }
    None
}
