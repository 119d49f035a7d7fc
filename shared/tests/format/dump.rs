//! Annotated hex: made of a trace, and read back into bytes.

use std::fmt::Write;
use std::io::Cursor;

use shared::trace::frame::{FILE_HEADER, FOOTER, FRAME_HEAD, Kind, file_header, footer};
use shared::trace::meta::Trailer;
use shared::trace::reader::{End, Frame, Trace};

/// Bytes in a line.
const WIDTH: usize = 16;
/// Characters of text in a line.
const TEXT: usize = 96;
/// The columns of a block of calls.
const COLUMNS: [&str; 10] = [
    "kinds",
    "ticks",
    "nsizes",
    "osizes",
    "ptr lengths",
    "ptr byte 0",
    "ptr byte 1",
    "ptr byte 2",
    "further ptr bytes",
    "maps",
];

/// The bytes of a listing. Each line's offset must be right.
pub(crate) fn parse(listing: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in listing.lines().filter(|line| !line.is_empty() && !line.starts_with(';')) {
        let (offset, rest) = line.split_once("  ").expect("an offset, two spaces");
        assert_eq!(usize::from_str_radix(offset, 16), Ok(bytes.len()), "{line}");
        if let Some(text) = rest.strip_prefix('\'') {
            bytes.extend(text.bytes());
        } else {
            let hex = rest.split(';').next().unwrap_or_default().split_whitespace();
            bytes.extend(hex.map(|byte| u8::from_str_radix(byte, 16).expect("a byte in hex")));
        }
    }
    bytes
}

/// The same trace with all packed bytes stored as they are: heads and payloads made from their description in
/// `FORMAT.md`.
pub(crate) fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let trace = Trace::open(Cursor::new(bytes)).expect("a trace");
    let End::Complete(end) = &trace.end else { panic!("{:?}", trace.end) };
    let mut trailer = Trailer::clone(end);
    let mut out = file_header().to_vec();
    for (frame, entry) in trace.frames.iter().zip(&mut trailer.index) {
        let Frame { head, .. } = frame;
        entry.offset = out.len() as u64;
        let (kind, time) = (head.kind.code(), (head.start, head.end));
        let payload = trace.payload(frame).expect("a payload");
        out.extend(plain(kind, head.vm, head.count, time, &repacked(head.kind, &payload)));
    }
    let last = out.len() as u64;
    // The end of the trailer's time is in its head alone.
    let offset = u64::from_le_bytes(std::array::from_fn(|i| bytes[bytes.len() - FOOTER + i])) as usize;
    let time = u64::from_le_bytes(std::array::from_fn(|i| bytes[offset + 24 + i]));
    let json = serde_json::to_vec(&trailer).expect("plain data");
    out.extend(plain(Kind::Trailer.code(), 0, 0, (0, time), &as_it_is(&json)));
    out.extend(footer(last));
    out
}

/// A payload with its packed bytes stored as they are.
fn repacked(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let calls = kind == Kind::Calls;
    let mut at = if calls { varint(payload).1 } else { 0 };
    let mut out = payload[..at].to_vec();
    for _ in 0..if calls { COLUMNS.len() } else { 1 } {
        let (length, bytes) = varint(&payload[at..]);
        at += bytes;
        let (stored, bytes) = varint(&payload[at..]);
        at += bytes;
        let held = if stored == 0 { length } else { stored } as usize;
        let mut raw = payload[at..at + held].to_vec();
        if stored != 0 {
            raw = zstd::bulk::decompress(&raw, length as usize).expect("zstd");
        }
        assert_eq!(raw.len() as u64, length);
        out.extend(as_it_is(&raw));
        at += held;
    }
    assert_eq!(at, payload.len());
    out
}

/// Bytes packed without zstd.
fn as_it_is(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut length = raw.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.extend([length as u8, 0]);
    out.extend(raw);
    out
}

