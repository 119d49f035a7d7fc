//! Which VMs differ from their peers: those of the same program, label and build, of masters apart from workers.
//!
//! A figure stands out by how far it is from its peers' median, in units of their median absolute deviation: neither
//! moves when a few of them are far out. From 3.5 on it counts as an outlier (Iglewicz and Hoaglin, "How to Detect and
//! Handle Outliers", 1993).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{HeapResult, ProcessResult, TraceResult, VmResult};

/// Fewer peers than this have no common way to be.
const PEERS: usize = 4;
/// So many deviations are too many.
const LIMIT: f64 = 3.5;
/// The median absolute deviation of normally distributed figures, times this, is their standard deviation.
const NORMAL: f64 = 1.4826;
/// Peers that agree to the byte would make everything else an outlier, and a lone direct block, too. So a deviation is at
/// least this share of their median segments: 3.5 of them are 7 % of the heap,
const LEAST_SHARE: f64 = 0.02;
/// and at least this much, for tiny heaps; of shares, a hundredth.
const LEAST_BYTES: f64 = 16384.0;
const LEAST_PPM: f64 = 10_000.0;

/// A VM that differs from its peers in one figure.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Outlier {
    /// Its trace.
    pub trace: String,
    /// Its host.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// That process's program.
    pub program: String,
    /// Its number in the trace.
    pub vm: u32,
    /// Its label.
    pub label: String,
    /// Its build.
    pub build: String,
    /// The figure.
    pub measure: Measure,
    /// What it is here.
    pub value: i64,
    /// The median of all peers, this one included.
    pub median: i64,
    /// Their median absolute deviation.
    pub deviation: i64,
    /// How many they are.
    pub peers: u64,
    /// How far the value is from the median, in deviations scaled to standard ones; negative if it is below.
    pub deviations: f64,
}

/// A figure that VMs are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Bytes in use.
    UsedBytes,
    /// Free bytes, in millionths of segments.
    FreePpm,
    /// Bytes of segments.
    SegmentsBytes,
    /// Bytes of direct blocks.
    DirectBytes,
    /// What the collector counts.
    GcTotal,
}

impl Measure {
    /// All of them.
    pub const ALL: [Measure; 5] =
        [Measure::UsedBytes, Measure::FreePpm, Measure::SegmentsBytes, Measure::DirectBytes, Measure::GcTotal];

    /// As rows have it.
    pub fn name(self) -> &'static str {
        match self {
            Measure::UsedBytes => "used_bytes",
            Measure::FreePpm => "free_ppm",
            Measure::SegmentsBytes => "segments_bytes",
            Measure::DirectBytes => "direct_bytes",
            Measure::GcTotal => "gc_total",
        }
    }

    /// This figure of a heap.
    pub fn of(self, heap: &Compared) -> i64 {
        let value = match self {
            Measure::UsedBytes => heap.used_bytes,
            Measure::FreePpm => {
                (u128::from(heap.free_bytes) * 1_000_000 / u128::from(heap.segments_bytes.max(1))) as u64
            }
            Measure::SegmentsBytes => heap.segments_bytes,
            Measure::DirectBytes => heap.direct_bytes,
            Measure::GcTotal => heap.gc_total,
        };
        i64::try_from(value).unwrap_or(i64::MAX)
    }

    /// The least deviation, of peers with these median segments.
    fn least(self, segments: i64) -> f64 {
        if self == Measure::FreePpm { LEAST_PPM } else { (segments as f64 * LEAST_SHARE).max(LEAST_BYTES) }
    }
}

/// What heaps are compared by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compared {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Free bytes.
    pub free_bytes: u64,
    /// Bytes of segments.
    pub segments_bytes: u64,
    /// Bytes of direct blocks.
    pub direct_bytes: u64,
    /// What the collector counts.
    pub gc_total: u64,
}

impl From<&HeapResult> for Compared {
    fn from(heap: &HeapResult) -> Compared {
        Compared {
            used_bytes: heap.used.bytes,
            free_bytes: heap.free.bytes,
            segments_bytes: heap.segments.bytes,
            direct_bytes: heap.direct.bytes,
            gc_total: heap.gc_total,
        }
    }
}

/// How far one of several peers stands out by a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Apart {
    /// Which of them.
    pub at: usize,
    /// The figure.
    pub measure: Measure,
    /// What it is here.
    pub value: i64,
    /// The median of all peers, this one included.
    pub median: i64,
    /// Their median absolute deviation.
    pub deviation: i64,
    /// How far the value is from the median, in deviations scaled to standard ones; negative if it is below.
    pub deviations: f64,
}

/// A VM with a heap, and where it is.
type Peer<'a> = (&'a TraceResult, &'a ProcessResult, &'a VmResult);

/// Peers, and what they are compared by.
type Peers<'a> = Vec<(Peer<'a>, Compared)>;

