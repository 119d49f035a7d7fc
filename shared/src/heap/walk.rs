//! Reads a heap's exact state out of a copy of its memory: headers and links only, never a payload.

use super::layout::{
    self, CINUSE, FENCEPOST, HEADER, INUSE, IS_DIRECT, MIN_CHUNK, MIN_LARGE, PAGE, PINUSE, TOP_FOOT, mstate,
};
use super::{Chunk, Direct, Heap, Segment};
use crate::Addr;
use std::collections::HashSet;

/// Why the memory at an address is not the heap it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// The closure could not supply the bytes.
    #[error("the memory at {0:#x} cannot be read")]
    Unreadable(Addr),
    /// The bytes break one of the allocator's invariants.
    #[error("at {at:#x}: {what}: found {found:#x}")]
    Broken {
        /// The address of the offending word.
        at: Addr,
        /// The invariant.
        what: &'static str,
        /// The offending value.
        found: u64,
    },
}

/// The bytes asked for are not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// What the walk reads through: fills the buffer with the bytes at an address, all or nothing.
pub trait Memory: Fn(Addr, &mut [u8]) -> Result<(), Unreadable> {}
impl<F: Fn(Addr, &mut [u8]) -> Result<(), Unreadable>> Memory for F {}

/// Reads `N` words at `at`.
fn words<const N: usize>(memory: &impl Memory, at: Addr) -> Result<[u64; N], WalkError> {
    let mut bytes = [[0; 8]; N];
    memory(at, bytes.as_flattened_mut()).map_err(|Unreadable| WalkError::Unreadable(at))?;
    Ok(bytes.map(u64::from_le_bytes))
}

fn broken<T>(at: Addr, what: &'static str, found: u64) -> Result<T, WalkError> {
    Err(WalkError::Broken { at, what, found })
}

/// The segments of the heap whose `malloc_state` is at `mstate`, in list order.
pub fn segments(mstate: Addr, memory: &impl Memory) -> Result<Vec<Segment>, WalkError> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut seen = HashSet::new();
    let mut record = mstate.wrapping_add(mstate::SEG as u64);
    while record != 0 {
        let [base, size, next] = words(memory, record)?;
        if base % PAGE != 0 || base == 0 {
            return broken(record, "a segment's base is page aligned", base);
        }
        if size % PAGE != 0 || size == 0 || base.checked_add(size).is_none() {
            return broken(record + 8, "a segment's size is a multiple of the page size", size);
        }
        if !seen.insert(record) {
            return broken(record, "the list of segments ends", next);
        }
        segments.push(Segment { base, size, record });
        record = next;
    }
    let mut sorted: Vec<&Segment> = segments.iter().collect();
    sorted.sort_by_key(|s| s.base);
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0].end() > pair[1].base) {
        return broken(pair[1].record, "segments do not overlap", pair[1].base);
    }
    Ok(segments)
}

/// The whole state of the heap whose `malloc_state` is at `mstate`. The collector's counters and the direct blocks
/// are not reachable from there; they are left 0 and empty for the caller to fill in.
pub fn walk(mstate: Addr, memory: &impl Memory) -> Result<Heap, WalkError> {
    if mstate.checked_add(mstate::SIZE as u64).is_none() {
        return Err(WalkError::Unreadable(mstate));
    }
    let [dv_size, top_size, dv, top, trim_check, release_checks] =
        words(memory, mstate.wrapping_add(mstate::DVSIZE as u64))?;
    let segments = segments(mstate, memory)?;
    let mut chunks = Vec::new();
    let mut by_address: Vec<Segment> = segments.clone();
    by_address.sort_by_key(|s| s.base);
    for segment in &by_address {
        walk_segment(segment, top, memory, &mut chunks)?;
    }
    let heap = Heap { mstate, trim_check, release_checks, dv, top, segments, chunks, ..Heap::default() };
    let free = |addr: Addr, what| match heap.chunk(addr) {
        Some(chunk) if !chunk.used => Ok(chunk),
        _ => broken(mstate, what, addr),
    };
    if free(top, "top is a free chunk")?.size != top_size {
        return broken(mstate + mstate::TOPSIZE as u64, "topsize is top's size", top_size);
    }
    if !heap.segments[0].contains(top) {
        return broken(mstate + mstate::TOP as u64, "the first segment holds top", top);
    }
    if dv_size != 0 && dv == top {
        return broken(mstate + mstate::DV as u64, "dv is not top", dv);
    }
    if dv_size != 0 && free(dv, "dv is a free chunk")?.size != dv_size {
        return broken(mstate + mstate::DVSIZE as u64, "dvsize is dv's size", dv_size);
    }
    let binned = Bins { heap: &heap, memory }.walk()?;
    let dv = if dv_size == 0 { 0 } else { dv };
    let mut in_bins = binned.clone();
    in_bins.sort_unstable();
    if !in_bins.iter().eq(heap.chunks.iter().filter(|c| !c.used && c.addr != top && c.addr != dv).map(|c| &c.addr)) {
        return broken(mstate, "each free chunk but dv and top is in one bin", binned.len() as u64);
    }
    Ok(Heap { dv, binned, ..heap })
}

