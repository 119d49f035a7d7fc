//! A program that does not exist: LuaJIT's allocator as the model knows it, a kernel that always says yes, and calls by
//! chance on a heap that stays as large as it is.

use analyze::model::{Allocator, System};
use shared::call::{Call, MapCall, MapOp};
use shared::heap::layout::{GRANULARITY, PAGE, TOP_FOOT, TRIM_THRESHOLD};
use shared::heap::{Chunk, Heap, Segment};
use shared::trace::calls::TICK;
use shared::trace::keyframe::{Keyframe, Pause};
use shared::{Addr, Nanos};

/// Where the heap lies.
const BASE: Addr = 0x7f00_0000_0000;
/// Of an empty heap: `malloc_state` in the first segment's first chunk, the segment's record at its end.
const MSTATE_CHUNK: u64 = 880;
const MSTATE: u64 = 16;
const RECORD: u64 = 856;
/// Between two calls.
const PACE: Nanos = 1_000;

/// A VM's heap and what its program does with it.
pub(crate) struct Program {
    model: Allocator,
    kernel: Kernel,
    random: u64,
    live: usize,
    blocks: Vec<(Addr, u64)>,
    /// The time of the last call.
    pub(crate) now: Nanos,
}

/// Maps upwards, with holes so that segments stay apart.
struct Kernel {
    next: Addr,
    now: Nanos,
    log: Vec<MapCall>,
}

impl Kernel {
    fn place(&mut self, len: u64) -> Addr {
        let addr = self.next;
        self.next += len + 16 * PAGE;
        addr
    }

    fn note(&mut self, op: MapOp, addr: Addr, len: u64, new_len: u64, result: u64) {
        self.log.push(MapCall { time: self.now, op, addr, len, new_len, result });
    }
}

impl System for Kernel {
    fn map(&mut self, len: u64) -> Option<Addr> {
        let addr = self.place(len);
        self.note(MapOp::Map, 0, len, 0, addr);
        Some(addr)
    }

    fn unmap(&mut self, base: Addr, len: u64) -> bool {
        self.note(MapOp::Unmap, base, len, 0, 0);
        true
    }

    fn remap(&mut self, base: Addr, len: u64, new_len: u64) -> Option<Addr> {
        let addr = self.place(new_len);
        self.note(MapOp::Remap, base, len, new_len, addr);
        Some(addr)
    }

    fn unmaps_next(&self, _: Addr, _: u64) -> bool {
        true
    }
}

impl Program {
    /// A program that keeps about `live` blocks, and has them already.
    pub(crate) fn new(seed: u64, live: usize) -> Program {
        let top = BASE + MSTATE_CHUNK;
        let heap = Heap {
            mstate: BASE + MSTATE,
            gc_total: 0,
            gc_threshold: 0,
            trim_check: TRIM_THRESHOLD,
            release_checks: 255,
            dv: 0,
            top,
            segments: vec![Segment { base: BASE, size: GRANULARITY, record: BASE + RECORD }],
            chunks: vec![
                Chunk { addr: BASE, size: MSTATE_CHUNK, used: true },
                Chunk { addr: top, size: GRANULARITY - TOP_FOOT - MSTATE_CHUNK, used: false },
            ],
            binned: Vec::new(),
            direct: Vec::new(),
        };
        let model = Allocator::from_heap(&heap).expect("an empty heap");
        let kernel = Kernel { next: BASE + (1 << 30), now: 0, log: Vec::new() };
        let mut program = Program { model, kernel, random: seed, live, blocks: Vec::new(), now: 0 };
        while program.blocks.len() < live {
            program.step();
        }
        program.now = 0;
        program
    }

    /// By chance, below `most`: the generator of Knuth's MMIX, its upper half.
    fn below(&mut self, most: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % most
    }

    /// What objects of Lua programs are large: most of them small, few in need of a mapping of their own.
    fn size(&mut self) -> u64 {
        match self.below(2000) {
            0 => 130_000 + self.below(200_000),
            1..40 => 1_000 + self.below(9_000),
            _ => 8 + self.below(300),
        }
    }

    /// The next call, and the mapping calls it leads to: allocations, frees and resizes that keep the heap's size.
    pub(crate) fn step(&mut self) -> (Call, &[MapCall]) {
        let full = self.blocks.len() >= self.live;
        let call = match self.below(100) {
            0..6 if !self.blocks.is_empty() => {
                let at = self.below(self.blocks.len() as u64) as usize;
                let (ptr, osize) = self.blocks.swap_remove(at);
                (ptr, osize, self.size())
            }
            choice if choice < if full { 60 } else { 40 } && !self.blocks.is_empty() => {
                let at = self.below(self.blocks.len() as u64) as usize;
                let (ptr, osize) = self.blocks.swap_remove(at);
                (ptr, osize, 0)
            }
            _ => (0, 0, self.size()),
        };
        self.call(call)
    }

    /// A call of one's choice: `ptr`, `osize` and `nsize` as `lj_alloc_f` takes them.
    fn call(&mut self, (ptr, osize, nsize): (Addr, u64, u64)) -> (Call, &[MapCall]) {
        self.now += PACE;
        // As the recorder does it.
        let time = self.now / TICK * TICK;
        self.kernel.now = time;
        self.kernel.log.clear();
        let outcome = self.model.call(ptr, osize, nsize, &mut self.kernel).expect("a call that can be");
        self.blocks.extend(outcome.after.map(|block| (block.ptr, nsize)));
        (Call { time, ptr, osize, nsize }, &self.kernel.log)
    }

    /// The heap as it is.
    pub(crate) fn keyframe(&self) -> Keyframe {
        Keyframe { heap: self.model.to_heap(), pause: Pause { stopped_ns: PACE, stops: 1, copied_bytes: 1 } }
    }
}
