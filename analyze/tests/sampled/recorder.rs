//! A recorder in mode `sample`, without a process: it writes what happens in a [`World`].

use std::cell::RefCell;
use std::io::{self, Cursor, Write};
use std::rc::Rc;

use analyze::replay::Plan;
use shared::Nanos;
use shared::call::MapCall;
use shared::trace::meta::{Cost, Gap, Header, Process, Trailer, Vm, Window};
use shared::trace::reader::Trace;
use shared::trace::writer::Writer;

use crate::world::World;

/// What a hit costs, and what the program does between two calls, in nanoseconds of processor time.
pub(crate) const HIT: u64 = 1000;
const WORK: u64 = 500;

/// A trace in memory.
pub(crate) type Bytes = Trace<Cursor<Vec<u8>>>;

pub(crate) struct Recorder {
    pub(crate) world: World,
    open: Open,
    parts: Vec<Vec<u8>>,
    header: Header,
    cpu: u64,
    hits: u64,
    /// The last thing written is a keyframe.
    at_keyframe: bool,
    /// Calls made in all, recorded or not.
    pub(crate) made: u64,
}

/// How a window is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) calls: usize,
    pub(crate) keyframe: bool,
    pub(crate) proven: bool,
}

pub(crate) const USUAL: Shape = Shape { calls: 300, keyframe: true, proven: false };

impl Recorder {
    pub(crate) fn new(seed: u64) -> Recorder {
        Recorder::of(seed, "")
    }

    /// A recording in parts has a name.
    pub(crate) fn of(seed: u64, recording: &str) -> Recorder {
        let part = u64::from(!recording.is_empty());
        let header = Header {
            mode: "sample".into(),
            recording: recording.into(),
            part,
            arch: "x86_64".into(),
            ..Header::default()
        };
        let open = Open::new(&header);
        let world = World::new(0x7f00_0000_0000, seed);
        let mut recorder =
            Recorder { world, open, parts: Vec::new(), header, cpu: 7_000_000, hits: 0, at_keyframe: false, made: 0 };
        recorder.introduce();
        recorder
    }

    fn process(&self, ended: &str) -> Process {
        let cost = Cost { hits: self.hits, hit_ns: HIT, ..Cost::default() };
        let (cpu_start_ns, cpu_end_ns) = (7_000_000, if ended.is_empty() { 0 } else { self.cpu });
        let ended = ended.into();
        Process {
            pid: 42,
            program: "luajit".into(),
            started_ticks: 9,
            ended,
            cpu_start_ns,
            cpu_end_ns,
            cost,
            ..Process::default()
        }
    }

    fn introduce(&mut self) {
        let (now, process) = (self.world.now, self.process(""));
        self.open.writer.process(now, &process).expect("memory");
        let vm = Vm { pid: 42, label: "luajit".into(), gc64: true, ..Vm::default() };
        self.open.writer.vm(now, 1, &vm).expect("memory");
    }

    pub(crate) fn keyframe(&mut self) {
        let now = self.world.now;
        self.open.writer.keyframe(1, (now, now), &self.world.keyframe()).expect("memory");
    }

    /// Recorded calls.
    fn calls(&mut self, calls: usize) {
        for _ in 0..calls {
            let (call, maps) = self.world.step();
            self.open.writer.call(1, &call).expect("memory");
            maps.iter().for_each(|map| self.open.writer.map(1, map).expect("memory"));
            self.cpu += WORK + HIT;
            self.hits += 1;
            self.made += 1;
        }
    }

    pub(crate) fn window(&mut self, shape: Shape) {
        if shape.keyframe && !std::mem::take(&mut self.at_keyframe) {
            self.keyframe();
        }
        let open = (self.world.now, self.cpu, self.hits);
        self.calls(shape.calls);
        if shape.proven {
            self.keyframe();
        }
        self.close(open, shape, false);
    }

    /// A window whose end cuts off the mapping call of its last call, which follows later.
    pub(crate) fn window_closed_early(&mut self, shape: Shape) {
        self.keyframe();
        let open = (self.world.now, self.cpu, self.hits);
        self.calls(shape.calls);
        let (call, maps) = self.world.call(0, 0, 3 << 20);
        self.open.writer.call(1, &call).expect("memory");
        assert_eq!(maps.len(), 1, "a direct block");
        self.close(open, shape, false);
        self.maps(&maps);
    }

