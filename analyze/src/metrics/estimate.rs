//! From windows to all of the time: how often something happened in a recording of which only parts were observed.
//!
//! A process makes calls while it uses processor time, and the kernel counts that all the time. So what happened
//! between two windows is estimated by the processor time used there, at the density of the windows around it. Windows
//! are opened at random moments, so each speaks for as much time as any other, however long it was itself: one that a
//! burst has closed early must not count for less, and one in which the process was busy counts for more of its work.

use super::student;

/// A window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// Processor time the process had used when it was opened.
    pub cpu_start_ns: u64,
    /// Processor time used in it.
    pub cpu_ns: u64,
    /// How long it was.
    pub wall_ns: u64,
    /// Hits of all probes in it; each took some of that time.
    pub hits: u64,
    /// Calls are missing in it: it counts as time that was not observed.
    pub lossy: bool,
}

/// A recording of a process in windows, in the order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampling {
    /// The windows.
    pub windows: Vec<Observed>,
    /// Processor time the process had used at the start of the recording.
    pub cpu_from_ns: u64,
    /// And at its end, if that is known.
    pub cpu_to_ns: Option<u64>,
    /// What a hit costs.
    pub hit_ns: u64,
    /// How well that is known: how far the rounds of the calibration lie apart.
    pub hit_spread_ns: u64,
}

/// A number of which a part was observed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// What was observed: the truth is not less.
    pub observed: u64,
    /// The estimate, what was observed included.
    pub total: f64,
    /// Its 95 % confidence interval; none from fewer than three windows.
    pub interval: Option<(f64, f64)>,
}

/// At most so many groups of windows are left out, one after the other.
const GROUPS: usize = 50;
/// A window with so many hits tells well what each took.
const MANY: u64 = 100;
/// And of such windows one in so many tells too little: processor time is not counted at the very moment of the hits.
const TENTH: usize = 10;
/// The share of the processor time of a hit's call that is the hit's own, at most: a sweep frees a block in some 80 ns.
const OF_A_HIT: f64 = 0.96;
/// Fewer windows say nothing about how much windows differ.
const FEWEST: usize = 3;

impl Sampling {
    /// Estimates the total of something of which each window saw so much.
    pub fn estimate(&self, counts: &[u64]) -> Estimate {
        let usable = (0..counts.len()).filter(|&at| !self.windows[at].lossy);
        let observed = usable.fold(0u64, |sum, at| sum.saturating_add(counts[at]));
        let (low, hit, high) = self.hit_cost();
        let total = self.total(counts, &self.efforts(hit), hit, |_| true);
        let intervals = [low, hit, high].into_iter().filter_map(|hit| self.interval(counts, hit));
        let widest = intervals.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        // What was observed has happened.
        let interval = widest.map(|(low, high)| (low.max(observed as f64), high.max(observed as f64)));
        Estimate { observed, total, interval }
    }

    /// What a hit cost at least, most likely and at most. It was calibrated on another process; but it cannot have cost
    /// more than the processor time that went by for each, and where it seems to, it is known no better than that.
    fn hit_cost(&self) -> (f64, f64, f64) {
        let calibrated = self.hit_ns as f64;
        let usable = || self.windows.iter().filter(|window| !window.lossy && window.hits > 0);
        let a_hit = |window: &Observed| window.cpu_ns as f64 / window.hits as f64;
        let mut many: Vec<f64> = usable().filter(|window| window.hits >= MANY).map(a_hit).collect();
        many.sort_by(f64::total_cmp);
        let many = many.get(many.len() / TENTH).copied();
        let (cpu, hits) = usable().fold((0.0, 0.0), |(c, h), w| (c + w.cpu_ns as f64, h + w.hits as f64));
        let most = OF_A_HIT * many.unwrap_or(if hits > 0.0 { cpu / hits } else { f64::INFINITY });
        let likely = calibrated.min(most);
        let half = (self.hit_spread_ns as f64 / 2.0).max(calibrated - likely);
        ((likely - half).max(0.0), likely, (likely + half).min(most))
    }

