//! What a program asks of its allocator: calls by kind, bytes, and both by size class.

use std::collections::BTreeMap;

use shared::call::{Call, CallKind};
use shared::heap::layout::request_to_chunk;

use super::population::bucket;

/// Sums over calls. Sizes are those asked for; classes are those of the chunks that serve them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asks {
    /// Allocations.
    pub allocs: u64,
    /// Resizes.
    pub resizes: u64,
    /// Frees; of a null pointer, too.
    pub frees: u64,
    /// Bytes that allocations ask for, and by which resizes grow.
    pub allocated: u64,
    /// Bytes that frees give back, and by which resizes shrink.
    pub freed: u64,
    /// By [`bucket`] of the chunk's size.
    pub classes: BTreeMap<u64, ClassAsks>,
}

/// What is asked of one size class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClassAsks {
    /// Allocations.
    pub allocs: u64,
    /// Bytes they ask for, and by which resizes to this class grow.
    pub allocated: u64,
    /// Bytes that frees of this class give back, and by which resizes from it shrink.
    pub freed: u64,
}

impl Asks {
    /// Calls of every kind.
    pub fn calls(&self) -> u64 {
        self.allocs + self.resizes + self.frees
    }

    /// Counts a call.
    pub fn observe(&mut self, call: &Call) {
        let Call { osize, nsize, .. } = *call;
        match call.kind() {
            CallKind::Alloc => {
                self.allocs += 1;
                self.class(nsize).allocs += 1;
                self.allocate(nsize, nsize);
            }
            CallKind::Resize => {
                self.resizes += 1;
                self.allocate(nsize, nsize.saturating_sub(osize));
                self.free(osize, osize.saturating_sub(nsize));
            }
            CallKind::Free => {
                self.frees += 1;
                self.free(osize, osize);
            }
        }
    }

    fn class(&mut self, size: u64) -> &mut ClassAsks {
        self.classes.entry(bucket(request_to_chunk(size))).or_default()
    }

    // Saturating: a register may hold anything.
    fn allocate(&mut self, size: u64, bytes: u64) {
        if bytes > 0 {
            self.allocated = self.allocated.saturating_add(bytes);
            let class = self.class(size);
            class.allocated = class.allocated.saturating_add(bytes);
        }
    }

    fn free(&mut self, size: u64, bytes: u64) {
        if bytes > 0 {
            self.freed = self.freed.saturating_add(bytes);
            let class = self.class(size);
            class.freed = class.freed.saturating_add(bytes);
        }
    }

    /// Adds other sums; the order does not matter.
    pub fn merge(&mut self, other: &Asks) {
        self.allocs += other.allocs;
        self.resizes += other.resizes;
        self.frees += other.frees;
        self.allocated = self.allocated.saturating_add(other.allocated);
        self.freed = self.freed.saturating_add(other.freed);
        for (bucket, theirs) in &other.classes {
            let class = self.classes.entry(*bucket).or_default();
            class.allocs += theirs.allocs;
            class.allocated = class.allocated.saturating_add(theirs.allocated);
            class.freed = class.freed.saturating_add(theirs.freed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_kind_and_class() {
        let calls = [(0, 0, 40), (0, 0, 100), (8, 40, 100), (8, 100, 60), (16, 100, 0), (0, 0, 0)];
        let mut asks = Asks::default();
        for (ptr, osize, nsize) in calls {
            asks.observe(&Call { time: 0, ptr, osize, nsize });
        }
        assert_eq!((asks.allocs, asks.resizes, asks.frees, asks.calls()), (2, 2, 2, 6));
        assert_eq!((asks.allocated, asks.freed), (200, 140));
        // 40 bytes are served by 48, 60 by 72 and 100 by 112.
        let classes: Vec<_> = asks.classes.iter().map(|(b, c)| (*b, c.allocs, c.allocated, c.freed)).collect();
        assert_eq!(classes, [(32, 1, 40, 0), (64, 1, 160, 140)]);
        let mut twice = asks.clone();
        twice.merge(&asks);
        assert_eq!((twice.allocated, twice.classes[&64].allocs), (400, 2));
    }
}