    /// A window in which hits are lost half way.
    pub(crate) fn lossy_window(&mut self, shape: Shape) {
        self.keyframe();
        let open = (self.world.now, self.cpu, self.hits);
        self.calls(shape.calls);
        self.skip(5);
        let now = self.world.now;
        self.open
            .writer
            .gap(1, (now, now), &Gap { reason: "ring full".into(), lost: 5, window: None })
            .expect("memory");
        self.calls(shape.calls);
        self.close(open, shape, true);
    }

    fn close(&mut self, (start, cpu_start_ns, hits): (Nanos, u64, u64), shape: Shape, lossy: bool) {
        let end = self.world.now;
        let window = Window {
            start,
            end,
            calls: self.hits - hits,
            hits: self.hits - hits,
            keyframe: shape.keyframe,
            cpu_ns: self.cpu - cpu_start_ns,
            cpu_start_ns,
            lossy,
        };
        let gap = Gap { reason: "between windows".into(), lost: 0, window: Some(window) };
        self.open.writer.gap(1, (end, end), &gap).expect("memory");
    }

    fn maps(&mut self, maps: &[MapCall]) {
        maps.iter().for_each(|map| self.open.writer.map(1, map).expect("memory"));
    }

    /// Calls that are not recorded, nor are their mapping calls.
    fn skip(&mut self, calls: usize) -> Vec<MapCall> {
        let mut all = Vec::new();
        for _ in 0..calls {
            all.extend(self.world.step().1);
            self.cpu += WORK;
            self.made += 1;
        }
        all
    }

    /// Time between windows: mapping calls alone are recorded.
    pub(crate) fn between(&mut self, calls: usize) {
        let maps = self.skip(calls);
        self.maps(&maps);
    }

    /// The same, but a mapping call is forgotten.
    pub(crate) fn between_forgetful(&mut self) {
        let (_, maps) = self.world.call(0, 0, 1 << 20);
        assert!(!maps.is_empty());
    }

    pub(crate) fn missed(&mut self, reason: &str) {
        let now = self.world.now;
        let missed = shared::trace::meta::Missed { pid: 42, reason: reason.into(), stopped_ns: 5, stops: 1 };
        self.open.writer.missed((now, now), &missed).expect("memory");
    }

    /// Goes over to the next part between windows.
    pub(crate) fn next_part(&mut self) {
        self.header.part += 1;
        let before = std::mem::replace(&mut self.open, Open::new(&self.header));
        self.parts.push(before.finish(self.world.now, self.hits));
        self.introduce();
    }

    /// Goes over to the next part at a keyframe that stands in both.
    pub(crate) fn next_part_at_keyframe(&mut self) {
        self.keyframe();
        self.header.part += 1;
        let before = std::mem::replace(&mut self.open, Open::new(&self.header));
        self.parts.push(before.finish(self.world.now, self.hits));
        self.introduce();
        self.keyframe();
        self.at_keyframe = true;
    }

    /// The parts, in order.
    pub(crate) fn parts(mut self) -> Vec<Vec<u8>> {
        let (now, process) = (self.world.now, self.process("the time was up"));
        self.open.writer.process(now, &process).expect("memory");
        self.parts.push(self.open.finish(now, self.hits));
        self.parts
    }

    pub(crate) fn trace(self) -> Bytes {
        join(self.parts())
    }
}

/// Where a part's bytes go.
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

/// A part being written.
struct Open {
    writer: Writer<Sink>,
    sink: Sink,
}

impl Open {
    fn new(header: &Header) -> Open {
        let sink = Sink::default();
        Open { writer: Writer::new(sink.clone(), header).expect("memory"), sink }
    }

    fn finish(self, now: Nanos, hits: u64) -> Vec<u8> {
        let cost = Cost { elapsed_ns: now, hits, hit_ns: HIT, worst_minute_ppm: 4200, ..Cost::default() };
        let trailer = Trailer { reason: "the time was up".into(), cost, ..Trailer::default() };
        self.writer.finish(now, trailer).expect("memory");
        self.sink.0.take()
    }
}

pub(crate) fn join(parts: Vec<Vec<u8>>) -> Bytes {
    let traces = parts.into_iter().map(|bytes| Trace::open(Cursor::new(bytes)).expect("a trace")).collect();
    Trace::join(traces).expect("parts of one recording").expect("a part")
}

pub(crate) fn plan(trace: &Bytes) -> Plan {
    Plan::new(trace).expect("a plan")
}