    /// Windows in which the hits took nearly all processor time, as far as their cost is known: what they say of the
    /// program's own time is little.
    pub fn drowned(&self) -> u64 {
        let efforts = self.efforts(self.hit_ns as f64);
        let drowned = |(window, effort): &(&Observed, f64)| {
            !window.lossy && window.hits > 0 && *effort > window.cpu_ns as f64 - window.hits as f64 * self.hit_ns as f64
        };
        self.windows.iter().zip(efforts).filter(drowned).count() as u64
    }

    /// The processor time of each window without what the hits took: never less than a twentieth, nor than 20 ns a hit,
    /// for the cost of a hit is not known that well.
    fn efforts(&self, hit_ns: f64) -> Vec<f64> {
        let effort = |window: &Observed| {
            let (cpu, hits) = (window.cpu_ns as f64, window.hits as f64);
            (cpu - hits * hit_ns).max(0.05 * cpu).max(20.0 * hits)
        };
        self.windows.iter().map(effort).collect()
    }

    /// The total as estimated from some of the windows; the others then count as not observed.
    fn total(&self, counts: &[u64], efforts: &[f64], hit_ns: f64, keep: impl Fn(usize) -> bool) -> f64 {
        // A window in which the process did nothing says nothing of when it does something.
        let density = |(count, effort): (f64, f64)| if effort > 0.0 { Some(count / effort) } else { None };
        let sum = |a: (f64, f64), b: (f64, f64)| (a.0 + b.0, a.1 + b.1);
        // Counts and processor time a nanosecond of the window, as it would have been without hits.
        let pace = |at: usize| {
            let window = &self.windows[at];
            let wall = (window.wall_ns as f64 - window.hits as f64 * hit_ns).max(0.05 * window.wall_ns as f64).max(1.0);
            (counts[at] as f64 / wall, efforts[at] / wall)
        };
        let keep = |at: usize| !self.windows[at].lossy && keep(at);
        let all = (0..counts.len()).filter(|&at| keep(at)).map(pace);
        let overall = density(all.fold((0.0, 0.0), sum)).unwrap_or(0.0);
        let mut total = 0.0;
        // Processor time since the last window that is kept, and that window.
        let mut unobserved = 0.0;
        let (mut last, mut cpu) = ((0.0, 0.0), self.cpu_from_ns);
        for (at, window) in self.windows.iter().enumerate() {
            unobserved += window.cpu_start_ns.saturating_sub(cpu) as f64;
            cpu = window.cpu_start_ns.saturating_add(window.cpu_ns);
            if !keep(at) {
                unobserved += efforts[at];
                continue;
            }
            let this = pace(at);
            total += counts[at] as f64 + unobserved * density(sum(last, this)).unwrap_or(overall);
            (unobserved, last) = (0.0, this);
        }
        unobserved += self.cpu_to_ns.map_or(0, |end| end.saturating_sub(cpu)) as f64;
        total + unobserved * density(last).unwrap_or(overall)
    }

