//! Where chunks start: eight bytes of metadata for every 32 of a segment.

use super::bins::FreeId;
use shared::Addr;
use shared::heap::layout::ALIGNMENT;
use std::collections::HashMap;

/// Addresses end here. LuaJIT's own limit (`LJ_ALLOC_MBITS`) and that of user space on x86-64 with four-level paging.
pub(super) const ADDRESS_END: Addr = 1 << 47;

/// An address is split into 16 bits for the root, 16 for a table of pages, 10 for the slot in the page, 5 inside.
const ROOT_SHIFT: u32 = 31;
const TABLE_SHIFT: u32 = 15;
const SLOT_SHIFT: u32 = 5;
const ROOT_LEN: usize = (ADDRESS_END >> ROOT_SHIFT) as usize;
const TABLE_LEN: usize = 1 << (ROOT_SHIFT - TABLE_SHIFT);
const PAGE_LEN: usize = 1 << (TABLE_SHIFT - SLOT_SHIFT);

/// `Slot::head`: two bits for the chunk's place among the four of a slot, two for its kind, the rest its size.
const PLACE: u32 = 3;
const KIND: u32 = 3 << 2;
const FREE: u32 = 1 << 2;
const USED: u32 = 2 << 2;
const FIXED: u32 = 3 << 2;
const SIZE_SHIFT: u32 = 4;

/// What starts at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// No chunk the shadow knows: `top` and fenceposts are the caller's.
    Nothing,
    /// A free chunk.
    Free(FreeId),
    /// A chunk in use.
    Used(Used),
    /// A chunk in use by the allocator itself: the mstate, or the record of a segment.
    Fixed(Used),
}

/// A chunk in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    /// Bytes.
    pub(super) size: u64,
    /// The free chunk right before it, if there is one.
    pub(super) before: Option<FreeId>,
}

/// At most one chunk starts in 32 bytes, because none is smaller (fenceposts are kept elsewhere).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Slot {
    head: u32,
    /// Of a chunk in use: [`Used::before`]. Of a free one: its own.
    link: Option<FreeId>,
}

/// A map from address to [`Start`]. Pages of it exist only where chunks start.
pub(super) struct Shadow {
    /// The table of each 2 GiB, the page of each 32 KiB in it, and the pages. Entry 0 of the latter two stays empty
    /// and stands in for all that do not exist, so that looking up needs no branch.
    root: Box<[u32]>,
    tables: Vec<Box<[u32]>>,
    slots: Vec<Slot>,
    vacant: Vec<u32>,
    /// Sizes of chunks in use of 2 GiB and more, by address: the head has no room for them. Entries may be stale, but
    /// are read only through a head that says so, written together with them.
    huge: HashMap<Addr, u64>,
}

impl Shadow {
    /// No chunks.
    pub(super) fn new() -> Shadow {
        Shadow {
            root: vec![0; ROOT_LEN].into(),
            tables: vec![vec![0; TABLE_LEN].into()],
            slots: vec![Slot::default(); PAGE_LEN],
            vacant: Vec::new(),
            huge: HashMap::new(),
        }
    }

    /// What starts at `addr`, which may be any number.
    #[inline]
    pub(super) fn at(&self, addr: Addr) -> Start {
        let slot = self.slots[self.page(addr) as usize * PAGE_LEN + slot_in_page(addr)];
        if slot.head & PLACE != place(addr) || !addr.is_multiple_of(ALIGNMENT) {
            return Start::Nothing;
        }
        let used = || Used { size: self.size(addr, slot.head), before: slot.link };
        match slot.head & KIND {
            USED => Start::Used(used()),
            FREE => slot.link.map_or(Start::Nothing, Start::Free),
            FIXED => Start::Fixed(used()),
            _ => Start::Nothing,
        }
    }

    /// Brings what is known of `addr` into the processor's cache.
    #[inline]
    pub(super) fn touch(&self, addr: Addr) {
        std::hint::black_box(self.slots[self.page(addr) as usize * PAGE_LEN + slot_in_page(addr)].head);
    }

    /// A chunk in use starts at `addr`.
    #[inline]
    pub(super) fn set_used(&mut self, addr: Addr, chunk: Used) {
        self.set_busy(USED, addr, chunk);
    }

