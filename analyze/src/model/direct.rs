//! Direct blocks: requests of 128 KiB and more that get a mapping of their own.

use super::{Allocator, Block, Contradiction, System};
use shared::heap::layout::{
    CHUNK_OVERHEAD, DIRECT_FOOT, DIRECT_OVERHEAD, GRANULARITY, HEADER, MIN_LARGE, PAGE, round_up,
};

impl Block {
    /// Whether a direct block may serve a request of chunk size `nb`: not too small for it, nor more than half a
    /// granule too large. A resize leaves exactly such blocks alone.
    pub(super) fn keeps(&self, nb: u64) -> bool {
        let chunk = self.size - DIRECT_FOOT;
        chunk >= nb + CHUNK_OVERHEAD && chunk - nb <= GRANULARITY / 2
    }
}

/// The mapping for a chunk of `nb` bytes; 0 if it would wrap around.
fn mapping_for(nb: u64) -> u64 {
    // SIX_SIZE_T_SIZES + CHUNK_ALIGN_MASK in the source: overhead and foot, up to alignment.
    round_up(nb.wrapping_add(DIRECT_OVERHEAD + DIRECT_FOOT + 7), PAGE)
}

impl Allocator {
    /// A direct block for a chunk of `nb` bytes, or `None` if the system has none.
    pub(super) fn map_direct<S: System>(&mut self, nb: u64, system: &mut S) -> Result<Option<Block>, Contradiction> {
        let len = mapping_for(nb);
        if len <= nb {
            return Ok(None);
        }
        let Some(base) = system.map(len) else { return Ok(None) };
        self.check_mapping(base, len)?;
        self.direct.insert(base, len);
        Ok(Some(Block { ptr: base + HEADER, size: len, direct: true }))
    }

    /// Resizes a direct block, maybe elsewhere; `None` if it has to be copied.
    pub(super) fn resize_direct<S: System>(
        &mut self,
        block: Block,
        nb: u64,
        system: &mut S,
    ) -> Result<Option<Block>, Contradiction> {
        if nb < MIN_LARGE {
            return Ok(None);
        }
        if block.keeps(nb) {
            return Ok(Some(block));
        }
        let (base, len) = (block.ptr - HEADER, mapping_for(nb));
        let Some(moved) = system.remap(base, block.size, len) else { return Ok(None) };
        self.direct.remove(&base);
        if let Err(impossible) = self.check_mapping(moved, len) {
            self.direct.insert(base, block.size);
            return Err(impossible);
        }
        self.direct.insert(moved, len);
        Ok(Some(Block { ptr: moved + HEADER, size: len, direct: true }))
    }

    /// Unmaps a direct block. If the system refuses, LuaJIT leaks it.
    pub(super) fn unmap_direct<S: System>(&mut self, block: Block, system: &mut S) {
        let base = block.ptr - HEADER;
        self.direct.remove(&base);
        system.unmap(base, block.size);
    }
}
