//! A study of the blocks of some VMs: how long they live, how often the heap is turned over, how they grow.

use std::collections::{BTreeMap, BTreeSet};

use shared::Nanos;
use shared::trace::calls::TICK;
use shared::trace::meta::Window;

use super::births::{Births, Run};
use super::fates::{ClassFates, Fates};
use super::lives::{ClassLives, Figures, Turnover, VmLifetimes};
use super::population::Tally;
use super::rates::{Basis, Time, estimated, exact};
use super::windows::{hit_cost, sampling};
use crate::replay::observe::Study;
use crate::replay::period::Period;
use crate::replay::run::Replayed;
use crate::replay::verdict::Verdict;
use crate::replay::{Plan, Stretch, StretchEnd};

/// Follows the blocks of some VMs, each within its period.
#[derive(Debug)]
pub struct Followed<'a> {
    plan: &'a Plan,
    periods: BTreeMap<u32, Period>,
    /// The ends of windows, by VM: a keyframe between two is none.
    ends: BTreeSet<(u32, Nanos)>,
    run: Run,
    fates: BTreeMap<u32, Fates>,
    /// Bytes that came to life in each window, by VM and the window's end.
    windows: BTreeMap<(u32, Nanos), u64>,
}

impl<'a> Followed<'a> {
    /// A study of the VMs that have a period here.
    pub fn new(plan: &'a Plan, periods: BTreeMap<u32, Period>) -> Followed<'a> {
        let ends = plan.windows.iter().map(|at| (at.vm, at.window.end)).collect();
        Followed { plan, periods, ends, run: Run::default(), fates: BTreeMap::new(), windows: BTreeMap::new() }
    }

    /// What became of the blocks of each VM.
    pub fn fates(self) -> BTreeMap<u32, Fates> {
        self.fates
    }

    /// The figures, by VM; none of VMs of which no keyframe is known.
    pub fn finish(&self, verdict: &Verdict) -> Vec<VmLifetimes> {
        let of = |(number, period): (&u32, &Period)| {
            let fates = self.fates.get(number)?;
            let turnover = self.turnover(*number, *period, fates, verdict);
            let vm = self.plan.vms.get(number)?.clone();
            Some(VmLifetimes { number: *number, vm, period: *period, figures: self.figures(*number, fates, turnover) })
        };
        self.periods.iter().filter_map(of).collect()
    }

    fn figures(&self, vm: u32, fates: &Fates, turnover: Turnover) -> Figures {
        let ages = fates.ages();
        let mut all = ClassFates { ages, older_died: Tally::default() };
        fates.classes.values().for_each(|class| all.older_died.add(class.older_died));
        Figures {
            basis: if self.plan.windows.is_empty() { Basis::Exact } else { Basis::Estimate },
            windows: fates.windows,
            windows_left_out: self.windows_of(vm).count() as u64 - self.windows_in(vm).count() as u64,
            observed_ns: fates.observed_ns,
            blocks_at_start: fates.at_start,
            blocks_at_end: fates.at_end,
            turnover,
            curve: all.ages.died_by((0..48).map(|power| TICK << power)),
            all: ClassLives::of(0, &all),
            classes: fates.classes.iter().map(|(size, class)| ClassLives::of(*size, class)).collect(),
            resizes: fates.resizes.sums,
            chains: fates.resizes.chains(),
        }
    }

    /// The windows of a VM that the period touches.
    fn windows_of(&self, vm: u32) -> impl Iterator<Item = Window> {
        let period = self.periods.get(&vm).copied();
        let windows = self.plan.windows.iter().filter(move |at| at.vm == vm).map(|at| at.window);
        windows
            .filter(move |window| period.is_some_and(|period| window.start <= period.to && window.end >= period.from))
    }

    /// Those in which blocks were followed from start to end.
    fn windows_in(&self, vm: u32) -> impl Iterator<Item = Window> {
        self.windows_of(vm).filter(move |window| !self.is_lost(vm, window))
    }

    fn is_lost(&self, vm: u32, window: &Window) -> bool {
        let period = self.periods.get(&vm);
        let is_in = period.is_some_and(|period| period.from <= window.start && window.end <= period.to);
        window.lossy || !is_in || !self.windows.contains_key(&(vm, window.end))
    }

    fn turnover(&self, vm: u32, period: Period, fates: &Fates, verdict: &Verdict) -> Turnover {
        let born = match self.plan.process_of.get(&vm) {
            Some(process) if !self.plan.windows.is_empty() => {
                let lost = |window: Window| Window { lossy: self.is_lost(vm, &window), ..window };
                let windows: Vec<Window> = self.windows_of(vm).map(lost).collect();
                let born = |window: &Window| self.windows.get(&(vm, window.end)).copied().unwrap_or(0);
                let counts: Vec<u64> = windows.iter().map(born).collect();
                let hit = hit_cost(&self.plan.processes[*process], verdict.cost.as_ref());
                let all = period.from == 0 && period.to >= self.plan.end;
                let (sampling, time) = sampling(self.plan, *process, &windows, all, hit);
                estimated(&sampling, &counts, time)
            }
            _ => {
                let ns = fates.observed_ns;
                exact(fates.born_bytes(), Time { recorded_ns: ns, observed_ns: ns })
            }
        };
        let live_bytes = fates.live_bytes().filter(|bytes| *bytes > 0.0);
        let times = |rate: Option<f64>| Some(rate? / live_bytes?);
        Turnover {
            live_bytes,
            per_second: times(Some(born.per_second)),
            low: times(born.low),
            high: times(born.high),
            born,
        }
    }
}

impl Study for Followed<'_> {
    type Observer = Option<Births>;

    fn observer(&self, stretch: &Stretch) -> Option<Births> {
        self.periods.get(&stretch.vm).map(|period| Births::new(*period))
    }

    fn seen(&mut self, stretch: &Stretch, replayed: &Replayed, births: Option<Births>) {
        let (Some(births), Some(period)) = (births, self.periods.get(&stretch.vm)) else { return };
        self.run.add(births);
        let goes_on = matches!(stretch.end, StretchEnd::Keyframe(..));
        let good = !replayed.is_cut_short();
        if goes_on && good {
            return;
        }
        let end = self.plan.known_until(stretch, replayed);
        let fates = std::mem::take(&mut self.run).end(end.min(period.to));
        if let StretchEnd::Window(end) = stretch.end {
            let key = (stretch.vm, end);
            if !self.ends.contains(&key) {
                return;
            }
            if good {
                self.windows.insert(key, fates.born_bytes());
            }
        }
        self.fates.entry(stretch.vm).or_default().merge(&fates);
    }
}
