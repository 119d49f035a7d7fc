//! A VM's heap as far as it explains memory: what is used, what is free, and what keeps free memory from going back.

use schemars::JsonSchema;
use serde::Serialize;
use shared::Nanos;
use shared::heap::layout::{FENCEPOST, HEADER, TOP_FOOT};
use shared::heap::{Chunk, Heap, Segment};

use crate::metrics::population::{Populations, Tally};

/// How many pinned segments are kept by name.
const KEPT: usize = 5;

/// A heap in figures. All in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VmHeap {
    /// When its keyframe's stop began.
    pub keyframe_ns: Nanos,
    /// When its copy was done.
    pub copied_ns: Nanos,
    /// What the collector counts: live objects, and dead ones that it has not freed yet.
    pub gc_total: u64,
    /// Chunks in use, in segments.
    pub used: Tally,
    /// Free chunks, in segments.
    pub free: Tally,
    /// Memory mapped for chunks: `used` + `free` + `overhead`.
    pub segments: Tally,
    /// What lies in segments outside of chunks.
    pub overhead: u64,
    /// Blocks mapped on their own, by mapped bytes.
    pub direct: Tally,
    /// The largest free chunk.
    pub largest_free: u64,
    /// The free chunk at the end of the first segment: trimming gives it back.
    pub top: u64,
    /// The size of `top` from which it is trimmed; all ones if that is switched off.
    pub trim_check: u64,
    /// Segments without a block in use, the first one not counted.
    pub wholly_free: Tally,
    /// Those of them that a build without upstream's fix of 2024-04-19 never takes for wholly free.
    pub kept_for_good: Tally,
    /// Segments with both free chunks and blocks in use, and the free bytes in them, `top` not counted.
    pub pinned_segments: Tally,
    /// Those with the most free bytes, these first.
    pub pinned: Vec<Pinned>,
}

/// A segment that blocks in use keep from going back to the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Pinned {
    /// Its bytes.
    pub size: u64,
    /// The free ones, `top` not counted.
    pub free: u64,
    /// What pins it: the allocator's own records and fenceposts are not among them.
    pub by: Tally,
}

impl VmHeap {
    /// Counts a heap, copied in a stop from `keyframe_ns` to `copied_ns`.
    pub fn of(heap: &Heap, (keyframe_ns, copied_ns): (Nanos, Nanos)) -> VmHeap {
        let Populations { used, free, segments, direct, overhead, gc_total } = Populations::of(heap);
        let mut figures = VmHeap {
            keyframe_ns,
            copied_ns,
            gc_total,
            used: used.all,
            free: free.all,
            segments: segments.all,
            overhead,
            direct: direct.all,
            largest_free: free.max,
            top: heap.chunk(heap.top).map_or(0, |top| top.size),
            trim_check: heap.trim_check,
            wholly_free: Tally::default(),
            kept_for_good: Tally::default(),
            pinned_segments: Tally::default(),
            pinned: Vec::new(),
        };
        let first = heap.segments.first().map(|segment| segment.base);
        for segment in &heap.segments {
            figures.segment(heap, segment, first == Some(segment.base));
        }
        figures.pinned.sort_by_key(|pinned| std::cmp::Reverse((pinned.free, pinned.size)));
        figures.pinned.truncate(KEPT);
        figures
    }

    fn segment(&mut self, heap: &Heap, segment: &Segment, first: bool) {
        let chunks = within(&heap.chunks, segment);
        let free = chunks.iter().filter(|chunk| !chunk.used && chunk.addr != heap.top).map(|chunk| chunk.size).sum();
        let record = segment.record.wrapping_sub(HEADER);
        let in_use = chunks.iter().filter(|chunk| chunk.used && chunk.size != FENCEPOST && chunk.addr != record);
        let by = Tally { count: in_use.clone().count() as u64, bytes: in_use.map(|chunk| chunk.size).sum() };
        if by.count == 0 && !first {
            count(&mut self.wholly_free, segment.size);
            if keeps_for_good(chunks, segment) {
                count(&mut self.kept_for_good, segment.size);
            }
        } else if by.count > 0 && free > 0 {
            count(&mut self.pinned_segments, free);
            self.pinned.push(Pinned { size: segment.size, free, by });
        }
    }

    /// Free memory in segments that blocks in use pin: no part of it can go back.
    pub fn stuck(&self) -> u64 {
        self.pinned_segments.bytes
    }

    /// Whether a keyframe that is told by a moment of its stop is this one.
    pub fn is_of(&self, keyframe: Nanos) -> bool {
        (self.keyframe_ns..=self.copied_ns).contains(&keyframe)
    }