    /// A chunk of the allocator's own starts at `addr`.
    pub(super) fn set_fixed(&mut self, addr: Addr, chunk: Used) {
        self.set_busy(FIXED, addr, chunk);
    }

    /// The chunk in use at `addr` has another size now.
    pub(super) fn set_size(&mut self, addr: Addr, size: u64) {
        let before = self.slot(addr).link;
        self.set_used(addr, Used { size, before });
    }

    /// A free chunk starts at `addr`.
    #[inline]
    pub(super) fn set_free(&mut self, addr: Addr, id: FreeId) {
        *self.slot(addr) = Slot { head: place(addr) | FREE, link: Some(id) };
    }

    /// What lies before the chunk in use at `addr` became free or changed its name, or is in use now.
    #[inline]
    pub(super) fn set_before(&mut self, addr: Addr, before: Option<FreeId>) {
        self.slot(addr).link = before;
    }

    /// No chunk starts at `addr` any more.
    #[inline]
    pub(super) fn clear(&mut self, addr: Addr) {
        *self.slot(addr) = Slot::default();
    }

    /// Gives back the pages in `[base, end)` and at its rims that are empty.
    pub(super) fn shrink(&mut self, base: Addr, end: Addr) {
        let mut addr = base >> TABLE_SHIFT << TABLE_SHIFT;
        while addr < end {
            let table = self.root[(addr >> ROOT_SHIFT) as usize] as usize;
            if table == 0 {
                addr = ((addr >> ROOT_SHIFT) + 1) << ROOT_SHIFT;
                continue;
            }
            let page = self.tables[table][page_in_table(addr)];
            let first = page as usize * PAGE_LEN;
            if page != 0 && self.slots[first..first + PAGE_LEN].iter().all(|s| *s == Slot::default()) {
                self.tables[table][page_in_table(addr)] = 0;
                self.vacant.push(page);
            }
            addr += 1 << TABLE_SHIFT;
        }
    }

    #[inline]
    fn set_busy(&mut self, kind: u32, addr: Addr, chunk: Used) {
        // A size of 0 in the head says that the size is in `huge`.
        let mut units = chunk.size / ALIGNMENT;
        if units >> (u32::BITS - SIZE_SHIFT) != 0 {
            self.huge.insert(addr, chunk.size);
            units = 0;
        }
        *self.slot(addr) = Slot { head: place(addr) | kind | (units as u32) << SIZE_SHIFT, link: chunk.before };
    }

    #[inline]
    fn size(&self, addr: Addr, head: u32) -> u64 {
        match head >> SIZE_SHIFT {
            0 => self.huge.get(&addr).copied().unwrap_or(0),
            units => u64::from(units) * ALIGNMENT,
        }
    }

    #[inline]
    fn page(&self, addr: Addr) -> u32 {
        let table = self.root.get((addr >> ROOT_SHIFT) as usize).copied().unwrap_or(0);
        self.tables[table as usize][page_in_table(addr)]
    }

    /// The slot of an address below [`ADDRESS_END`], to write to.
    #[inline]
    fn slot(&mut self, addr: Addr) -> &mut Slot {
        let mut page = self.page(addr);
        if page == 0 {
            page = self.add_page(addr);
        }
        &mut self.slots[page as usize * PAGE_LEN + slot_in_page(addr)]
    }

    #[cold]
    fn add_page(&mut self, addr: Addr) -> u32 {
        let root = (addr >> ROOT_SHIFT) as usize;
        if self.root[root] == 0 {
            self.root[root] = self.tables.len() as u32;
            self.tables.push(vec![0; TABLE_LEN].into());
        }
        let page = self.vacant.pop().unwrap_or_else(|| {
            let page = self.slots.len() / PAGE_LEN;
            self.slots.resize(self.slots.len() + PAGE_LEN, Slot::default());
            page as u32
        });
        self.tables[self.root[root] as usize][page_in_table(addr)] = page;
        page
    }
}

fn place(addr: Addr) -> u32 {
    (addr / ALIGNMENT) as u32 & PLACE
}

fn slot_in_page(addr: Addr) -> usize {
    (addr >> SLOT_SHIFT) as usize % PAGE_LEN
}

fn page_in_table(addr: Addr) -> usize {
    (addr >> TABLE_SHIFT) as usize % TABLE_LEN
}
