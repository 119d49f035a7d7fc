//! How blocks grow: what resizes do, and what they make of a block from its birth on.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use shared::heap::layout::CHUNK_OVERHEAD;

use super::population::bucket;
use crate::model::Block;

/// Sums over resizes, and the chains they make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resizes {
    /// The sums.
    pub sums: ResizeSums,
    /// Blocks whose birth was seen, by [`bucket`] of how often they were resized.
    chains: BTreeMap<u64, Chain>,
}

/// Sums over resizes. A block's size is that of its chunk, or of its mapping.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ResizeSums {
    /// Resizes after which the block was larger.
    pub grew: u64,
    /// By how many bytes.
    pub grown_bytes: u64,
    /// Resizes after which it was smaller.
    pub shrank: u64,
    /// By how many bytes.
    pub shrunk_bytes: u64,
    /// Resizes that found the chunk as large as it had to be.
    pub kept: u64,
    /// Resizes that failed.
    pub failed: u64,
    /// Resizes after which the block was elsewhere.
    pub moved: u64,
    /// Bytes the allocator copied for that. What the kernel moves with `mremap` is not copied.
    pub copied_bytes: u64,
    /// The most often that one block was resized.
    pub most: u64,
    /// Blocks that were resized, but born before anybody looked: what went before is not known.
    pub older_blocks: u64,
}

/// Blocks that were resized about equally often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Chain {
    /// They were resized at least so often.
    pub resizes_from: u64,
    /// And at most so often.
    pub resizes_to: u64,
    /// How many blocks.
    pub blocks: u64,
    /// Those of them that lived on: they may be resized again.
    pub alive: u64,
    /// Bytes they had together at birth.
    pub first_bytes: u64,
    /// Bytes they had together in the end.
    pub last_bytes: u64,
}

impl Chain {
    /// How many times as large they have become.
    pub fn ratio(&self) -> f64 {
        if self.first_bytes == 0 { 0.0 } else { self.last_bytes as f64 / self.first_bytes as f64 }
    }
}

impl Resizes {
    /// A block is resized to `nsize` bytes.
    pub fn observe(&mut self, before: Block, after: Block, nsize: u64) {
        let sums = &mut self.sums;
        match after.size.checked_sub(before.size) {
            Some(0) => sums.kept += 1,
            Some(more) => {
                sums.grew += 1;
                sums.grown_bytes += more;
            }
            None => {
                sums.shrank += 1;
                sums.shrunk_bytes += before.size - after.size;
            }
        }
        if before.ptr != after.ptr {
            sums.moved += 1;
            // `lj_alloc_realloc` copies what both have room for.
            if !(before.direct && after.direct) {
                sums.copied_bytes += before.size.saturating_sub(CHUNK_OVERHEAD).min(nsize);
            }
        }
    }

    /// A block has come to its end, or to that of what is known of it, `alive`.
    pub fn end(&mut self, resizes: u64, first: u64, last: u64, alive: bool) {
        if resizes == 0 {
            return;
        }
        self.sums.most = self.sums.most.max(resizes);
        let one =
            Chain { blocks: 1, alive: u64::from(alive), first_bytes: first, last_bytes: last, ..Chain::default() };
        self.chains.entry(bucket(resizes)).or_default().add(&one);
    }

    /// Adds other resizes; the order does not matter.
    pub fn merge(&mut self, other: &Resizes) {
        let (ours, theirs) = (&mut self.sums, &other.sums);
        ours.grew += theirs.grew;
        ours.grown_bytes += theirs.grown_bytes;
        ours.shrank += theirs.shrank;
        ours.shrunk_bytes += theirs.shrunk_bytes;
        ours.kept += theirs.kept;
        ours.failed += theirs.failed;
        ours.moved += theirs.moved;
        ours.copied_bytes += theirs.copied_bytes;
        ours.most = ours.most.max(theirs.most);
        ours.older_blocks += theirs.older_blocks;
        for (resizes, chain) in &other.chains {
            self.chains.entry(*resizes).or_default().add(chain);
        }
    }

    /// The chains, from the shortest on.
    pub fn chains(&self) -> Vec<Chain> {
        let chain = |(from, chain): (&u64, &Chain)| Chain { resizes_from: *from, resizes_to: 2 * from - 1, ..*chain };
        self.chains.iter().map(chain).collect()
    }
}

impl ResizeSums {
    /// Resizes that did not fail.
    pub fn all(&self) -> u64 {
        self.grew + self.shrank + self.kept
    }
}

impl Chain {
    fn add(&mut self, other: &Chain) {
        self.blocks += other.blocks;
        self.alive += other.alive;
        self.first_bytes += other.first_bytes;
        self.last_bytes += other.last_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_is_what_both_have_room_for() {
        let block = |ptr, size, direct| Block { ptr, size, direct };
        let mut resizes = Resizes::default();
        resizes.observe(block(16, 48, false), block(160, 96, false), 88); // 40 bytes move.
        resizes.observe(block(160, 96, false), block(160, 96, false), 80);
        resizes.observe(block(1 << 20, 8192, true), block(1 << 30, 16_384, true), 16_000); // The kernel moves those.
        resizes.observe(block(1 << 30, 16_384, true), block(16, 112, false), 100); // 100 of them are left.
        let ResizeSums { grew, shrank, kept, moved, copied_bytes, grown_bytes, shrunk_bytes, .. } = resizes.sums;
        assert_eq!((grew, shrank, kept, moved, copied_bytes), (2, 1, 1, 3, 140));
        assert_eq!((grown_bytes, shrunk_bytes), (48 + 8192, 16_272));
        resizes.end(3, 48, 112, true);
        resizes.end(2, 48, 96, false);
        resizes.end(0, 48, 48, false);
        let [chain] = resizes.chains()[..] else { panic!("{resizes:?}") };
        assert_eq!((chain.resizes_from, chain.resizes_to, chain.blocks, chain.alive), (2, 3, 2, 1));
        assert!((chain.ratio() - 208.0 / 96.0).abs() < 1e-12 && resizes.sums.most == 3);
    }
}