    /// Whether the end of the first segment is trimmed.
    pub fn trims(&self) -> bool {
        self.trim_check != u64::MAX
    }
}

fn count(tally: &mut Tally, bytes: u64) {
    tally.count += 1;
    tally.bytes = tally.bytes.saturating_add(bytes);
}

/// Whether builds before upstream's fix of 2024-04-19 never take a segment without blocks for wholly free: they compare
/// with where its record usually stands, see `model::ReleaseCheck`.
pub(crate) fn keeps_for_good(chunks: &[Chunk], segment: &Segment) -> bool {
    let ends = chunks.first().filter(|chunk| !chunk.used).map(|chunk| chunk.addr.saturating_add(chunk.size));
    ends.is_none_or(|end| end < segment.base.saturating_add(segment.size.saturating_sub(TOP_FOOT)))
}

/// The chunks of a segment; all chunks ascend.
pub(crate) fn within<'a>(chunks: &'a [Chunk], segment: &Segment) -> &'a [Chunk] {
    let before = |addr: u64| chunks.partition_point(|chunk| chunk.addr < addr);
    let (from, to) = (before(segment.base), before(segment.base.saturating_add(segment.size)));
    chunks.get(from..to).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use shared::heap::layout::GRANULARITY;

    /// A segment behind the first one: its chunks, then its record and two fenceposts.
    fn old_segment(heap: &mut Heap, base: u64, chunks: &[(u64, bool)], gap: u64) {
        let mut addr = base;
        for &(size, used) in chunks {
            heap.chunks.push(Chunk { addr, size, used });
            addr += size;
        }
        let record = base + GRANULARITY - TOP_FOOT - gap;
        assert_eq!(addr, record, "chunks fill the segment");
        heap.segments.push(Segment { base, size: GRANULARITY, record: record + HEADER });
        heap.chunks.push(Chunk { addr: record, size: 32, used: true });
        let posts = (record + 32..base + GRANULARITY - 8).step_by(8);
        heap.chunks.extend(posts.map(|addr| Chunk { addr, size: FENCEPOST, used: true }));
    }

    /// A first segment, two that are wholly free, one of them kept for good, one pinned by a chunk, one nearly full.
    pub(crate) fn heap() -> Heap {
        let room = GRANULARITY - TOP_FOOT;
        let mut heap = Heap { top: 0x1_0000 + 880, trim_check: u64::MAX, gc_total: 900, ..Heap::default() };
        heap.segments.push(Segment { base: 0x1_0000, size: GRANULARITY, record: 0x1_0000 + 856 });
        heap.chunks.push(Chunk { addr: 0x1_0000, size: 880, used: true });
        heap.chunks.push(Chunk { addr: heap.top, size: room - 880, used: false });
        old_segment(&mut heap, 0x10_0000, &[(room, false)], 0);
        old_segment(&mut heap, 0x20_0000, &[(room - 24, false)], 24);
        old_segment(&mut heap, 0x30_0000, &[(room - 96, false), (96, true)], 0);
        old_segment(&mut heap, 0x40_0000, &[(4096, false), (room - 4096, true)], 0);
        heap
    }

    #[test]
    fn segments_are_told_apart() {
        let figures = VmHeap::of(&heap(), (5, 6));
        let room = GRANULARITY - TOP_FOOT;
        assert_eq!(figures.wholly_free, Tally { count: 2, bytes: 2 * GRANULARITY });
        assert_eq!(figures.kept_for_good, Tally { count: 1, bytes: GRANULARITY });
        assert_eq!(figures.pinned_segments, Tally { count: 2, bytes: room - 96 + 4096 });
        let most = Pinned { size: GRANULARITY, free: room - 96, by: Tally { count: 1, bytes: 96 } };
        assert_eq!((figures.pinned[0], figures.pinned.len()), (most, 2));
        assert_eq!((figures.top, figures.trims()), (room - 880, false));
        assert_eq!(figures.largest_free, room);
    }

    #[test]
    fn strange_heaps_are_counted() {
        let mut heap = Heap::default();
        assert_eq!(VmHeap::of(&heap, (0, 0)).wholly_free.count, 0);
        heap.segments = vec![Segment { base: u64::MAX - 10, size: 10, record: 0 }; 2];
        heap.chunks = vec![Chunk { addr: 0, size: 8, used: false }];
        assert_eq!(VmHeap::of(&heap, (0, 0)).pinned_segments.count, 0);
    }
}
