//! An allocator written for plainness: every chunk in one ordered map, neighbours looked up, bins searched.

use crate::kernel::{Kernel, Policy};
use crate::tries::Tries;
use analyze::model::ReleaseCheck;
use shared::Addr;
use shared::heap::layout::{self, GRANULARITY, PAGE, TOP_FOOT, request_to_chunk, round_up};
use shared::heap::{Chunk, Direct, Heap, Segment};
use std::collections::{BTreeMap, VecDeque};

pub(crate) struct Twin {
    pub(crate) variant: ReleaseCheck,
    pub(crate) kernel: Kernel,
    pub(crate) heap: Heap,
    /// Chunks by address: size, and whether in use.
    pub(crate) chunks: BTreeMap<Addr, (u64, bool)>,
    /// Small bins by size, front first out.
    small: BTreeMap<u64, VecDeque<Addr>>,
    tries: Tries,
    pub(crate) direct: BTreeMap<Addr, u64>,
    /// Set when the two variants of the release check differed.
    pub(crate) told_apart: bool,
}

/// A heap as `lj_alloc_create` leaves it.
pub(crate) fn new_heap(base: Addr, release_checks: u64) -> Heap {
    let top = base + request_to_chunk(layout::mstate::SIZE as u64 + 8);
    Heap {
        mstate: base + 16,
        gc_threshold: 1234,
        trim_check: layout::TRIM_THRESHOLD,
        release_checks,
        top,
        segments: vec![Segment { base, size: GRANULARITY, record: base + 16 + layout::mstate::SEG as u64 }],
        chunks: vec![
            Chunk { addr: base, size: top - base, used: true },
            Chunk { addr: top, size: base + GRANULARITY - TOP_FOOT - top, used: false },
        ],
        ..Heap::default()
    }
}

impl Twin {
    pub(crate) fn new(policy: Policy, random: u64, variant: ReleaseCheck, release_checks: u64) -> Twin {
        let heap = new_heap(1 << 40, release_checks);
        let kernel = Kernel { policy, random, mapped: [(1 << 40, GRANULARITY)].into(), log: VecDeque::new() };
        let chunks = heap.chunks.iter().map(|c| (c.addr, (c.size, c.used))).collect();
        let (small, tries, direct) = (BTreeMap::new(), Tries::default(), BTreeMap::new());
        Twin { variant, kernel, heap, chunks, small, tries, direct, told_apart: false }
    }

    pub(crate) fn to_heap(&self) -> Heap {
        let chunks = self.chunks.iter().map(|(&addr, &(size, used))| Chunk { addr, size, used }).collect();
        let binned = self.small.values().flatten().copied().chain(self.tries.in_order()).collect();
        let direct = self.direct.iter().map(|(&base, &size)| Direct { base, size }).collect();
        Heap { chunks, binned, direct, ..self.heap.clone() }
    }

    pub(crate) fn call(&mut self, ptr: Addr, osize: u64, nsize: u64) -> Option<Addr> {
        let result = match (ptr, nsize) {
            (0, 0) => None,
            (_, 0) => {
                self.free(ptr);
                None
            }
            (0, _) => self.malloc(nsize),
            _ => self.realloc(ptr, nsize),
        };
        if nsize == 0 || result.is_some() {
            self.heap.gc_total = self.heap.gc_total.wrapping_add(nsize).wrapping_sub(osize);
        }
        result
    }

    pub(crate) fn size(&self, p: Addr) -> u64 {
        self.chunks.get(&p).map_or(0, |c| c.0)
    }

    fn bin(&mut self, p: Addr) {
        match self.size(p) {
            size @ ..256 => self.small.entry(size).or_default().push_front(p),
            size => self.tries.insert(p, size),
        }
    }

    fn unbin(&mut self, p: Addr) {
        match self.size(p) {
            size @ ..256 => self.small.get_mut(&size).unwrap().retain(|&q| q != p),
            _ => self.tries.remove(p),
        }
    }

    /// Makes `nb` bytes of the free chunk `p` used; returns what is left as a free chunk.
    fn cut(&mut self, p: Addr, nb: u64, least: u64) -> Option<Addr> {
        let size = self.size(p);
        let rest = size - nb >= least;
        self.chunks.insert(p, (if rest { nb } else { size }, true));
        rest.then(|| {
            self.chunks.insert(p + nb, (size - nb, false));
            p + nb
        })
    }

