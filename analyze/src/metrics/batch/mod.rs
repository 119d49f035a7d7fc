//! Many traces at once: what is kept of each one, what they come to together, and which of them stand out.

pub mod outliers;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::Nanos;

use crate::metrics::population::{Populations, Tally};
use crate::replay::verdict::{Judgement, Verdict};
use outliers::Outlier;

/// What was found in many traces.
#[derive(Debug, Clone, Default)]
pub struct BatchReport {
    /// The directory that it was written to.
    pub folder: String,
    /// The traces that could be read, in the order of their names on the command line.
    pub traces: Vec<TraceResult>,
    /// What could not be read.
    pub failed: Vec<Failed>,
    /// Files left out, because another one is the same recording.
    pub duplicates: Vec<Duplicate>,
    /// Traces whose results were there already.
    pub kept: u64,
    /// Traces that were not looked at, because it was interrupted.
    pub left: u64,
    /// All heaps as if they were one.
    pub heaps: Populations,
    /// VMs that differ from their peers, most first.
    pub outliers: Vec<Outlier>,
}

/// A trace, or all parts of one recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TraceResult {
    /// Its path; of several parts, the first one's. Bytes that are no UTF-8 and control characters are written as
    /// `\xff`, a backslash twice.
    pub trace: String,
    /// In how many files it is.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The host's name.
    pub host: String,
    /// Wall-clock start, nanoseconds since 1970 UTC.
    pub started_unix_ns: u64,
    /// `snapshot`, `sample` or `full`.
    pub mode: String,
    /// The last moment the trace speaks of, from its start.
    pub duration_ns: Nanos,
    /// How far the rest can be trusted.
    pub judgement: Judgement,
    /// What is most wrong; nothing if it is verified or consistent.
    pub reason: Option<String>,
    /// What the judgement rests on.
    #[serde(flatten)]
    pub counts: Counts,
    /// Its processes.
    pub processes: Vec<ProcessResult>,
}

/// What a judgement rests on, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Calls in the trace.
    pub trace_calls: u64,
    /// Calls the model took, without a contradiction.
    pub calls_replayed: u64,
    /// Calls it could not take.
    pub calls_not_replayed: u64,
    /// Hits the kernel dropped.
    pub calls_lost: u64,
    /// Calls that contradicted the model.
    pub contradictions: u64,
    /// Places where calls are missing.
    pub gaps: u64,
    /// Keyframes in the trace.
    pub keyframes: u64,
    /// Keyframes that the replay was compared with.
    pub keyframes_compared: u64,
    /// Keyframes that were to be taken and were not.
    pub keyframes_missed: u64,
    /// Chunks compared, over all those keyframes.
    pub chunks_compared: u64,
    /// Chunks that differed.
    pub chunks_differing: u64,
    /// Direct blocks compared.
    pub direct_compared: u64,
    /// Direct blocks that differed.
    pub direct_differing: u64,
    /// Frames that could not be read.
    pub damaged: u64,
}

impl Counts {
    /// Those of a verdict.
    pub fn of(verdict: &Verdict) -> Counts {
        Counts {
            trace_calls: verdict.calls,
            calls_replayed: verdict.calls_replayed,
            calls_not_replayed: verdict.calls_not_replayed,
            calls_lost: verdict.calls_lost,
            contradictions: verdict.contradictions.len() as u64,
            gaps: verdict.gaps.len() as u64,
            keyframes: verdict.keyframes,
            keyframes_compared: verdict.keyframes_compared,
            keyframes_missed: verdict.missed.len() as u64,
            chunks_compared: verdict.chunks_compared,
            chunks_differing: verdict.chunks_differing,
            direct_compared: verdict.direct_compared,
            direct_differing: verdict.direct_differing,
            damaged: verdict.damage.len() as u64,
        }
    }
}

/// A process of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessResult {
    /// Its id.
    pub pid: u32,
    /// Its program; empty if the trace does not tell.
    pub program: String,
    /// Its parent's id.
    pub parent: u32,
    /// How many processes of the trace it is the parent of: a master has workers.
    pub children: u64,
    /// The longest it stood still because of the recording; none if the trace does not tell.
    pub longest_pause_ns: Option<u64>,
    /// What the recording cost it, in millionths of the time.
    pub cost_ppm: Option<u64>,
    /// The most it cost of any 60 seconds, in millionths.
    pub worst_minute_ppm: Option<u64>,
    /// Its VMs.
    pub vms: Vec<VmResult>,
}

