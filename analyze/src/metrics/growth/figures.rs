//! What `analyze growth` finds: each class's growth, and what to think of it.

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::Serialize;
use shared::Nanos;
use shared::trace::meta::{Header, Process, Vm};

use super::Moments;
use super::census::{DIRECT, Sizes};
use super::trend::{FEWEST, Trend};
use crate::metrics::population::{Population, Populations, Tally};
use crate::replay::verdict::Verdict;
use crate::report::Moment;

/// A class is accused wrongly in so many programs of a hundred at most, all its classes taken together.
const LEVEL: f64 = 0.05;

/// Growth matters from so many bytes on, and from one part of the heap in so many.
const LEAST: u64 = 64 << 10;
const PART: u64 = 100;

/// What grows does so to the end: in the later half of the points at one part in so many of its speed over all, or faster.
const LATER: f64 = 4.0;

/// A curve in an output has at most so many points.
const CURVE: usize = 120;

/// What grows.
#[derive(Debug, Clone)]
pub struct GrowthReport {
    /// The trace's name.
    pub source: String,
    /// What the trace says of itself.
    pub header: Header,
    /// The recorded processes.
    pub processes: Vec<Process>,
    /// How far the rest can be trusted.
    pub verdict: Verdict,
    /// The VMs asked for of which two heaps are known.
    pub vms: Vec<VmGrowth>,
}

/// What grows in a VM's heap.
#[derive(Debug, Clone, PartialEq)]
pub struct VmGrowth {
    /// The VM's number in the trace.
    pub number: u32,
    /// What it is.
    pub vm: Vm,
    /// The moment it is compared from.
    pub from: Moment,
    /// The moment it is compared to.
    pub to: Moment,
    /// The figures.
    pub figures: Figures,
}

/// What changed between two heaps, and how sure it is that it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Figures {
    /// Which heaps between the two tell whether something grows.
    pub basis: Basis,
    /// How many there are; with fewer than 8 nothing can be told.
    pub points: u64,
    /// One of so many is looked at: 1, unless there are very many.
    pub every: u64,
    /// Size classes that change from one to another: those are tested, all together at a level of 5 %.
    pub tested: u64,
    /// From how many bytes on a change matters: 1 % of the first heap, and at least 64 KiB.
    pub matters_bytes: u64,
    /// The heap as a whole: chunks in use and direct blocks.
    pub all: Change,
    /// By size class, from the one that grew most to the one that shrank most. Their sums are `all`, to the byte.
    pub classes: Vec<ClassGrowth>,
}

/// Which heaps tell whether something grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Those at the ends of the collector's cycles: garbage has just been swept.
    CycleEnds,
    /// Those at which windows begin: with whatever garbage there is. Too few cycles were recorded from start to end.
    Windows,
}

/// How one size class changed.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ClassGrowth {
    /// `used`: chunks in segments; `direct`: blocks mapped on their own, of all sizes.
    pub population: &'static str,
    /// The smallest size that is counted here, a power of two; 0 of direct blocks.
    pub size_from: u64,
    /// What to think of it.
    pub finding: Finding,
    /// How it changed.
    #[serde(flatten)]
    pub change: Change,
}

/// What to think of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It grew from point to point, by more than matters and more surely than by chance: a leak, or a cache that fills.
    Suspect,
    /// It grew like a suspect, but hardly any more in the later half of the points: a cache that filled, or a start.
    Levelled,
    /// It grew by more than matters, but no more than it swings.
    Swings,
    /// It changed by less than matters.
    Steady,
    /// It shrank by more than matters.
    Shrank,
    /// There are too few points to tell.
    TooFew,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Change {
    /// In the first heap.
    pub from: Tally,
    /// In the second one.
    pub to: Tally,
    /// The difference: negative, if they became fewer.
    pub net_count: i64,
    /// Of their bytes.
    pub net_bytes: i64,
    /// How fast the live blocks grow from point to point; none from fewer than 8.
    pub trend: Option<Trend>,
    /// The live blocks at the points, or some of them.
    pub curve: Vec<Level>,
}

/// Live blocks at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Level {
    /// When.
    pub time_ns: Nanos,
    /// Their bytes, without the allocator's own chunks.
    pub bytes: u64,
}

