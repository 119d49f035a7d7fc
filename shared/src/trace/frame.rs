//! The envelope of everything in a trace: a file header, then frames of a fixed head and a payload.

use super::{BadPayload, TraceError};
use crate::Nanos;

/// The first eight bytes of every trace.
pub const MAGIC: [u8; 8] = *b"LJSCOPE\n";
/// The version this crate writes, and the only one it reads.
pub const VERSION: u16 = 1;
/// Bytes of the file header: magic, version, two zero bytes, CRC-32 of those twelve.
pub const FILE_HEADER: usize = 16;
/// Bytes of a frame's head.
pub const FRAME_HEAD: usize = 40;
/// Bytes behind the trailer: its offset, then [`FOOTER_MAGIC`].
pub const FOOTER: usize = 16;
/// The last eight bytes of a complete trace.
pub const FOOTER_MAGIC: [u8; 8] = *b"LJSCEND\n";

/// No flag is defined yet; a reader refuses those it does not know.
const NO_FLAGS: u16 = 0;

/// What a frame holds. Kinds from 0x8000 may be skipped by a reader that does not know them; others may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`super::meta::Header`]; first frame of every trace.
    Header,
    /// [`super::meta::Process`].
    Process,
    /// [`super::meta::Vm`].
    Vm,
    /// [`super::calls::Block`].
    Calls,
    /// [`super::keyframe::Keyframe`].
    Keyframe,
    /// [`super::meta::Gap`].
    Gap,
    /// [`super::meta::Trailer`]; last frame of a complete trace.
    Trailer,
    /// [`super::meta::Missed`]; may be skipped.
    Missed,
    /// [`super::breakdown::Breakdown`]; may be skipped.
    Breakdown,
    /// [`super::census::Census`]; may be skipped.
    Census,
    /// [`super::stacks::Stacks`]; may be skipped.
    Stacks,
    /// [`super::names::Names`]; may be skipped.
    Names,
    /// A kind that may be skipped.
    Unknown(u16),
}

/// The number of [`Kind::Missed`].
const MISSED: u16 = 0x8001;
/// The number of [`Kind::Breakdown`].
const BREAKDOWN: u16 = 0x8002;
/// The number of [`Kind::Census`].
const CENSUS: u16 = 0x8003;
/// The number of [`Kind::Stacks`].
const STACKS: u16 = 0x8004;
/// The number of [`Kind::Names`].
const NAMES: u16 = 0x8005;

impl Kind {
    const KNOWN: [Kind; 7] =
        [Kind::Header, Kind::Process, Kind::Vm, Kind::Calls, Kind::Keyframe, Kind::Gap, Kind::Trailer];

    /// The number in the file.
    pub fn code(self) -> u16 {
        match self {
            Kind::Unknown(code) => code,
            Kind::Missed => MISSED,
            Kind::Breakdown => BREAKDOWN,
            Kind::Census => CENSUS,
            Kind::Stacks => STACKS,
            Kind::Names => NAMES,
            known => 1 + Kind::KNOWN.iter().position(|&k| k == known).unwrap_or_default() as u16,
        }
    }

    /// The kind of a number, or `None` if it is unknown and must not be skipped.
    pub fn from_code(code: u16) -> Option<Kind> {
        match code {
            1..=7 => Some(Kind::KNOWN[usize::from(code) - 1]),
            MISSED => Some(Kind::Missed),
            BREAKDOWN => Some(Kind::Breakdown),
            CENSUS => Some(Kind::Census),
            STACKS => Some(Kind::Stacks),
            NAMES => Some(Kind::Names),
            0x8000.. => Some(Kind::Unknown(code)),
            _ => None,
        }
    }

    /// The word used in outputs.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Header => "header",
            Kind::Process => "process",
            Kind::Vm => "vm",
            Kind::Calls => "calls",
            Kind::Keyframe => "keyframe",
            Kind::Gap => "gap",
            Kind::Trailer => "trailer",
            Kind::Missed => "missed",
            Kind::Breakdown => "breakdown",
            Kind::Census => "census",
            Kind::Stacks => "stacks",
            Kind::Names => "names",
            Kind::Unknown(_) => "unknown",
        }
    }
}