/// A VM of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VmResult {
    /// Its number in the trace.
    pub vm: u32,
    /// `http`, `stream`, or the program's name.
    pub label: String,
    /// `_G.jit.version`; empty if it could not be read.
    pub build: String,
    /// 64-bit object references.
    pub gc64: bool,
    /// Its calls in the trace.
    pub calls: u64,
    /// The most bytes in live blocks, chunk heads included; none if no heap of it is known. In a recording in windows: the
    /// most that was seen in one.
    pub peak_bytes: Option<u64>,
    /// When that was.
    pub peak_ns: Option<Nanos>,
    /// Used and direct bytes of the heap shown, less those at the VM's first keyframe.
    pub growth_bytes: Option<i64>,
    /// Its heap, as `analyze stats` shows it.
    pub heap: Option<HeapResult>,
    /// Why there is none.
    pub heap_unknown: Option<String>,
}

/// A heap at a moment: the end of the trace, or its peak where the program ended before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeapResult {
    /// Time of the last call before that moment, or of the keyframe.
    pub time_ns: Nanos,
    /// `end` or `peak`.
    pub at: String,
    /// Why it is not quite that moment, if so.
    pub short_of: Option<String>,
    /// Chunks in use.
    pub used: Tally,
    /// Free chunks.
    pub free: Tally,
    /// Memory mapped for chunks.
    pub segments: Tally,
    /// Blocks mapped on their own.
    pub direct: Tally,
    /// What lies in segments outside of chunks.
    pub overhead_bytes: u64,
    /// What the collector counts.
    pub gc_total: u64,
}

/// What could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Failed {
    /// Its path.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// A file that holds what another one does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Duplicate {
    /// Its path.
    pub path: String,
    /// The one that counts.
    pub of: String,
}

/// How many traces came to which judgement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Judgements {
    /// Replayed and compared, nothing is missing.
    pub verified: u64,
    /// The same, without a later keyframe to compare with.
    pub consistent: u64,
    /// Something is missing.
    pub incomplete: u64,
    /// The replay and the real heap disagree.
    pub contradicted: u64,
    /// Could not be read.
    pub failed: u64,
    /// Not looked at, because it was interrupted.
    pub left: u64,
}

/// Sums over all traces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Totals {
    /// Traces that could be read.
    pub traces: u64,
    /// Their files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Different names of hosts.
    pub hosts: u64,
    /// Processes, in each trace anew.
    pub processes: u64,
    /// VMs, in each trace anew.
    pub vms: u64,
    /// VMs whose heap is known.
    pub heaps: u64,
    /// Calls in the traces.
    pub calls: u64,
    /// Calls that were replayed.
    pub calls_replayed: u64,
    /// Hits that the kernel dropped.
    pub calls_lost: u64,
}

impl BatchReport {
    /// How many traces came to which judgement.
    pub fn judgements(&self) -> Judgements {
        let mut judgements = Judgements { failed: self.failed.len() as u64, left: self.left, ..Judgements::default() };
        for trace in &self.traces {
            *match trace.judgement {
                Judgement::Verified => &mut judgements.verified,
                Judgement::Consistent => &mut judgements.consistent,
                Judgement::Incomplete => &mut judgements.incomplete,
                Judgement::Contradicted => &mut judgements.contradicted,
            } += 1;
        }
        judgements
    }

    /// The worst judgement of all: what failed or was left makes the whole incomplete.
    pub fn judgement(&self) -> Judgement {
        let Judgements { consistent, incomplete, contradicted, failed, left, .. } = self.judgements();
        match (contradicted, incomplete + failed + left, consistent) {
            (1.., ..) => Judgement::Contradicted,
            (_, 1.., _) => Judgement::Incomplete,
            (_, _, 1..) => Judgement::Consistent,
            _ => Judgement::Verified,
        }
    }

    /// The sums.
    pub fn totals(&self) -> Totals {
        let mut hosts: Vec<&str> = self.traces.iter().map(|trace| trace.host.as_str()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let mut totals = Totals { traces: self.traces.len() as u64, hosts: hosts.len() as u64, ..Totals::default() };
        for trace in &self.traces {
            let vms = || trace.processes.iter().flat_map(|process| &process.vms);
            totals.files += trace.files;
            totals.bytes = totals.bytes.saturating_add(trace.bytes);
            totals.processes += trace.processes.len() as u64;
            totals.vms += vms().count() as u64;
            totals.heaps += vms().filter(|vm| vm.heap.is_some()).count() as u64;
            totals.calls = totals.calls.saturating_add(trace.counts.trace_calls);
            totals.calls_replayed = totals.calls_replayed.saturating_add(trace.counts.calls_replayed);
            totals.calls_lost = totals.calls_lost.saturating_add(trace.counts.calls_lost);
        }
        totals
    }
}
