//! A recording of a web server with handlers in Lua that was never there: each call's stack is known, one of so many is in the
//! trace.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;

use shared::Addr;
use shared::call::{Call, MapCall};
use shared::trace::meta::{Header, Probe, Process, Trailer, Vm};
use shared::trace::stacks::{About, Frame, Module, Place, Sample, Stacks};
use shared::trace::writer::Writer;

use crate::elf::{self, Function};
use crate::world::World;

const LUAJIT: &str = "/opt/shop/lib/libluajit-5.1.so.2";
const LUAJIT_ID: &str = "10cafe0000000000000000000000000000000001";
const NGINX: &str = "/opt/shop/sbin/nginx";
const NGINX_ID: &str = "20cafe0000000000000000000000000000000002";
const LIBC: &str = "/opt/shop/lib/libc.so.6";
const LIBC_ID: &str = "30cafe0000000000000000000000000000000003";
/// The probed instruction, in `lj_alloc_f`.
const DOOR: Addr = 0x1004;

/// Functions of LuaJIT, as its symbol table has them.
const OF_LUAJIT: [Function; 13] = [
    ("lj_alloc_f", 0x1000, 0x400),
    ("lj_mem_realloc", 0x1500, 0x80),
    ("lj_str_new", 0x2000, 0x200),
    ("lj_tab_new", 0x2200, 0x200),
    ("lj_tab_resize", 0x2400, 0x200),
    ("lj_func_newL_gc", 0x2600, 0x100),
    ("lj_tab_free", 0x2800, 0x80),
    ("gc_sweep", 0x2900, 0x100),
    ("lj_gc_step", 0x2b00, 0x100),
    ("lj_BC_CAT", 0x5000, 0x40),
    ("lj_BC_TNEW", 0x5040, 0x40),
    ("lj_vm_call", 0x6000, 0x100),
    ("lua_pushlstring", 0x7000, 0x80),
];
/// And of the server.
const OF_NGINX: [Function; 3] = [
    ("ngx_http_lua_run_thread", 0x40_0000, 0x800),
    ("ngx_http_lua_ngx_req_get_headers", 0x41_0000, 0x400),
    ("main", 0x42_0000, 0x100),
];

/// The stacks that calls may have, and what they come to.
const STACKS: [(&str, &str, &[Frame]); 7] = {
    const fn lua(addr: u64) -> Frame {
        Frame::Code { module: 0, addr }
    }
    const fn nginx(addr: u64) -> Frame {
        Frame::Code { module: 1, addr }
    }
    const RUN: Frame = nginx(0x40_0123);
    const MAIN: Frame = nginx(0x42_0010);
    const START: Frame = Frame::Code { module: 2, addr: 0x2_9d90 };
    const ALLOC: Frame = lua(DOOR);
    const MEM: Frame = lua(0x1522);
    [
        (
            "string interning",
            "@/app/handler.lua:33 (function from line 20)",
            &[ALLOC, MEM, lua(0x2044), lua(0x5010), Frame::Lua(0), lua(0x6020), RUN, MAIN, START],
        ),
        (
            "table creation",
            "@/app/router.lua:12 (function from line 3)",
            &[ALLOC, MEM, lua(0x2230), lua(0x5050), Frame::Lua(1), lua(0x6020), RUN, MAIN, START],
        ),
        (
            "string interning",
            "ngx_http_lua_ngx_req_get_headers (nginx), from @/app/handler.lua:21 (function from line 20)",
            &[
                ALLOC,
                MEM,
                lua(0x2044),
                lua(0x7010),
                nginx(0x41_0200),
                lua(0x5018),
                Frame::Lua(2),
                lua(0x6020),
                RUN,
                Frame::Cut,
            ],
        ),
        (
            "closure",
            "@/app/util.lua:5 (main chunk)",
            &[ALLOC, MEM, lua(0x2640), Frame::Jit, Frame::Lua(3), lua(0x6020), RUN, MAIN, START],
        ),
        (
            "table creation",
            "compiled code, in ngx_http_lua_run_thread (nginx)",
            &[ALLOC, MEM, lua(0x2230), Frame::Jit, RUN, MAIN, START],
        ),
        (
            "table growth",
            "@/app/router.lua:14 (function from line 3)",
            &[ALLOC, MEM, lua(0x2470), lua(0x5058), Frame::Lua(4), lua(0x6020), RUN, MAIN, START],
        ),
        (
            "table freed",
            "ngx_http_lua_run_thread (nginx)",
            &[ALLOC, lua(0x2810), lua(0x2920), lua(0x2b30), lua(0x5050), lua(0x6020), RUN, MAIN, START],
        ),
    ]
};