    fn malloc(&mut self, nsize: u64) -> Option<Addr> {
        if nsize >= layout::MAX_REQUEST {
            return None;
        }
        let nb = request_to_chunk(nsize);
        let dv_size = self.size(self.heap.dv);
        if nb < 256 {
            let fitting: Vec<u64> =
                self.small.iter().filter(|(s, b)| **s >= nb && !b.is_empty()).map(|b| *b.0).collect();
            let exact = fitting.iter().find(|&&size| size <= nb + 8).map(|size| self.small[size][0]);
            if let Some(p) = exact {
                self.unbin(p);
                self.chunks.insert(p, (self.size(p), true));
                return Some(p + 16);
            }
            if nb > dv_size {
                let small = fitting.first().map(|size| self.small[size][0]);
                if let Some(p) = small.or_else(|| self.tries.smallest()) {
                    self.unbin(p);
                    if let Some(rest) = self.cut(p, nb, 32) {
                        if self.heap.dv != 0 {
                            self.bin(self.heap.dv);
                        }
                        self.heap.dv = rest;
                    }
                    return Some(p + 16);
                }
            }
        } else if let Some(p) = self.tries.best_fit(nb)
            && (dv_size < nb || self.size(p) < dv_size)
        {
            self.unbin(p);
            if let Some(rest) = self.cut(p, nb, 32) {
                self.bin(rest);
            }
            return Some(p + 16);
        }
        if self.heap.dv != 0 && nb <= dv_size {
            let p = self.heap.dv;
            self.heap.dv = self.cut(p, nb, 32).unwrap_or(0);
            return Some(p + 16);
        }
        if nb < self.size(self.heap.top) { Some(self.malloc_top(nb)) } else { self.malloc_system(nb) }
    }

    fn malloc_top(&mut self, nb: u64) -> Addr {
        let p = self.heap.top;
        self.heap.top = self.cut(p, nb, 8).unwrap();
        p + 16
    }

    fn set_top(&mut self, p: Addr, size: u64) {
        self.heap.top = p;
        self.heap.trim_check = 2 << 20;
        self.chunks.insert(p, (size, false));
    }

    fn malloc_system(&mut self, nb: u64) -> Option<Addr> {
        let len = round_up(nb.wrapping_add(55), PAGE);
        if nb >= 128 << 10
            && len > nb
            && let Some(base) = self.kernel.map(len)
        {
            self.direct.insert(base, len);
            return Some(base + 16);
        }
        let len = round_up(nb.wrapping_add(65), GRANULARITY);
        if len <= nb {
            return None;
        }
        let base = self.kernel.map(len)?;
        let old_top = self.heap.top;
        if self.heap.segments[0].end() == base {
            self.heap.segments[0].size += len;
            self.set_top(old_top, self.size(old_top) + len);
        } else if let Some(i) = (0..self.heap.segments.len()).find(|&i| self.heap.segments[i].base == base + len) {
            self.heap.segments[i].base = base;
            self.heap.segments[i].size += len;
            self.chunks.insert(base, (nb, true));
            self.chunks.insert(base + nb, (len - nb, false));
            self.join(base + nb, base + len);
            return Some(base + 16);
        } else {
            let end = self.heap.segments[0].end();
            let left = self.size(old_top);
            let record = if left < 32 { old_top } else { end - 64 };
            if record != old_top {
                self.chunks.insert(old_top, (left, false));
                self.bin(old_top);
            }
            self.chunks.insert(record, (32, true));
            let mut fence = record + 32;
            while fence < end - 8 {
                self.chunks.insert(fence, (8, true));
                fence += 8;
            }
            let first = self.heap.segments[0].record;
            self.heap.segments[0].record = record + 16;
            self.heap.segments.insert(0, Segment { base, size: len, record: first });
            self.set_top(base, len - 64);
        }
        Some(self.malloc_top(nb))
    }

    /// Merges the free chunk `p`, in no bin, with what follows at `next`; bins it unless it became `top` or `dv`.
    fn join(&mut self, p: Addr, next: Addr) -> bool {
        let (next_size, used) = self.chunks[&next];
        if !used {
            let special = next == self.heap.top || next == self.heap.dv;
            if !special {
                self.unbin(next);
            }
            self.chunks.remove(&next);
            self.chunks.get_mut(&p).unwrap().0 += next_size;
            if next == self.heap.top {
                self.heap.top = p;
                if self.heap.dv == p {
                    self.heap.dv = 0;
                }
            } else if next == self.heap.dv {
                self.heap.dv = p;
            }
        }
        let binned = p != self.heap.top && p != self.heap.dv;
        if binned {
            self.bin(p);
        }
        binned
    }

