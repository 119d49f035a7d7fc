//! Traces, and payloads without a trace around them.

use std::io::Cursor;

use shared::call::{Call, MapCall, MapOp};
use shared::heap::{Chunk, Direct, Heap, Segment};
use shared::trace::calls::Encoder;
use shared::trace::frame::{Head, Kind};
use shared::trace::keyframe::{Keyframe, Pause};
use shared::trace::meta::{self, Gap, Header, IndexEntry, Probe, Process, Trailer, Vm};
use shared::trace::reader::Trace;
use shared::trace::writer::Writer;

const WELL: &str = "a trace in memory can be written";

/// Whole files.
pub(crate) fn files() -> Vec<(&'static str, Vec<u8>)> {
    let complete = file(20);
    let truncated = complete[..complete.len() * 2 / 3].to_vec();
    // A frame that may be skipped, in front of all others but the header; the index then tells of one frame less.
    let header_end = Trace::open(Cursor::new(&complete)).expect(WELL).frames[1].offset as usize;
    let (head, stored) = Head::seal(Kind::Unknown(0x8001), 0, 7, (1, 2), b"from a later version");
    let mut unknown = complete.clone();
    unknown.splice(header_end..header_end, [&head.to_bytes()[..], &stored].concat());
    vec![("complete", complete), ("compressed", file(600)), ("truncated", truncated), ("unknown-kind", unknown)]
}

/// The decoders' inputs, in the form of `targets::payload`.
pub(crate) fn payloads() -> Vec<(&'static str, Vec<u8>)> {
    let mut encoder = Encoder::default();
    for n in 0..20 {
        encoder.push_call(&call(n));
        if n % 8 == 3 {
            encoder.push_map(&map(n));
        }
    }
    let (head, _) = Head::seal(Kind::Calls, 1, 20, (1000, 2000), b"payload");
    let trailer = Trailer { index: vec![IndexEntry::default()], ..Trailer::default() };
    vec![
        ("calls", [&[0, 0][..], &encoder.finish()].concat()),
        ("calls-empty", vec![0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("keyframe", [&[1][..], &keyframe().encode()].concat()),
        ("header", [&[2][..], &meta::encode(&header())].concat()),
        ("process", [&[3][..], &meta::encode(&Process::default())].concat()),
        ("vm", [&[4][..], &meta::encode(&vm())].concat()),
        ("gap", [&[5][..], &meta::encode(&Gap { reason: "the ring was full".into(), lost: 3 })].concat()),
        ("trailer", [&[6][..], &meta::encode(&trailer)].concat()),
        ("raw", [&[7][..], b"any bytes"].concat()),
        ("head", [&[8][..], &head.to_bytes()].concat()),
    ]
}

fn header() -> Header {
    Header { writer: "seeds".into(), clock: "CLOCK_MONOTONIC".into(), mode: "full".into(), ..Header::default() }
}

fn vm() -> Vm {
    let probe = Probe { addr: 0x1003, instruction: "je short 1010h".into(), emulated: true };
    Vm { pid: 7, label: "http".into(), gc64: true, mstate: 0x7f00_0000_0010, probe: Some(probe), ..Vm::default() }
}

fn keyframe() -> Keyframe {
    let base = 0x7f00_0000_0000;
    let heap = Heap {
        mstate: base + 16,
        gc_total: 12_345,
        gc_threshold: 23_456,
        trim_check: 2 << 20,
        release_checks: 255,
        dv: 0,
        top: base + 976,
        segments: vec![Segment { base, size: 128 << 10, record: base + 856 }],
        chunks: vec![
            Chunk { addr: base, size: 880, used: true },
            Chunk { addr: base + 880, size: 48, used: false },
            Chunk { addr: base + 928, size: 48, used: true },
            Chunk { addr: base + 976, size: (128 << 10) - 976 - 64, used: false },
        ],
        binned: vec![base + 880],
        direct: vec![Direct { base: base - (1 << 20), size: 200 << 10 }],
    };
    Keyframe { heap, pause: Pause { stopped_ns: 500_000, stops: 1, copied_bytes: 128 << 10 } }
}

/// Calls of all kinds, in turn.
fn call(n: u64) -> Call {
    let (time, ptr) = (n * 1000, 0x7f00_0000_0000 + n * 8);
    match n % 4 {
        0 => Call { time, ptr: 0, osize: 0, nsize: 24 + n },
        1 => Call { time, ptr, osize: 24 + n, nsize: 0 },
        2 => Call { time, ptr, osize: 24, nsize: 48 },
        _ => Call { time, ptr: 0, osize: n, nsize: 0 },
    }
}

fn map(n: u64) -> MapCall {
    let op = [MapOp::Map, MapOp::Unmap, MapOp::Remap][n as usize % 3];
    MapCall { time: n * 1000, op, addr: 0, len: 128 << 10, new_len: 0, result: 0x7f00_0010_0000 }
}

fn file(calls: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &header()).expect(WELL);
    writer.process(0, &Process { pid: 7, program: "luajit".into(), ..Process::default() }).expect(WELL);
    writer.vm(0, 1, &vm()).expect(WELL);
    writer.keyframe(1, (0, 1000), &keyframe()).expect(WELL);
    for n in 2..calls {
        writer.call(1, &call(n)).expect(WELL);
        if n % 8 == 3 {
            writer.map(1, &map(n)).expect(WELL);
        }
    }
    writer.gap(1, (calls * 1000, calls * 1000), &Gap { reason: "the ring was full".into(), lost: 3 }).expect(WELL);
    writer.keyframe(1, (calls * 1000, calls * 1000 + 500), &keyframe()).expect(WELL);
    writer.finish(calls * 2000, Trailer { reason: "the time was up".into(), ..Trailer::default() }).expect(WELL);
    bytes
}
