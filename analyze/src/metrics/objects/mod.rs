//! What the objects of heaps are: a census counted by kind, and how that has changed since another.

mod fill;
mod places;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use shared::Nanos;
use shared::heap::Heap;
use shared::trace::census::{Census, ObjectKind};
use shared::trace::meta::{Header, Process, Vm};
use shared::trace::names::Names;

use super::population::{Tally, bucket};
use crate::replay::verdict::Verdict;
use crate::report::title;

pub use fill::{Large, Slots, Strings, Tables};
pub use places::{Made, Place};

/// What the objects of heaps are.
#[derive(Debug, Clone)]
pub struct ObjectsReport {
    /// The trace's name.
    pub source: String,
    /// What the trace says of itself.
    pub header: Header,
    /// The recorded processes.
    pub processes: Vec<Process>,
    /// How far the rest can be trusted.
    pub verdict: Verdict,
    /// The VMs asked for that have a census.
    pub vms: Vec<VmObjects>,
    /// Those that have none.
    pub without: Vec<u32>,
}

/// The objects of a VM at a keyframe.
#[derive(Debug, Clone)]
pub struct VmObjects {
    /// Its number in the trace.
    pub number: u32,
    /// What it is.
    pub vm: Vm,
    /// The keyframe's time.
    pub time: Nanos,
    /// Censuses of this VM in the trace.
    pub censuses: u64,
    /// Its objects.
    pub objects: Objects,
    /// What has changed since an earlier one; none if there is none.
    pub growth: Option<Growth>,
}

impl VmObjects {
    /// `VM 1: http VM of nginx (pid 123)`
    pub fn title(&self, processes: &[Process]) -> String {
        format!("VM {}: {}", self.number, title(&self.vm, processes))
    }
}

/// The objects of a heap. Bytes are those of whole blocks, chunk heads included; of direct blocks, mapped bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Objects {
    /// What the collector was doing: `pause`, `propagate`, `atomic`, `sweepstring`, `sweep` or `finalize`; empty if that is
    /// not known. Garbage is known from `sweepstring` on, as far as it is not freed yet.
    pub collector: String,
    /// Why nothing, or not all, could be told apart.
    pub problem: Option<String>,
    /// Chunks in use and direct blocks. The kinds sum to this, to the byte.
    pub all: Tally,
    /// Direct blocks among them.
    pub direct: Tally,
    /// Garbage not yet collected among them.
    pub garbage: Tally,
    /// Those of which nothing is known.
    pub unknown: Tally,
    /// Every kind there is, the largest first.
    pub kinds: Vec<Kind>,
    /// How far tables are filled.
    pub tables: Tables,
    /// What of strings is text.
    pub strings: Strings,
    /// Source lines of all functions' code.
    pub proto_lines: u64,
    /// The largest tables, by the bytes of their header and parts.
    pub largest_tables: Vec<Large>,
    /// The lengths of the longest strings.
    pub longest_strings: Vec<u64>,
    /// Where functions were written, the place of most bytes first: closures and protos sum to those of their kinds. None if
    /// the trace has no names.
    pub places: Option<Vec<Place>>,
}

/// Objects of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Kind {
    /// Its name.
    pub kind: &'static str,
    /// All of them.
    pub all: Tally,
    /// Direct blocks among them.
    pub direct: Tally,
    /// Garbage not yet collected among them.
    pub garbage: Tally,
    /// All of them by size.
    pub classes: Vec<Class>,
}

/// Objects of a kind and a size class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Class {
    /// The smallest size in it, a power of two.
    pub size_from: u64,
    /// All of them.
    pub all: Tally,
    /// Garbage not yet collected among them.
    pub garbage: Tally,
}

/// What has changed between two censuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Growth {
    /// The earlier one's time.
    pub from_ns: Nanos,
    /// The later one's.
    pub to_ns: Nanos,
    /// Every kind there was or is, the one that grew by most bytes first.
    pub kinds: Vec<KindGrowth>,
}

/// What has changed of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KindGrowth {
    /// Its name.
    pub kind: &'static str,
    /// What there was.
    pub before: Tally,
    /// What there is.
    pub after: Tally,
    /// How many more there are.
    pub count: i64,
    /// How many more bytes.
    pub bytes: i64,
}

