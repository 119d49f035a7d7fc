//! Serving requests from the bins, the designated victim and `top`, and freeing what they got: `lj_alloc_malloc`,
//! `_free` and `_realloc`.

use super::allocator::{Allocator, Top};
use super::bins::FreeId;
use super::shadow::{Start, Used};
use super::{Block, Contradiction, System};
use shared::Addr;
use shared::heap::layout::{ALIGNMENT, HEADER, MAX_REQUEST, MIN_CHUNK, MIN_LARGE, request_to_chunk};

/// What became of memory that was freed.
pub(super) enum Became {
    /// It is part of `top`.
    Top,
    /// It is part of the designated victim.
    Victim,
    /// It is, with its free neighbours, a binned chunk of so many bytes.
    Binned(u64),
}

impl Allocator {
    /// A block for a request of `nsize` bytes; `None` if there is no memory for it.
    #[inline]
    pub(super) fn allocate<S: System>(&mut self, nsize: u64, system: &mut S) -> Result<Option<Block>, Contradiction> {
        if nsize >= MAX_REQUEST {
            return Ok(None);
        }
        let nb = request_to_chunk(nsize);
        let dv_size = self.dv.map_or(0, |dv| self.bins[dv].size);
        if let Some(id) = self.bins.best_fit(nb) {
            let size = self.bins[id].size;
            let rest = size - nb;
            if nb < MIN_LARGE {
                // From the small bins when nothing need be split off, else only if the victim is too small.
                if size < MIN_LARGE && rest <= ALIGNMENT || nb > dv_size {
                    self.bins.unlink(id);
                    let (block, rest) = self.split(id, nb);
                    if rest.is_some()
                        && let Some(old) = std::mem::replace(&mut self.dv, rest)
                    {
                        self.bins.insert(old);
                    }
                    return Ok(Some(block));
                }
            // If the victim fits it must be worse; if not the difference wraps.
            } else if rest < dv_size.wrapping_sub(nb) {
                self.bins.unlink(id);
                let (block, rest) = self.split(id, nb);
                if let Some(rest) = rest {
                    self.bins.insert(rest);
                }
                return Ok(Some(block));
            }
        }
        if let Some(dv) = self.dv
            && nb <= dv_size
        {
            let (block, rest) = self.split(dv, nb);
            self.dv = rest;
            return Ok(Some(block));
        }
        if nb < self.top.size { Ok(Some(self.cut_top(nb))) } else { self.allocate_from_system(nb, system) }
    }

    /// Puts the first `nb` bytes of a free chunk that is in no ring to use. The rest keeps its name, unless it would
    /// be too small for a chunk and goes with the block.
    #[inline]
    fn split(&mut self, id: FreeId, nb: u64) -> (Block, Option<FreeId>) {
        let chunk = self.bins[id];
        let rest = chunk.size - nb;
        let (size, rest) = if rest < MIN_CHUNK {
            self.bins.discard(id);
            self.shadow.set_before(chunk.addr + chunk.size, None);
            (chunk.size, None)
        } else {
            self.bins.place(id, chunk.addr + nb, rest);
            self.shadow.set_free(chunk.addr + nb, id);
            (nb, Some(id))
        };
        (self.occupy(chunk.addr, size), rest)
    }

    /// Puts the first `nb` bytes of `top`, which is larger, to use.
    #[inline]
    pub(super) fn cut_top(&mut self, nb: u64) -> Block {
        let addr = self.top.addr;
        self.top = Top { addr: addr + nb, size: self.top.size - nb };
        self.occupy(addr, nb)
    }

    /// Makes `[addr, addr + size)`, behind memory in use, a live block.
    #[inline]
    pub(super) fn occupy(&mut self, addr: Addr, size: u64) -> Block {
        self.shadow.set_used(addr, Used { size, before: None });
        Block { ptr: addr + HEADER, size, direct: false }
    }

    /// Frees a live block.
    #[inline]
    pub(super) fn free<S: System>(&mut self, block: Block, system: &mut S) -> Result<(), Contradiction> {
        if block.direct {
            self.unmap_direct(block, system);
            return Ok(());
        }
        let addr = block.ptr - HEADER;
        let before = match self.shadow.at(addr) {
            Start::Used(Used { before, .. }) => before,
            _ => None,
        };
        self.free_range(addr, block.size, before, system)
    }

