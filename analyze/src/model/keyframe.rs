//! From a keyframe to the model, which checks that the keyframe makes sense, and back.

use super::allocator::{Allocator, Top};
use super::bins::{Bins, FreeId};
use super::segments::valid_range;
use super::shadow::{Shadow, Start, Used};
use super::{Block, Totals};
use shared::Addr;
use shared::heap::layout::{ALIGNMENT, FENCEPOST, HEADER, MIN_CHUNK, OLD_FOOT, TOP_FOOT};
use shared::heap::{Chunk, Direct, Heap, Segment};
use std::slice;

/// Why a [`Heap`] cannot be the state of an allocator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHeap {
    /// The list of segments is empty.
    #[error("there is no segment")]
    NoSegment,
    /// A segment or direct block that is not page aligned, outside of user space, over another one, or out of order.
    #[error("the mapping of {len} bytes at {base:#x} is misplaced")]
    Mapping {
        /// Its first byte.
        base: Addr,
        /// Its bytes.
        len: u64,
    },
    /// The chunks do not fill a segment one after the other up to its end.
    #[error("no valid chunk at {addr:#x}, where one has to be")]
    Chunk {
        /// Where the chunks before it end.
        addr: Addr,
    },
    /// Two free chunks side by side: the allocator would have merged them.
    #[error("the free chunk at {addr:#x} follows a free chunk")]
    Unmerged {
        /// The second one.
        addr: Addr,
    },
    /// Chunks behind the last segment's end.
    #[error("{0} chunks are in no segment")]
    Strays(usize),
    /// The mstate is not in a chunk in use, or does not hold the first segment's record.
    #[error("no mstate at {0:#x}")]
    Mstate(Addr),
    /// The designated victim is no free chunk.
    #[error("the designated victim {0:#x} is no free chunk")]
    Victim(Addr),
    /// The bins do not hold exactly the free chunks other than `dv` and `top`, or not by ascending size.
    #[error("the bins do not match the free chunks")]
    Bins,
    /// A counter that is always positive is zero.
    #[error("release_checks is 0")]
    ReleaseChecks,
}

impl Allocator {
    /// The model in the state of a keyframe.
    ///
    /// Takes memory in proportion to the number of chunks, whatever sizes they claim.
    ///
    /// # Errors
    /// [`BadHeap`] if no allocator could be in that state.
    pub fn from_heap(heap: &Heap) -> Result<Allocator, BadHeap> {
        check_mappings(heap)?;
        if heap.release_checks == 0 {
            return Err(BadHeap::ReleaseChecks);
        }
        let mut model = Allocator {
            shadow: Shadow::new(),
            bins: Bins::new(),
            dv: None,
            top: Top { addr: heap.top, size: 0 },
            segments: heap.segments.clone(),
            direct: heap.direct.iter().map(|d| (d.base, d.size)).collect(),
            mstate: heap.mstate,
            trim_check: heap.trim_check,
            release_checks: heap.release_checks,
            release_check: None,
            gc_total: heap.gc_total,
            gc_threshold: heap.gc_threshold,
            totals: Totals::default(),
        };
        let mut chunks = heap.chunks.iter();
        let mut free = Vec::new();
        for segment in by_address(&heap.segments) {
            model.lay(segment, &mut chunks, &mut free)?;
        }
        if !chunks.as_slice().is_empty() {
            return Err(BadHeap::Strays(chunks.len()));
        }
        model.fix_mstate()?;
        model.fill_bins(heap, free)?;
        model.totals.segment_bytes = heap.segments.iter().map(|s| s.size).sum();
        model.totals.direct_bytes = heap.direct.iter().map(|d| d.size).sum();
        Ok(model)
    }

    /// The whole state, in the form a keyframe has: equal heaps compare equal.
    pub fn to_heap(&self) -> Heap {
        let mut chunks = Vec::new();
        for segment in by_address(&self.segments) {
            self.walk(segment, &mut chunks);
        }
        Heap {
            mstate: self.mstate,
            gc_total: self.gc_total,
            gc_threshold: self.gc_threshold,
            trim_check: self.trim_check,
            release_checks: self.release_checks,
            dv: self.dv.map_or(0, |dv| self.bins[dv].addr),
            top: self.top.addr,
            segments: self.segments.clone(),
            chunks,
            binned: self.bins.addresses(),
            direct: self.direct.iter().map(|(&base, &size)| Direct { base, size }).collect(),
        }
    }