/// The number that bytes start with, and how many of them it takes.
fn varint(bytes: &[u8]) -> (u64, usize) {
    let length = bytes.iter().take_while(|&byte| byte & 0x80 != 0).count() + 1;
    (bytes[..length].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f)), length)
}

fn plain(kind: u16, vm: u32, count: u32, time: (u64, u64), payload: &[u8]) -> Vec<u8> {
    let mut frame = [kind, 0].map(u16::to_le_bytes).as_flattened().to_vec();
    frame.extend([payload.len() as u32, vm, count].map(u32::to_le_bytes).as_flattened());
    frame.extend([time.0, time.1].map(u64::to_le_bytes).as_flattened());
    frame.extend(crc32fast::hash(payload).to_le_bytes());
    frame.extend(crc32fast::hash(&frame).to_le_bytes());
    assert_eq!(frame.len(), FRAME_HEAD);
    frame.extend(payload);
    frame
}

/// Addresses in hex, the rest in decimal.
fn number(value: u64) -> String {
    if value >= 1 << 32 { format!("{value:#x}") } else { value.to_string() }
}

/// A zigzag of an eighth of a difference.
fn eighths(value: u64) -> String {
    let difference = ((value >> 1) as i64 ^ -((value & 1) as i64)) * 8;
    if difference < 0 {
        format!("-{}", number(difference.unsigned_abs()))
    } else {
        format!("+{}", number(difference as u64))
    }
}

/// Writes a listing from front to back.
struct Listing<'a> {
    bytes: &'a [u8],
    at: usize,
    out: String,
}

/// The listing of a trace whose packed bytes are stored as they are.
pub(crate) fn annotate(bytes: &[u8]) -> String {
    let mut listing = Listing { bytes, at: 0, out: String::new() };
    listing.title("file header");
    listing.line(8, "magic");
    listing.fixed(&[(2, "version"), (2, "unused"), (4, "CRC")]);
    assert_eq!(listing.at, FILE_HEADER);
    while bytes.len() - listing.at > FOOTER {
        listing.frame();
    }
    listing.title("footer");
    listing.fixed(&[(8, "the trailer is at")]);
    listing.line(8, "magic");
    listing.out
}