    /// Frees `[addr, addr + size)` and does the housekeeping that large frees bring about.
    #[inline]
    fn free_range<S: System>(
        &mut self,
        addr: Addr,
        size: u64,
        before: Option<FreeId>,
        system: &mut S,
    ) -> Result<(), Contradiction> {
        match self.coalesce(addr, size, before) {
            Became::Top if self.top.size > self.trim_check => self.trim(system),
            Became::Binned(size) if size >= MIN_LARGE => {
                self.release_checks = self.release_checks.wrapping_sub(1);
                if self.release_checks == 0 { self.release_segments(system).map(|_| ()) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// Makes `[addr, addr + size)` free, merged with the free chunk `before` it and with what is free behind it. The
    /// result is part of `top` or of the victim if one of these was merged, else it is binned.
    #[inline]
    pub(super) fn coalesce(&mut self, mut addr: Addr, mut size: u64, before: Option<FreeId>) -> Became {
        let next = addr + size;
        if let Some(before) = before {
            self.shadow.clear(addr);
            addr = self.bins[before].addr;
            size += self.bins[before].size;
            if self.dv != Some(before) {
                self.bins.unlink(before);
            }
        }
        if next == self.top.addr {
            self.shadow.clear(addr);
            if let Some(before) = before {
                self.dv = self.dv.filter(|&dv| dv != before);
                self.bins.discard(before);
            }
            self.top = Top { addr, size: size + self.top.size };
            return Became::Top;
        }
        let id = if let Start::Free(after) = self.shadow.at(next) {
            self.shadow.clear(next);
            size += self.bins[after].size;
            if self.dv != Some(after) {
                self.bins.unlink(after);
            }
            // What follows names `after` as the chunk before it already, so that name is kept.
            if let Some(before) = before {
                if self.dv == Some(before) {
                    self.dv = Some(after);
                }
                self.bins.discard(before);
            }
            self.bins.place(after, addr, size);
            after
        } else {
            let id = match before {
                Some(before) => {
                    self.bins.place(before, addr, size);
                    before
                }
                None => self.bins.create(addr, size),
            };
            self.shadow.set_before(next, Some(id));
            id
        };
        self.shadow.set_free(addr, id);
        if self.dv == Some(id) {
            return Became::Victim;
        }
        self.bins.insert(id);
        Became::Binned(size)
    }

    /// Resizes a live block, if need be by allocating, copying and freeing; `None` if there is no memory for it.
    pub(super) fn resize<S: System>(
        &mut self,
        block: Block,
        nsize: u64,
        system: &mut S,
    ) -> Result<Option<Block>, Contradiction> {
        if nsize >= MAX_REQUEST {
            return Ok(None);
        }
        let nb = request_to_chunk(nsize);
        let kept =
            if block.direct { self.resize_direct(block, nb, system)? } else { self.resize_chunk(block, nb, system)? };
        if kept.is_some() {
            return Ok(kept);
        }
        let moved = self.allocate(nsize, system)?;
        if moved.is_some() {
            self.free(block, system)?;
        }
        Ok(moved)
    }

    /// Shrinks a chunk, or grows it into `top`; `None` if neither can be.
    fn resize_chunk<S: System>(
        &mut self,
        block: Block,
        nb: u64,
        system: &mut S,
    ) -> Result<Option<Block>, Contradiction> {
        let (addr, size) = (block.ptr - HEADER, block.size);
        if size >= nb {
            if size - nb < MIN_CHUNK {
                return Ok(Some(block));
            }
            self.shadow.set_size(addr, nb);
            self.free_range(addr + nb, size - nb, None, system)?;
        } else if addr + size == self.top.addr && size + self.top.size > nb {
            self.shadow.set_size(addr, nb);
            self.top = Top { addr: addr + nb, size: size + self.top.size - nb };
        } else {
            return Ok(None);
        }
        Ok(Some(Block { size: nb, ..block }))
    }
}
