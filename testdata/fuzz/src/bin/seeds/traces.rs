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
    let payload = b"from a later version";
    let head = Head::seal(Kind::Unknown(0x8765), 0, 7, (1, 2), payload);
    let mut unknown = complete.clone();
    unknown.splice(header_end..header_end, [&head.to_bytes()[..], payload].concat());
    vec![
        ("complete", complete),
        ("long", file(600)),
        ("truncated", truncated),
        ("unknown-kind", unknown),
        ("example", example()),
    ]
}

/// The example of `FORMAT.md`, in which all packed bytes are stored as they are: mutations reach all of it.
fn example() -> Vec<u8> {
    let document = include_str!("../../../../../shared/FORMAT.md");
    let listing = document.split("\n```").find_map(|part| part.strip_prefix("hex\n")).expect("the listing is there");
    let mut bytes = Vec::new();
    for line in listing.lines().filter(|line| !line.starts_with(';')) {
        let (_, rest) = line.split_once("  ").expect("an offset, two spaces");
        match rest.strip_prefix('\'') {
            Some(text) => bytes.extend(text.bytes()),
            None => {
                let hex = rest.split(';').next().unwrap_or_default().split_whitespace();
                bytes.extend(hex.map(|byte| u8::from_str_radix(byte, 16).expect("a byte in hex")));
            }
        }
    }
    bytes
}

/// The decoders' inputs, in the form of `targets::payload`.
pub(crate) fn payloads() -> Vec<(&'static str, Vec<u8>)> {
    let head = Head::seal(Kind::Calls, 1, 20, (64_000, 128_000), b"payload");
    let trailer = Trailer { index: vec![IndexEntry::default()], ..Trailer::default() };
    vec![
        ("calls", [&[0, 0][..], &block(20)].concat()),
        ("calls-at-the-end-of-time", [&[0, 255][..], &block(20)].concat()),
        ("calls-empty", vec![0; 23]),
        ("calls-packed", [&[0, 7][..], &block(600)].concat()),
        ("columns", columns()),
        ("keyframe", [&[1][..], &keyframe().encode()].concat()),
        ("header", [&[2][..], &meta::encode(&header())].concat()),
        ("process", [&[3][..], &meta::encode(&Process::default())].concat()),
        ("vm", [&[4][..], &meta::encode(&vm())].concat()),
        ("gap", [&[5][..], &meta::encode(&Gap { reason: "the ring was full".into(), lost: 3 })].concat()),
        ("trailer", [&[6][..], &meta::encode(&trailer)].concat()),
        ("raw", [&[7][..], b"any bytes"].concat()),
        ("trailer-as-it-is", [&[6][..], &as_it_is(TRAILER)].concat()),
        ("vm-as-it-is", [&[4][..], &as_it_is(VM)].concat()),
        ("head", [&[8][..], &head.to_bytes()].concat()),
    ]
}

const TRAILER: &str = r#"{"reason":"the time was up","target_ended":true,"target_status":"exit 0","calls":1,"lost":2,
"cost":{"elapsed_ns":5},"index":[{"offset":16,"kind":1,"vm":0,"count":0,"start":0,"end":18446744073709551615}]}"#;

const VM: &str = r#"{"pid":42,"label":"http","gc64":true,"mstate":139637976727568,"door":4096,"door_confirmed":null,
"probe":{"addr":4099,"instruction":"je 1010h","emulated":true},"later":[{}]}"#;

/// Fewer than 2^14 bytes, packed without zstd.
fn as_it_is(text: &str) -> Vec<u8> {
    let length = text.len();
    [&[length as u8 | 0x80, (length >> 7) as u8, 0], text.as_bytes()].concat()
}

/// A block of calls and mapping calls.
fn block(calls: u64) -> Vec<u8> {
    let mut encoder = Encoder::default();
    for n in 0..calls {
        encoder.push_call(&call(n));
        if n % 8 == 3 {
            encoder.push_map(&map(n));
        }
    }
    encoder.finish()
}

/// FREE, ALLOC, RESIZE, ODD, FREE in three ticks, addresses of all lengths; and a mapping call.
fn columns() -> Vec<u8> {
    let columns: [&[u8]; 10] = [
        &[0, 1, 2, 3, 0],
        &[0, 2, 1, 2, 3, 1],
        &[24, 48, 0],
        &[24, 24, 7, 9, 40],
        &[6, 8, 0],
        &[0xf8, 2],
        &[0, 3],
        &[0, 4],
        &[0, 0xc0, 0x1f, 5, 6, 7, 8, 9],
        &[2, 0, 1, 0, 24, 0, 17],
    ];
    let mut out = vec![9, 1, 1];
    out.extend(columns.map(|column| column.len() as u8));
    out.extend(columns.concat());
    out
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

/// Calls of all kinds, in turn, some of them in one tick. Frees go down, as LuaJIT's sweep does, so that the guess is
/// right, nearly right, or far off.
fn call(n: u64) -> Call {
    let (time, ptr) = (n * 20_000, 0x7f00_0010_0000 - n / 8 * 32 - ((n & 32) << 35));
    match n % 8 {
        0 => Call { time, ptr: 0, osize: 0, nsize: 24 + n },
        2 => Call { time, ptr, osize: 24, nsize: 48 },
        5 if n % 16 == 5 => Call { time, ptr: 0, osize: n, nsize: 0 },
        5 => Call { time, ptr: ptr + 4, osize: 24, nsize: 0 },
        _ => Call { time, ptr, osize: 24, nsize: 0 },
    }
}

fn map(n: u64) -> MapCall {
    let op = [MapOp::Map, MapOp::Unmap, MapOp::Remap][n as usize % 3];
    MapCall { time: n * 20_000, op, addr: 0, len: 128 << 10, new_len: 0, result: 0x7f00_0010_0000 }
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
    let end = calls * 20_000;
    writer.gap(1, (end, end), &Gap { reason: "the ring was full".into(), lost: 3 }).expect(WELL);
    writer.keyframe(1, (end, end + 500), &keyframe()).expect(WELL);
    writer.finish(end + 1000, Trailer { reason: "the time was up".into(), ..Trailer::default() }).expect(WELL);
    bytes
}