    fn free(&mut self, ptr: Addr) {
        let mut p = ptr - 16;
        if let Some(size) = self.direct.remove(&p) {
            self.kernel.unmap(p, size);
            return;
        }
        let next = p + self.size(p);
        self.chunks.get_mut(&p).unwrap().1 = false;
        let before = self.chunks.range(..p).next_back().map(|(&b, &c)| (b, c));
        if let Some((b, (size, false))) = before
            && b + size == p
        {
            if b != self.heap.dv {
                self.unbin(b);
            }
            self.chunks.remove(&p);
            p = b;
            self.chunks.insert(p, (next - p, false));
        }
        if self.join(p, next) {
            if self.size(p) >= 256 {
                self.heap.release_checks -= 1;
                if self.heap.release_checks == 0 {
                    self.release_segments();
                }
            }
        } else if p == self.heap.top && self.size(p) > self.heap.trim_check {
            self.trim();
        }
    }

    fn trim(&mut self) {
        let top = self.size(self.heap.top);
        // All but the last granule or part of it beyond the foot.
        let extra = (top - 64 - 1) / GRANULARITY * GRANULARITY;
        let Segment { base, size, .. } = self.heap.segments[0];
        let mut released = 0;
        if !self.heap.segments[0].contains(self.heap.mstate)
            && (self.kernel.remap(base, size, size - extra, false).is_some()
                || self.kernel.unmap(base + size - extra, extra))
        {
            released = extra;
            self.heap.segments[0].size -= extra;
            self.set_top(self.heap.top, top - extra);
        }
        if self.release_segments() + released == 0 && self.size(self.heap.top) > self.heap.trim_check {
            self.heap.trim_check = u64::MAX;
        }
    }

    fn release_segments(&mut self) -> u64 {
        let mut released = 0;
        let others = self.heap.segments.split_off(1);
        self.heap.release_checks = (others.len() as u64).max(255);
        for segment in others {
            let p = segment.base;
            let (size, used) = self.chunks[&p];
            let foot = p + size >= segment.end() - 64;
            let record = p + size == segment.record - 16;
            self.told_apart |= !used && foot != record;
            if !used && if self.variant == ReleaseCheck::ToFoot { foot } else { record } {
                if p == self.heap.dv {
                    self.heap.dv = 0
                } else {
                    self.unbin(p)
                }
                if self.kernel.unmap(p, segment.size) {
                    released += segment.size;
                    self.chunks.retain(|&a, _| !segment.contains(a));
                    continue;
                }
                self.bin(p);
            }
            self.heap.segments.push(segment);
        }
        released
    }

    fn realloc(&mut self, ptr: Addr, nsize: u64) -> Option<Addr> {
        if nsize >= layout::MAX_REQUEST {
            return None;
        }
        let (p, nb) = (ptr - 16, request_to_chunk(nsize));
        if let Some(&size) = self.direct.get(&p) {
            if nb >= 256 {
                if size - 32 >= nb + 8 && size - 32 - nb <= 64 << 10 {
                    return Some(ptr);
                }
                let len = round_up(nb.wrapping_add(55), PAGE);
                if let Some(to) = self.kernel.remap(p, size, len, true) {
                    self.direct.remove(&p);
                    self.direct.insert(to, len);
                    return Some(to + 16);
                }
            }
        } else {
            let (size, top) = (self.size(p), self.heap.top);
            if size >= nb {
                if size - nb >= 32 {
                    self.chunks.insert(p, (nb, true));
                    self.chunks.insert(p + nb, (size - nb, true));
                    self.free(p + nb + 16);
                }
                return Some(ptr);
            }
            if p + size == top && size + self.size(top) > nb {
                let rest = size + self.size(top) - nb;
                self.chunks.remove(&top);
                self.chunks.insert(p, (nb, true));
                self.chunks.insert(p + nb, (rest, false));
                self.heap.top = p + nb;
                return Some(ptr);
            }
        }
        let moved = self.malloc(nsize)?;
        self.free(ptr);
        Some(moved)
    }
}