    /// Shows each live block, in no order.
    pub fn each_block(&self, mut see: impl FnMut(Block)) {
        for segment in &self.segments {
            let (mut addr, last) = (segment.base, self.last_chunk(segment));
            while addr < last {
                addr += match self.shadow.at(addr) {
                    Start::Used(Used { size, .. }) => {
                        see(Block { ptr: addr + HEADER, size, direct: false });
                        size
                    }
                    Start::Fixed(chunk) => chunk.size,
                    Start::Free(id) => self.bins[id].size,
                    Start::Nothing => unreachable!("chunks fill a segment, but {addr:#x} is none"),
                };
            }
        }
        self.direct.iter().for_each(|(&base, &size)| see(Block { ptr: base + HEADER, size, direct: true }));
    }

    /// Where the ordinary chunks of a segment end: at `top` in the first, in others at the record's chunk.
    fn last_chunk(&self, segment: &Segment) -> Addr {
        if *segment == self.segments[0] { self.top.addr } else { segment.record.wrapping_sub(HEADER) }
    }

    /// Takes the chunks of one segment, collecting the free ones but `top`.
    fn lay(&mut self, segment: &Segment, chunks: &mut slice::Iter<Chunk>, free: &mut Vec<Addr>) -> Result<(), BadHeap> {
        let last = self.last_chunk(segment);
        let (mut addr, mut before) = (segment.base, None);
        while addr < last {
            let valid = |c: &&Chunk| {
                c.addr == addr && c.size >= MIN_CHUNK && c.size.is_multiple_of(ALIGNMENT) && c.size <= last - addr
            };
            let &Chunk { size, used, .. } = chunks.next().filter(valid).ok_or(BadHeap::Chunk { addr })?;
            if used {
                self.shadow.set_used(addr, Used { size, before });
                self.totals.used_chunks += 1;
                self.totals.used_bytes += size;
                before = None;
            } else if before.is_none() {
                let id = self.bins.create(addr, size);
                self.shadow.set_free(addr, id);
                free.push(addr);
                before = Some(id);
            } else {
                return Err(BadHeap::Unmerged { addr });
            }
            addr += size;
        }
        self.lay_end(segment, chunks, addr, before)
    }

    /// Takes what closes a segment: `top`, or the record and its fenceposts.
    fn lay_end(
        &mut self,
        segment: &Segment,
        chunks: &mut slice::Iter<Chunk>,
        last: Addr,
        before: Option<FreeId>,
    ) -> Result<(), BadHeap> {
        // Where the record stands, or would stand, if at least a smallest chunk's room was left of `top`.
        let foot = segment.end() - TOP_FOOT;
        if *segment == self.segments[0] {
            let valid = |c: &&Chunk| !c.used && c.addr == last && last < foot && c.size == foot - last;
            let top = chunks.next().filter(valid).filter(|_| last == self.top.addr && last.is_multiple_of(ALIGNMENT));
            self.top = Top { addr: last, size: top.ok_or(BadHeap::Chunk { addr: last })?.size };
            self.totals.overhead_bytes += TOP_FOOT;
            return if before.is_none() { Ok(()) } else { Err(BadHeap::Unmerged { addr: last }) };
        }
        let placed = last == segment.record.wrapping_sub(HEADER) && last <= foot && foot - last < MIN_CHUNK;
        let record = Chunk { addr: last, size: MIN_CHUNK, used: true };
        if !placed || !last.is_multiple_of(ALIGNMENT) || chunks.next() != Some(&record) {
            return Err(BadHeap::Chunk { addr: last });
        }
        self.shadow.set_fixed(last, Used { size: MIN_CHUNK, before });
        self.totals.overhead_bytes += segment.end() - last;
        match fenceposts(segment).find(|fence| chunks.next() != Some(fence)) {
            Some(Chunk { addr, .. }) => Err(BadHeap::Chunk { addr }),
            None => Ok(()),
        }
    }

