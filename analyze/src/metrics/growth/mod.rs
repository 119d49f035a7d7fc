//! What grows between two times, by size class, and whether it grows from one collector cycle to the next: leak suspects.
//!
//! How much a class grew is exact: the heaps at both times are. Whether that is more than swings is asked of the heap where
//! the collector has just swept: at the ends of its cycles, between which garbage comes and goes. Where a recording in
//! windows follows too few cycles, the heaps at which windows begin have to do: garbage and all.

pub mod census;
pub mod figures;
pub mod trend;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::Nanos;

use self::census::{Census, Mark, Sizes};
pub use self::figures::{Basis, Change, ClassGrowth, Figures, Finding, GrowthReport, VmGrowth};
use self::trend::FEWEST;
use super::timeline::Cycles;
use crate::replay::observe::Study;
use crate::replay::run::Replayed;
use crate::replay::{Plan, Stretch, StretchEnd};

/// More moments of a VM are not kept: memory does not grow with the trace.
const MOST: usize = 1024;

/// Follows the size classes of some VMs.
#[derive(Debug)]
pub struct Growth {
    /// The ends of windows, by VM.
    windows: BTreeSet<(u32, Nanos)>,
    tracks: BTreeMap<u32, Track>,
}

/// A VM on its way.
#[derive(Debug, Clone, Default)]
struct Track {
    cycles: Cycles<Mark>,
    /// The next stretch is not the start of a window: it goes on.
    goes_on: bool,
    /// The heaps at the ends of cycles.
    swept: Moments,
    /// The heaps with which windows begin.
    begun: Moments,
}

/// Heaps at moments: if they become too many, every other one goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moments {
    kept: Vec<(Nanos, Arc<Sizes>)>,
    /// One of so many is kept.
    every: u64,
    seen: u64,
}

impl Default for Moments {
    fn default() -> Self {
        Moments { kept: Vec::new(), every: 1, seen: 0 }
    }
}

impl Moments {
    /// The next one.
    pub fn push(&mut self, time: Nanos, sizes: &Arc<Sizes>) {
        if self.seen.is_multiple_of(self.every) {
            self.kept.push((time, Arc::clone(sizes)));
        }
        self.seen += 1;
        if self.kept.len() > MOST {
            let mut at = 0;
            self.kept.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// Those of a period.
    fn within(&self, (from, to): (Nanos, Nanos)) -> Moments {
        let kept = self.kept.iter().filter(|(time, _)| (from..=to).contains(time)).cloned();
        Moments { kept: kept.collect(), ..*self }
    }

    /// One of how many is kept.
    pub fn every(&self) -> u64 {
        self.every
    }

    /// The heaps, in order of time.
    pub fn heaps(&self) -> impl ExactSizeIterator<Item = (Nanos, &Sizes)> {
        self.kept.iter().map(|(time, sizes)| (*time, sizes.as_ref()))
    }
}

impl Growth {
    /// Of these VMs, by their numbers.
    pub fn new(plan: &Plan, vms: &[u32]) -> Growth {
        let windows = plan.windows.iter().map(|at| (at.vm, at.window.end)).collect();
        Growth { windows, tracks: vms.iter().map(|vm| (*vm, Track::default())).collect() }
    }

    /// The VMs, by their numbers.
    pub fn vms(&self) -> impl Iterator<Item = u32> {
        self.tracks.keys().copied()
    }

    /// The heaps of a VM in a period that tell whether it grows, and what they are.
    pub fn moments(&self, vm: u32, period: (Nanos, Nanos)) -> (Basis, Moments) {
        let Some(track) = self.tracks.get(&vm) else { return (Basis::CycleEnds, Moments::default()) };
        let swept = track.swept.within(period);
        let is_sampled = self.windows.range((vm, 0)..=(vm, Nanos::MAX)).next().is_some();
        if is_sampled && swept.kept.len() < FEWEST {
            return (Basis::Windows, track.begun.within(period));
        }
        (Basis::CycleEnds, swept)
    }
}

impl Study for Growth {
    type Observer = Option<Census>;

    fn observer(&self, stretch: &Stretch) -> Option<Census> {
        self.tracks.contains_key(&stretch.vm).then(Census::default)
    }

    fn seen(&mut self, stretch: &Stretch, replayed: &Replayed, census: Option<Census>) {
        let Some((track, census)) = self.tracks.get_mut(&stretch.vm).zip(census) else { return };
        let (keyframe, turns) = census.end();
        // A keyframe may stand alone, behind the last window for one.
        let alone = match stretch.end {
            StretchEnd::Window(end) => !self.windows.contains(&(stretch.vm, end)),
            StretchEnd::Trace => stretch.calls() == 0,
            _ => false,
        };
        if let Some((time, sizes)) = keyframe.filter(|_| !track.goes_on && !alone) {
            track.begun.push(time, &sizes);
        }
        let swept = &mut track.swept;
        track.cycles.feed(turns, |end| {
            end.mark.iter().for_each(|sizes| swept.push(end.time, sizes));
            true
        });
        track.goes_on = matches!(stretch.end, StretchEnd::Keyframe(..));
        if !track.goes_on || replayed.is_cut_short() {
            track.cycles.cut();
        }
    }
}
