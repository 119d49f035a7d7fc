//! What a program asks of its allocator, a second: counted where every call was recorded, else estimated.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::asks::{Asks, ClassAsks};
use super::estimate::{Estimate, Sampling};
use super::population::bucket;

/// What figures rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Every call was recorded.
    Exact,
    /// Calls were recorded in windows.
    Estimate,
}

/// How often something happens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Rate {
    /// Times, or bytes, that were recorded.
    pub observed: u64,
    /// A second.
    pub per_second: f64,
    /// The lower end of the 95 % confidence interval; none of an exact figure, nor from fewer than three windows.
    pub low: Option<f64>,
    /// Its upper end.
    pub high: Option<f64>,
}

/// The rates of one size class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct ClassRates {
    /// The smallest chunk that is counted here, a power of two.
    pub size_from: u64,
    /// Allocations.
    pub allocs: Rate,
    /// Bytes allocated, the growth of resizes included.
    pub allocated: Rate,
    /// Bytes freed, what resizes give back included.
    pub freed: Rate,
}

/// The rates of a process, or of a VM.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Rates {
    /// What they rest on.
    pub basis: Basis,
    /// How long the process was recorded.
    pub recorded_ns: u64,
    /// How much of that lies in windows; all of it, if every call was recorded.
    pub observed_ns: u64,
    /// Windows; stretches without a loss, if every call was recorded.
    pub windows: u64,
    /// Windows that are left out, because hits were lost in them.
    pub windows_left_out: u64,
    /// Windows in which the hits took nearly all processor time, as calibrated: figures that rest on them are too high.
    pub windows_drowned: u64,
    /// Calls of every kind.
    pub calls: Rate,
    /// Allocations.
    pub allocs: Rate,
    /// Resizes.
    pub resizes: Rate,
    /// Frees.
    pub frees: Rate,
    /// Bytes allocated, the growth of resizes included.
    pub allocated: Rate,
    /// Bytes freed, what resizes give back included.
    pub freed: Rate,
    /// By size class, ascending.
    pub classes: Vec<ClassRates>,
}

/// How long was recorded, and how much of it observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// In all.
    pub recorded_ns: u64,
    /// In windows.
    pub observed_ns: u64,
}

impl Rates {
    /// Counts of stretches in which every call was recorded.
    pub fn exact(stretches: &[Asks], time: Time) -> Rates {
        let rate = |of: &dyn Fn(&Asks) -> u64| exact(stretches.iter().map(of).fold(0u64, u64::saturating_add), time);
        let time = Time { observed_ns: time.recorded_ns, ..time };
        Rates::of(Basis::Exact, stretches, time, stretches.len() as u64, 0, rate)
    }

    /// An estimate from what each of the windows saw.
    pub fn estimated(sampling: &Sampling, windows: &[Asks], time: Time) -> Rates {
        let rate = |of: &dyn Fn(&Asks) -> u64| estimated(sampling, &windows.iter().map(of).collect::<Vec<u64>>(), time);
        let lossy = sampling.windows.iter().filter(|window| window.lossy).count() as u64;
        let rates = Rates::of(Basis::Estimate, windows, time, windows.len() as u64 - lossy, lossy, rate);
        Rates { windows_drowned: sampling.drowned(), ..rates }
    }

    fn of(
        basis: Basis,
        asks: &[Asks],
        Time { recorded_ns, observed_ns }: Time,
        windows: u64,
        windows_left_out: u64,
        rate: impl Fn(&dyn Fn(&Asks) -> u64) -> Rate,
    ) -> Rates {
        let sizes: BTreeSet<u64> = asks.iter().flat_map(|asks| asks.classes.keys().copied()).collect();
        let classes = sizes.into_iter().map(|size_from| {
            let class = |of: fn(&ClassAsks) -> u64| rate(&move |asks| asks.classes.get(&size_from).map_or(0, of));
            ClassRates {
                size_from: bucket(size_from),
                allocs: class(|class| class.allocs),
                allocated: class(|class| class.allocated),
                freed: class(|class| class.freed),
            }
        });
        Rates {
            basis,
            recorded_ns,
            observed_ns,
            windows,
            windows_left_out,
            windows_drowned: 0,
            calls: rate(&Asks::calls),
            allocs: rate(&|asks| asks.allocs),
            resizes: rate(&|asks| asks.resizes),
            frees: rate(&|asks| asks.frees),
            allocated: rate(&|asks| asks.allocated),
            freed: rate(&|asks| asks.freed),
            classes: classes.collect(),
        }
    }

    /// Every figure that is no size class's, by name, in the order of every output.
    pub fn named(&self) -> [(&'static str, &Rate); 6] {
        [
            ("calls", &self.calls),
            ("alloc", &self.allocs),
            ("resize", &self.resizes),
            ("free", &self.frees),
            ("allocated", &self.allocated),
            ("freed", &self.freed),
        ]
    }
}

/// The rate of something of which everything was recorded.
pub fn exact(observed: u64, time: Time) -> Rate {
    Rate { observed, per_second: per_second(observed as f64, time), low: None, high: None }
}

/// The rate of something of which each window saw so much.
pub fn estimated(sampling: &Sampling, counts: &[u64], time: Time) -> Rate {
    let Estimate { observed, total, interval } = sampling.estimate(counts);
    let end = |end: fn((f64, f64)) -> f64| interval.map(|interval| per_second(end(interval), time));
    Rate { observed, per_second: per_second(total, time), low: end(|i| i.0), high: end(|i| i.1) }
}

/// No time, no rate.
fn per_second(total: f64, time: Time) -> f64 {
    if time.recorded_ns == 0 { 0.0 } else { total * 1e9 / time.recorded_ns as f64 }
}

#[cfg(test)]
mod tests {
    use super::super::estimate::Observed;
    use super::*;
    use shared::call::Call;

    fn asks(sizes: &[u64]) -> Asks {
        let mut asks = Asks::default();
        sizes.iter().for_each(|&nsize| asks.observe(&Call { time: 0, ptr: 0, osize: 0, nsize }));
        asks
    }

    #[test]
    fn classes_sum_to_the_whole() {
        let windows = [asks(&[40, 50, 100]), asks(&[3000]), asks(&[]), asks(&[20, 20, 20, 20])];
        let time = Time { recorded_ns: 2_000_000_000, observed_ns: 1_000_000 };
        let observed =
            |at: u64| Observed { cpu_start_ns: at * 10_000, cpu_ns: 3000, wall_ns: 3000, hits: 0, lossy: false };
        let sampling = Sampling {
            windows: (0..4).map(observed).collect(),
            cpu_from_ns: 0,
            cpu_to_ns: Some(50_000),
            hit_ns: 1000,
            hit_spread_ns: 0,
        };
        let exact = Rates::exact(&windows, time);
        assert_eq!((exact.allocated.observed, exact.allocated.per_second, exact.calls.low), (3270, 1635.0, None));
        assert_eq!((exact.calls.per_second, exact.observed_ns), (4.0, time.recorded_ns));
        for rates in [exact, Rates::estimated(&sampling, &windows, time)] {
            let sum = |of: fn(&ClassRates) -> f64| rates.classes.iter().map(of).sum::<f64>();
            assert!((sum(|class| class.allocated.per_second) - rates.allocated.per_second).abs() < 1e-6);
            assert!((sum(|class| class.allocs.per_second) - rates.allocs.per_second).abs() < 1e-6);
            assert_eq!((rates.classes.len(), rates.windows), (3, 4));
            assert!(rates.calls.per_second >= 4.0);
        }
    }
}