impl Objects {
    /// Counts a census with the heap of its keyframe, and its names if it has any; an error if they do not fit.
    pub fn of(heap: &Heap, census: &Census, names: Option<&Names>) -> Result<Objects, String> {
        let used = heap.chunks.iter().filter(|chunk| chunk.used).map(|chunk| (chunk.size, false));
        let blocks: Vec<(u64, bool)> = used.chain(heap.direct.iter().map(|direct| (direct.size, true))).collect();
        if blocks.len() != census.labels.len() {
            return Err(format!("a census has {} labels for {} blocks", census.labels.len(), blocks.len()));
        }
        let mut objects = Objects {
            collector: census.findings.collector.clone(),
            problem: census.findings.problem.clone(),
            proto_lines: census.protos.iter().fold(0, |sum, lines| sum.saturating_add(*lines)),
            ..Objects::default()
        };
        let mut kinds: BTreeMap<ObjectKind, (Kind, BTreeMap<u64, Class>)> = BTreeMap::new();
        for (label, (size, is_direct)) in census.labels.iter().zip(&blocks) {
            let one = Tally { count: 1, bytes: *size };
            let (kind, classes) = kinds.entry(label.kind).or_insert_with(|| (Kind::none(label.kind), BTreeMap::new()));
            add(*size, label.garbage, (&mut kind.all, &mut kind.garbage), classes);
            objects.all.add(one);
            if *is_direct {
                [&mut objects.direct, &mut kind.direct].into_iter().for_each(|tally| tally.add(one));
            }
            if label.garbage {
                objects.garbage.add(one);
            }
        }
        objects.unknown = kinds.get(&ObjectKind::Unknown).map_or_else(Tally::default, |(kind, _)| kind.all);
        let whole =
            |(kind, classes): (Kind, BTreeMap<u64, Class>)| Kind { classes: classes.into_values().collect(), ..kind };
        objects.kinds = kinds.into_values().map(whole).collect();
        objects.kinds.sort_by_key(|kind| std::cmp::Reverse(kind.all.bytes));
        fill::count(&mut objects, census, &blocks);
        objects.places = names.map(|names| places::count(census, names, &blocks)).transpose()?;
        Ok(objects)
    }

    /// The objects of a kind.
    pub fn kind(&self, kind: ObjectKind) -> Option<&Kind> {
        self.kinds.iter().find(|found| found.kind == kind.name())
    }
}

impl Kind {
    fn none(kind: ObjectKind) -> Kind {
        let none = Tally::default();
        Kind { kind: kind.name(), all: none, direct: none, garbage: none, classes: Vec::new() }
    }
}

impl Class {
    const NONE: Class =
        Class { size_from: 0, all: Tally { count: 0, bytes: 0 }, garbage: Tally { count: 0, bytes: 0 } };
}

/// Adds a block to tallies of all and of garbage, and to its size class.
fn add(size: u64, is_garbage: bool, (all, garbage): (&mut Tally, &mut Tally), classes: &mut BTreeMap<u64, Class>) {
    let (one, size_from) = (Tally { count: 1, bytes: size }, bucket(size));
    let class = classes.entry(size_from).or_insert(Class { size_from, ..Class::NONE });
    [all, &mut class.all].into_iter().for_each(|tally| tally.add(one));
    if is_garbage {
        [garbage, &mut class.garbage].into_iter().for_each(|tally| tally.add(one));
    }
}

impl Growth {
    /// What has changed from one time to another.
    pub fn between(before: (Nanos, &Objects), after: (Nanos, &Objects)) -> Growth {
        let tally = |objects: &Objects, kind| objects.kind(kind).map(|kind| kind.all);
        let change = |kind| {
            let (was, is) = (tally(before.1, kind), tally(after.1, kind));
            was.or(is)?;
            let (before, after) = (was.unwrap_or_default(), is.unwrap_or_default());
            Some(KindGrowth {
                kind: kind.name(),
                before,
                after,
                count: more(before.count, after.count),
                bytes: more(before.bytes, after.bytes),
            })
        };
        let mut kinds: Vec<KindGrowth> = ObjectKind::ALL.into_iter().filter_map(change).collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.bytes));
        Growth { from_ns: before.0, to_ns: after.0, kinds }
    }
}

fn more(before: u64, after: u64) -> i64 {
    let size = i64::try_from(after.abs_diff(before)).unwrap_or(i64::MAX);
    if after < before { -size } else { size }
}

#[cfg(test)]
mod tests;