    fn fix_mstate(&mut self) -> Result<(), BadHeap> {
        let addr = self.mstate.wrapping_sub(HEADER);
        match self.shadow.at(addr) {
            Start::Used(chunk) if (self.mstate..addr + chunk.size).contains(&self.segments[0].record) => {
                self.shadow.set_fixed(addr, chunk);
                self.totals.used_chunks -= 1;
                self.totals.used_bytes -= chunk.size;
                self.totals.overhead_bytes += chunk.size;
                Ok(())
            }
            _ => Err(BadHeap::Mstate(self.mstate)),
        }
    }

    fn fill_bins(&mut self, heap: &Heap, mut free: Vec<Addr>) -> Result<(), BadHeap> {
        if heap.dv != 0 {
            let Start::Free(dv) = self.shadow.at(heap.dv) else { return Err(BadHeap::Victim(heap.dv)) };
            self.dv = Some(dv);
            free.retain(|&addr| addr != heap.dv);
        }
        let mut binned = heap.binned.clone();
        binned.sort_unstable();
        free.sort_unstable();
        if binned != free {
            return Err(BadHeap::Bins);
        }
        let mut largest = 0;
        for &addr in &heap.binned {
            let Start::Free(id) = self.shadow.at(addr) else { return Err(BadHeap::Bins) };
            if self.bins[id].size < largest {
                return Err(BadHeap::Bins);
            }
            largest = self.bins[id].size;
            self.bins.append(id);
        }
        Ok(())
    }

    /// Lists the chunks of one segment.
    fn walk(&self, segment: &Segment, chunks: &mut Vec<Chunk>) {
        let last = self.last_chunk(segment);
        let mut addr = segment.base;
        while addr < last {
            let (size, used) = match self.shadow.at(addr) {
                Start::Used(chunk) | Start::Fixed(chunk) => (chunk.size, true),
                Start::Free(id) => (self.bins[id].size, false),
                Start::Nothing => unreachable!("chunks fill a segment, but {addr:#x} is none"),
            };
            chunks.push(Chunk { addr, size, used });
            addr += size;
        }
        if *segment == self.segments[0] {
            chunks.push(Chunk { addr, size: self.top.size, used: false });
        } else {
            chunks.push(Chunk { addr, size: MIN_CHUNK, used: true });
            chunks.extend(fenceposts(segment));
        }
    }
}

/// The fenceposts of a segment other than the first: from its record to its end.
fn fenceposts(segment: &Segment) -> impl Iterator<Item = Chunk> {
    let first = segment.record - HEADER + MIN_CHUNK;
    let end = segment.end() - OLD_FOOT;
    (first..end).step_by(FENCEPOST as usize).map(|addr| Chunk { addr, size: FENCEPOST, used: true })
}

fn by_address(segments: &[Segment]) -> Vec<&Segment> {
    let mut sorted: Vec<_> = segments.iter().collect();
    sorted.sort_unstable_by_key(|s| s.base);
    sorted
}

/// Every mapping is possible, none overlaps another, and the direct ones ascend.
fn check_mappings(heap: &Heap) -> Result<(), BadHeap> {
    if heap.segments.is_empty() {
        return Err(BadHeap::NoSegment);
    }
    let bad = |&(base, len): &(Addr, u64)| BadHeap::Mapping { base, len };
    let direct = heap.direct.iter().map(|d| (d.base, d.size));
    let mut mappings: Vec<_> = heap.segments.iter().map(|s| (s.base, s.size)).chain(direct).collect();
    if let Some(impossible) = mappings.iter().find(|&&(base, len)| !valid_range(base, len)) {
        return Err(bad(impossible));
    }
    mappings.sort_unstable();
    if let Some(pair) = mappings.windows(2).find(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
        return Err(bad(&pair[1]));
    }
    match heap.direct.windows(2).find(|pair| pair[0] > pair[1]) {
        Some(pair) => Err(bad(&(pair[1].base, pair[1].size))),
        None => Ok(()),
    }
}