impl Figures {
    /// Compares two heaps, and looks at those between.
    pub fn of(from: &Populations, to: &Populations, basis: Basis, moments: &Moments) -> Figures {
        let curve = |of: &dyn Fn(&Sizes) -> u64| -> Vec<(Nanos, u64)> {
            moments.heaps().map(|(time, sizes)| (time, of(sizes))).collect()
        };
        let whole = |heap: &Populations| {
            let mut all = heap.used.all;
            all.add(heap.direct.all);
            all
        };
        let matters_bytes = (whole(from).bytes / PART).max(LEAST);
        let used =
            |population: &Population, class: usize| population.buckets.get(&(1 << class)).copied().unwrap_or_default();
        let class = |class: usize| {
            let (from, to) = match class {
                DIRECT => (from.direct.all, to.direct.all),
                _ => (used(&from.used, class), used(&to.used, class)),
            };
            (class, Change::of(from, to, &curve(&|sizes| sizes.0[class])))
        };
        let changes = (0..=DIRECT).map(class).filter(|(_, change)| !change.is_nothing());
        let changes: Vec<(usize, Change)> = changes.collect();
        let tested = changes.iter().filter(|(_, change)| change.varies()).count();
        let level = LEVEL / tested.max(1) as f64;
        let mut classes: Vec<ClassGrowth> = changes
            .into_iter()
            .map(|(class, change)| ClassGrowth {
                population: if class == DIRECT { "direct" } else { "used" },
                size_from: if class == DIRECT { 0 } else { 1 << class },
                finding: change.finding(level, matters_bytes),
                change: change.drawn(),
            })
            .collect();
        classes.sort_by_key(|class| (Reverse(class.change.net_bytes), class.size_from));
        Figures {
            basis,
            points: moments.heaps().len() as u64,
            every: moments.every(),
            tested: tested as u64,
            matters_bytes,
            all: Change::of(whole(from), whole(to), &curve(&Sizes::sum)).drawn(),
            classes,
        }
    }

    /// The classes that may leak, the one that grew most first.
    pub fn suspects(&self) -> impl Iterator<Item = &ClassGrowth> {
        self.classes.iter().filter(|class| class.finding == Finding::Suspect)
    }

    /// Whether there are too few points to tell.
    pub fn are_too_few(&self) -> bool {
        (self.points as usize) < FEWEST
    }
}

impl Change {
    fn of(from: Tally, to: Tally, points: &[(Nanos, u64)]) -> Change {
        Change {
            from,
            to,
            // Two's complement: right for every difference below 2^63.
            net_count: to.count.wrapping_sub(from.count).cast_signed(),
            net_bytes: to.bytes.wrapping_sub(from.bytes).cast_signed(),
            trend: Trend::of(points),
            curve: points.iter().map(|(time_ns, bytes)| Level { time_ns: *time_ns, bytes: *bytes }).collect(),
        }
    }

    /// Whether anything happened to it.
    pub fn is_still(&self) -> bool {
        (self.net_count, self.net_bytes) == (0, 0) && !self.varies()
    }

    fn is_nothing(&self) -> bool {
        self.from.count + self.to.count == 0 && self.curve.iter().all(|level| level.bytes == 0)
    }

    fn varies(&self) -> bool {
        self.curve.windows(2).any(|pair| pair[0].bytes != pair[1].bytes)
    }

    /// `level`: how likely a steady class may be to look like a leak.
    fn finding(&self, level: f64, matters: u64) -> Finding {
        let Some(trend) = &self.trend else { return Finding::TooFew };
        let seconds = match (self.curve.first(), self.curve.last()) {
            (Some(first), Some(last)) => last.time_ns.saturating_sub(first.time_ns) as f64 / 1e9,
            _ => 0.0,
        };
        let rises = trend.chance <= level && trend.bytes_per_second * seconds >= matters as f64;
        let goes_on = trend.later >= trend.bytes_per_second / LATER;
        match self.net_bytes {
            net if net > 0 && rises && goes_on => Finding::Suspect,
            net if net >= matters.cast_signed() && rises => Finding::Levelled,
            net if net.unsigned_abs() < matters => Finding::Steady,
            net if net > 0 => Finding::Swings,
            _ => Finding::Shrank,
        }
    }

    /// With no more points than an output needs, the first and the last among them.
    fn drawn(mut self) -> Change {
        let count = self.curve.len();
        if count > CURVE {
            self.curve = (0..CURVE).map(|at| self.curve[at * (count - 1) / (CURVE - 1)]).collect();
        }
        self
    }
}
