//! A recording of an nginx after a reload: a master, a worker of before, and two new ones, with all kinds of slices.

use std::fs::File;
use std::io::{BufReader, Read, Seek, Write};

use analyze::commands::breakdown;
use analyze::report::{Asked, BreakdownReport};
use analyze::source::FileTrace;
use shared::Nanos;
use shared::heap::layout::{GRANULARITY, HEADER, TOP_FOOT};
use shared::heap::{Chunk, Heap, Segment};
use shared::trace::breakdown::{Amount, Arena, Breakdown, Glibc, Memory, Slice, SliceKind, Slot, VmPages, Zone};
use shared::trace::keyframe::{Keyframe, Pause};
use shared::trace::meta::{Header, Process, Trailer, Vm};
use shared::trace::reader::Trace;
use shared::trace::writer::Writer;

pub(crate) const SECOND: Nanos = 1_000_000_000;
/// What a keyframe's stop takes: the recorder tells it by its end.
const COPYING: Nanos = 2_000_000;
pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;

/// The processes.
pub(crate) const MASTER: u32 = 100;
pub(crate) const OLD: u32 = 101;
pub(crate) const FIRST: u32 = 110;
pub(crate) const NEXT: u32 = 111;

/// A recording being made.
pub(crate) struct Made {
    pub(crate) writer: Writer<File>,
    file: File,
}

impl Made {
    pub(crate) fn new(header: &Header) -> Made {
        let file = tempfile::tempfile().expect("a file");
        Made { writer: Writer::new(file.try_clone().expect("a file"), header).expect("room"), file }
    }

    pub(crate) fn process(&mut self, time: Nanos, process: &Process) {
        self.writer.process(time, process).expect("room");
    }

    pub(crate) fn vm(&mut self, number: u32, pid: u32, label: &str, build: &str) {
        let vm = Vm { pid, label: label.into(), build: build.into(), gc64: true, ..Vm::default() };
        self.writer.vm(0, number, &vm).expect("room");
    }

    pub(crate) fn keyframe(&mut self, vm: u32, time: Nanos, heap: Heap) {
        let keyframe = Keyframe { heap, pause: Pause { stopped_ns: 1000, stops: 1, copied_bytes: 1 } };
        self.writer.keyframe(vm, (time, time + COPYING), &keyframe).expect("room");
    }

    pub(crate) fn look(&mut self, time: Nanos, breakdown: &Breakdown) {
        self.writer.breakdown((time, time + 4_200_000), breakdown).expect("room");
    }

    /// The whole trace.
    pub(crate) fn bytes(self, end: Nanos) -> Vec<u8> {
        let Made { writer, mut file } = self;
        writer.finish(end, Trailer { reason: "the time was up".into(), ..Trailer::default() }).expect("room");
        file.rewind().expect("a file");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("a file");
        bytes
    }
}

pub(crate) fn open(bytes: &[u8]) -> FileTrace {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("room");
    Trace::open(BufReader::new(file)).expect("a trace")
}

/// What `analyze breakdown` makes of it.
pub(crate) fn report(bytes: &[u8], at: Option<Asked>, pid: Option<u32>) -> anyhow::Result<BreakdownReport> {
    breakdown::report("made.ljt", &open(bytes), at, pid)
}

pub(crate) fn header() -> Header {
    Header {
        writer: "made".into(),
        mode: "snapshot".into(),
        host: "web-1".into(),
        kernel: "6.1.0".into(),
        arch: "x86_64".into(),
        started_unix_ns: 1_795_323_600 * SECOND,
        clock_start_ns: 500 * SECOND,
        ..Header::default()
    }
}

/// When each of them was started, in clock ticks.
pub(crate) fn started(pid: u32) -> u64 {
    match pid {
        MASTER => 10_000,
        OLD => 10_002,
        _ => 46_000 + u64::from(pid),
    }
}

pub(crate) fn process(pid: u32, title: &str) -> Process {
    let parent = if pid == MASTER { 1 } else { MASTER };
    let command = vec![format!("nginx: {title}")];
    Process { pid, parent, started_ticks: started(pid), program: "nginx".into(), command, ..Process::default() }
}

