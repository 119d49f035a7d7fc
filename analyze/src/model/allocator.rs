//! The allocator's state, and the door to it: one passage through `lj_alloc_f`.

use super::bins::{Bins, FreeId};
use super::shadow::{Shadow, Start, Used};
use super::{Block, Contradiction, Found, Outcome, ReleaseCheck, System, Totals};
use shared::Addr;
use shared::heap::Segment;
use shared::heap::layout::{HEADER, MAX_REQUEST, MIN_CHUNK, request_to_chunk};
use std::collections::BTreeMap;

/// LuaJIT's allocator, without the memory. Made from a keyframe by [`Allocator::from_heap`].
pub struct Allocator {
    pub(super) shadow: Shadow,
    pub(super) bins: Bins,
    /// The designated victim: the rest of the last small request that had to be split from a larger chunk.
    pub(super) dv: Option<FreeId>,
    pub(super) top: Top,
    /// In list order: the first holds `top`.
    pub(super) segments: Vec<Segment>,
    /// The directly mapped blocks: mapped bytes by first byte.
    pub(super) direct: BTreeMap<Addr, u64>,
    pub(super) mstate: Addr,
    pub(super) trim_check: u64,
    pub(super) release_checks: u64,
    pub(super) release_check: Option<ReleaseCheck>,
    pub(super) gc_total: u64,
    pub(super) gc_threshold: u64,
    pub(super) totals: Totals,
}

/// The free chunk at the end of the first segment.
#[derive(Clone, Copy)]
pub(super) struct Top {
    pub(super) addr: Addr,
    pub(super) size: u64,
}

impl Allocator {
    /// Replays one passage through `lj_alloc_f(msp, ptr, osize, nsize)`: decides as it does between free, allocate
    /// and resize, and asks `system` for the result of each system call it makes.
    ///
    /// # Errors
    /// [`Contradiction`], after which the model's state means nothing; the variants say where it is unchanged.
    #[inline]
    pub fn call<S: System>(
        &mut self,
        ptr: Addr,
        osize: u64,
        nsize: u64,
        system: &mut S,
    ) -> Result<Outcome, Contradiction> {
        let before = if ptr == 0 { None } else { Some(self.expect_block(ptr, osize)?) };
        let after = match before {
            None if nsize == 0 => None,
            None => self.allocate(nsize, system)?,
            Some(block) if nsize == 0 => {
                self.free(block, system)?;
                None
            }
            Some(block) => self.resize(block, nsize, system)?,
        };
        // lj_mem_realloc throws before it counts when a request fails.
        if nsize == 0 || after.is_some() {
            self.gc_total = self.gc_total.wrapping_add(nsize).wrapping_sub(osize);
            after.into_iter().for_each(|block| self.totals.add(block));
            before.into_iter().for_each(|block| self.totals.subtract(block));
        }
        Ok(Outcome { before, after })
    }

    /// Says that a call for `ptr` comes soon. Blocks are freed in no order of their addresses, so most calls would wait
    /// for memory otherwise.
    #[inline]
    pub fn expect(&self, ptr: Addr) {
        self.shadow.touch(ptr.wrapping_sub(HEADER));
    }

    /// The live block handed out as `ptr`.
    pub fn block_at(&self, ptr: Addr) -> Option<Block> {
        let addr = ptr.wrapping_sub(HEADER);
        match self.shadow.at(addr) {
            Start::Used(Used { size, .. }) => Some(Block { ptr, size, direct: false }),
            _ => self.direct.get(&addr).map(|&size| Block { ptr, size, direct: true }),
        }
    }

    /// `global_State.gc.total` after the last call: bytes the collector counts.
    pub fn gc_total(&self) -> u64 {
        self.gc_total
    }

    /// Which [`ReleaseCheck`] the build has; `None` as long as no call told them apart.
    pub fn variant(&self) -> Option<ReleaseCheck> {
        self.release_check
    }

    #[inline]
    fn expect_block(&self, ptr: Addr, osize: u64) -> Result<Block, Contradiction> {
        let block = self.block_at(ptr).ok_or_else(|| self.not_a_block(ptr, osize))?;
        let fits = osize < MAX_REQUEST && {
            let nb = request_to_chunk(osize);
            // What would have been cut off stays below the smallest chunk; `nb` above the size wraps.
            if block.direct { block.keeps(nb) } else { block.size.wrapping_sub(nb) < MIN_CHUNK }
        };
        if fits { Ok(block) } else { Err(Contradiction::WrongSize { osize, block }) }
    }

    #[cold]
    fn not_a_block(&self, ptr: Addr, osize: u64) -> Contradiction {
        let addr = ptr.wrapping_sub(HEADER);
        let found = match self.shadow.at(addr) {
            Start::Free(_) => Found::Free,
            Start::Fixed(_) => Found::Fixed,
            _ if addr == self.top.addr => Found::Free,
            _ => match self.segments.iter().position(|s| s.contains(addr)) {
                None => Found::Unmapped,
                Some(0) => Found::Inside,
                Some(i) if addr < self.segments[i].record => Found::Inside,
                Some(_) => Found::Fixed,
            },
        };
        Contradiction::NotABlock { ptr, osize, found }
    }
}
