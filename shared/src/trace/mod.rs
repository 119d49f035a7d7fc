//! The `.ljt` trace: `FORMAT.md` is the specification, this module both sides of it.
//!
//! A file is a [`frame`] after another. [`calls`], [`keyframe`], [`census`], [`names`] and [`stacks`] are the binary
//! payloads, each encoder beside its decoder; [`meta`] holds the JSON ones. [`writer`] and [`reader`] put them in order.

pub mod breakdown;
pub mod calls;
pub mod census;
pub mod frame;
pub mod keyframe;
pub mod meta;
pub mod names;
mod pack;
pub mod parts;
pub mod reader;
pub mod stacks;
mod varint;
pub mod writer;

/// Why bytes are not what the format says they should be.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file does not start with the magic bytes.
    #[error("not a trace: it starts with {found:02x?}, a trace with {expected:02x?}")]
    NotATrace {
        /// The bytes found, as many as there were.
        found: Vec<u8>,
        /// The magic.
        expected: [u8; 8],
    },
    /// A version this reader does not know.
    #[error("the trace has format version {found}; this program reads version {known}: use a newer one")]
    Version {
        /// The file's version.
        found: u16,
        /// The reader's.
        known: u16,
    },
    /// Bytes that cannot be right.
    #[error("damaged at byte {at}: {what}")]
    Damaged {
        /// Offset in the file of the frame concerned.
        at: u64,
        /// What was expected and what was found.
        what: String,
    },
    /// The bytes end too early.
    #[error("truncated: the frame at byte {at} is incomplete")]
    Truncated {
        /// Offset in the file of the incomplete frame.
        at: u64,
    },
    /// The input could not be read, or the output not be written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What a decoder of a payload finds wrong; the caller knows the offset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPayload(pub String);

impl BadPayload {
    /// Puts the frame's offset to it.
    pub fn at(self, at: u64) -> TraceError {
        TraceError::Damaged { at, what: self.0 }
    }
}
