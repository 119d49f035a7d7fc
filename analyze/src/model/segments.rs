//! Segments: mapped when nothing free is large enough, trimmed and unmapped when free.

use super::allocator::{Allocator, Top};
use super::shadow::{ADDRESS_END, Start, Used};
use super::{Block, Contradiction, ReleaseCheck, System};
use shared::Addr;
use shared::heap::Segment;
use shared::heap::layout::{
    DIRECT_THRESHOLD, GRANULARITY, HEADER, MIN_CHUNK, PAGE, RELEASE_CHECK_RATE, TOP_FOOT, TRIM_THRESHOLD, round_up,
};

impl Allocator {
    /// A block of `nb` bytes that neither bins nor `top` can serve: a direct one, or from a new or longer segment.
    #[cold]
    pub(super) fn allocate_from_system<S: System>(
        &mut self,
        nb: u64,
        system: &mut S,
    ) -> Result<Option<Block>, Contradiction> {
        if nb >= DIRECT_THRESHOLD
            && let Some(block) = self.map_direct(nb, system)?
        {
            return Ok(Some(block));
        }
        let len = round_up(nb.wrapping_add(TOP_FOOT + 1), GRANULARITY);
        if len <= nb {
            return Ok(None);
        }
        let Some(base) = system.map(len) else { return Ok(None) };
        self.check_mapping(base, len)?;
        self.totals.segment_bytes += len;
        if self.segments[0].end() == base {
            self.segments[0].size += len;
            self.set_top(self.top.addr, self.top.size + len);
        } else if let Some(above) = self.segments.iter_mut().find(|s| s.base == base + len) {
            above.base = base;
            above.size += len;
            self.coalesce(base + nb, len - nb, None);
            return Ok(Some(self.occupy(base, nb)));
        } else {
            self.add_segment(base, len);
        }
        Ok(Some(self.cut_top(nb)))
    }

    /// Whether a mapping of `len` bytes can be at `base`.
    pub(super) fn check_mapping(&self, base: Addr, len: u64) -> Result<(), Contradiction> {
        let possible = valid_range(base, len)
            && self.segments.iter().all(|s| base + len <= s.base || s.end() <= base)
            && self.direct.range(..base + len).next_back().is_none_or(|(&below, &size)| below + size <= base);
        if possible { Ok(()) } else { Err(Contradiction::Mapping { base, len }) }
    }

    /// Moves `top` to a new first segment and closes the old one with its record and fenceposts.
    fn add_segment(&mut self, base: Addr, len: u64) {
        let old = self.top;
        let first = &mut self.segments[0];
        // The usual place, just behind `top`, unless what is left of `top` is too small for a free chunk.
        let record = if old.size < MIN_CHUNK { old.addr } else { first.end() - TOP_FOOT };
        let in_mstate = std::mem::replace(&mut first.record, record + HEADER);
        self.totals.overhead_bytes += first.end() - record;
        self.segments.insert(0, Segment { base, size: len, record: in_mstate });
        self.set_top(base, len - TOP_FOOT);
        self.shadow.set_fixed(record, Used { size: MIN_CHUNK, before: None });
        if record != old.addr {
            self.coalesce(old.addr, old.size, None);
        }
    }

    /// Every change of `top` by the system also rearms trimming (`init_top`).
    fn set_top(&mut self, addr: Addr, size: u64) {
        self.top = Top { addr, size };
        self.trim_check = TRIM_THRESHOLD;
    }

