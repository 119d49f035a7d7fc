//! LuaJIT's heap: [`layout`] names its constants, [`walk`] reads a copy of it, [`Heap`] is what comes out.

pub mod layout;
pub mod walk;

use crate::Addr;

/// A chunk inside a segment: `[addr, addr + size)`, header included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chunk {
    /// Where its `malloc_chunk` header starts; the block handed out starts 16 bytes later.
    pub addr: Addr,
    /// Bytes, a multiple of 8: at least 32, or 8 for a fencepost.
    pub size: u64,
    /// In use, as its own header says. Fenceposts, segment records and the mstate are in use.
    pub used: bool,
}

/// A stretch of memory mapped for chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Segment {
    /// First byte, page aligned.
    pub base: Addr,
    /// Bytes.
    pub size: u64,
    /// Where the `malloc_segment` describing it stands: inside the mstate for the first one of the list, in a
    /// chunk of its own near the segment's end for the others.
    pub record: Addr,
}

impl Segment {
    /// The first byte behind it.
    pub fn end(&self) -> Addr {
        self.base + self.size
    }

    /// Whether `addr` lies in it.
    #[inline]
    pub fn contains(&self, addr: Addr) -> bool {
        (self.base..self.end()).contains(&addr)
    }
}

/// A block mapped on its own, in no segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Direct {
    /// First byte of the mapping; the block handed out starts 16 bytes later.
    pub base: Addr,
    /// Mapped bytes.
    pub size: u64,
}

/// The exact state of one VM's heap: everything that decides what the allocator will do next, and nothing of what
/// the blocks hold.
///
/// The shape of the allocator's size trees is left out on purpose: it always serves the smallest size that fits,
/// and among chunks of one size only their order in that size's ring matters. So [`Heap::binned`] is all it takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heap {
    /// The `malloc_state`, `msp` of every call.
    pub mstate: Addr,
    /// `global_State.gc.total`: bytes the collector counts.
    pub gc_total: u64,
    /// `global_State.gc.threshold`: where the next collection step starts.
    pub gc_threshold: u64,
    /// Top size that triggers trimming; all ones when trimming is switched off.
    pub trim_check: u64,
    /// Frees of large chunks until wholly free segments are looked for.
    pub release_checks: u64,
    /// The designated victim, a free chunk kept out of the bins; 0 if none.
    pub dv: Addr,
    /// The free chunk at the end of the first segment.
    pub top: Addr,
    /// The segments in list order; the first holds `top`.
    pub segments: Vec<Segment>,
    /// Every chunk of every segment, ascending by address.
    pub chunks: Vec<Chunk>,
    /// Every free chunk but `dv` and `top`: ascending by size, within one size in the order of its bin (following
    /// `fd` from the bin's head or from the tree's node).
    pub binned: Vec<Addr>,
    /// The directly mapped blocks, ascending by address.
    pub direct: Vec<Direct>,
}

impl Heap {
    /// Moves the heap as a whole: `by` is added to every address, modulo 2^64. A multiple of [`layout::GRANULARITY`]
    /// leaves all that the allocator will ever do the same, but for that shift.
    pub fn shift(&mut self, by: u64) {
        let move_one = |addr: &mut Addr| *addr = addr.wrapping_add(by);
        move_one(&mut self.mstate);
        move_one(&mut self.top);
        // 0 stands for none.
        Some(&mut self.dv).filter(|dv| **dv != 0).into_iter().for_each(move_one);
        for segment in &mut self.segments {
            move_one(&mut segment.base);
            move_one(&mut segment.record);
        }
        self.chunks.iter_mut().for_each(|chunk| move_one(&mut chunk.addr));
        self.binned.iter_mut().for_each(move_one);
        self.direct.iter_mut().for_each(|direct| move_one(&mut direct.base));
    }
}
