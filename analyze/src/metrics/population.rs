//! The populations of a heap at a moment, by size: used and free chunks, segments, direct blocks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::heap::{Heap, layout};

/// The bucket of a size: the largest power of two not above it. Bucket 64 counts sizes 64 to 127.
pub fn bucket(size: u64) -> u64 {
    size.checked_ilog2().map_or(0, |exponent| 1 << exponent)
}

/// How many, and how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Things with sizes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Population {
    /// All of them.
    pub all: Tally,
    /// The smallest size, 0 if there are none.
    pub min: u64,
    /// The largest size.
    pub max: u64,
    /// By [`bucket`].
    pub buckets: BTreeMap<u64, Tally>,
}

impl Population {
    /// Counts one of a size.
    pub fn observe(&mut self, size: u64) {
        self.merge(&Population {
            all: Tally { count: 1, bytes: size },
            min: size,
            max: size,
            buckets: [(bucket(size), Tally { count: 1, bytes: size })].into(),
        });
    }

    /// Adds another population; the order does not matter.
    pub fn merge(&mut self, other: &Population) {
        if other.all.count == 0 {
            return;
        }
        self.min = if self.all.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.all.add(other.all);
        for (bucket, tally) in &other.buckets {
            self.buckets.entry(*bucket).or_default().add(*tally);
        }
    }
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, other: Tally) {
        self.count = self.count.saturating_add(other.count);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl FromIterator<u64> for Population {
    fn from_iter<T: IntoIterator<Item = u64>>(sizes: T) -> Self {
        let mut population = Population::default();
        sizes.into_iter().for_each(|size| population.observe(size));
        population
    }
}

/// A heap in numbers. `used.bytes + free.bytes + overhead == segments.bytes`, to the byte.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Populations {
    /// Chunks in use, in segments: blocks, but also fenceposts (8 bytes), segment records and the mstate.
    pub used: Population,
    /// Free chunks: in bins, dv and top.
    pub free: Population,
    /// Memory mapped for chunks.
    pub segments: Population,
    /// Blocks mapped on their own, by mapped bytes.
    pub direct: Population,
    /// What lies in a segment outside of any chunk: 64 bytes behind `top`, 8 behind the last fencepost of others.
    pub overhead: u64,
    /// What the collector counts.
    pub gc_total: u64,
}

impl Populations {
    /// Counts a heap.
    pub fn of(heap: &Heap) -> Populations {
        let sizes = |used: bool| heap.chunks.iter().filter(move |chunk| chunk.used == used).map(|chunk| chunk.size);
        let segments: Population = heap.segments.iter().map(|segment| segment.size).collect();
        let (used, free): (Population, Population) = (sizes(true).collect(), sizes(false).collect());
        Populations {
            overhead: overhead(heap.segments.len() as u64),
            used,
            free,
            segments,
            direct: heap.direct.iter().map(|direct| direct.size).collect(),
            gc_total: heap.gc_total,
        }
    }

    /// Adds another heap, as if they were one.
    pub fn merge(&mut self, other: &Populations) {
        self.used.merge(&other.used);
        self.free.merge(&other.free);
        self.segments.merge(&other.segments);
        self.direct.merge(&other.direct);
        self.overhead = self.overhead.saturating_add(other.overhead);
        self.gc_total = self.gc_total.saturating_add(other.gc_total);
    }

    /// The four populations by name, in the order of every output.
    pub fn named(&self) -> [(&'static str, &Population); 4] {
        [("used", &self.used), ("free", &self.free), ("segments", &self.segments), ("direct", &self.direct)]
    }
}

/// What segments keep outside of chunks: the first one the room behind `top`, each other one its last fencepost's head.
pub(crate) fn overhead(segments: u64) -> u64 {
    match segments {
        0 => 0,
        n => layout::TOP_FOOT + (n - 1) * layout::OLD_FOOT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_powers_of_two() {
        assert_eq!([0, 1, 8, 63, 64, 127, 128].map(bucket), [0, 1, 8, 32, 64, 64, 128]);
    }

    #[test]
    fn merging_parts_counts_the_whole() {
        let sizes = [8, 32, 40, 5000, 131_072];
        let whole: Population = sizes.into_iter().collect();
        for cut in 0..=sizes.len() {
            let mut parts: Population = sizes[..cut].iter().copied().collect();
            parts.merge(&sizes[cut..].iter().copied().collect());
            assert_eq!(parts, whole);
        }
        assert_eq!(whole.buckets.values().map(|tally| tally.count).sum::<u64>(), whole.all.count);
        assert_eq!((whole.min, whole.max, whole.all.bytes), (8, 131_072, 136_152));
    }
}
