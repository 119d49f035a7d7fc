//! Where arenas lie: the main one behind the program, where `sbrk` gives it memory, the others in heaps.

use std::ops::Range;

use shared::Addr;
use shared::heap::layout::PAGE;

use super::layout::{FLAGS, HEAP_INFOS, HEAP_MAX, Layout, MIN_CHUNK, PREV_INUSE, SIZE, State, align};
use crate::target::Memory;

/// More arenas are not believed: glibc makes eight a processor.
const MAX_ARENAS: usize = 1 << 16;
/// More heaps of one arena are not believed: they would fill the address space.
const MAX_HEAPS: usize = 1 << 20;

/// Memory of an arena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArenaPlace {
    /// 0 for the main arena, then in the order of the ring.
    pub number: u32,
    /// What it has, in a stretch or in heaps, ascending. None of the main arena if that is scattered.
    pub used: Vec<Range<Addr>>,
    /// What is kept behind its heaps for their growth, ascending.
    pub reserved: Vec<Range<Addr>>,
}

/// A heap of an arena other than the main one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heap {
    /// Its first byte, where `heap_info` stands.
    pub start: Addr,
    /// Its first chunk: behind `heap_info`, and in the arena's first heap behind the state.
    pub first_chunk: Addr,
    /// First byte behind it.
    pub end: Addr,
}

/// All arenas, the main one first, in the order of the ring; none if the ring does not close.
pub fn ring(main: Addr, layout: Layout, memory: &impl Memory) -> Option<Vec<State>> {
    let mut states = vec![State::read(main, layout, memory)?];
    loop {
        let next = states.last()?.next();
        if next == main {
            return Some(states);
        }
        let heap = heap_of(next);
        if states.len() >= MAX_ARENAS || !HEAP_INFOS.contains(&(next - heap)) || memory.word(heap) != Some(next) {
            return None;
        }
        states.push(State::read(next, layout, memory)?);
    }
}

/// Where the main arena starts, if it lies in one stretch that ends with a sound top: what `sbrk` gave others in between is
/// in `system_mem`.
pub fn main_start(state: &State, memory: &impl Memory) -> Option<Addr> {
    let end = top_end(state, memory).filter(|end| end.is_multiple_of(PAGE))?;
    let start = end.checked_sub(state.system())?;
    let first = align(start);
    let size = memory.word(first.checked_add(SIZE)?)?;
    let is_chunk = size & PREV_INUSE != 0 && (MIN_CHUNK..=end.checked_sub(first)?).contains(&(size & !FLAGS));
    (first <= state.top() && is_chunk).then_some(start)
}

/// First byte behind the top chunk.
pub fn top_end(state: &State, memory: &impl Memory) -> Option<Addr> {
    let size = memory.word(state.top().checked_add(SIZE)?)?;
    state.top().checked_add(size & !FLAGS)
}

/// The heaps of an arena other than the main one, from the one that holds its state to the one that holds its top; none if
/// they do not hang together.
pub fn heaps(state: &State, memory: &impl Memory) -> Option<Vec<Heap>> {
    let first = heap_of(state.addr);
    let info = state.addr - first;
    let mut heaps = Vec::new();
    let mut start = heap_of(state.top());
    while start != 0 {
        let mut words = [0; 3];
        for (at, word) in words.iter_mut().enumerate() {
            *word = memory.word(start + 8 * at as u64)?;
        }
        let [arena, previous, size] = words;
        let is_heap = arena == state.addr && start == heap_of(start) && (PAGE..=HEAP_MAX).contains(&size);
        if !is_heap || heaps.len() >= MAX_HEAPS {
            return None;
        }
        let first_chunk = align(if start == first { state.end() } else { start + info });
        heaps.push(Heap { start, first_chunk, end: start + size });
        start = previous;
    }
    heaps.reverse();
    (heaps.first()?.start == first).then_some(heaps)
}

/// The place of one arena as it is now; none if it does not hang together.
pub fn place(number: u32, state: &State, memory: &impl Memory) -> Option<ArenaPlace> {
    if number == 0 {
        let start = if state.is_contiguous() { Some(main_start(state, memory)?) } else { None };
        let used = start.into_iter().map(|start| start..start + state.system()).collect();
        return Some(ArenaPlace { number, used, reserved: Vec::new() });
    }
    let mut heaps = heaps(state, memory)?;
    heaps.sort_by_key(|heap| heap.start);
    let used = heaps.iter().map(|heap| heap.start..heap.end).collect();
    let reserved = heaps.iter().map(|heap| heap.end..heap.start + HEAP_MAX).filter(|range| !range.is_empty());
    Some(ArenaPlace { number, used, reserved: reserved.collect() })
}

/// `heap_for_ptr`: the heap that an address lies in.
fn heap_of(addr: Addr) -> Addr {
    addr & !(HEAP_MAX - 1)
}
