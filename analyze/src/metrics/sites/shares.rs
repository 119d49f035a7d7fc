//! What samples say of all calls: shares with intervals.
//!
//! Which calls are sampled is left to chance, so the share of a sum among samples is that among all calls, give or take. How
//! much, is told by how far groups of samples that follow one another differ from each other: calls come in bursts, so that
//! neighbours are alike, and single samples would make it look better known than it is (ultimate clusters: Cochran, Sampling
//! Techniques, 1977, 6.3 and 10.10). The interval is Wilson's, for as many single samples as would tell as much, with
//! Student's quantile for so many groups (Korn and Graubard, 1998). Groups all alike prove nothing: it is never narrower
//! than as many samples allow as the weights are worth (Kish: the square of their sum by the sum of their squares).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::metrics::student;

/// A share of a sum over all calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
pub struct Share {
    /// Samples that it rests on.
    pub samples: u64,
    /// The share, between 0 and 1.
    pub share: f64,
    /// The lower end of its 95 % confidence interval.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// The same share of the sum: bytes, or calls.
    pub amount: f64,
    /// Its lower end.
    pub amount_low: f64,
    /// Its upper end.
    pub amount_high: f64,
}

/// Samples in the order of the calls, each with what it weighs and the group it is in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weighed {
    samples: Vec<(usize, f64)>,
    groups: usize,
    /// The sum over all calls, which is known.
    total: u64,
}

/// Groups there are to be, at most.
const GROUPS: usize = 30;
/// Turns with gaps between them that are as good as groups: within a turn samples may be alike.
const TURNS: usize = 5;
/// A group has at least so many samples, where they have to be split.
const IN_GROUP: usize = 2;

impl Weighed {
    /// Puts samples into groups. `turns` are stretches of calls during which samples were taken, each with what its samples
    /// weigh; `total` is the sum over all calls.
    pub fn new(turns: &[Vec<f64>], total: u64) -> Weighed {
        let turns: Vec<&Vec<f64>> = turns.iter().filter(|turn| !turn.is_empty()).collect();
        let all: usize = turns.iter().map(|turn| turn.len()).sum();
        let mut samples = Vec::with_capacity(all);
        let groups = if turns.len() >= TURNS { turns.len() } else { all / IN_GROUP }.clamp(1, GROUPS);
        for (number, turn) in turns.iter().enumerate() {
            for weight in *turn {
                let group =
                    if turns.len() >= TURNS { number * groups / turns.len() } else { samples.len() * groups / all };
                samples.push((group, *weight));
            }
        }
        Weighed { samples, groups, total }
    }

    /// How many samples there are.
    pub fn samples(&self) -> usize {
        self.samples.len()
    }

    /// How many groups they are in.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// The shares of what samples are of: `keys` has a key for each. What weighs nothing has no share.
    pub fn shares<K: Ord + Copy>(&self, keys: &[K]) -> BTreeMap<K, Share> {
        let mut group_sums = vec![0.0; self.groups];
        let mut squares = 0.0;
        let mut of: BTreeMap<K, (u64, Vec<f64>)> = BTreeMap::new();
        for ((group, weight), key) in self.samples.iter().zip(keys) {
            group_sums[*group] += weight;
            squares += weight * weight;
            let (samples, sums) = of.entry(*key).or_insert_with(|| (0, vec![0.0; self.groups]));
            *samples += 1;
            sums[*group] += weight;
        }
        let sum: f64 = group_sums.iter().sum();
        let worth = sum * sum / squares;
        let share = |(key, (samples, sums)): (K, (u64, Vec<f64>))| {
            let share = sums.iter().sum::<f64>() / sum;
            let (low, high) = self.interval(share, &sums, &group_sums, worth);
            let [amount, amount_low, amount_high] = [share, low, high].map(|share| share * self.total as f64);
            (key, Share { samples, share, low, high, amount, amount_low, amount_high })
        };
        of.into_iter().filter(|(_, (_, sums))| sums.iter().any(|sum| *sum > 0.0)).map(share).collect()
    }

    /// The 95 % confidence interval of a share.
    fn interval(&self, share: f64, sums: &[f64], group_sums: &[f64], worth: f64) -> (f64, f64) {
        if self.groups < 2 {
            return wilson(share, worth, student::NORMAL);
        }
        let sum: f64 = group_sums.iter().sum();
        let groups = self.groups as f64;
        let residuals: f64 = sums.iter().zip(group_sums).map(|(own, all)| (own - share * all).powi(2)).sum();
        let variance = groups / (groups - 1.0) * residuals / (sum * sum);
        // As many single samples would tell as much.
        let equal_to = if variance > 0.0 { (share * (1.0 - share) / variance).min(worth) } else { worth };
        wilson(share, equal_to, student::quantile(self.groups - 1))
    }
}

/// Wilson's interval of a share among so many samples, which reaches so many standard errors.
fn wilson(share: f64, samples: f64, reach: f64) -> (f64, f64) {
    let squared = reach * reach;
    let middle = (share + squared / (2.0 * samples)) / (1.0 + squared / samples);
    let spread = (share * (1.0 - share) / samples + squared / (4.0 * samples * samples)).sqrt();
    let reach = reach * spread / (1.0 + squared / samples);
    // The share itself lies inside: rounding must not leave it out.
    ((middle - reach).clamp(0.0, share), (middle + reach).clamp(share, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilsons_interval_is_that_of_the_textbooks() {
        // Agresti and Coull, 1998: 0 of 10, and 5 of 20.
        let near = |(low, high): (f64, f64), expected: (f64, f64)| {
            assert!((low - expected.0).abs() < 5e-4 && (high - expected.1).abs() < 5e-4, "{low} {high}");
        };
        near(wilson(0.0, 10.0, student::NORMAL), (0.0, 0.2775));
        near(wilson(0.25, 20.0, student::NORMAL), (0.1119, 0.4687));
    }

    #[test]
    fn shares_sum_to_one_and_few_samples_have_wide_intervals() {
        let turn: Vec<f64> = (0..400).map(|at| f64::from(at % 7)).collect();
        let keys: Vec<usize> = (0..400).map(|at| at % 100 / 33).collect();
        let shares = Weighed::new(&[turn], 1000).shares(&keys);
        assert!((shares.values().map(|share| share.share).sum::<f64>() - 1.0).abs() < 1e-9);
        assert!((shares.values().map(|share| share.amount).sum::<f64>() - 1000.0).abs() < 1e-6);
        assert_eq!(shares.values().map(|share| share.samples).sum::<u64>(), 400);
        let few = Weighed::new(&[vec![1.0; 3]], 10).shares(&[0, 0, 1]);
        assert!(few[&1].low < 0.07 && few[&1].high > 0.75, "{few:?}");
        // All that was seen weighs nothing: nothing is known.
        assert!(Weighed::new(&[vec![0.0; 3]], 10).shares(&[0, 0, 1]).is_empty());
        assert!(Weighed::new(&[], 10).shares::<u32>(&[]).is_empty());
    }

    #[test]
    fn groups_are_whole_turns_where_there_are_enough() {
        let of = |turns: usize, each: usize| Weighed::new(&vec![vec![1.0; each]; turns], 1).groups();
        assert_eq!(
            [(1, 1000), (1, 20), (1, 3), (4, 10), (5, 200), (30, 9), (200, 9)].map(|(n, m)| of(n, m)),
            [30, 10, 1, 20, 5, 30, 30]
        );
    }
}
