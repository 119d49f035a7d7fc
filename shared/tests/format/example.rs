//! The example of `FORMAT.md`: what is in it, written and read.

use std::io::Cursor;

use shared::call::{Call, Event, MapCall, MapOp};
use shared::heap::{Chunk, Direct, Heap, Segment};
use shared::trace::calls::TICK;
use shared::trace::frame::Kind;
use shared::trace::keyframe::{Keyframe, Pause};
use shared::trace::meta::{Header, Probe, Trailer, Vm};
use shared::trace::reader::{End, Trace};
use shared::trace::writer::Writer;

const BASE: u64 = 0x7f00_0000_0000;
const KEYFRAME_TIME: (u64, u64) = (1_000_000, 1_600_000);
const END: u64 = 3_000_000;

fn header() -> Header {
    Header {
        writer: "example".into(),
        started_unix_ns: 1_800_000_000_000_000_000,
        clock: "CLOCK_MONOTONIC".into(),
        clock_start_ns: 5_000_000_000,
        arch: "x86_64".into(),
        mode: "full".into(),
        ..Header::default()
    }
}

fn vm() -> Vm {
    Vm {
        pid: 42,
        label: "http".into(),
        build: "LuaJIT 2.1".into(),
        gc64: true,
        mstate: BASE + 16,
        global: BASE + 1000,
        door: 0x1000,
        probe: Some(Probe { addr: 0x1003, instruction: "je 1010h".into(), emulated: true }),
        ..Vm::default()
    }
}

/// One segment: the chunk of the mstate, a free one, one in use, top. And one direct block.
fn keyframe() -> Keyframe {
    let size = 128 << 10;
    let heap = Heap {
        mstate: BASE + 16,
        gc_total: 12_345,
        gc_threshold: 23_456,
        trim_check: 2 << 20,
        release_checks: 255,
        dv: 0,
        top: BASE + 976,
        segments: vec![Segment { base: BASE, size, record: BASE + 16 + 840 }],
        chunks: vec![
            Chunk { addr: BASE, size: 880, used: true },
            Chunk { addr: BASE + 880, size: 48, used: false },
            Chunk { addr: BASE + 928, size: 48, used: true },
            Chunk { addr: BASE + 976, size: size - 976 - 64, used: false },
        ],
        binned: vec![BASE + 880],
        direct: vec![Direct { base: BASE + (1 << 30), size: 200 << 10 }],
    };
    Keyframe { heap, pause: Pause { stopped_ns: 600_000, stops: 1, copied_bytes: size } }
}

/// An allocation, one that needs a mapping of its own, a resize, a free of the block the guess names, one of another, and
/// a free of nothing.
fn events() -> [Event; 7] {
    let call = |tick, ptr, osize, nsize| Event::Call(Call { time: tick * TICK, ptr, osize, nsize });
    let map = MapCall { time: 33 * TICK, op: MapOp::Map, addr: 0, len: 200_704, new_len: 0, result: BASE + (2 << 30) };
    [
        call(32, 0, 0, 40),
        call(32, 0, 0, 200_000),
        Event::Map(map),
        call(33, BASE + 944, 40, 80),
        call(40, BASE + 896, 40, 0),
        call(40, BASE + 944, 80, 0),
        call(41, 0, 0, 0),
    ]
}

fn trailer() -> Trailer {
    Trailer { reason: "the time was up".into(), ..Trailer::default() }
}

/// The example as the writer writes it.
pub(crate) fn write() -> Vec<u8> {
    let mut bytes = Vec::new();
    let well = "a trace in memory can be written";
    let mut writer = Writer::new(&mut bytes, &header()).expect(well);
    writer.vm(0, 1, &vm()).expect(well);
    writer.keyframe(1, KEYFRAME_TIME, &keyframe()).expect(well);
    for event in events() {
        match event {
            Event::Call(call) => writer.call(1, &call).expect(well),
            Event::Map(map) => writer.map(1, &map).expect(well),
        }
    }
    writer.finish(END, trailer()).expect(well);
    bytes
}

/// What the reader makes of the example's bytes is what went in.
pub(crate) fn check(bytes: &[u8]) {
    let trace = Trace::open(Cursor::new(bytes)).expect("a trace");
    assert_eq!(trace.header, header());
    let kinds: Vec<Kind> = trace.frames.iter().map(|frame| frame.head.kind).collect();
    assert_eq!(kinds, [Kind::Header, Kind::Vm, Kind::Keyframe, Kind::Calls]);
    let [_, second, third, fourth] = &trace.frames[..] else { panic!("four frames") };
    assert_eq!((second.head.vm, trace.vm(second).expect("a VM")), (1, vm()));
    assert_eq!((third.head.count, third.head.start, third.head.end), (4, KEYFRAME_TIME.0, KEYFRAME_TIME.1));
    assert_eq!(trace.keyframe(third).expect("a keyframe"), keyframe());
    assert_eq!((fourth.head.count, fourth.head.start, fourth.head.end), (6, 32 * TICK, 41 * TICK));
    assert_eq!(trace.calls(fourth).expect("a block").events().collect::<Vec<_>>(), events());
    let End::Complete(end) = trace.end else { panic!("{:?}", trace.end) };
    let index = end.index.clone();
    assert_eq!(index.len(), 4);
    assert_eq!(*end, Trailer { calls: 6, maps: 1, index, ..trailer() });
}
