//! An exact model of LuaJIT's built-in allocator (`src/lj_alloc.c`): what it does with each call, without the memory.
//!
//! From a keyframe on, every address the allocator returned follows from the calls and from what the few system
//! calls behind them returned. The model re-executes it over metadata alone:
//!
//! * [`Allocator`]: decides each call; `chunks.rs` serves it, `segments.rs` and `direct.rs` go to the system.
//! * `keyframe.rs`: from a [`Heap`](shared::heap::Heap) and back, so a later keyframe can be compared with `==`.
//! * `shadow.rs`: where chunks start. `bins.rs` and `sizes.rs`: the free ones, by size.
//!
//! **Why no tree.** LuaJIT keeps large free chunks in bitwise tries. The shape of a trie never shows: its search
//! always finds the smallest size that fits, a size sits in one node of one trie, and the chunks of that size form
//! a ring behind the node. So the model keeps one ring for each exact size, and only the order in it matters.
//! `tests/model_twin/` checks that against real tries. (From 1 TiB on, a free chunk would land in the wrong trie, whose
//! index is computed in 32 bits. No heap gets there.)

mod allocator;
mod bins;
mod chunks;
mod direct;
mod keyframe;
mod segments;
mod shadow;
mod sizes;
mod totals;

pub use allocator::Allocator;
pub use keyframe::BadHeap;
pub use totals::Totals;

use shared::Addr;
use std::fmt;

/// Where the model gets the results of the allocator's system calls from: the trace. Lengths in bytes.
pub trait System {
    /// The next `mmap` of `len` bytes: the address the allocator went on with, or `None` if it got none.
    fn map(&mut self, len: u64) -> Option<Addr>;
    /// The next `munmap`: whether it succeeded.
    fn unmap(&mut self, base: Addr, len: u64) -> bool;
    /// The next `mremap`: where the mapping is now, or `None` if it failed.
    fn remap(&mut self, base: Addr, len: u64, new_len: u64) -> Option<Addr>;
    /// Whether the next mapping call, not to be consumed, is a `munmap` of exactly this. It tells which
    /// [`ReleaseCheck`] the build has, and is asked only where the two differ.
    fn unmaps_next(&self, base: Addr, len: u64) -> bool;
}

/// How a build decides that a segment other than the first is wholly free. They differ for segments that were left
/// with less than 32 bytes of `top`: their record stands closer to the front than usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReleaseCheck {
    /// The free chunk must reach `TOP_FOOT` bytes before the end: such a segment is kept for good. Builds before
    /// commit 9b5e837a of 2024-04-19 (LuaJIT issue 1179).
    ToFoot,
    /// The free chunk must reach the segment's record: such a segment is unmapped like any other.
    ToRecord,
}

impl fmt::Display for ReleaseCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReleaseCheck::ToFoot => "before 9b5e837a (2024-04-19)",
            ReleaseCheck::ToRecord => "9b5e837a (2024-04-19) or later",
        })
    }
}

/// A live block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Block {
    /// The pointer handed out.
    pub ptr: Addr,
    /// Bytes it takes: its chunk's, or its whole mapping's.
    pub size: u64,
    /// Mapped on its own, in no segment.
    pub direct: bool,
}

/// What a call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The block passed in, as it was before the call; `None` for a null pointer.
    pub before: Option<Block>,
    /// The block returned: `None` after a free, and when an allocation or a resize failed. A block whose resize
    /// failed stays as it was.
    pub after: Option<Block>,
}

/// The trace and the model disagree: one of them is wrong, so the model must not be used until the next keyframe.
/// (It stays safe to use, but its answers mean nothing.)
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// A free or resize of something that is no live block. The model has not changed.
    #[error("{ptr:#x} (said to hold {osize} bytes) is no live block: {found}")]
    NotABlock {
        /// The pointer passed.
        ptr: Addr,
        /// The bytes its owner believes it holds.
        osize: u64,
        /// What the model has there.
        found: Found,
    },
    /// A free or resize of a live block that cannot be the result of a request for `osize` bytes. The model has not
    /// changed.
    #[error("the block at {:#x} takes {} bytes, which does not fit the {osize} bytes it is said to hold", block.ptr, block.size)]
    WrongSize {
        /// The bytes its owner believes it holds.
        osize: u64,
        /// The block the model has there.
        block: Block,
    },
    /// A mapping that cannot be: not page aligned, outside of user space, or over memory that is in use.
    #[error("a mapping of {len} bytes at {base:#x} is impossible here")]
    Mapping {
        /// Its first byte.
        base: Addr,
        /// Its bytes.
        len: u64,
    },
    /// A wholly free segment was kept or unmapped against the [`ReleaseCheck`] shown earlier.
    #[error("the segment of {len} bytes at {base:#x} was treated unlike a build {known} does")]
    Release {
        /// The segment's first byte.
        base: Addr,
        /// Its bytes.
        len: u64,
        /// What the build did before.
        known: ReleaseCheck,
    },
}

/// What stands where a live block should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Found {
    /// Nothing the allocator has mapped.
    Unmapped,
    /// A segment, but no chunk starts there.
    Inside,
    /// A free chunk.
    Free,
    /// The mstate, or a segment's record or fencepost.
    Fixed,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Found::Unmapped => "it lies outside of every segment",
            Found::Inside => "no chunk starts there",
            Found::Free => "it is free",
            Found::Fixed => "it belongs to the allocator itself",
        })
    }
}
