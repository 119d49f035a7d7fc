//! Annotated hex: made of a trace, and read back into bytes.

use std::fmt::Write;
use std::io::Cursor;

use shared::trace::frame::{FILE_HEADER, FOOTER, FRAME_HEAD, Kind, file_header, footer};
use shared::trace::meta::{self, Trailer};
use shared::trace::reader::{End, Frame, Trace};

/// Bytes in a line.
const WIDTH: usize = 16;
/// Characters of text in a line.
const TEXT: usize = 96;

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

/// The same trace with no payload compressed: heads made from their description in `FORMAT.md`.
pub(crate) fn uncompressed(bytes: &[u8]) -> Vec<u8> {
    let trace = Trace::open(Cursor::new(bytes)).expect("a trace");
    let End::Complete(end) = &trace.end else { panic!("{:?}", trace.end) };
    let mut trailer = Trailer::clone(end);
    let mut out = file_header().to_vec();
    for (frame, entry) in trace.frames.iter().zip(&mut trailer.index) {
        let Frame { head, .. } = frame;
        entry.offset = out.len() as u64;
        let (kind, time) = (head.kind.code(), (head.start, head.end));
        out.extend(plain(kind, head.vm, head.count, time, &trace.payload(frame).expect("a payload")));
    }
    let last = out.len() as u64;
    // The end of the trailer's time is in its head alone.
    let offset = u64::from_le_bytes(std::array::from_fn(|i| bytes[bytes.len() - FOOTER + i])) as usize;
    let time = u64::from_le_bytes(std::array::from_fn(|i| bytes[offset + 24 + i]));
    out.extend(plain(Kind::Trailer.code(), 0, 0, (0, time), &meta::encode(&trailer)));
    out.extend(footer(last));
    out
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

/// The listing of an uncompressed trace.
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
            Kind::Keyframe => self.keyframe(),
            _ => self.text(end),
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
        let bytes = self.bytes[at..].iter().take_while(|&byte| byte & 0x80 != 0).count() + 1;
        let value = self.bytes[at..at + bytes].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
        (value, bytes)
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
        let columns = ["kinds", "times", "nsizes", "ptrs", "osizes", "maps"];
        let lengths = columns.map(|name| self.varint(&format!("bytes of {name}")) as usize);
        let kinds = &self.bytes[self.at..self.at + lengths[0]];
        let mut ptr_kinds = kinds.iter().filter(|&&kind| kind != 1);
        for (name, length) in columns.into_iter().zip(lengths) {
            // Kinds and the ops of mapping calls are below 128, so varints as well.
            let (mut at, end, mut values) = (self.at, self.at + length, Vec::new());
            while at < end {
                let (value, bytes) = self.peek(at);
                at += bytes;
                values.push(match name {
                    "kinds" => ["FREE", "ALLOC", "RESIZE", "ODD"][value as usize].to_owned(),
                    "ptrs" if ptr_kinds.next() != Some(&3) => eighths(value),
                    _ => number(value),
                });
            }
            self.line(length, &format!("{name}: {}", values.join(", ")));
        }
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