/// A frame's head, in the file 40 bytes, little endian, in this order:
/// kind u16, flags u16, length u32, vm u32, count u32, start u64, end u64, payload CRC u32, head CRC u32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What the payload is.
    pub kind: Kind,
    /// Bytes of the payload.
    pub length: u32,
    /// The VM it concerns, numbered from 1; 0 if none.
    pub vm: u32,
    /// How many of what the kind counts: calls in a block, chunks in a keyframe, labels in a census, samples among
    /// stacks, protos in names.
    pub count: u32,
    /// The first moment it speaks of.
    pub start: Nanos,
    /// The last moment it speaks of.
    pub end: Nanos,
    payload_crc: u32,
}

impl Head {
    /// The head of a frame with this payload.
    pub fn seal(kind: Kind, vm: u32, count: u32, time: (Nanos, Nanos), payload: &[u8]) -> Head {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        Head { kind, length, vm, count, start: time.0, end: time.1, payload_crc: crc32fast::hash(payload) }
    }

    /// The 40 bytes in the file.
    pub fn to_bytes(self) -> [u8; FRAME_HEAD] {
        let mut bytes = [0; FRAME_HEAD];
        let fields: [&[u8]; 8] = [
            &self.kind.code().to_le_bytes(),
            &NO_FLAGS.to_le_bytes(),
            &self.length.to_le_bytes(),
            &self.vm.to_le_bytes(),
            &self.count.to_le_bytes(),
            &self.start.to_le_bytes(),
            &self.end.to_le_bytes(),
            &self.payload_crc.to_le_bytes(),
        ];
        let mut at = 0;
        for field in fields {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        let crc = crc32fast::hash(&bytes[..at]);
        bytes[at..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The head in 40 bytes of the file, or what is wrong with them.
    pub fn from_bytes(bytes: &[u8; FRAME_HEAD]) -> Result<Head, BadPayload> {
        let u16_at = |at| u16::from_le_bytes(field(bytes, at));
        let u32_at = |at| u32::from_le_bytes(field(bytes, at));
        let u64_at = |at| u64::from_le_bytes(field(bytes, at));
        let crc = crc32fast::hash(&bytes[..36]);
        if crc != u32_at(36) {
            return Err(BadPayload(format!(
                "a frame head's checksum is {:#010x}, its bytes give {crc:#010x}",
                u32_at(36)
            )));
        }
        let code = u16_at(0);
        let kind = Kind::from_code(code)
            .ok_or_else(|| BadPayload(format!("frame kind {code} is unknown and may not be skipped")))?;
        let flags = u16_at(2);
        if flags != NO_FLAGS {
            return Err(BadPayload(format!("frame flags {flags:#06x} are unknown")));
        }
        Ok(Head {
            kind,
            length: u32_at(4),
            vm: u32_at(8),
            count: u32_at(12),
            start: u64_at(16),
            end: u64_at(24),
            payload_crc: u32_at(32),
        })
    }

    /// Whether these bytes are the payload.
    pub fn check(&self, payload: &[u8]) -> Result<(), BadPayload> {
        let crc = crc32fast::hash(payload);
        if crc == self.payload_crc {
            return Ok(());
        }
        Err(BadPayload(format!("the payload's checksum is {:#010x}, its bytes give {crc:#010x}", self.payload_crc)))
    }
}

/// The bytes of the file header.
pub fn file_header() -> [u8; FILE_HEADER] {
    let mut bytes = [0; FILE_HEADER];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..12]);
    bytes[12..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Checks a file header; `bytes` is what the file starts with, 16 bytes or all it has.
pub fn check_file_header(bytes: &[u8]) -> Result<(), TraceError> {
    let magic = &bytes[..bytes.len().min(8)];
    if magic != MAGIC {
        return Err(TraceError::NotATrace { found: magic.to_vec(), expected: MAGIC });
    }
    let Ok(bytes) = <&[u8; FILE_HEADER]>::try_from(bytes) else {
        return Err(TraceError::Truncated { at: 0 });
    };
    let crc = crc32fast::hash(&bytes[..12]);
    if u32::from_le_bytes(field(bytes, 12)) != crc {
        return Err(TraceError::Damaged { at: 0, what: "the file header's checksum is wrong".into() });
    }
    let version = u16::from_le_bytes(field(bytes, 8));
    if version != VERSION {
        return Err(TraceError::Version { found: version, known: VERSION });
    }
    Ok(())
}

/// The 16 bytes behind a trailer at `offset`.
pub fn footer(offset: u64) -> [u8; FOOTER] {
    let mut bytes = [0; FOOTER];
    bytes[..8].copy_from_slice(&offset.to_le_bytes());
    bytes[8..].copy_from_slice(&FOOTER_MAGIC);
    bytes
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}
