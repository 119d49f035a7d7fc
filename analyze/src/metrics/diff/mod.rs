//! Two traces, or two times, side by side: what there is of each, and how far apart that is.

pub mod condition;
pub mod figures;
pub mod pairs;

use std::collections::BTreeMap;

use shared::trace::breakdown::Memory;
use shared::trace::meta::{Header, Process};

use super::breakdown::{Owner, ProcessMemory};
use super::objects::Growth;
use super::population::{Population, Populations, Tally};
use super::rates::Rates;
use crate::replay::verdict::Verdict;
use crate::report::{Asked, Origin, VmReport};

pub use condition::{Condition, Outcome};
pub use figures::{Amount, Figure, Unit};

/// Two traces side by side. All changes are from A to B.
#[derive(Debug, Clone)]
pub struct DiffReport {
    /// What is compared with.
    pub a: Side,
    /// What is compared.
    pub b: Side,
    /// The VMs that both have.
    pub vms: Vec<VmPair>,
    /// The processes that both have a breakdown of.
    pub processes: Vec<ProcessPair>,
    /// What only one of them has.
    pub alone: Vec<Alone>,
    /// What is not compared, and why.
    pub left_out: Vec<String>,
    /// What was to be tested, and whether it holds.
    pub outcomes: Vec<Outcome>,
}

/// One of the two.
#[derive(Debug, Clone)]
pub struct Side {
    /// The trace's name.
    pub source: String,
    /// What the trace says of itself.
    pub header: Header,
    /// The recorded processes.
    pub processes: Vec<Process>,
    /// How far the rest can be trusted.
    pub verdict: Verdict,
    /// The moment asked for.
    pub asked: Asked,
}

/// A VM of A and one of B.
#[derive(Debug, Clone)]
pub struct VmPair {
    /// In A.
    pub a: VmReport,
    /// In B.
    pub b: VmReport,
    /// What they ask of their allocators, if the calls of both are known.
    pub rates: Option<(Rates, Rates)>,
    /// What kinds of objects became more, from A's last census until the moment to B's, if both have one.
    pub kinds: Option<Growth>,
}

/// A process of A and one of B.
#[derive(Debug, Clone)]
pub struct ProcessPair {
    /// In A.
    pub a: ProcessMemory,
    /// In B.
    pub b: ProcessMemory,
}

/// What only one side has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alone {
    /// It is in A.
    pub in_a: bool,
    /// What it is: `VM 2: http VM of nginx (pid 123)`.
    pub what: String,
}

/// A size class on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassPair {
    /// The smallest size that is counted here, a power of two.
    pub size_from: u64,
    /// In A.
    pub a: Tally,
    /// In B.
    pub b: Tally,
}

impl Side {
    /// What an output begins with.
    pub fn origin(&self) -> Origin<'_> {
        Origin { source: &self.source, header: &self.header, verdict: &self.verdict }
    }
}

impl VmPair {
    /// Its figures, in the order of every output.
    pub fn figures(&self) -> Vec<Figure> {
        let mut figures = figures::of_heaps(&self.a.populations, &self.b.populations);
        figures.extend(self.rates.iter().flat_map(|(a, b)| figures::of_rates(a, b)));
        figures
    }

    /// The four populations by name, class by class.
    pub fn classes(&self) -> [(&'static str, Vec<ClassPair>); 4] {
        let (a, b) = (self.a.populations.named(), self.b.populations.named());
        std::array::from_fn(|at| (a[at].0, classes(a[at].1, b[at].1)))
    }
}

/// The classes that one of two populations has, ascending.
fn classes(a: &Population, b: &Population) -> Vec<ClassPair> {
    let mut both: BTreeMap<u64, (Tally, Tally)> = BTreeMap::new();
    a.buckets.iter().for_each(|(size, tally)| both.entry(*size).or_default().0 = *tally);
    b.buckets.iter().for_each(|(size, tally)| both.entry(*size).or_default().1 = *tally);
    both.into_iter().map(|(size_from, (a, b))| ClassPair { size_from, a, b }).collect()
}

impl ProcessPair {
    /// Its figures, by the kernel's totals.
    pub fn figures(&self) -> Vec<Figure> {
        figures::of_memory(&self.a.breakdown.total, &self.b.breakdown.total)
    }

    /// What each owner has on both sides, in the order of their kinds.
    pub fn owners(&self) -> Vec<(Owner, Memory, Memory)> {
        let mut both: BTreeMap<Owner, (Memory, Memory)> = BTreeMap::new();
        self.a.shares.iter().for_each(|share| both.entry(share.owner.clone()).or_default().0 = share.memory);
        self.b.shares.iter().for_each(|share| both.entry(share.owner.clone()).or_default().1 = share.memory);
        both.into_iter().map(|(owner, (a, b))| (owner, a, b)).collect()
    }
}

impl DiffReport {
    /// The figures of all that is compared, summed up; shares are those of the sums.
    pub fn totals(&self) -> Vec<Figure> {
        let mut totals = Vec::new();
        if !self.vms.is_empty() {
            let (mut a, mut b) = (Populations::default(), Populations::default());
            for pair in &self.vms {
                a.merge(&pair.a.populations);
                b.merge(&pair.b.populations);
            }
            totals.extend(figures::of_heaps(&a, &b));
            let rates: Vec<Vec<Figure>> = self.vms.iter().filter_map(VmPair::rate_figures).collect();
            if rates.len() == self.vms.len() {
                totals.extend(figures::sums(rates));
            }
        }
        totals.extend(figures::sums(self.processes.iter().map(ProcessPair::figures)));
        totals
    }

    /// Nothing differs: no figure, no size class, no kind of objects, no owner, and neither has what the other has not.
    pub fn is_empty(&self) -> bool {
        let vms = self.vms.iter().all(|pair| {
            let kinds = pair.kinds.iter().flat_map(|kinds| &kinds.kinds).all(|kind| kind.before == kind.after);
            let rates = pair.rates.as_ref().is_none_or(|(a, b)| a == b);
            pair.a.populations == pair.b.populations && rates && kinds
        });
        let same = |pair: &ProcessPair| {
            pair.a.breakdown.total == pair.b.breakdown.total && pair.owners().iter().all(|(_, a, b)| a == b)
        };
        vms && self.processes.iter().all(same) && self.alone.is_empty()
    }
}

impl VmPair {
    fn rate_figures(&self) -> Option<Vec<Figure>> {
        self.rates.as_ref().map(|(a, b)| figures::of_rates(a, b))
    }
}