    /// Gives the end of `top`, and segments that are wholly free, back to the system (`alloc_trim`).
    #[cold]
    pub(super) fn trim<S: System>(&mut self, system: &mut S) -> Result<(), Contradiction> {
        let mut released = false;
        if self.top.size > TOP_FOOT {
            let extra = ((self.top.size - TOP_FOOT).div_ceil(GRANULARITY) - 1) * GRANULARITY;
            let Segment { base, size, .. } = self.segments[0];
            // The mstate holds the first segment's record, so the segment that holds the mstate is never trimmed.
            let pinned = self.segments.iter().any(|s| self.segments[0].contains(s.record));
            if size >= extra && !pinned {
                let moved = system.remap(base, size, size - extra);
                if let Some(moved) = moved
                    && moved != base
                {
                    return Err(Contradiction::Mapping { base: moved, len: size - extra });
                }
                released = (moved.is_some() || system.unmap(base + size - extra, extra)) && extra != 0;
            }
            if released {
                self.segments[0].size -= extra;
                self.totals.segment_bytes -= extra;
                self.set_top(self.top.addr, self.top.size - extra);
                self.shadow.shrink(base + size - extra, base + size);
            }
        }
        released |= self.release_segments(system)?;
        // After a failure trimming is switched off, until the system changes `top`.
        if !released && self.top.size > self.trim_check {
            self.trim_check = u64::MAX;
        }
        Ok(())
    }

    /// Unmaps the segments, other than the first, that consist of one free chunk (`release_unused_segments`). Says
    /// whether there was any.
    #[cold]
    pub(super) fn release_segments<S: System>(&mut self, system: &mut S) -> Result<bool, Contradiction> {
        let others = self.segments.len() as u64 - 1;
        let mut released = false;
        let mut i = 1;
        while i < self.segments.len() {
            let segment = self.segments[i];
            if self.wholly_free(&segment, system)? && self.release(&segment, system) {
                self.segments.remove(i);
                released = true;
            } else {
                i += 1;
            }
        }
        self.release_checks = others.max(RELEASE_CHECK_RATE);
        Ok(released)
    }

    /// Whether this build takes the segment for wholly free.
    fn wholly_free<S: System>(&mut self, segment: &Segment, system: &S) -> Result<bool, Contradiction> {
        let Start::Free(id) = self.shadow.at(segment.base) else { return Ok(false) };
        let Segment { base, size, .. } = *segment;
        let free_end = base + self.bins[id].size;
        // A free chunk ends at the record or before it, and a record stands at the foot or before it: where the
        // older check says yes the newer one does too.
        let (to_record, to_foot) = (free_end == segment.record - HEADER, free_end >= segment.end() - TOP_FOOT);
        if to_record != to_foot {
            let shown = if system.unmaps_next(base, size) { ReleaseCheck::ToRecord } else { ReleaseCheck::ToFoot };
            let known = *self.release_check.get_or_insert(shown);
            if shown != known {
                return Err(Contradiction::Release { base, len: size, known });
            }
            return Ok(known == ReleaseCheck::ToRecord);
        }
        Ok(to_record)
    }

    /// Unmaps a wholly free segment, still listed. If the system refuses, its chunk is binned anew: behind the others
    /// of its size, and even if it was the victim. It is always a large one: no segment is smaller than a page.
    fn release<S: System>(&mut self, segment: &Segment, system: &mut S) -> bool {
        let Start::Free(id) = self.shadow.at(segment.base) else { return false };
        if self.dv == Some(id) {
            self.dv = None;
        } else {
            self.bins.unlink(id);
        }
        if !system.unmap(segment.base, segment.size) {
            self.bins.insert(id);
            return false;
        }
        let record = segment.record - HEADER;
        self.bins.discard(id);
        self.shadow.clear(segment.base);
        self.shadow.clear(record);
        self.shadow.shrink(segment.base, segment.end());
        self.totals.segment_bytes -= segment.size;
        self.totals.overhead_bytes -= segment.end() - record;
        true
    }
}

/// Whether the kernel could have mapped `[base, base + len)` at all.
pub(super) fn valid_range(base: Addr, len: u64) -> bool {
    let aligned = base.is_multiple_of(PAGE) && len.is_multiple_of(PAGE);
    aligned && base != 0 && len != 0 && base < ADDRESS_END && len <= ADDRESS_END - base
}
