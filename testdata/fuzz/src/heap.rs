//! The walk over a heap in memory that may hold anything. What it accepts must be a heap.

use std::collections::HashSet;

use shared::heap::layout::{FENCEPOST, MIN_CHUNK, OLD_FOOT, PAGE, TOP_FOOT};
use shared::heap::{Chunk, Heap, Segment, walk};
use shared::trace::keyframe::Keyframe;

use super::memory::Pages;

/// Walks the heap whose `malloc_state` is at the address of interest, and looks for a direct block on every page.
pub fn run(bytes: &[u8]) {
    let Some((mstate, pages)) = Pages::parse(bytes) else { return };
    let memory = pages.reader();
    for (page, _) in pages.iter() {
        if let Some(direct) = walk::direct_block(page, &memory) {
            assert_eq!((direct.base, direct.size % PAGE), (page, 0));
            assert!(direct.size > 0 && direct.base.checked_add(direct.size).is_some());
        }
    }
    let segments = walk::segments(mstate, &memory);
    if let Ok(heap) = walk::walk(mstate, &memory) {
        assert_eq!(Ok(&heap.segments), segments.as_ref());
        check(&heap);
        let keyframe = Keyframe { heap, ..Keyframe::default() };
        assert_eq!(Keyframe::decode(&keyframe.encode()), Ok(keyframe));
    }
}

/// What every heap is, whatever its bytes.
fn check(heap: &Heap) {
    assert!(heap.chunks.is_sorted_by(|a, b| a.addr < b.addr), "chunks ascend");
    let mut segments: Vec<&Segment> = heap.segments.iter().collect();
    segments.sort_by_key(|segment| segment.base);
    assert!(segments.windows(2).all(|pair| pair[0].end() <= pair[1].base), "segments do not overlap");
    let mut rest = &heap.chunks[..];
    for segment in segments {
        let (own, others) = rest.split_at(rest.partition_point(|chunk| chunk.addr < segment.end()));
        check_segment(segment, own, heap.top);
        rest = others;
    }
    assert!(rest.is_empty(), "every chunk is in a segment");
    assert!(heap.segments[0].contains(heap.top), "the first segment holds top");

    let free: HashSet<u64> = heap.chunks.iter().filter(|chunk| !chunk.used).map(|chunk| chunk.addr).collect();
    assert!(free.contains(&heap.top), "top is free");
    assert!(heap.dv == 0 || free.contains(&heap.dv) && heap.dv != heap.top, "dv is free and not top");
    let binned: HashSet<u64> = heap.binned.iter().copied().collect();
    assert_eq!(binned.len(), heap.binned.len(), "no chunk is in two bins");
    let apart = HashSet::from([heap.top, heap.dv]);
    assert_eq!(&free - &apart, binned, "the bins hold all that is free but top and dv");
    let sizes = heap.binned.iter().map(|&addr| heap.chunk(addr).map(|chunk| chunk.size));
    assert!(sizes.is_sorted(), "small bins first, then ascending sizes");
}

fn check_segment(segment: &Segment, chunks: &[Chunk], top: u64) {
    let last = chunks.last().expect("a segment has chunks");
    let foot = if last.addr == top { TOP_FOOT } else { OLD_FOOT };
    assert_eq!(chunks[0].addr, segment.base);
    assert_eq!(last.addr + last.size + foot, segment.end(), "the last chunk ends the segment");
    for pair in chunks.windows(2) {
        assert_eq!(pair[0].addr + pair[0].size, pair[1].addr, "chunks tile their segment");
        assert!(pair[0].used || pair[1].used, "adjacent free chunks are merged");
    }
    for chunk in chunks {
        assert_eq!(chunk.size % 8, 0);
        // top alone may shrink to anything above nothing.
        let least = if chunk.addr == top { 8 } else { MIN_CHUNK };
        assert!(chunk.size >= least || chunk.size == FENCEPOST && chunk.used, "{chunk:x?}");
    }
}
