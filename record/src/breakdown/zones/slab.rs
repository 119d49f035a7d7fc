//! The slab pool at the start of a zone: an `ngx_slab_pool_t` of nginx's `src/core/ngx_slab.h`.

use std::mem::size_of;

use shared::Addr;
use shared::heap::layout::PAGE;
use shared::trace::breakdown::Slot;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::target::Memory;

/// What a pool says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Slab {
    /// Pages for blocks.
    pub(super) pages: u64,
    /// Those that are free.
    pub(super) free_pages: u64,
    /// Slots by size, ascending.
    pub(super) slots: Vec<Slot>,
}

/// The pool behind its lock.
#[derive(Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Pool {
    min_size: u64,
    min_shift: u64,
    pages: Addr,
    last: Addr,
    _free: [u64; 3],
    stats: Addr,
    free_pages: u64,
    start: Addr,
    end: Addr,
    /// The first word of its mutex: where the lock is.
    lock: Addr,
}

/// An `ngx_slab_stat_t`.
#[derive(Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Stat {
    total: u64,
    used: u64,
    _requests: u64,
    _failures: u64,
}

/// Bytes of the lock in front: a word, and one more where nginx is built with semaphores.
const LOCKS: [usize; 2] = [16, 8];
/// Bytes of an `ngx_slab_page_t`, of which there is one a page.
const PAGE_ENTRY: u64 = 24;
/// `ngx_pagesize_shift`: slots of half a page are the largest.
const PAGE_SHIFT: u64 = PAGE.trailing_zeros() as u64;
/// nginx may be at work on a pool that is read; so often is tried.
const TRIES: usize = 3;

/// The pool of the zone of `size` bytes at `zone`, if it is one of the layout of nginx 1.11.7 and later.
pub(super) fn read(memory: &impl Memory, zone: Addr, size: u64) -> Option<Slab> {
    let mut head = vec![0; PAGE as usize];
    (0..TRIES).find_map(|_| {
        memory.read(zone, &mut head).ok()?;
        LOCKS.iter().find_map(|&lock| parse(&head, lock, zone, size))
    })
}

/// The pool in the first page of a zone. Every field that can be told from others is: a layout that differs is not taken.
fn parse(head: &[u8], lock: usize, zone: Addr, size: u64) -> Option<Slab> {
    let (pool, _) = Pool::read_from_prefix(head.get(lock..)?).ok()?;
    if !(3..PAGE_SHIFT).contains(&pool.min_shift) || pool.min_size != 1 << pool.min_shift {
        return None;
    }
    let end = zone.checked_add(size)?;
    let sizes = PAGE_SHIFT - pool.min_shift;
    let stats = pool.stats.checked_sub(zone)?;
    let entries = pool.last.checked_sub(pool.pages)?;
    let pages = entries / PAGE_ENTRY;
    let in_place = pool.lock == zone
        && pool.end == end
        && pool.pages == pool.stats.checked_add(sizes * size_of::<Stat>() as u64)?
        && entries % PAGE_ENTRY == 0
        && pool.last <= pool.start
        && pool.start % PAGE == 0
        && pages.checked_mul(PAGE)? <= end.checked_sub(pool.start)?
        && pool.free_pages <= pages;
    if !in_place {
        return None;
    }
    let mut rest = head.get(usize::try_from(stats).ok()?..)?;
    let mut slots = Vec::new();
    for index in 0..sizes {
        let (stat, behind) = Stat::read_from_prefix(rest).ok()?;
        rest = behind;
        if stat.used > stat.total {
            return None;
        }
        slots.push(Slot { size: pool.min_size << index, total: stat.total, used: stat.used });
    }
    Some(Slab { pages, free_pages: pool.free_pages, slots })
}
