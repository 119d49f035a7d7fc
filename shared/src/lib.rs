//! What `record` and `analyze` share: LuaJIT's heap as both see it, and the trace between them.
//!
//! * [`call`]: one passage through `lj_alloc_f`, and the mapping calls it made.
//! * [`heap`]: the allocator's layout, the walk over a copied heap, and the exact state it yields.
//! * [`trace`]: the `.ljt` format, specified in `FORMAT.md`, writer and reader side by side.
//!
//! Nothing here touches files, processes or clocks: bytes and values in, bytes and values out.
#![forbid(unsafe_code)]

pub mod call;
pub mod heap;
pub mod trace;

/// The checksum of frames; also of the files that a `.gnu_debuglink` names.
pub use crc32fast::Hasher as Crc32;

/// An address in the target's memory.
pub type Addr = u64;

/// Nanoseconds since the start of the recording.
pub type Nanos = u64;
