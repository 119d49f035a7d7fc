//! Constants of LuaJIT's allocator on 64-bit Linux, from `src/lj_alloc.c` (LuaJIT 2.0 to 2.1, and OpenResty's
//! fork: the same). All sizes and offsets in bytes.

/// Chunks are aligned to, and sized in multiples of, this.
pub const ALIGNMENT: u64 = 8;
/// From a chunk's address to the block handed out.
pub const HEADER: u64 = 16;
/// What a chunk in use costs beside its payload (its `prev_foot` belongs to the chunk before).
pub const CHUNK_OVERHEAD: u64 = 8;
/// The smallest chunk but for fenceposts.
pub const MIN_CHUNK: u64 = 32;
/// The size of a fencepost.
pub const FENCEPOST: u64 = 8;
/// Kept behind `top` for a segment record and fenceposts (`TOP_FOOT_SIZE`).
pub const TOP_FOOT: u64 = 64;
/// What an old segment keeps behind its last fencepost: that fencepost's own head.
pub const OLD_FOOT: u64 = 8;
/// Unit in which segments are mapped and trimmed (`DEFAULT_GRANULARITY`).
pub const GRANULARITY: u64 = 128 << 10;
/// Requests of this chunk size and more that no free chunk serves are mapped directly (`DEFAULT_MMAP_THRESHOLD`).
pub const DIRECT_THRESHOLD: u64 = 128 << 10;
/// A direct block's own overhead: two words in front.
pub const DIRECT_OVERHEAD: u64 = 16;
/// Padding behind a direct block (`DIRECT_FOOT_PAD`).
pub const DIRECT_FOOT: u64 = 32;
/// Top size above which `top` is trimmed (`DEFAULT_TRIM_THRESHOLD`).
pub const TRIM_THRESHOLD: u64 = 2 << 20;
/// Large frees between two looks for wholly free segments (`MAX_RELEASE_CHECK_RATE`).
pub const RELEASE_CHECK_RATE: u64 = 255;
/// Chunks below this size sit in small bins, one a size.
pub const MIN_LARGE: u64 = 256;
/// `MAX_REQUEST`: requests from here on fail.
pub const MAX_REQUEST: u64 = (!MIN_CHUNK + 1) << 2;
/// The page size of x86-64.
pub const PAGE: u64 = 4096;

/// Head bit: the chunk before is in use.
pub const PINUSE: u64 = 1;
/// Head bit: this chunk is in use.
pub const CINUSE: u64 = 2;
/// Both head bits. The third bit of a size is always 0 but never used as a flag.
pub const INUSE: u64 = PINUSE | CINUSE;
/// `prev_foot` bit of a direct block.
pub const IS_DIRECT: u64 = 1;

/// `struct malloc_state`: offsets of the fields we read, and its size.
pub mod mstate {
    /// `binmap_t smallmap, treemap`: 4 bytes each.
    pub const MAPS: usize = 0;
    /// `size_t dvsize`
    pub const DVSIZE: usize = 8;
    /// `size_t topsize`
    pub const TOPSIZE: usize = 16;
    /// `mchunkptr dv`
    pub const DV: usize = 24;
    /// `mchunkptr top`
    pub const TOP: usize = 32;
    /// `size_t trim_check`
    pub const TRIM_CHECK: usize = 40;
    /// `size_t release_checks`
    pub const RELEASE_CHECKS: usize = 48;
    /// `mchunkptr smallbins[(32 + 1) * 2]`; bin `i`'s `fd` is at index `2 i + 2`.
    pub const SMALLBINS: usize = 56;
    /// `tbinptr treebins[32]`
    pub const TREEBINS: usize = SMALLBINS + 66 * 8;
    /// `msegment seg`: base, size, next.
    pub const SEG: usize = TREEBINS + 32 * 8;
    /// Up to and including `seg`; a `prng` pointer follows in builds since 2020.
    pub const SIZE: usize = SEG + 24;
}

/// The chunk size that serves a request of `n` bytes (`request2size`).
pub fn request_to_chunk(n: u64) -> u64 {
    if n < MIN_CHUNK - CHUNK_OVERHEAD - 1 { MIN_CHUNK } else { round_up(n.wrapping_add(CHUNK_OVERHEAD), ALIGNMENT) }
}

/// `n` rounded up to a multiple of `unit`, a power of two.
pub fn round_up(n: u64, unit: u64) -> u64 {
    n.wrapping_add(unit - 1) & !(unit - 1)
}