pub(crate) fn slice(kind: SliceKind, name: &str, vm: u32, [mapped, resident, swapped, pss]: [u64; 4]) -> Slice {
    Slice { kind, name: name.into(), vm, memory: Memory { mapped, resident, swapped, pss } }
}

/// A worker's memory; `lua` is what its HTTP VM has resident. Its VMs are `vm` and the next one.
pub(crate) fn worker(pid: u32, vm: u32, lua: u64) -> Breakdown {
    let all = |bytes| [bytes, bytes, 0, bytes];
    let shared = |mapped, resident| [mapped, resident, 0, resident / 4];
    let slices = vec![
        slice(SliceKind::Luajit, "http", vm, [96 * MIB, lua, MIB, lua]),
        slice(SliceKind::Luajit, "stream", vm + 1, all(2 * MIB)),
        slice(SliceKind::JitCode, "machine code", 0, all(640 * KIB)),
        slice(SliceKind::SystemAllocator, "glibc main arena", 0, all(18 * MIB)),
        slice(SliceKind::SystemAllocator, "glibc arena 1", 0, [132 * KIB, 20 * KIB, 0, 20 * KIB]),
        slice(SliceKind::SystemAllocator, "glibc mapped blocks", 0, all(2 * MIB)),
        slice(SliceKind::SharedZone, "sessions", 0, shared(64 * MIB, 12 * MIB)),
        slice(SliceKind::SharedZone, "limits", 0, shared(10 * MIB, 160 * KIB)),
        slice(SliceKind::Text, "/usr/sbin/nginx", 0, shared(1200 * KIB, 800 * KIB)),
        slice(SliceKind::Text, "/usr/lib/x86_64-linux-gnu/libc.so.6", 0, shared(1400 * KIB, 900 * KIB)),
        slice(SliceKind::FileData, "/usr/sbin/nginx", 0, [400 * KIB, 300 * KIB, 0, 120 * KIB]),
        slice(SliceKind::FileData, "/usr/lib/locale/locale-archive", 0, shared(3 * MIB, 200 * KIB)),
        slice(SliceKind::Stack, "main", 0, [132 * KIB, 40 * KIB, 0, 40 * KIB]),
        slice(SliceKind::Stack, "thread 1", 0, [8 * MIB, 16 * KIB, 0, 16 * KIB]),
        slice(SliceKind::Kernel, "[vdso]", 0, [16 * KIB, 4 * KIB, 0, 0]),
        slice(SliceKind::Reserved, "glibc arena 1", 0, [65_404 * KIB, 0, 0, 0]),
        slice(SliceKind::Other, "", 0, all(200 * KIB)),
    ];
    Breakdown {
        pid,
        started_ticks: started(pid),
        total: slices.iter().map(|slice| slice.memory).sum(),
        slices,
        glibc: Some(glibc()),
        zones: vec![zone("sessions", 64 * MIB, 16_000, 13_000), zone("limits", 10 * MIB, 0, 0)],
        vms: vec![VmPages { vm, keyframe: SECOND + COPYING, free: 30 * MIB, free_resident: 22 * MIB }],
        stopped_ns: 700_000,
        stops: 1,
        missing: Vec::new(),
    }
}

fn glibc() -> Glibc {
    let amount = |count, bytes| Amount { count, bytes };
    let main = Arena {
        number: 0,
        system: 18 * MIB,
        heaps: 1,
        used: amount(9000, 10 * MIB),
        bins: amount(400, 6 * MIB),
        fastbins: amount(20, 2 * KIB),
        tcache: amount(60, 14 * KIB),
        top: 2 * MIB - 16 * KIB - 100,
        overhead: 100,
        largest_free: MIB,
        ..Arena::default()
    };
    let one = Arena {
        number: 1,
        system: 132 * KIB,
        heaps: 1,
        used: amount(9, 4 * KIB),
        top: 127 * KIB,
        overhead: KIB,
        ..Arena::default()
    };
    Glibc { arenas: vec![main, one], mapped: amount(2, 2 * MIB) }
}

