//! Random runs: what callers do, and the model and its twin doing it side by side.

use crate::kernel::{Policy, Replay};
use crate::twin::Twin;
use analyze::model::{Allocator, Contradiction};
use proptest::prelude::*;
use shared::Addr;
use shared::heap::Heap;
use std::collections::VecDeque;

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Alloc(u64),
    Free(usize),
    /// Frees so many blocks in the order of their allocation, which often clears a segment.
    FreeRun(usize, usize),
    Resize(usize, u64),
    /// Resizes to where the allocator decides otherwise: so many 8 bytes from a size of interest.
    ResizeToEdge(usize, u64),
    /// Takes all of `top` but so many bytes: too little for a free chunk.
    FillTop(u64),
    /// Frees a large block over and over, until segments are looked at.
    CountDown(u64),
    /// A call no caller can make.
    Misuse(usize, u64),
    /// Compares the heaps, and goes on with a model made from the result.
    Keyframe,
}

pub(crate) fn size() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 1u64..64,
        6 => 1u64..400,
        3 => 230u64..300,
        6 => 300u64..8000,
        4 => 8000u64..70_000,
        3 => 120_000u64..140_000,
        3 => 100_000u64..2_000_000,
        1 => 1u64 << 31..1 << 33,
        1 => prop_oneof![Just(u64::MAX), (u64::MAX - 300)..u64::MAX],
    ]
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        30 => size().prop_map(Op::Alloc),
        16 => any::<usize>().prop_map(Op::Free),
        4 => (any::<usize>(), 1..60usize).prop_map(|(i, n)| Op::FreeRun(i, n)),
        16 => (any::<usize>(), size()).prop_map(|(i, n)| Op::Resize(i, n)),
        12 => (any::<usize>(), any::<u64>()).prop_map(|(i, n)| Op::ResizeToEdge(i, n)),
        2 => (1..=3u64).prop_map(|n| Op::FillTop(8 * n)),
        2 => size().prop_map(Op::CountDown),
        2 => (any::<usize>(), any::<u64>()).prop_map(|(i, n)| Op::Misuse(i, n)),
        2 => Just(Op::Keyframe),
    ]
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let chance = || prop_oneof![Just(0), Just(0), 1..40u64];
    let refuses = prop_oneof![3 => chance(), 1 => Just(100)];
    (chance(), prop_oneof![Just(0), Just(50), Just(95)], refuses, chance(), 0..100u64).prop_map(
        |(map_fails, map_is_adjacent, unmap_fails, remap_fails, remap_moves)| Policy {
            map_fails,
            map_is_adjacent,
            unmap_fails,
            remap_fails,
            remap_moves,
        },
    )
}

pub(crate) struct Pair {
    pub(crate) twin: Twin,
    pub(crate) model: Allocator,
    pub(crate) blocks: Vec<(Addr, u64)>,
}

impl Pair {
    pub(crate) fn new(twin: Twin) -> Pair {
        let model = Allocator::from_heap(&twin.to_heap()).unwrap();
        Pair { twin, model, blocks: Vec::new() }
    }

    pub(crate) fn call(&mut self, ptr: Addr, osize: u64, nsize: u64) -> Option<Addr> {
        let expected = self.twin.call(ptr, osize, nsize);
        let log = &mut self.twin.kernel.log;
        let outcome = self.model.call(ptr, osize, nsize, &mut Replay(log)).unwrap();
        assert!(log.is_empty(), "the model made fewer system calls: {log:?} are left");
        assert_eq!(outcome.after.map(|b| b.ptr), expected);
        assert_eq!(outcome.before.map(|b| b.ptr), (ptr != 0).then_some(ptr));
        assert_eq!(outcome.after, expected.and_then(|p| self.model.block_at(p)));
        expected
    }

    pub(crate) fn alloc(&mut self, size: u64) {
        let ptr = self.call(0, 0, size);
        self.blocks.extend(ptr.map(|ptr| (ptr, size)));
    }

    pub(crate) fn free(&mut self, i: usize) {
        let (ptr, size) = self.blocks.remove(i);
        self.call(ptr, size, 0);
    }