/// What is true of a recording: by operation and site, calls, bytes asked for, and bytes still in use.
pub(crate) type Truth = BTreeMap<(&'static str, &'static str), [u64; 3]>;

/// A recording.
pub(crate) struct Made {
    pub(crate) bytes: Vec<u8>,
    pub(crate) truth: Truth,
    /// Its calls in the order of the stream, with what they asked for.
    pub(crate) calls: Vec<(Call, u64)>,
}

/// Where a trace's bytes go.
#[derive(Debug, Clone, Default)]
struct Sink(Rc<RefCell<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn module(name: &str, build_id: &str) -> Module {
    Module { name: name.into(), build_id: build_id.into() }
}

fn about(every: u64, first: u64, calls: u64) -> About {
    let line = |chunk: &str, first_line, line| Place { chunk: chunk.into(), first_line, line };
    About {
        every,
        first,
        calls,
        lost: 1,
        modules: vec![module(LUAJIT, LUAJIT_ID), module(NGINX, NGINX_ID), module(LIBC, LIBC_ID)],
        places: vec![
            line("@/app/handler.lua", 20, 33),
            line("@/app/router.lua", 3, 12),
            line("@/app/handler.lua", 20, 21),
            line("@/app/util.lua", 0, 5),
            line("@/app/router.lua", 3, 14),
        ],
    }
}

/// What a program has in use, and who has made it.
#[derive(Default)]
struct Blocks(Vec<(Addr, u64, usize)>);

impl Blocks {
    /// The next call, and which of the stacks it has.
    fn step(&mut self, world: &mut World) -> (Call, Vec<MapCall>, usize) {
        let choice = world.below(if self.0.len() > 1500 { 120 } else { 100 });
        let alloc = choice < 55 || self.0.is_empty();
        let (block, stack) = match choice {
            _ if alloc => (None, [0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4][world.below(11) as usize]),
            55..65 => (Some(world.below(self.0.len() as u64) as usize), 5),
            _ => (Some(world.below(self.0.len() as u64) as usize), 6),
        };
        let (ptr, osize, maker) = block.map_or((0, 0, stack), |at| self.0.swap_remove(at));
        let nsize = match stack {
            0 => 24 + world.below(300),
            1 | 4 => 64,
            2 => 30 + world.below(40),
            3 => 40,
            5 if osize < 1000 => 2 * osize,
            5 => 64,
            _ => 0,
        };
        let (call, maps) = world.call(ptr, osize, nsize);
        if let (Some((ptr, size)), true) = (world.newest(), nsize > 0) {
            self.0.push((ptr, size, maker));
        }
        (call, maps, stack)
    }
}

/// Records so many calls, one of so many sampled: stacks are written 4 times a recording, and keyframes are taken at its start,
/// its middle and its end.
pub(crate) fn made(calls: u64, every: u64, seed: u64) -> Made {
    let sink = Sink::default();
    let header = Header {
        writer: "made".into(),
        started_unix_ns: 1_800_000_000_000_000_000,
        host: "shop-1".into(),
        kernel: "6.12.0-amd64".into(),
        arch: "x86_64".into(),
        mode: "full".into(),
        ..Header::default()
    };
    let mut writer = Writer::new(sink.clone(), &header).expect("memory");
    let mut world = World::new(0x7f00_0000_0000, seed);
    let process = Process { pid: 4711, program: "nginx".into(), exe: NGINX.into(), ..Process::default() };
    writer.process(0, &process).expect("memory");
    let probe = Probe { addr: DOOR, instruction: "je".into(), emulated: true };
    let vm = Vm {
        pid: 4711,
        label: "http".into(),
        build: "LuaJIT 2.1.1788856981".into(),
        gc64: true,
        mstate: world.heap().mstate,
        module: LUAJIT.into(),
        module_build_id: LUAJIT_ID.into(),
        door: 0x1000,
        probe: Some(probe),
        ..Vm::default()
    };
    writer.vm(0, 1, &vm).expect("memory");
    writer.keyframe(1, (0, 0), &world.keyframe()).expect("memory");
    let mut made = Made { bytes: Vec::new(), truth: Truth::new(), calls: Vec::new() };
    let mut blocks = Blocks::default();
    let (mut samples, mut first) = (Vec::new(), (0, 0));
    for number in 0..calls {
        let (call, maps, stack) = blocks.step(&mut world);
        writer.call(1, &call).expect("memory");
        maps.iter().for_each(|map| writer.map(1, map).expect("memory"));
        let asked = if call.ptr == 0 { call.nsize } else { call.nsize.saturating_sub(call.osize) };
        let of = made.truth.entry((STACKS[stack].0, STACKS[stack].1)).or_default();
        of[0] += 1;
        of[1] += asked;
        made.calls.push((call, asked));
        // Not a period of anything that the program does.
        if (number * 7919 + seed).is_multiple_of(every) {
            samples.push(Sample { call: number, stack: stack as u32 });
        }
        if (number + 1) % (calls / 4) == 0 {
            let stacks = STACKS.iter().map(|(.., frames)| frames.to_vec()).collect();
            let about = about(every, first.0, number + 1 - first.0);
            let stacks = Stacks { about, stacks, samples: std::mem::take(&mut samples) };
            writer.stacks(1, (first.1, world.now), &stacks).expect("memory");
            first = (number + 1, world.now);
        }
        if number + 1 == calls / 2 {
            writer.keyframe(1, (world.now, world.now), &world.keyframe()).expect("memory");
        }
    }
    let heap = world.heap();
    let sizes = heap.chunks.iter().map(|chunk| (chunk.addr + 16, chunk.size));
    let sizes: BTreeMap<Addr, u64> =
        sizes.chain(heap.direct.iter().map(|block| (block.base + 16, block.size))).collect();
    for (block, _, maker) in blocks.0 {
        let size = sizes.get(&block).unwrap_or_else(|| panic!("{block:#x} is no block"));
        made.truth.entry((STACKS[maker].0, STACKS[maker].1)).or_default()[2] += size;
    }
    writer.keyframe(1, (world.now, world.now), &world.keyframe()).expect("memory");
    writer.finish(world.now, Trailer { reason: "the time was up".into(), ..Trailer::default() }).expect("memory");
    made.bytes = sink.0.take();
    made
}

/// Writes the files with the names of functions, as `record --collect-symbols` leaves them beside a trace.
pub(crate) fn symbols(folder: &Path) {
    for (id, functions) in [(LUAJIT_ID, &OF_LUAJIT[..]), (NGINX_ID, &OF_NGINX[..])] {
        let bytes: Vec<u8> =
            (0..id.len()).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).expect("hex")).collect();
        let folder = folder.join(".build-id").join(&id[..2]);
        std::fs::create_dir_all(&folder).expect("room");
        std::fs::write(folder.join(format!("{}.debug", &id[2..])), elf::library(&bytes, functions)).expect("room");
    }
}