/// The outliers of all traces, those that differ most first.
pub fn outliers(traces: &[TraceResult]) -> Vec<Outlier> {
    let mut groups: BTreeMap<(&str, &str, &str, bool), Peers<'_>> = BTreeMap::new();
    for trace in traces {
        for process in &trace.processes {
            for vm in &process.vms {
                let key = (process.program.as_str(), vm.label.as_str(), vm.build.as_str(), process.children > 0);
                groups.entry(key).or_default().extend(vm.heap.iter().map(|heap| ((trace, process, vm), heap.into())));
            }
        }
    }
    let mut outliers: Vec<Outlier> = Vec::new();
    for peers in groups.into_values() {
        let (peers, heaps): (Vec<Peer<'_>>, Vec<Compared>) = peers.into_iter().unzip();
        outliers.extend(apart(&heaps).map(|one| outlier(&peers, one)));
    }
    outliers.sort_by(|a, b| {
        let key = |one: &Outlier| (one.measure, one.trace.clone(), one.vm);
        b.deviations.abs().total_cmp(&a.deviations.abs()).then_with(|| key(a).cmp(&key(b)))
    });
    outliers
}

fn outlier(peers: &[Peer<'_>], one: Apart) -> Outlier {
    let (trace, process, vm) = peers[one.at];
    Outlier {
        trace: trace.trace.clone(),
        host: trace.host.clone(),
        pid: process.pid,
        program: process.program.clone(),
        vm: vm.vm,
        label: vm.label.clone(),
        build: vm.build.clone(),
        measure: one.measure,
        value: one.value,
        median: one.median,
        deviation: one.deviation,
        peers: peers.len() as u64,
        deviations: one.deviations,
    }
}

/// The heaps among peers that stand out, by figure; of fewer than four peers none does.
pub fn apart(peers: &[Compared]) -> impl Iterator<Item = Apart> {
    let measures = Measure::ALL.into_iter().filter(|_| peers.len() >= PEERS);
    measures.flat_map(|measure| among(peers, measure))
}

/// Those by one figure.
fn among(peers: &[Compared], measure: Measure) -> impl Iterator<Item = Apart> + use<> {
    let all = |measure: Measure| -> Vec<i64> { peers.iter().map(|heap| measure.of(heap)).collect() };
    let values = all(measure);
    let middle = median(values.clone());
    let deviation = median(values.iter().map(|value| value.saturating_sub(middle).saturating_abs()).collect());
    let unit = (deviation as f64 * NORMAL).max(measure.least(median(all(Measure::SegmentsBytes))));
    let one = move |(at, value): (usize, i64)| {
        let deviations = value.saturating_sub(middle) as f64 / unit;
        Apart { at, measure, value, median: middle, deviation, deviations }
    };
    values.into_iter().enumerate().map(one).filter(|one| one.deviations.abs() > LIMIT)
}

/// The middle one; of an even number, half way between the two.
pub fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    let half = values.len() / 2;
    match values.get(half) {
        None => 0,
        Some(upper) if values.len().is_multiple_of(2) => {
            ((i128::from(values[half - 1]) + i128::from(*upper)) / 2) as i64
        }
        Some(middle) => *middle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::batch::sample;

    /// A worker's used bytes, in traces of their own.
    fn workers(used: &[u64]) -> Vec<TraceResult> {
        used.iter().enumerate().map(|(at, used)| sample::trace(&format!("{at}.ljt"), *used)).collect()
    }

    #[test]
    fn the_one_that_differs_is_found_and_no_other() {
        let mut traces = workers(&[10 << 20, 11 << 20, 50 << 20, 10 << 20, 12 << 20, 11 << 20]);
        let found = outliers(&traces);
        assert!(found.iter().all(|one| one.trace == "2.ljt"), "{found:?}");
        let used = found.iter().find(|one| one.measure == Measure::UsedBytes).unwrap();
        assert_eq!((used.value, used.median, used.peers), (50 << 20, 11 << 20, 6));
        assert!(used.deviations > LIMIT);
        // The master is no peer of its workers.
        traces[2].processes[0].children = 5;
        assert_eq!(outliers(&traces), []);
    }

    #[test]
    fn peers_that_agree_leave_room_for_small_differences() {
        assert_eq!(outliers(&workers(&[10 << 20, 10 << 20, 10 << 20, 10 << 20, (10 << 20) + 4096])), []);
        assert!(!outliers(&workers(&[10 << 20, 10 << 20, 10 << 20, 10 << 20, 11 << 20])).is_empty());
    }

    #[test]
    fn few_peers_say_nothing() {
        assert_eq!(outliers(&workers(&[1 << 20, 1 << 20, 1 << 30])), []);
        assert!(!outliers(&workers(&[1 << 20, 1 << 20, 1 << 20, 1 << 30])).is_empty());
        assert_eq!(outliers(&[]), []);
    }

    #[test]
    fn huge_figures_do_not_overflow() {
        let found = outliers(&workers(&[0, 0, 0, 0, u64::MAX]));
        assert!(found.iter().any(|one| one.value == i64::MAX && one.deviations.is_finite()));
        assert_eq!((median(vec![i64::MAX, i64::MAX]), median(vec![3, 1]), median(vec![])), (i64::MAX, 2, 0));
    }
}
