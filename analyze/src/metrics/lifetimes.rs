//! How long blocks live, though most windows end before most blocks do: Kaplan and Meier's estimator. A block whose
//! window ends before it does is *censored*: it lived at least so long.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use shared::Nanos;
use shared::trace::calls::TICK;

use super::population::{Tally, bucket};
use super::student::NORMAL;

/// Ages at which the share of the dead is told.
pub const HORIZONS: [Nanos; 6] = [TICK, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000];

/// Ages between which deaths are counted: up to the first, from there up to the second and so on, and above the last.
pub const EDGES: [Nanos; 8] =
    [TICK, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000, 100_000_000_000, 1_000_000_000_000];

/// Up to this age, in ticks, every tick is kept apart; above, only so many leading bits.
const EXACT: u64 = 1 << 12;

/// Blocks that reached an age and no more.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct AtAge {
    died: Weight,
    censored: Weight,
}

/// Blocks as the two estimates weigh them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Weight {
    count: f64,
    bytes: f64,
    /// Sum of squares of bytes.
    squares: f64,
}

impl Weight {
    fn add(&mut self, other: Weight) {
        self.count += other.count;
        self.bytes += other.bytes;
        self.squares += other.squares;
    }

    /// What it is a sum of: whole numbers.
    fn tally(self) -> Tally {
        Tally { count: self.count as u64, bytes: self.bytes as u64 }
    }
}

/// The ages of blocks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ages {
    at: BTreeMap<u64, AtAge>,
    births: u64,
    censored: u64,
}

/// What the ages say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Lifetimes {
    /// Blocks whose birth was seen.
    pub births: u64,
    /// Those that lived on when their window ended.
    pub censored: u64,
    /// How many had died by what age, as far as windows reached.
    pub died: Vec<DiedBy>,
}

/// The share of blocks, and of their bytes, that die by an age.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct DiedBy {
    /// The age.
    pub age_ns: Nanos,
    /// Of all blocks.
    pub of_blocks: Share,
    /// Of all bytes.
    pub of_bytes: Share,
}

/// A share between 0 and 1, with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Share {
    /// The estimate.
    pub share: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Ages {
    /// A block of so many bytes that died at an age, or lived on at it.
    pub fn observe(&mut self, age: Nanos, bytes: u64, died: bool) {
        let bytes = bytes as f64;
        let weight = Weight { count: 1.0, bytes, squares: bytes * bytes };
        let at = self.at.entry(rounded(age / TICK)).or_default();
        if died {
            at.died.add(weight)
        } else {
            at.censored.add(weight)
        }
        self.births += 1;
        self.censored += u64::from(!died);
    }

    /// Adds other blocks; the order does not matter.
    pub fn merge(&mut self, other: &Ages) {
        for (age, theirs) in &other.at {
            let at = self.at.entry(*age).or_default();
            at.died.add(theirs.died);
            at.censored.add(theirs.censored);
        }
        self.births += other.births;
        self.censored += other.censored;
    }

    /// All blocks: those whose birth was seen.
    pub fn born(&self) -> Tally {
        self.sum(|at| [at.died, at.censored])
    }

    /// Those that lived on.
    pub fn alive(&self) -> Tally {
        self.sum(|at| [at.censored])
    }

    fn sum<const N: usize>(&self, of: impl Fn(&AtAge) -> [Weight; N]) -> Tally {
        let mut sum = Weight::default();
        self.at.values().flat_map(of).for_each(|weight| sum.add(weight));
        sum.tally()
    }

    /// How many were seen to die between two of the [`EDGES`], the first up to the first one, the last above the last one.
    /// These are figures of windows: where those are short, no block can be seen to grow old.
    pub fn deaths(&self) -> [Tally; EDGES.len() + 1] {
        let mut deaths = [Weight::default(); EDGES.len() + 1];
        for (ticks, at) in &self.at {
            deaths[EDGES.partition_point(|edge| *edge < ticks * TICK)].add(at.died);
        }
        deaths.map(Weight::tally)
    }

    /// How many were seen to die, by the [`bucket`] of their age in nanoseconds.
    pub fn deaths_by_class(&self) -> BTreeMap<Nanos, Tally> {
        let mut deaths: BTreeMap<Nanos, Tally> = BTreeMap::new();
        for (ticks, at) in self.at.iter().filter(|(_, at)| at.died.count > 0.0) {
            deaths.entry(bucket(ticks.saturating_mul(TICK))).or_default().add(at.died.tally());
        }
        deaths
    }

    /// The estimate at each of the [`HORIZONS`] that some block reached.
    pub fn finish(&self) -> Lifetimes {
        Lifetimes { births: self.births, censored: self.censored, died: self.died_by(HORIZONS) }
    }

    /// The estimate at ages, ascending, as far as some block reached them.
    pub fn died_by(&self, horizons: impl IntoIterator<Item = Nanos>) -> Vec<DiedBy> {
        let mut alive = Weight::default();
        for at in self.at.values() {
            alive.add(at.died);
            alive.add(at.censored);
        }
        let oldest = self.at.keys().next_back().map_or(0, |ticks| ticks * TICK);
        let (mut blocks, mut bytes) = (Survival::default(), Survival::default());
        let mut ages = self.at.iter().peekable();
        let mut died = Vec::new();
        for age_ns in horizons.into_iter().filter(|horizon| self.births > 0 && *horizon <= oldest) {
            while let Some((_, at)) = ages.next_if(|(ticks, _)| **ticks * TICK <= age_ns) {
                blocks.step(at.died.count, alive.count, alive.count);
                bytes.step(at.died.bytes, alive.bytes, alive.squares);
                for gone in [at.died, at.censored] {
                    alive.count -= gone.count;
                    alive.bytes -= gone.bytes;
                    alive.squares -= gone.squares;
                }
            }
            let (of_blocks, of_bytes) = (blocks.died(alive.count), bytes.died(equal(alive.bytes, alive.squares)));
            died.push(DiedBy { age_ns, of_blocks, of_bytes });
        }
        died
    }
}

