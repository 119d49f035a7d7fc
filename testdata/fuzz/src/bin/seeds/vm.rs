//! A small LuaJIT VM as it stands in memory: two segments with bins of all sorts, a direct block, and the objects
//! that name it.

use shared::Addr;
use shared::heap::layout::{DIRECT_FOOT, PAGE, TOP_FOOT, mstate};
use targets::locate::{CODE, LOW_CODE};

use crate::canvas::Canvas;

const USED: bool = true;
const FREE: bool = false;
/// `LJ_TSTR` and `LJ_TTAB`, complemented.
const STRING: u64 = 4;
const TABLE: u64 = 11;
/// The chunk of the `malloc_state`, and the one of `GG_State`.
const STATE_CHUNK: u64 = 880;
const GLOBAL_CHUNK: u64 = 3072;

/// The drawing and its landmarks.
pub(crate) struct Vm {
    pub(crate) canvas: Canvas,
    pub(crate) mstate: Addr,
    /// The free chunks: two small ones, the tree's root, another of its size, its children, dv, top.
    free: [Addr; 8],
    pub(crate) main_thread: Addr,
}

/// Draws objects one behind the other.
struct Objects<'a> {
    canvas: &'a mut Canvas,
    next: Addr,
    gc64: bool,
}

impl Vm {
    /// Draws it.
    pub(crate) fn draw(gc64: bool) -> Vm {
        let base: Addr = if gc64 { 0x7f12_3456_0000 } else { 0x4000_0000 };
        let (mstate, main_thread) = (base + 16, base + 16 + STATE_CHUNK);
        let mut vm = Vm { canvas: Canvas::default(), mstate, free: [0; 8], main_thread };
        vm.heap(base);
        vm.global(gc64);
        vm
    }

    /// Heaps that differ in one word or two from a good one, and must be refused.
    pub(crate) fn broken() -> Vec<(&'static str, Vm)> {
        let draw = |change: &dyn Fn(&mut Vm, [Addr; 8])| {
            let mut vm = Vm::draw(true);
            let free = vm.free;
            change(&mut vm, free);
            vm
        };
        let set = |vm: &mut Vm, field: usize, word| vm.canvas.word(vm.mstate + field as u64, word);
        vec![
            // dv takes a chunk's place in the ring of its size.
            ("dv-in-a-bin", draw(&|vm, [small, _, .., dv, _]| vm.canvas.ring(&[vm.small_bin(48), small, dv]))),
            (
                "dv-is-top",
                draw(&|vm, [small, other, .., dv, top]| {
                    vm.canvas.ring(&[vm.small_bin(48), small, other, dv]);
                    set(vm, mstate::DVSIZE, 4 * PAGE - TOP_FOOT - top % (4 * PAGE));
                    set(vm, mstate::DV, top);
                }),
            ),
            // A free chunk of a small size as another tree's root, and no longer in its small bin.
            (
                "small-in-a-tree",
                draw(&|vm, [small, other, ..]| {
                    vm.canvas.ring(&[vm.small_bin(48), small]);
                    vm.canvas.ring(&[other]);
                    set(vm, mstate::TREEBINS, other);
                }),
            ),
        ]
    }

    /// The head of a small bin: a chunk would start there whose links are the bin's.
    fn small_bin(&self, size: u64) -> Addr {
        self.mstate + mstate::SMALLBINS as u64 + size * 2
    }