impl Listing<'_> {
    fn title(&mut self, title: &str) {
        writeln!(self.out, "; {title}").expect("a string can be written to");
    }

    /// The next bytes and what they are.
    fn line(&mut self, count: usize, what: &str) {
        for (at, part) in self.bytes[self.at..self.at + count].chunks(WIDTH).enumerate() {
            let hex: Vec<String> = part.iter().map(|byte| format!("{byte:02x}")).collect();
            let what = if at == 0 { what } else { "" };
            let line = format!("{:04x}  {:<width$}; {what}", self.at, hex.join(" "), width = WIDTH * 3);
            writeln!(self.out, "{}", line.trim_end_matches("; ").trim_end()).expect("a string can be written to");
            self.at += part.len();
        }
    }

    /// Fields of fixed size, in one line.
    fn fixed(&mut self, fields: &[(usize, &str)]) -> Vec<u64> {
        let (mut at, mut values, mut what) = (self.at, Vec::new(), Vec::new());
        for &(bytes, name) in fields {
            let value = self.bytes[at..at + bytes].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            what.push(if name.ends_with("CRC") { name.to_owned() } else { format!("{name} {value}") });
            values.push(value);
            at += bytes;
        }
        self.line(at - self.at, &what.join(", "));
        values
    }

    fn frame(&mut self) {
        let code = u16::from_le_bytes([self.bytes[self.at], self.bytes[self.at + 1]]);
        let kind = Kind::from_code(code).expect("a known kind");
        self.title(&format!("frame: {}", kind.name()));
        let length = self.fixed(&[(2, "kind"), (2, "flags"), (4, "length")])[2] as usize;
        self.fixed(&[(4, "vm"), (4, "count")]);
        self.fixed(&[(8, "start"), (8, "end")]);
        self.fixed(&[(4, "payload CRC"), (4, "head CRC")]);
        let end = self.at + length;
        match kind {
            Kind::Calls => self.calls(),
            Kind::Keyframe => {
                self.packed("keyframe");
                self.keyframe();
            }
            _ => {
                self.packed("JSON");
                self.text(end);
            }
        }
        assert_eq!(self.at, end);
    }

    fn text(&mut self, end: usize) {
        while self.at < end {
            let next = (self.at + TEXT).min(end);
            let text = std::str::from_utf8(&self.bytes[self.at..next]).expect("ASCII");
            writeln!(self.out, "{:04x}  '{text}", self.at).expect("a string can be written to");
            self.at = next;
        }
    }

    /// The varint at a place and its bytes.
    fn peek(&self, at: usize) -> (u64, usize) {
        varint(&self.bytes[at..])
    }

    /// The lengths in front of packed bytes that are stored as they are.
    fn packed(&mut self, name: &str) -> usize {
        let (length, bytes) = self.peek(self.at);
        assert_eq!(self.bytes[self.at + bytes], 0, "stored as it is");
        let what = if length == 1 { "1 byte, as it is".into() } else { format!("{length} bytes, as they are") };
        self.line(bytes + 1, &format!("{name}: {what}"));
        length as usize
    }

    fn varint(&mut self, name: &str) -> u64 {
        let (value, bytes) = self.peek(self.at);
        self.line(bytes, &format!("{name}: {}", number(value)));
        value
    }

    fn varints(&mut self, names: &str) {
        for name in names.split(' ') {
            self.varint(name);
        }
    }

    fn calls(&mut self) {
        self.varint("mapping calls");
        let offs = self.offs();
        for name in COLUMNS {
            let length = self.packed(name);
            let (mut at, end, mut values) = (self.at, self.at + length, Vec::new());
            while at < end && name != "ptr lengths" {
                // Kinds and the ops of mapping calls are below 128, so varints as well.
                let (value, bytes) = if name.contains("ptr") { (self.bytes[at].into(), 1) } else { self.peek(at) };
                at += bytes;
                values.push(match name {
                    "kinds" => ["FREE", "ALLOC", "RESIZE", "ODD"][value as usize].to_owned(),
                    _ => number(value),
                });
            }
            self.line(length, &if name == "ptr lengths" { &offs } else { &values }.join(", "));
        }
    }

    /// How far the guess is off, for each call that has one, with the length it is stored in.
    fn offs(&self) -> Vec<String> {
        let mut at = self.at;
        let mut columns = COLUMNS.map(|_| {
            let (length, bytes) = self.peek(at);
            at += bytes + 1 + length as usize;
            self.bytes[at - length as usize..at].iter().copied()
        });
        let lengths: Vec<u8> = columns[4].by_ref().collect();
        let off = |length: u8| {
            let byte = |at: u8| u64::from(columns[usize::from(5 + at.min(3))].next().expect("a byte")) << (8 * at);
            format!("{length} ({})", eighths((0..length).map(byte).sum()))
        };
        lengths.into_iter().map(off).collect()
    }

    fn keyframe(&mut self) {
        let names = "stopped_ns stops copied_bytes mstate gc_total gc_threshold trim_check release_checks dv top";
        self.varints(names);
        for _ in 0..self.varint("segments") {
            self.varints("base size record");
        }
        for _ in 0..self.varint("chunks") {
            let (word, bytes) = self.peek(self.at);
            let state = if word & 1 != 0 { "in use" } else { "free" };
            let place = if word & 2 != 0 { "behind the one before" } else { "at the address that follows" };
            self.line(bytes, &format!("chunk: {} bytes, {state}, {place}", (word >> 2) * 8));
            if word & 2 == 0 {
                self.varint("address");
            }
        }
        for _ in 0..self.varint("binned") {
            let (value, bytes) = self.peek(self.at);
            self.line(bytes, &eighths(value));
        }
        for _ in 0..self.varint("direct") {
            self.varints("base size");
        }
    }
}
