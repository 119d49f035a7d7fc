//! What becomes of blocks, by the size they were born with: those whose birth and death were seen, those that lived on,
//! and those that were there before. Each kind is counted as such: an age that nobody saw is no age.

use std::collections::BTreeMap;

use shared::Nanos;

use super::lifetimes::Ages;
use super::population::{Tally, bucket};
use super::resizes::Resizes;

/// A block, as far as it was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// When it was born; nothing if it was there before.
    pub born: Option<Nanos>,
    /// Its bytes when it was first seen.
    pub first: u64,
    /// Its bytes when it was last seen.
    pub last: u64,
    /// How often it was resized.
    pub resizes: u32,
}

/// What became of the blocks of a VM in one or more windows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fates {
    /// By [`bucket`] of their first size.
    pub classes: BTreeMap<u64, ClassFates>,
    /// How they were resized.
    pub resizes: Resizes,
    /// Windows; stretches without a loss, if every call was recorded.
    pub windows: u64,
    /// How long those were.
    pub observed_ns: u64,
    /// Live bytes, each as often as nanoseconds it lived in a window.
    pub live_byte_ns: u128,
    /// Blocks alive when windows began.
    pub at_start: u64,
    /// And when they ended.
    pub at_end: u64,
}

/// What became of the blocks of one size class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClassFates {
    /// Those that were born in a window.
    pub ages: Ages,
    /// Those that died in one, but were there before it: how old they became is not known.
    pub older_died: Tally,
}

impl Fates {
    /// A block dies.
    pub fn died(&mut self, life: Life, time: Nanos) {
        self.ended(life, time, true);
    }

    /// A window ends, and a block lives on.
    pub fn lives_on(&mut self, life: Life, time: Nanos) {
        self.ended(life, time, false);
    }

    fn ended(&mut self, life: Life, time: Nanos, died: bool) {
        let Life { born, first, last, resizes } = life;
        match born {
            Some(born) => {
                self.class(first).ages.observe(time.saturating_sub(born), first, died);
                self.resizes.end(u64::from(resizes), first, last, !died);
            }
            None => {
                self.resizes.sums.older_blocks += u64::from(resizes > 0);
                if died {
                    self.class(first).older_died.add(Tally { count: 1, bytes: first });
                }
            }
        }
    }

    fn class(&mut self, size: u64) -> &mut ClassFates {
        self.classes.entry(bucket(size)).or_default()
    }

    /// Adds what became of other blocks; the order does not matter.
    pub fn merge(&mut self, other: &Fates) {
        for (size, theirs) in &other.classes {
            let class = self.classes.entry(*size).or_default();
            class.ages.merge(&theirs.ages);
            class.older_died.add(theirs.older_died);
        }
        self.resizes.merge(&other.resizes);
        self.windows += other.windows;
        self.observed_ns += other.observed_ns;
        self.live_byte_ns += other.live_byte_ns;
        self.at_start += other.at_start;
        self.at_end += other.at_end;
    }

    /// The ages of blocks of every size.
    pub fn ages(&self) -> Ages {
        let mut all = Ages::default();
        self.classes.values().for_each(|class| all.merge(&class.ages));
        all
    }

    /// Bytes alive, on average over the windows; nothing if they have no length.
    pub fn live_bytes(&self) -> Option<f64> {
        (self.observed_ns > 0).then(|| self.live_byte_ns as f64 / self.observed_ns as f64)
    }

    /// Bytes that came to life: blocks that were born, and what blocks grew by.
    pub fn born_bytes(&self) -> u64 {
        let born: u64 = self.classes.values().map(|class| class.ages.born().bytes).sum();
        born + self.resizes.sums.grown_bytes
    }
}