    fn resize(&mut self, i: usize, size: u64) {
        let (ptr, osize) = self.blocks[i];
        if let Some(moved) = self.call(ptr, osize, size) {
            self.blocks[i] = (moved, size);
        }
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        let pick = |i: usize| i % self.blocks.len().max(1);
        match *op {
            Op::Alloc(size) => self.alloc(size),
            Op::FillTop(left) => self.alloc(self.twin.size(self.twin.heap.top).saturating_sub(left + 8).max(1)),
            Op::Keyframe => self.keyframe(),
            Op::Misuse(i, n) => self.misuse(pick(i), n),
            Op::CountDown(size) => {
                for _ in 0..self.twin.heap.release_checks.min(300) {
                    self.alloc(size.clamp(250, 100_000));
                    self.alloc(40);
                    if self.blocks.len() > 1 {
                        self.free(self.blocks.len() - 2);
                        self.free(self.blocks.len() - 1);
                    }
                }
            }
            _ if self.blocks.is_empty() => {}
            Op::Free(i) => self.free(pick(i)),
            Op::FreeRun(i, n) => {
                let i = pick(i);
                (0..n.min(self.blocks.len() - i)).for_each(|_| self.free(i));
            }
            Op::Resize(i, size) => {
                self.resize(pick(i), size);
            }
            Op::ResizeToEdge(i, n) => {
                let top = self.twin.heap.top;
                let at_top = |(ptr, _): &(Addr, u64)| ptr - 16 + self.twin.size(ptr - 16) == top;
                let into_top = (n & 1 == 0).then(|| self.blocks.iter().position(at_top)).flatten();
                let i = into_top.unwrap_or(pick(i));
                let block = self.model.block_at(self.blocks[i].0).unwrap();
                let edges = match (into_top, block.direct) {
                    (Some(_), _) => [block.size + self.twin.size(top), block.size],
                    (None, true) => [block.size - 32, (block.size - 32).saturating_sub(64 << 10)],
                    (None, false) => [block.size, block.size.saturating_sub(32)],
                };
                self.resize(i, (edges[(n >> 1 & 1) as usize] + 16).saturating_sub(8 * (n >> 2 & 7)).max(1));
            }
        }
    }

    pub(crate) fn misuse(&mut self, i: usize, n: u64) {
        let replay = &mut Replay(&mut VecDeque::new());
        let live = self.blocks.get(i).copied();
        let no_block =
            [n, n & 0xffff_ffff_ffff, self.twin.heap.mstate, self.twin.heap.top + 16, self.twin.heap.dv + 16]
                .into_iter()
                .chain(self.twin.heap.segments.iter().map(|s| s.record))
                .chain(self.twin.chunks.iter().filter(|(_, c)| !c.1).map(|(a, _)| a + 16))
                .chain(live.map(|(ptr, _)| ptr + 8))
                .chain(live.map(|(ptr, _)| ptr + 32));
        for ptr in no_block.filter(|ptr| !self.blocks.iter().any(|b| b.0 == *ptr)) {
            let error = self.model.call(ptr, 24, n % 2 * 24, replay).unwrap_err();
            assert!(matches!(error, Contradiction::NotABlock { .. }), "{error}");
        }
        if let Some((ptr, size)) = live {
            for wrong in [size.wrapping_add(70_000), size.wrapping_sub(70_000), u64::MAX] {
                let error = self.model.call(ptr, wrong, n % 2 * 24, replay).unwrap_err();
                assert!(matches!(error, Contradiction::WrongSize { .. }), "{error}");
            }
        }
        self.compare();
    }

    pub(crate) fn compare(&self) -> Heap {
        let heap = self.model.to_heap();
        assert_eq!(heap, self.twin.to_heap());
        let totals = self.model.totals();
        let mut seen = Vec::new();
        self.model.each_block(|block| {
            assert_eq!(self.model.block_at(block.ptr), Some(block));
            seen.push(block.ptr);
        });
        seen.sort_unstable();
        let mut blocks: Vec<Addr> = self.blocks.iter().map(|(ptr, _)| *ptr).collect();
        blocks.sort_unstable();
        assert_eq!(seen, blocks);
        let chunk_blocks = || self.blocks.iter().filter(|(ptr, _)| !self.twin.direct.contains_key(&(ptr - 16)));
        assert_eq!(totals.used_chunks, chunk_blocks().count() as u64);
        assert_eq!(totals.used_bytes, chunk_blocks().map(|(ptr, _)| self.twin.size(ptr - 16)).sum::<u64>());
        assert_eq!(totals.free_chunks, self.twin.chunks.values().filter(|c| !c.1).count() as u64);
        assert_eq!(totals.free_bytes, self.twin.chunks.values().filter(|c| !c.1).map(|c| c.0).sum::<u64>());
        assert_eq!(totals.segments, heap.segments.len() as u64);
        assert_eq!(totals.segment_bytes, heap.segments.iter().map(|s| s.size).sum::<u64>());
        assert_eq!(totals.used_bytes + totals.free_bytes + totals.overhead_bytes, totals.segment_bytes);
        assert_eq!(
            (totals.direct_blocks, totals.direct_bytes),
            (heap.direct.len() as u64, heap.direct.iter().map(|d| d.size).sum::<u64>())
        );
        heap
    }

    pub(crate) fn keyframe(&mut self) {
        let before = self.model.totals();
        assert!(self.model.variant().is_none_or(|v| v == self.twin.variant && self.twin.told_apart));
        self.model = Allocator::from_heap(&self.compare()).unwrap();
        assert_eq!(self.model.totals(), before);
    }
}