/// The age of a whole class of ages: those above [`EXACT`] ticks differ by less than a thousandth.
fn rounded(ticks: u64) -> u64 {
    let drop = ticks.max(1).ilog2().saturating_sub(EXACT.ilog2() - 1);
    ticks >> drop << drop
}

/// How many equal weights would say as much as these: a sum and a sum of squares.
fn equal(sum: f64, squares: f64) -> f64 {
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// The estimate on its way through the ages.
#[derive(Debug, Clone, Copy)]
struct Survival {
    /// The share that lives on.
    share: f64,
    /// Greenwood's sum.
    variance: f64,
    /// How many blocks the last step rests on; of weights, how many [`equal`] ones.
    basis: f64,
}

impl Default for Survival {
    fn default() -> Self {
        Survival { share: 1.0, variance: 0.0, basis: 0.0 }
    }
}

impl Survival {
    /// Of `alive`, `died` die at this age. With weights, the variance of a weighted mean: `squares` is the sum of the
    /// squares of what is alive.
    fn step(&mut self, died: f64, alive: f64, squares: f64) {
        if alive <= 0.0 {
            return;
        }
        let basis = equal(alive, squares);
        if self.share > 0.0 {
            self.basis = basis;
        }
        let hazard = (died / alive).clamp(0.0, 1.0);
        self.share *= 1.0 - hazard;
        if hazard > 0.0 && hazard < 1.0 && basis > 0.0 {
            self.variance += hazard / (1.0 - hazard) / basis;
        }
    }

    /// The share of the dead. The interval is symmetric on the scale of log(-log), which keeps it between 0 and 1; where
    /// none or all have died, it is the one of as many equal trials; `alive` are those that are older.
    fn died(&self, alive: f64) -> Share {
        let died = 1.0 - self.share;
        let end = |trials: f64| 0.05f64.powf(1.0 / trials.max(1.0));
        if died <= 0.0 {
            return Share { share: 0.0, low: 0.0, high: 1.0 - end(alive.max(self.basis)) };
        }
        if self.share <= 1e-12 {
            return Share { share: 1.0, low: end(self.basis), high: 1.0 };
        }
        let reach = (NORMAL * self.variance.sqrt() / self.share.ln()).abs().exp();
        Share { share: died, low: 1.0 - self.share.powf(1.0 / reach), high: 1.0 - self.share.powf(reach) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn a_textbook_example() {
        // Freireich's patients on 6-MP, in ticks for weeks; + is censored: 6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22
        // 23 25+ 32+ 32+ 34+ 35+. S(16 ticks) = 0.627, Greenwood's error 0.114.
        let died = [6, 6, 6, 7, 10, 13, 16, 22, 23];
        let censored = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35];
        let mut ages = Ages::default();
        died.iter().for_each(|ticks| ages.observe(ticks * TICK, 8, true));
        censored.iter().for_each(|ticks| ages.observe(ticks * TICK, 8, false));
        let lifetimes = ages.finish();
        assert_eq!((lifetimes.births, lifetimes.censored), (21, 12));
        // 1 ms is 15.6 ticks: before the death at 16, after that at 13. S = 0.690, error 0.107.
        let [first, second] = lifetimes.died[..] else { panic!("{lifetimes:?}") };
        assert_eq!((first.age_ns, first.of_blocks.share), (TICK, 0.0));
        assert!((second.of_blocks.share - 0.310).abs() < 0.001, "{second:?}");
        // On the log(-log) scale: 0.690 ^ exp(+-1.96 * 0.107 / (0.690 * ln 0.690)).
        assert!((second.of_blocks.low - 0.151).abs() < 0.003 && (second.of_blocks.high - 0.569).abs() < 0.006);
        // All weigh the same.
        assert!((second.of_bytes.low - second.of_blocks.low).abs() < 1e-9);
    }

    /// By the definition, age for age over all blocks.
    fn naive(blocks: &[(u64, u64, bool)], horizon: u64, weigh: impl Fn(u64) -> f64) -> f64 {
        let mut share = 1.0;
        for tick in 0..=horizon / TICK {
            let sum = |of: &dyn Fn(&(u64, u64, bool)) -> bool| {
                blocks.iter().filter(|block| of(block)).map(|block| weigh(block.1)).sum::<f64>()
            };
            let alive = sum(&|(age, _, _)| *age >= tick);
            let died = sum(&|(age, _, died)| *age == tick && *died);
            share *= if alive > 0.0 { 1.0 - died / alive } else { 1.0 };
        }
        1.0 - share
    }

    proptest! {
        #[test]
        fn agrees_with_its_naive_twin(blocks in vec((0..300u64, 1..100_000u64, any::<bool>()), 1..80)) {
            let (mut all, mut halves) = (Ages::default(), [Ages::default(), Ages::default()]);
            for (at, (age, bytes, died)) in blocks.iter().enumerate() {
                all.observe(age * TICK, *bytes, *died);
                halves[at % 2].observe(age * TICK, *bytes, *died);
            }
            for DiedBy { age_ns, of_blocks, of_bytes } in all.finish().died {
                prop_assert!((of_blocks.share - naive(&blocks, age_ns, |_| 1.0)).abs() < 1e-9);
                prop_assert!((of_bytes.share - naive(&blocks, age_ns, |bytes| bytes as f64)).abs() < 1e-9);
                for Share { share, low, high } in [of_blocks, of_bytes] {
                    prop_assert!(0.0 <= low && low <= share + 1e-9 && share <= high + 1e-9 && high <= 1.0);
                }
            }
            let [mut merged, other] = halves;
            merged.merge(&other);
            prop_assert_eq!(merged.finish().births, all.finish().births);
            prop_assert_eq!((merged.born(), merged.alive(), merged.deaths()), (all.born(), all.alive(), all.deaths()));
            let dead: u64 = all.deaths().iter().map(|tally| tally.bytes).sum();
            prop_assert_eq!(dead + all.alive().bytes, all.born().bytes);
            let young = blocks.iter().filter(|(age, _, died)| *died && *age <= 15).map(|(_, bytes, _)| bytes).sum::<u64>();
            prop_assert_eq!(all.deaths()[0].bytes + all.deaths()[1].bytes, young);
        }

        #[test]
        fn rounding_is_fine(ticks: u64) {
            let kept = rounded(ticks);
            prop_assert!(kept <= ticks && (ticks - kept) as f64 <= ticks as f64 / 1000.0);
            prop_assert!(ticks >= EXACT || kept == ticks);
        }
    }
}
