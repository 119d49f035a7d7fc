//! How glibc's malloc lies in memory on 64-bit machines: facts of its `malloc/malloc.c` and `malloc/arena.c`, versions 2.17
//! to 2.41, checked on Debian's 2.31 and 2.36. Nothing here is taken for granted: whoever reads with it checks what was read.

use shared::Addr;

use crate::target::Memory;

/// `CHUNK_HDR_SZ`: from a chunk to what the program gets.
pub const HEAD: u64 = 16;
/// From a chunk to the word that holds its size.
pub const SIZE: u64 = 8;
/// `MALLOC_ALIGNMENT`.
pub const ALIGNMENT: u64 = 16;
/// `MINSIZE`: the smallest chunk that is handed out.
pub const MIN_CHUNK: u64 = 32;
/// In a chunk's size: the chunk before is in use.
pub const PREV_INUSE: u64 = 1;
/// In a chunk's size: it is a mapping of its own.
pub const IS_MMAPPED: u64 = 2;
/// `PREV_INUSE`, `IS_MMAPPED` and `NON_MAIN_ARENA`.
pub const FLAGS: u64 = 7;
/// `HEAP_MAX_SIZE`, at a multiple of which every heap starts; `glibc.malloc.hugetlb=2` makes it another.
pub const HEAP_MAX: u64 = 64 << 20;
/// `NFASTBINS`.
pub const FASTBINS: usize = 10;
/// The last of the `bins`, which count from 1: the unsorted one, small and large ones. No size belongs to the last.
pub const LAST_BIN: usize = 127;
/// `NONCONTIGUOUS_BIT` of `flags`.
const NONCONTIGUOUS: u32 = 2;
/// `sizeof(heap_info)` before 2.35 and since.
pub const HEAP_INFOS: [u64; 2] = [32, 48];

/// The size of the chunks in the fastbin or thread cache's list of this number.
pub fn size_of_list(number: usize) -> u64 {
    MIN_CHUNK + number as u64 * ALIGNMENT
}

/// `n` rounded up to a multiple of [`ALIGNMENT`].
pub fn align(n: u64) -> u64 {
    n.saturating_add(ALIGNMENT - 1) & !(ALIGNMENT - 1)
}

/// Which fields a `malloc_state` has; all others it has had for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// From its start to `fastbinsY`: since 2.27 `have_fastchunks` stands before it.
    fastbins: u64,
    /// Whether `attached_threads` stands before `system_mem`: since 2.23.
    attached: bool,
}

/// The layouts there are.
pub const LAYOUTS: [Layout; 3] = [
    Layout { fastbins: 16, attached: true },
    Layout { fastbins: 8, attached: true },
    Layout { fastbins: 8, attached: false },
];

impl Layout {
    /// From a `malloc_state` to its `bins`.
    pub fn bins(self) -> u64 {
        // fastbinsY, top, last_remainder.
        self.fastbins + 8 * FASTBINS as u64 + 16
    }

    /// From a `malloc_state` to its `next`.
    pub fn next(self) -> u64 {
        // bins, binmap.
        self.bins() + 16 * LAST_BIN as u64 + 16
    }

    /// From a `malloc_state` to its `system_mem`.
    pub fn system(self) -> u64 {
        // next, next_free, attached_threads.
        self.next() + if self.attached { 24 } else { 16 }
    }

    /// `sizeof(malloc_state)`.
    pub fn size(self) -> u64 {
        // system_mem, max_system_mem.
        self.system() + 16
    }
}

/// A copy of a `malloc_state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Where it lies.
    pub addr: Addr,
    layout: Layout,
    bytes: Vec<u8>,
}

impl State {
    /// Reads the state at an address.
    pub fn read(addr: Addr, layout: Layout, memory: &impl Memory) -> Option<State> {
        let mut bytes = vec![0; layout.size() as usize];
        memory.read(addr, &mut bytes).ok()?;
        Some(State { addr, layout, bytes })
    }

    fn word(&self, at: u64) -> u64 {
        let bytes = self.bytes.get(at as usize..at as usize + 8);
        bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
    }

    /// The first byte behind it.
    pub fn end(&self) -> Addr {
        self.addr.saturating_add(self.layout.size())
    }

    /// Whether a thread holds the arena's lock.
    pub fn is_locked(&self) -> bool {
        self.word(0) as u32 != 0
    }

    /// Whether all of its memory lies in one stretch, which `sbrk` makes longer. Of the main arena only.
    pub fn is_contiguous(&self) -> bool {
        (self.word(0) >> 32) as u32 & NONCONTIGUOUS == 0
    }

    /// The first chunk in a fastbin; 0 if there is none. Its size follows from the number.
    pub fn fastbin(&self, number: usize) -> Addr {
        self.word(self.layout.fastbins + 8 * number as u64)
    }

    /// The chunk at the end of the arena; 0 before the arena is used.
    pub fn top(&self) -> Addr {
        self.word(self.layout.bins() - 16)
    }

    /// The first and the last chunk of a bin; its [own address](State::bin_addr) if it is empty.
    pub fn bin(&self, number: usize) -> (Addr, Addr) {
        let at = self.layout.bins() + 16 * (number as u64 - 1);
        (self.word(at), self.word(at + 8))
    }

    /// Where a chunk would lie whose links are the bin's.
    pub fn bin_addr(&self, number: usize) -> Addr {
        self.addr + self.layout.bins() + 16 * (number as u64 - 1) - HEAD
    }

    /// The next arena in the ring.
    pub fn next(&self) -> Addr {
        self.word(self.layout.next())
    }

    /// How many threads allocate from it; 0 where glibc does not count them.
    pub fn attached(&self) -> u64 {
        if self.layout.attached { self.word(self.layout.system() - 8) } else { 0 }
    }

    /// Bytes it has from the system.
    pub fn system(&self) -> u64 {
        self.word(self.layout.system())
    }

    /// The most it ever had.
    pub fn max_system(&self) -> u64 {
        self.word(self.layout.system() + 8)
    }
}