    fn heap(&mut self, base: Addr) {
        let bins = [48, 40].map(|size| self.small_bin(size));
        let canvas = &mut self.canvas;
        let (first, second, direct) = (base..base + 4 * PAGE, base + 8 * PAGE..base + 10 * PAGE, base + 16 * PAGE);
        canvas.map(first.clone());
        canvas.map(second.clone());
        canvas.map(direct..direct + 2 * PAGE);

        let free = [48, 48, 512, 512, 520, 600, 48];
        let mut chunks = vec![(STATE_CHUNK, USED), (GLOBAL_CHUNK, USED)];
        chunks.extend(free.iter().flat_map(|&size| [(32, USED), (size, FREE)]));
        chunks.push((40, USED));
        let top_size = first.end - first.start - TOP_FOOT - chunks.iter().map(|chunk| chunk.0).sum::<u64>();
        chunks.push((top_size, FREE));
        let addrs = canvas.chunks(first.start, &chunks);
        let [small, small_too, root, twin, left, right, dv] = std::array::from_fn(|at| addrs[3 + 2 * at]);
        let top = addrs[addrs.len() - 1];
        self.free = [small, small_too, root, twin, left, right, dv, top];

        // An older segment: its record in the last chunk, then two fenceposts.
        let filler = 2 * PAGE - 64 - 40 - 48 - 24;
        let old = [(64, USED), (40, FREE), (filler, USED), (48, USED), (8, USED), (8, USED)];
        let old = canvas.chunks(second.start, &old);
        canvas.word(second.end - 8, 11);
        let record = old[3] + 16;

        let size = 2 * PAGE - DIRECT_FOOT;
        canvas.word(direct, 1);
        canvas.word(direct + 8, size | 2);
        canvas.word(direct + size + 8, 11);

        canvas.ring(&[bins[0], small, small_too]);
        canvas.ring(&[bins[1], old[1]]);
        // One tree of three sizes, the root's size twice.
        canvas.ring(&[root, twin]);
        canvas.ring(&[left]);
        canvas.ring(&[right]);
        canvas.word(root + 32, left);
        canvas.word(root + 40, right);

        let at = |offset: usize| self.mstate + offset as u64;
        canvas.half(at(mstate::MAPS), 1 << 5 | 1 << 6);
        canvas.half(at(mstate::MAPS) + 4, 1 << 2);
        canvas.word(at(mstate::TREEBINS) + 2 * 8, root);
        let fields = [
            (mstate::DVSIZE, 48),
            (mstate::TOPSIZE, top_size),
            (mstate::DV, dv),
            (mstate::TOP, top),
            (mstate::TRIM_CHECK, 2 << 20),
            (mstate::RELEASE_CHECKS, 255),
            (mstate::SEG, first.start),
            (mstate::SEG + 8, first.end - first.start),
            (mstate::SEG + 16, record),
        ];
        for (offset, word) in fields {
            canvas.word(at(offset), word);
        }
        for (offset, word) in [(0, second.start), (8, second.end - second.start), (16, 0)] {
            canvas.word(record + offset, word);
        }
    }

    fn global(&mut self, gc64: bool) {
        let (mstate, main) = (self.mstate, self.main_thread);
        let global = main + 96;
        let canvas = &mut self.canvas;
        canvas.word(global, if gc64 { CODE.start + 0x1230 } else { LOW_CODE.start + 0x1230 });
        canvas.word(global + 8, mstate);
        if gc64 {
            canvas.word(main + 16, global);
            canvas.word(global + 16, 12_345);
            canvas.word(global + 24, 23_456);
        } else {
            canvas.half(main + 8, global as u32);
            canvas.half(global + 16, 12_345);
            canvas.half(global + 20, 23_456);
        }
        let mut objects = Objects { canvas, next: main + 256, gc64 };
        let version = objects.string("LuaJIT 2.1.1700000000");
        let subsystem = objects.string("http");
        let jit = objects.table(&[("version", version)]);
        let config = objects.table(&[("subsystem", subsystem)]);
        let ngx = objects.table(&[("config", config)]);
        let globals = objects.table(&[("jit", jit), ("ngx", ngx), ("_G", jit)]);
        let (at, wide) = if gc64 { (main + 72, 8) } else { (main + 44, 4) };
        canvas.bytes(at, &globals.1.to_le_bytes()[..wide]);
    }
}

/// A value: its complemented tag and its address.
type Value = (u64, Addr);

impl Objects<'_> {
    fn take(&mut self, bytes: u64) -> Addr {
        let addr = self.next;
        self.next += (bytes + 7) & !7;
        addr
    }

    fn value(&self, (tag, addr): Value) -> u64 {
        if self.gc64 { !tag << 47 | addr } else { !tag << 32 | addr }
    }

    fn string(&mut self, text: &str) -> Value {
        let head = if self.gc64 { 24 } else { 20 };
        let addr = self.take(head + text.len() as u64 + 1);
        self.canvas.half(addr + head - 4, text.len() as u32);
        self.canvas.bytes(addr + head, text.as_bytes());
        (STRING, addr)
    }

    fn table(&mut self, fields: &[(&str, Value)]) -> Value {
        let slots = fields.len().next_power_of_two() as u64;
        let nodes = self.take(slots * 24);
        for (node, (key, value)) in (nodes..).step_by(24).zip(fields) {
            let key = self.string(key);
            self.canvas.word(node, self.value(*value));
            self.canvas.word(node + 8, self.value(key));
        }
        let addr = self.take(64);
        let (gct, node, hmask) = if self.gc64 { (9, 40, 52) } else { (5, 20, 28) };
        self.canvas.bytes(addr + gct, &[TABLE as u8]);
        self.canvas.bytes(addr + node, &nodes.to_le_bytes()[..if self.gc64 { 8 } else { 4 }]);
        self.canvas.half(addr + hmask, slots as u32 - 1);
        (TABLE, addr)
    }
}
