//! The free chunks: one description each, and one ring for each size.

use super::sizes::{CAPACITY, SizeSet};
use shared::Addr;
use shared::heap::layout::{ALIGNMENT, MIN_LARGE};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Index;

/// Names a free chunk for as long as it is free, while its bounds may change.
pub(super) type FreeId = NonZeroU32;

/// Sizes from here on are rare: their rings are found through a map instead of a table.
const TABLE_END: u64 = CAPACITY as u64 * ALIGNMENT;

/// A free chunk other than `top`. The designated victim is one too, but stays out of the rings.
#[derive(Clone, Copy)]
pub(super) struct FreeChunk {
    /// Where it starts.
    pub(super) addr: Addr,
    /// Bytes.
    pub(super) size: u64,
    /// Its neighbours in the ring of its size; of vacant entries `fd` leads to the next vacant one.
    fd: FreeId,
    bk: FreeId,
}

/// The free chunks by size. In a small bin a newcomer becomes the head and the head is taken first. In a large one
/// the head is the tree node: it is taken first too, but a newcomer goes right behind it, and the oldest of the
/// others, last in the ring, succeeds it.
pub(super) struct Bins {
    /// Indexed by [`FreeId`]; entry 0 is unused.
    chunks: Vec<FreeChunk>,
    vacant: Option<FreeId>,
    /// Chunks in rings.
    binned: usize,
    /// The sizes below [`TABLE_END`] that have a ring, and its head, both in units of [`ALIGNMENT`].
    sizes: SizeSet,
    heads: Box<[Option<FreeId>]>,
    /// The heads of all other sizes, in bytes.
    larger: BTreeMap<u64, FreeId>,
}

impl Index<FreeId> for Bins {
    type Output = FreeChunk;

    #[inline]
    fn index(&self, id: FreeId) -> &FreeChunk {
        &self.chunks[id.get() as usize]
    }
}

impl Bins {
    /// No free chunks.
    pub(super) fn new() -> Bins {
        let nothing = FreeChunk { addr: 0, size: 0, fd: FreeId::MAX, bk: FreeId::MAX };
        Bins {
            chunks: vec![nothing],
            vacant: None,
            binned: 0,
            sizes: SizeSet::new(),
            heads: vec![None; CAPACITY].into(),
            larger: BTreeMap::new(),
        }
    }

    /// How many chunks are in rings.
    pub(super) fn len(&self) -> usize {
        self.binned
    }

    /// Describes a new free chunk, in no ring.
    #[inline]
    pub(super) fn create(&mut self, addr: Addr, size: u64) -> FreeId {
        let id = self.vacant.unwrap_or_else(|| {
            FreeId::new(self.chunks.len() as u32).expect("fewer than 2^32 free chunks: each takes 24 bytes here")
        });
        let chunk = FreeChunk { addr, size, fd: id, bk: id };
        if self.vacant.is_some() {
            let next = self[id].fd;
            self.vacant = (next != id).then_some(next);
            self.chunks[id.get() as usize] = chunk;
        } else {
            self.chunks.push(chunk);
        }
        id
    }

    /// Forgets a chunk that is in no ring.
    #[inline]
    pub(super) fn discard(&mut self, id: FreeId) {
        // The last vacant entry leads to itself.
        self.at(id).fd = self.vacant.unwrap_or(id);
        self.vacant = Some(id);
    }

    /// Gives a chunk that is in no ring other bounds.
    #[inline]
    pub(super) fn place(&mut self, id: FreeId, addr: Addr, size: u64) {
        let chunk = self.at(id);
        (chunk.addr, chunk.size) = (addr, size);
    }

    /// Puts a chunk into the ring of its size, as freeing it does.
    #[inline]
    pub(super) fn insert(&mut self, id: FreeId) {
        let size = self[id].size;
        match self.head(size) {
            None => self.start_ring(id),
            Some(head) if size < MIN_LARGE => {
                self.link(self[head].bk, id, head);
                self.set_head(size, id);
            }
            Some(head) => self.link(head, id, self[head].fd),
        }
        self.binned += 1;
    }

    /// Puts a chunk at the end of the ring of its size: for copying rings.
    pub(super) fn append(&mut self, id: FreeId) {
        match self.head(self[id].size) {
            None => self.start_ring(id),
            Some(head) => self.link(self[head].bk, id, head),
        }
        self.binned += 1;
    }

    /// Takes a chunk out of its ring.
    #[inline]
    pub(super) fn unlink(&mut self, id: FreeId) {
        let FreeChunk { size, fd, bk, .. } = self[id];
        self.binned -= 1;
        if fd == id {
            self.end_ring(size);
            return;
        }
        self.at(bk).fd = fd;
        self.at(fd).bk = bk;
        if self.head(size) == Some(id) {
            self.set_head(size, if size < MIN_LARGE { fd } else { bk });
        }
    }

    /// The chunk to take among the smallest of at least `size` bytes.
    #[inline]
    pub(super) fn best_fit(&self, size: u64) -> Option<FreeId> {
        if size < TABLE_END
            && let Some(unit) = self.sizes.first_from((size / ALIGNMENT) as usize)
        {
            return self.heads[unit];
        }
        self.larger.range(size..).next().map(|(_, &head)| head)
    }

    /// Every binned chunk: ascending by size, within a size in ring order from the head.
    pub(super) fn addresses(&self) -> Vec<Addr> {
        let mut addresses = Vec::with_capacity(self.binned);
        let mut next = self.best_fit(0);
        while let Some(head) = next {
            let mut id = head;
            loop {
                addresses.push(self[id].addr);
                id = self[id].fd;
                if id == head {
                    break;
                }
            }
            next = self.best_fit(self[head].size + ALIGNMENT);
        }
        addresses
    }

    #[inline]
    fn at(&mut self, id: FreeId) -> &mut FreeChunk {
        &mut self.chunks[id.get() as usize]
    }

    #[inline]
    fn link(&mut self, bk: FreeId, id: FreeId, fd: FreeId) {
        let chunk = self.at(id);
        (chunk.bk, chunk.fd) = (bk, fd);
        self.at(bk).fd = id;
        self.at(fd).bk = id;
    }

    #[inline]
    fn head(&self, size: u64) -> Option<FreeId> {
        if size < TABLE_END { self.heads[(size / ALIGNMENT) as usize] } else { self.larger.get(&size).copied() }
    }

    #[inline]
    fn set_head(&mut self, size: u64, id: FreeId) {
        if size < TABLE_END {
            self.heads[(size / ALIGNMENT) as usize] = Some(id);
        } else {
            self.larger.insert(size, id);
        }
    }

    fn start_ring(&mut self, id: FreeId) {
        let chunk = self.at(id);
        (chunk.fd, chunk.bk) = (id, id);
        let size = chunk.size;
        self.set_head(size, id);
        if size < TABLE_END {
            self.sizes.insert((size / ALIGNMENT) as usize);
        }
    }

    fn end_ring(&mut self, size: u64) {
        if size < TABLE_END {
            let unit = (size / ALIGNMENT) as usize;
            self.heads[unit] = None;
            self.sizes.remove(unit);
        } else {
            self.larger.remove(&size);
        }
    }
}
