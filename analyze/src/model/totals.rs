//! What the heap holds, in sums.

use super::{Allocator, Block};

/// What the heap holds, in bytes and numbers. `used + free + overhead == segment` to the byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Live blocks in chunks.
    pub used_chunks: u64,
    /// The chunks of live blocks, headers included.
    pub used_bytes: u64,
    /// Free chunks, `dv` and `top` included.
    pub free_chunks: u64,
    /// Their bytes.
    pub free_bytes: u64,
    /// Segments.
    pub segments: u64,
    /// Mapped for segments.
    pub segment_bytes: u64,
    /// The mstate's chunk, segment records, fenceposts, and the room kept behind `top`.
    pub overhead_bytes: u64,
    /// Directly mapped blocks.
    pub direct_blocks: u64,
    /// Mapped for them.
    pub direct_bytes: u64,
}

impl Allocator {
    /// What the heap holds now. Costs nothing worth saving.
    pub fn totals(&self) -> Totals {
        let Totals { used_bytes, segment_bytes, overhead_bytes, .. } = self.totals;
        Totals {
            free_chunks: self.bins.len() as u64 + u64::from(self.dv.is_some()) + 1,
            free_bytes: segment_bytes.wrapping_sub(used_bytes).wrapping_sub(overhead_bytes),
            segments: self.segments.len() as u64,
            direct_blocks: self.direct.len() as u64,
            ..self.totals
        }
    }
}

// Wrapping, because after a contradiction in the middle of a call the sums are off.
impl Totals {
    /// A block came to life.
    #[inline]
    pub(super) fn add(&mut self, block: Block) {
        if block.direct {
            self.direct_bytes = self.direct_bytes.wrapping_add(block.size);
        } else {
            self.used_chunks = self.used_chunks.wrapping_add(1);
            self.used_bytes = self.used_bytes.wrapping_add(block.size);
        }
    }

    /// A block is gone.
    #[inline]
    pub(super) fn subtract(&mut self, block: Block) {
        if block.direct {
            self.direct_bytes = self.direct_bytes.wrapping_sub(block.size);
        } else {
            self.used_chunks = self.used_chunks.wrapping_sub(1);
            self.used_bytes = self.used_bytes.wrapping_sub(block.size);
        }
    }
}