/// Appends the chunks of one segment, which must tile it.
fn walk_segment(segment: &Segment, top: Addr, memory: &impl Memory, chunks: &mut Vec<Chunk>) -> Result<(), WalkError> {
    let (mut addr, end) = (segment.base, segment.end());
    let mut previous_used = true;
    loop {
        let [prev_foot, head] = words(memory, addr)?;
        let (size, used) = (head & !INUSE, head & CINUSE != 0);
        let fits = addr.checked_add(size).is_some_and(|next| next <= end);
        // top alone may shrink to anything above nothing.
        let large_enough = size >= MIN_CHUNK || size == FENCEPOST && used || addr == top && size > 0;
        if !fits || size % layout::ALIGNMENT != 0 || !large_enough {
            return broken(addr + 8, "a chunk's size fits its segment", head);
        }
        // The chunk before the first one and before each fencepost counts as in use.
        if (head & PINUSE != 0) != previous_used && (size != FENCEPOST || addr == top) {
            return broken(addr + 8, "a chunk knows whether the one before is in use", head);
        }
        if let Some(last) = chunks.last().filter(|_| !previous_used)
            && prev_foot != last.size
        {
            return broken(addr, "a free chunk's size stands behind it", prev_foot);
        }
        if !previous_used && !used {
            return broken(addr + 8, "adjacent free chunks are merged", head);
        }
        chunks.push(Chunk { addr, size, used });
        previous_used = used;
        addr += size;
        if addr - size == top {
            return if end - addr == TOP_FOOT { Ok(()) } else { broken(top, "top ends its segment", end - addr) };
        }
        if size == FENCEPOST && used && end - addr == layout::OLD_FOOT {
            return Ok(());
        }
        if end - addr < HEADER {
            return broken(addr, "a segment ends with top or fenceposts", end);
        }
    }
}

impl Heap {
    /// The chunk that starts at `addr`.
    pub fn chunk(&self, addr: Addr) -> Option<Chunk> {
        self.chunks.binary_search_by_key(&addr, |c| c.addr).ok().map(|i| self.chunks[i])
    }
}

/// The walk over the bins of a heap whose chunks are known.
struct Bins<'a, M> {
    heap: &'a Heap,
    memory: &'a M,
}

impl<M: Memory> Bins<'_, M> {
    /// [`Heap::binned`].
    fn walk(&self) -> Result<Vec<Addr>, WalkError> {
        let mut binned = Vec::new();
        // A small bin that has become empty keeps its old links: only the map tells.
        let [maps] = words(self.memory, self.heap.mstate + mstate::MAPS as u64)?;
        for size in (0..MIN_LARGE).step_by(8).filter(|size| maps >> (size / 8) & 1 != 0) {
            // Bin i overlays a chunk whose fd is the pair's first word: 16 bytes before it stands its header.
            let bin = self.heap.mstate + mstate::SMALLBINS as u64 + size * 2;
            self.ring(bin, size, &mut binned)?;
        }
        let mut rings = Vec::new();
        let roots: [u64; 32] = words(self.memory, self.heap.mstate + mstate::TREEBINS as u64)?;
        let mut pending: Vec<Addr> = roots.into_iter().filter(|&root| root != 0).collect();
        while let Some(node) = pending.pop() {
            let size = self.free_chunk(node)?.size;
            if size < MIN_LARGE {
                return broken(node, "trees hold large chunks", size);
            }
            rings.push((size, node));
            if rings.len() > self.heap.chunks.len() {
                return broken(node, "a tree of free chunks ends", size);
            }
            pending.extend(words::<2>(self.memory, node + 32)?.into_iter().filter(|&child| child != 0));
        }
        rings.sort_unstable();
        if let Some(pair) = rings.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return broken(pair[1].1, "one size has one tree node", pair[1].0);
        }
        for (size, node) in rings {
            binned.push(node);
            self.ring(node, size, &mut binned)?;
        }
        Ok(binned)
    }

    fn free_chunk(&self, addr: Addr) -> Result<Chunk, WalkError> {
        match self.heap.chunk(addr) {
            Some(chunk) if !chunk.used => Ok(chunk),
            _ => broken(addr, "a bin holds free chunks", addr),
        }
    }

    /// Follows `fd` from `head` until it comes back there; all on the way are free chunks of `size`.
    fn ring(&self, head: Addr, size: u64, binned: &mut Vec<Addr>) -> Result<(), WalkError> {
        let [mut at] = words(self.memory, head + 16)?;
        while at != head {
            let found = self.free_chunk(at)?.size;
            if found != size {
                return broken(at, "a bin's ring holds chunks of one size", found);
            }
            binned.push(at);
            if binned.len() > self.heap.chunks.len() {
                return broken(at, "a bin's ring closes", head);
            }
            [at] = words(self.memory, at + 16)?;
        }
        Ok(())
    }
}

/// The direct block whose mapping starts at page `base`, if its header and foot say that there is one.
pub fn direct_block(base: Addr, memory: &impl Memory) -> Option<Direct> {
    let [prev_foot, head] = words(memory, base).ok()?;
    let chunk = head & !INUSE;
    let size = chunk.checked_add(layout::DIRECT_FOOT)?;
    if prev_foot != IS_DIRECT || head & INUSE != CINUSE || size % PAGE != 0 || base.checked_add(size).is_none() {
        return None;
    }
    let [foot] = words(memory, base + chunk + 8).ok()?;
    (foot == FENCEPOST | INUSE).then_some(Direct { base, size })
}
