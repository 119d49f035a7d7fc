//! A comparison as JSON: one object, both verdicts first.

use schemars::JsonSchema;
use serde::Serialize;

use super::words as diff_words;
use crate::metrics::diff::{Alone, Amount, ClassPair, DiffReport, Figure, Outcome, ProcessPair, Side, Unit, VmPair};
use crate::metrics::objects::Growth;
use crate::metrics::rates::Basis;
use crate::output::json::{Head, MomentFacts, VmFacts, asked};
use crate::output::words::last_of;

/// Two traces, or two times, side by side. All changes are from A to B.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Document {
    /// What is compared with.
    a: SideFacts,
    /// What is compared.
    b: SideFacts,
    /// Nothing differs.
    same: bool,
    /// What was to be tested with `--fail-on`.
    conditions: Vec<ConditionFacts>,
    /// The figures of all VMs and processes that are compared, summed up.
    totals: Vec<FigureFacts>,
    /// The VMs that both have.
    vms: Vec<VmPairFacts>,
    /// The processes that both have a breakdown of.
    processes: Vec<ProcessPairFacts>,
    /// What only one side has.
    alone: Vec<AloneFacts>,
    /// What is not compared, and why.
    left_out: Vec<String>,
}

/// One of the two.
#[derive(Debug, Serialize, JsonSchema)]
struct SideFacts {
    /// What every document begins with.
    #[serde(flatten)]
    head: Head,
    /// What was asked for: `default`, `end`, `peak` or `at`.
    asked: String,
    /// With `at`, the time asked for.
    asked_time_ns: Option<u64>,
}

/// What was to be tested.
#[derive(Debug, Serialize, JsonSchema)]
struct ConditionFacts {
    /// As it was written.
    condition: String,
    /// Whether it holds.
    holds: bool,
    /// What was tested.
    figure: FigureFacts,
}

/// A figure of both sides.
#[derive(Debug, Serialize, JsonSchema)]
struct FigureFacts {
    /// Its name, as `--fail-on` takes it.
    name: &'static str,
    /// What it counts.
    unit: Unit,
    /// In A.
    a: Amount,
    /// In B.
    b: Amount,
    /// B less A.
    change: Amount,
    /// The change as a part of A; null if that is 0 and B is not.
    relative: Option<f64>,
    /// Of estimates, whether their 95 % confidence intervals lie apart: if not, the change may be none.
    apart: Option<bool>,
}

/// A VM of A and one of B.
#[derive(Debug, Serialize, JsonSchema)]
struct VmPairFacts {
    /// In A.
    a: HeapFacts,
    /// In B.
    b: HeapFacts,
    /// Its figures.
    figures: Vec<FigureFacts>,
    /// The size classes of its populations.
    classes: Vec<ClassFacts>,
    /// What kinds of objects became more, from the last census until A's moment to that until B's; null if one of them has
    /// none.
    kinds: Option<Growth>,
}

/// A VM at a moment.
#[derive(Debug, Serialize, JsonSchema)]
struct HeapFacts {
    /// The VM.
    vm: VmFacts,
    /// The moment.
    moment: MomentFacts,
    /// What its rates rest on; null if there are none.
    rates_basis: Option<Basis>,
}

/// A size class on both sides.
#[derive(Debug, Serialize, JsonSchema)]
struct ClassFacts {
    /// `used`, `free`, `segments` or `direct`.
    population: &'static str,
    /// The smallest size that is counted here, a power of two.
    size_from: u64,
    /// The largest size that is counted here.
    size_to: u64,
    /// How many in A.
    count_a: u64,
    /// How many in B.
    count_b: u64,
    /// Their bytes in A.
    bytes_a: u64,
    /// Their bytes in B.
    bytes_b: u64,
}

/// A process of A and one of B.
#[derive(Debug, Serialize, JsonSchema)]
struct ProcessPairFacts {
    /// Its id in A.
    pid_a: u32,
    /// Its id in B.
    pid_b: u32,
    /// What it is.
    title: String,
    /// When it was looked at in A.
    time_a_ns: u64,
    /// When it was looked at in B.
    time_b_ns: u64,
    /// Its figures, by the kernel's totals.
    figures: Vec<FigureFacts>,
    /// What each owner has.
    owners: Vec<OwnerFacts>,
}