fn zone(name: &str, size: u64, pages: u64, free_pages: u64) -> Zone {
    let slots = if pages == 0 { Vec::new() } else { vec![Slot { size: 64, total: 3000, used: 2500 }] };
    Zone { name: name.into(), module: "ngx_http_lua_module".into(), size, pages, free_pages, slots }
}

/// The master's memory: what it shares with its workers, and little more.
pub(crate) fn master() -> Breakdown {
    let mut breakdown = worker(MASTER, 0, 0);
    breakdown.slices.retain(|slice| slice.kind != SliceKind::Luajit);
    breakdown.total = breakdown.slices.iter().map(|slice| slice.memory).sum();
    breakdown.vms.clear();
    breakdown
}

/// A heap of one used segment, one that 96 bytes pin, and one that is wholly free in a way old builds do not see.
pub(crate) fn heap(trims: bool) -> Heap {
    let base = 0x7f00_0000_0000;
    let top = base + 40 * MIB + 880;
    let first = Segment { base, size: 44 * MIB, record: base + 856 };
    let mut heap = Heap {
        mstate: base + 16,
        gc_total: 39 * MIB,
        gc_threshold: 80 * MIB,
        trim_check: if trims { 2 * MIB } else { u64::MAX },
        release_checks: 100,
        dv: 0,
        top,
        segments: vec![first],
        chunks: vec![
            Chunk { addr: base, size: 880, used: true },
            Chunk { addr: base + 880, size: 40 * MIB, used: true },
            Chunk { addr: top, size: 4 * MIB - TOP_FOOT - 880, used: false },
        ],
        ..Heap::default()
    };
    heap.segment(base + (1 << 30), 36 * MIB, 96, 0);
    heap.segment(base + (2 << 30), GRANULARITY, 0, 24);
    let mut binned = std::mem::take(&mut heap.binned);
    binned.sort_by_key(|addr| heap.chunk(*addr).map(|chunk| chunk.size));
    heap.binned = binned;
    heap
}

trait OldSegment {
    fn segment(&mut self, base: u64, size: u64, used: u64, early: u64);
}

impl OldSegment for Heap {
    /// A segment of one free chunk and one in use; its record stands so much earlier than usual.
    fn segment(&mut self, base: u64, size: u64, used: u64, early: u64) {
        let record = base + size - TOP_FOOT - early;
        let free = record - base - used;
        self.chunks.push(Chunk { addr: base, size: free, used: false });
        self.binned.push(base);
        if used > 0 {
            self.chunks.push(Chunk { addr: base + free, size: used, used: true });
        }
        self.chunks.push(Chunk { addr: record, size: 32, used: true });
        let posts = (record + 32..base + size - 8).step_by(8);
        self.chunks.extend(posts.map(|addr| Chunk { addr, size: 8, used: true }));
        self.segments.push(Segment { base, size, record: record + HEADER });
    }
}

/// The whole recording: three looks at each, ten seconds apart. The old worker's VMs are 1 and 2, those of the new ones
/// 3 and 4, and 5 and 6.
pub(crate) fn made() -> Made {
    let mut made = Made::new(&header());
    let workers =
        [(OLD, 1, "worker process is shutting down"), (FIRST, 3, "worker process"), (NEXT, 5, "worker process")];
    made.process(0, &process(MASTER, "master process /usr/sbin/nginx"));
    for (pid, vm, title) in workers {
        made.process(0, &process(pid, title));
        let build = if pid == FIRST { "LuaJIT 2.1.1700000000" } else { "LuaJIT 2.1.0-beta3" };
        made.vm(vm, pid, "http", build);
        made.vm(vm + 1, pid, "stream", build);
        made.keyframe(vm, SECOND, heap(pid != NEXT));
    }
    for look in 0..3 {
        let time = (1 + 10 * look) * SECOND;
        made.look(time, &master());
        for (at, (pid, vm, _)) in workers.into_iter().enumerate() {
            made.look(time + 1_000_000 * (1 + at as u64), &worker(pid, vm, (40 + 15 * look) * MIB));
        }
    }
    made
}

/// When it ends.
pub(crate) const END: Nanos = 22 * SECOND;
