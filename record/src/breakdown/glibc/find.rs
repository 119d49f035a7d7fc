//! Finds `main_arena` in a process without a symbol: by its shape, in the writable data of files.

use std::ops::Range;

use shared::Addr;
use shared::heap::layout::PAGE;

use super::layout::{ALIGNMENT, HEAD, LAST_BIN, LAYOUTS, Layout, State};
use super::places::{main_start, ring};
use crate::target::{Mapping, Memory};

/// Data of a file that is larger than this is not looked through: libc has some KiB, a static program some MiB.
const MAX_DATA: u64 = 256 << 20;
/// So often is looked at what has the shape: of a process that runs, it may have been caught at work.
const TRIES: usize = 8;
/// `attached_threads` beyond this is not believed.
const MAX_THREADS: u64 = 1 << 16;

/// The main arena and its layout.
pub fn main_arena(memory: &impl Memory, mappings: &[Mapping]) -> Option<(Addr, Layout)> {
    data(mappings).into_iter().find_map(|range| {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        memory.read(range.start, &mut bytes).ok()?;
        let candidates = candidates(range.start, &bytes);
        candidates.into_iter().find(|(addr, layout)| (0..TRIES).any(|_| is_main_arena(*addr, *layout, memory)))
    })
}

/// The writable data of files, with the zero pages behind it.
fn data(mappings: &[Mapping]) -> Vec<Range<Addr>> {
    let mut found: Vec<Range<Addr>> = Vec::new();
    for mapping in mappings.iter().filter(|mapping| mapping.data) {
        match found.last_mut() {
            Some(last) if last.end == mapping.start && mapping.anonymous => last.end = mapping.end,
            _ if mapping.file.is_some() => found.push(mapping.start..mapping.end),
            _ => {}
        }
    }
    found.retain(|range| range.end - range.start <= MAX_DATA);
    found
}

/// Where a main arena may be: its last bin is always empty, so it refers to itself.
fn candidates(start: Addr, bytes: &[u8]) -> Vec<(Addr, Layout)> {
    let words: Vec<u64> = bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes)).collect();
    let empty = words.windows(2).enumerate().filter_map(|(at, links)| {
        let own = (start + 8 * at as u64).wrapping_sub(HEAD);
        (links == [own, own]).then_some(own + HEAD)
    });
    let arenas = empty.flat_map(|last| {
        let bins = last.checked_sub(16 * (LAST_BIN as u64 - 1));
        LAYOUTS.into_iter().filter_map(move |layout| Some((bins?.checked_sub(layout.bins())?, layout)))
    });
    arenas.filter(|(addr, _)| *addr >= start).collect()
}

/// Whether it all fits together, as it was at a moment.
fn is_main_arena(addr: Addr, layout: Layout, memory: &impl Memory) -> bool {
    let Some(state) = State::read(addr, layout, memory) else { return false };
    let Some(top_size) = memory.word(state.top().wrapping_add(8)) else { return false };
    let is_bin = |number| {
        let (own, (first, last)) = (state.bin_addr(number), state.bin(number));
        let linked = |chunk: Addr, link: u64| chunk == own || memory.word(chunk.wrapping_add(HEAD + link)) == Some(own);
        (first == own) == (last == own) && linked(first, 8) && linked(last, 0)
    };
    state.top().is_multiple_of(ALIGNMENT)
        && (PAGE..=state.max_system()).contains(&state.system())
        && state.max_system() < 1 << 47
        && top_size <= state.system()
        && state.attached() < MAX_THREADS
        && (1..=LAST_BIN).all(is_bin)
        && (!state.is_contiguous() || main_start(&state, memory).is_some())
        && ring(addr, layout, memory).is_some()
}