/// What an owner has on both sides, in bytes.
#[derive(Debug, Serialize, JsonSchema)]
struct OwnerFacts {
    /// Whose.
    owner: String,
    /// Mapped in A.
    mapped_a: u64,
    /// Mapped in B.
    mapped_b: u64,
    /// Resident in A.
    resident_a: u64,
    /// Resident in B.
    resident_b: u64,
}

/// What only one side has.
#[derive(Debug, Serialize, JsonSchema)]
struct AloneFacts {
    /// `a` or `b`.
    side: &'static str,
    /// What it is.
    what: String,
}

impl Document {
    /// All of a report.
    pub fn of(report: &DiffReport) -> Document {
        let condition = |Outcome { text, holds, figure }: &Outcome| ConditionFacts {
            condition: text.clone(),
            holds: *holds,
            figure: FigureFacts::of(figure),
        };
        let alone =
            |Alone { in_a, what }: &Alone| AloneFacts { side: if *in_a { "a" } else { "b" }, what: what.clone() };
        Document {
            a: SideFacts::of(&report.a),
            b: SideFacts::of(&report.b),
            same: report.is_empty(),
            conditions: report.outcomes.iter().map(condition).collect(),
            totals: report.totals().iter().map(FigureFacts::of).collect(),
            vms: report.vms.iter().map(|pair| VmPairFacts::of(report, pair)).collect(),
            processes: report.processes.iter().map(ProcessPairFacts::of).collect(),
            alone: report.alone.iter().map(alone).collect(),
            left_out: report.left_out.clone(),
        }
    }
}

impl SideFacts {
    fn of(side: &Side) -> SideFacts {
        let (asked, asked_time_ns) = asked(side.asked);
        SideFacts { head: Head::of(side.origin()), asked: asked.to_owned(), asked_time_ns }
    }
}

impl FigureFacts {
    fn of(figure: &Figure) -> FigureFacts {
        let Figure { name, unit, a, b, apart } = *figure;
        FigureFacts { name, unit, a, b, change: figure.change(), relative: figure.relative(), apart }
    }
}

impl VmPairFacts {
    fn of(report: &DiffReport, pair: &VmPair) -> VmPairFacts {
        let heap = |side: &Side, vm: &crate::report::VmReport, rates_basis| HeapFacts {
            vm: VmFacts::of(vm.number, &vm.vm, &side.processes),
            moment: MomentFacts::of(&vm.moment),
            rates_basis,
        };
        let (basis_a, basis_b) = pair.rates.as_ref().map(|(a, b)| (a.basis, b.basis)).unzip();
        let class = |population, ClassPair { size_from, a, b }: ClassPair| ClassFacts {
            population,
            size_from,
            size_to: last_of(size_from),
            count_a: a.count,
            count_b: b.count,
            bytes_a: a.bytes,
            bytes_b: b.bytes,
        };
        let classes = pair.classes().into_iter();
        VmPairFacts {
            a: heap(&report.a, &pair.a, basis_a),
            b: heap(&report.b, &pair.b, basis_b),
            figures: pair.figures().iter().map(FigureFacts::of).collect(),
            classes: classes.flat_map(|(name, classes)| classes.into_iter().map(move |one| class(name, one))).collect(),
            kinds: pair.kinds.clone(),
        }
    }
}

impl ProcessPairFacts {
    fn of(pair: &ProcessPair) -> ProcessPairFacts {
        let owners = pair.owners().into_iter().map(|(owner, a, b)| OwnerFacts {
            owner: owner.label,
            mapped_a: a.mapped,
            mapped_b: b.mapped,
            resident_a: a.resident,
            resident_b: b.resident,
        });
        ProcessPairFacts {
            pid_a: pair.a.pid(),
            pid_b: pair.b.pid(),
            title: diff_words::process_title(pair),
            time_a_ns: pair.a.time,
            time_b_ns: pair.b.time,
            figures: pair.figures().iter().map(FigureFacts::of).collect(),
            owners: owners.collect(),
        }
    }
}
