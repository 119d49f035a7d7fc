//! What the fuzz targets do, as plain functions of bytes: libFuzzer calls them, and an ordinary test replays the
//! corpora through the very same code (`record/tests/fuzz_corpora.rs` includes this file).
//!
//! Each takes whatever bytes there are; a panic is a finding.

pub mod code;
pub mod heap;
pub mod locate;
pub mod memory;
pub mod payload;
pub mod perf;
pub mod trace;

/// A target's body.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also its corpus's.
pub const TARGETS: [(&str, Target); 6] = [
    ("trace", trace::run),
    ("payload", payload::run),
    ("heap", heap::run),
    ("perf", perf::run),
    ("code", code::run),
    ("locate", locate::run),
];
