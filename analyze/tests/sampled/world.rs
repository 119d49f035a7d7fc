//! A program that exists in these tests only: LuaJIT's allocator as the model knows it, a kernel that always says yes,
//! and a random sequence of calls.

use analyze::model::{Allocator, System};
use shared::call::{Call, MapCall, MapOp};
use shared::heap::layout::{GRANULARITY, PAGE, TOP_FOOT, TRIM_THRESHOLD};
use shared::heap::{Chunk, Heap, Segment};
use shared::trace::calls::TICK;
use shared::trace::keyframe::{Keyframe, Pause};
use shared::{Addr, Nanos};

/// A VM's heap and what its program does with it.
pub(crate) struct World {
    model: Allocator,
    kernel: Kernel,
    random: u64,
    blocks: Vec<(Addr, u64)>,
    /// Allocations in all.
    pub(crate) allocs: u64,
    /// The time, in nanoseconds.
    pub(crate) now: Nanos,
    /// Between two calls.
    pub(crate) pace: Nanos,
}

/// Maps upwards.
struct Kernel {
    next: Addr,
    log: Vec<(MapOp, Addr, u64, u64, u64)>,
}

impl System for Kernel {
    fn map(&mut self, len: u64) -> Option<Addr> {
        let addr = self.next;
        // A hole keeps segments apart.
        self.next += len + 16 * PAGE;
        self.log.push((MapOp::Map, 0, len, 0, addr));
        Some(addr)
    }

    fn unmap(&mut self, base: Addr, len: u64) -> bool {
        self.log.push((MapOp::Unmap, base, len, 0, 0));
        true
    }

    fn remap(&mut self, base: Addr, len: u64, new_len: u64) -> Option<Addr> {
        let addr = self.next;
        self.next += new_len + 16 * PAGE;
        self.log.push((MapOp::Remap, base, len, new_len, addr));
        Some(addr)
    }

    fn unmaps_next(&self, _: Addr, _: u64) -> bool {
        true
    }
}

impl World {
    /// An empty heap somewhere.
    pub(crate) fn new(base: Addr, seed: u64) -> World {
        let mstate = base + 16;
        let top = base + 880;
        let heap = Heap {
            mstate,
            gc_total: 12_345,
            gc_threshold: 23_456,
            trim_check: TRIM_THRESHOLD,
            release_checks: 255,
            dv: 0,
            top,
            segments: vec![Segment { base, size: GRANULARITY, record: base + 856 }],
            chunks: vec![
                Chunk { addr: base, size: 880, used: true },
                Chunk { addr: top, size: GRANULARITY - TOP_FOOT - 880, used: false },
            ],
            binned: Vec::new(),
            direct: Vec::new(),
        };
        World {
            model: Allocator::from_heap(&heap).expect("a heap"),
            kernel: Kernel { next: base + (1 << 30), log: Vec::new() },
            random: seed,
            blocks: Vec::new(),
            allocs: 0,
            now: 0,
            pace: 10_000,
        }
    }

    /// A random number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % n
    }

    /// The next call, and the mapping calls it led to.
    pub(crate) fn step(&mut self) -> (Call, Vec<MapCall>) {
        let live = self.blocks.len() as u64;
        let size = match self.below(100) {
            0 => 100_000 + self.below(200_000),
            1..10 => 1000 + self.below(9000),
            _ => 8 + self.below(300),
        };
        let pick = if live == 0 { 0 } else { self.below(live) as usize };
        let choice = self.below(if live > 300 { 100 } else { 70 });
        let (ptr, osize, nsize) = match choice {
            0..50 => (0, 0, size),
            50..60 if live > 0 => (self.blocks[pick].0, self.blocks[pick].1, size),
            _ if live > 0 => (self.blocks[pick].0, self.blocks[pick].1, 0),
            _ => (0, 0, size),
        };
        self.call(ptr, osize, nsize)
    }

    /// A call of our choice.
    pub(crate) fn call(&mut self, ptr: Addr, osize: u64, nsize: u64) -> (Call, Vec<MapCall>) {
        self.now += self.pace;
        self.allocs += u64::from(ptr == 0);
        let outcome = self.model.call(ptr, osize, nsize, &mut self.kernel).expect("a possible call");
        if ptr != 0 {
            self.blocks.retain(|(block, _)| *block != ptr);
        }
        self.blocks.extend(outcome.after.map(|block| (block.ptr, nsize)));
        // As the recorder does it.
        let time = self.now / TICK * TICK;
        let maps = self.kernel.log.drain(..).map(|(op, addr, len, new_len, result)| MapCall {
            time,
            op,
            addr,
            len,
            new_len,
            result,
        });
        (Call { time, ptr, osize, nsize }, maps.collect())
    }

    /// The block that was made or resized last, and the bytes asked for.
    pub(crate) fn newest(&self) -> Option<(Addr, u64)> {
        self.blocks.last().copied()
    }

    /// The heap as it is.
    pub(crate) fn heap(&self) -> Heap {
        self.model.to_heap()
    }

    /// The heap in a keyframe.
    pub(crate) fn keyframe(&self) -> Keyframe {
        Keyframe { heap: self.heap(), pause: Pause { stopped_ns: 1000, stops: 1, copied_bytes: 1 } }
    }
}
