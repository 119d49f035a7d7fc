//! Finds LuaJIT's `malloc_state`s in a process without a symbol: by their shape, at page starts.

use shared::Addr;
use shared::heap::layout::{self, CINUSE, INUSE, PAGE, mstate};
use shared::heap::walk::{self, Unreadable};

use crate::target::{Mapping, Memory};

/// From a page's start to a `malloc_state` on it: the chunk that holds it starts where the segment does.
const IN_PAGE: u64 = layout::HEADER;
/// `pad_request(sizeof(malloc_state))`, without and with the `prng` pointer of 2020; some room either way.
const CHUNK_SIZES: std::ops::RangeInclusive<u64> = 840..=1024;
/// Chunk header and state up to and including `release_checks`.
const PROBE_BYTES: usize = layout::HEADER as usize + mstate::SMALLBINS;

/// The `malloc_state`s in those pages of the given mappings that are in RAM, and how many looked like ones but were in
/// disorder: of a process that runs, one may have been caught while the allocator was at work on it.
pub fn scan(memory: &impl Memory, mappings: &[Mapping]) -> (Vec<Addr>, usize) {
    let pages: Vec<Addr> = mappings
        .iter()
        .filter(|mapping| mapping.is_anonymous_data())
        .flat_map(|mapping| (mapping.start..mapping.end).step_by(PAGE as usize))
        .collect();
    let mut found = Vec::new();
    memory.read_many(&memory.in_ram(pages), PROBE_BYTES, |page, bytes| {
        if is_plausible(bytes) {
            found.push(page + IN_PAGE);
        }
    });
    let plausible = found.len();
    found.retain(|&mstate| is_consistent(mstate, memory));
    let unsettled = plausible - found.len();
    (found, unsettled)
}

/// Whether the first bytes of a page look like a chunk that holds a `malloc_state`.
pub fn is_plausible(page: &[u8]) -> bool {
    let word =
        |at: usize| page.get(at..at + 8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()));
    let field = |offset: usize| word(IN_PAGE as usize + offset);
    let head = word(8);
    let trim_check = field(mstate::TRIM_CHECK);
    let top = field(mstate::TOP);
    // Once a lower mapping was merged in front, the chunk before may be free: then PINUSE is off.
    head & CINUSE != 0
        && CHUNK_SIZES.contains(&(head & !INUSE))
        && (trim_check == u64::MAX || trim_check >= 1 << 20 && trim_check % PAGE == 0)
        && field(mstate::RELEASE_CHECKS) != 0
        && top % layout::ALIGNMENT == 0
        && (PAGE..1 << 47).contains(&top)
}

/// Whether the segment list closes, holds `top`, and holds the state itself. Costs a few reads.
fn is_consistent(mstate: Addr, memory: &impl Memory) -> bool {
    let read = |addr, bytes: &mut [u8]| memory.read(addr, bytes).map_err(|_| Unreadable);
    let Ok(segments) = walk::segments(mstate, &read) else { return false };
    let Some(top) = memory.word(mstate + mstate::TOP as u64) else { return false };
    segments[0].contains(top) && segments.iter().any(|segment| segment.contains(mstate))
}