    /// The delete-a-group jackknife: how much the estimate depends on which windows there were. Groups interleave, so
    /// that each is spread over all of the time. It errs towards width: a window that is left out is replaced by its
    /// neighbours, which differ from it more than the mean of all does.
    fn interval(&self, counts: &[u64], hit_ns: f64) -> Option<(f64, f64)> {
        let efforts = &self.efforts(hit_ns);
        // Each window's place among those that can be used.
        let places: Vec<usize> = self
            .windows
            .iter()
            .scan(0, |next, window| Some(std::mem::replace(next, *next + usize::from(!window.lossy))))
            .collect();
        let usable = self.windows.iter().filter(|window| !window.lossy).count();
        let groups = usable.min(GROUPS);
        if groups < FEWEST {
            return None;
        }
        let without: Vec<f64> =
            (0..groups).map(|group| self.total(counts, efforts, hit_ns, |at| places[at] % groups != group)).collect();
        let mean = without.iter().sum::<f64>() / groups as f64;
        let squares: f64 = without.iter().map(|total| (total - mean).powi(2)).sum();
        let error = (squares * (groups - 1) as f64 / groups as f64).sqrt();
        let total = self.total(counts, efforts, hit_ns, |_| true);
        let reach = student::quantile(groups - 1) * error;
        Some((total - reach, total + reach))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window in which the process never slept.
    fn observed(cpu_start_ns: u64, cpu_ns: u64, hits: u64) -> Observed {
        Observed { cpu_start_ns, cpu_ns, wall_ns: cpu_ns, hits, lossy: false }
    }

    #[test]
    fn what_lies_between_has_the_density_of_its_neighbours() {
        // 100 calls in 1000 ns of work, then 300 in 1000; hits took the rest.
        let windows = vec![observed(500, 2000, 100), observed(6500, 4000, 300)];
        let sampling = Sampling { windows, cpu_from_ns: 0, cpu_to_ns: Some(11_000), hit_ns: 10, hit_spread_ns: 0 };
        let estimate = sampling.estimate(&[100, 300]);
        // 20 ns a hit is the least: the work is 2000 and 6000 ns, in 1000 ns of wall each, so both weigh the same: 3 and 1
        // times as busy as possible, as four threads may be.
        let (first, second, both) = (100.0 / 2000.0, 300.0 / 6000.0, (100.0 + 300.0) / (2000.0 + 6000.0));
        let expected = 400.0 + 500.0 * first + 4000.0 * both + 500.0 * second;
        assert!((estimate.total - expected).abs() < 1e-9, "{estimate:?}");
        assert_eq!((estimate.observed, estimate.interval), (400, None));
        let idle = Sampling { windows: vec![observed(0, 0, 0); 4], cpu_from_ns: 0, cpu_to_ns: None, ..sampling };
        let nothing = Estimate { observed: 0, total: 0.0, interval: Some((0.0, 0.0)) };
        assert_eq!(idle.estimate(&[0, 0, 0, 0]), nothing);
    }

    #[test]
    fn the_interval_is_as_wide_as_the_calibration_is_bad() {
        let windows: Vec<Observed> = (0..20).map(|at| observed(at * 100_000, 2000 + at % 3 * 100, 1)).collect();
        let counts: Vec<u64> = (0..20).map(|at| 5 + at % 3).collect();
        let sharp = Sampling { windows, cpu_from_ns: 0, cpu_to_ns: None, hit_ns: 1000, hit_spread_ns: 0 };
        let blurred = Sampling { hit_spread_ns: 800, ..sharp.clone() };
        let (a, b) = (sharp.estimate(&counts), blurred.estimate(&counts));
        let ((low, high), (lower, higher)) = (a.interval.unwrap(), b.interval.unwrap());
        assert!(a.total == b.total && lower < low && high < higher && lower >= a.observed as f64);
    }

    #[test]
    fn a_lossy_window_is_time_that_was_not_observed() {
        let windows: Vec<Observed> = (0..9).map(|at| observed(at * 100_000, 2000, 0)).collect();
        let mut lossy = windows.clone();
        lossy[4].lossy = true;
        let sampling = |windows| Sampling { windows, cpu_from_ns: 0, cpu_to_ns: None, hit_ns: 0, hit_spread_ns: 0 };
        let (all, some) = (sampling(windows).estimate(&[7; 9]), sampling(lossy).estimate(&[7, 7, 7, 7, 1, 7, 7, 7, 7]));
        assert_eq!((all.observed, some.observed), (63, 56));
        assert!((all.total - some.total).abs() < 1e-9 && some.interval.is_some());
    }

    #[test]
    fn where_hits_cannot_have_cost_what_was_calibrated_the_interval_says_so() {
        // Hits cost 1000 ns, and 10,000 were calibrated on a busy machine.
        let windows: Vec<Observed> = (0..20).map(|at| observed(at * 100_000, 1500, 1)).collect();
        let sampling = Sampling { windows, cpu_from_ns: 0, cpu_to_ns: None, hit_ns: 10_000, hit_spread_ns: 100 };
        assert_eq!(sampling.drowned(), 20);
        let estimate = sampling.estimate(&[1; 20]);
        let truth = 20.0 + (19.0 * 98_500.0) / 500.0;
        let (low, high) = estimate.interval.unwrap();
        assert!(low < truth && truth < high && truth < estimate.total);
    }

    /// A program whose calls a nanosecond of work vary with time, recorded in windows at about 1 % of the time.
    /// A window lasts until it has seen `purse` hits, but no longer than ten slices.
    fn simulate(seed: u64, density: impl Fn(f64) -> f64, bursts: bool, purse: u64) -> (Sampling, Vec<u64>, f64) {
        const SLICES: u64 = 60_000;
        const SLICE: u64 = 100_000;
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 11) as f64 / (1u64 << 53) as f64
        };
        let (mut windows, mut counts) = (Vec::new(), Vec::new());
        let (mut truth, mut cpu, mut busy, mut level) = (0.0, 0u64, true, 1.0);
        let (mut open, mut last) = (300 + (next() * 300.0) as u64, 0);
        for slice in 0..SLICES {
            // Bursts: busy and idle spells, each with a density of its own.
            if bursts && next() < 0.02 {
                busy = !busy;
                level = 0.3 + 1.4 * next();
            }
            let work = if busy { SLICE as f64 } else { SLICE as f64 * 0.05 };
            let mean = work * density(slice as f64 / SLICES as f64) * level;
            let calls = (mean * (0.5 + next())).round();
            truth += calls;
            if slice >= open {
                let hits = calls as u64;
                if slice == open {
                    windows.push(observed(cpu, 0, 0));
                    counts.push(0);
                    last = slice + 9;
                }
                let at = windows.len() - 1;
                windows[at].cpu_ns += work as u64 + hits * 1000;
                windows[at].wall_ns += SLICE + hits * 1000;
                windows[at].hits += hits;
                counts[at] += hits;
                cpu += hits * 1000;
                if counts[at] >= purse || slice == last {
                    open = slice + 50 + (next() * 100.0) as u64;
                }
            }
            cpu += work as u64;
        }
        (Sampling { windows, cpu_from_ns: 0, cpu_to_ns: Some(cpu), hit_ns: 1000, hit_spread_ns: 0 }, counts, truth)
    }

    fn coverage(density: impl Fn(f64) -> f64, bursts: bool, purse: u64) -> (usize, f64) {
        let (mut covered, mut width) = (0, 0.0);
        for seed in 1..=200 {
            let (sampling, counts, truth) = simulate(seed, &density, bursts, purse);
            let estimate = sampling.estimate(&counts);
            let (low, high) = estimate.interval.unwrap();
            covered += usize::from((low..=high).contains(&truth));
            width += (high - low) / truth / 200.0;
        }
        (covered, width)
    }

    #[test]
    fn the_interval_covers_the_truth() {
        for (name, (covered, width)) in [
            ("steady", coverage(|_| 0.002, false, 0)),
            ("bursty", coverage(|_| 0.002, true, 0)),
            ("trending", coverage(|time| 0.001 + 0.004 * time, false, 0)),
            ("bursty and trending", coverage(|time| 0.001 + 0.004 * time, true, 0)),
            // Every third part of a second most of what happens, as sweeps do: those windows end early.
            (
                "closed early",
                coverage(|time| if ((time * 180.0) as u64).is_multiple_of(3) { 0.005 } else { 0.0005 }, false, 400),
            ),
        ] {
            println!("{name}: {covered} of 200, {:.1} % wide", width * 100.0);
            assert!(covered >= 180, "{name}: {covered} of 200");
            assert!(width < 0.5, "{name}: {width}");
        }
    }
}
