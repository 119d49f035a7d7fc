//! One trace of many: everything that is kept of it, from one replay.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use shared::Nanos;
use shared::call::Call;
use shared::trace::frame::Kind;
use shared::trace::meta::{Cost, Process};

use super::find::Recording;
use crate::metrics::batch::{Counts, HeapResult, ProcessResult, TraceResult, VmResult};
use crate::metrics::population::{Populations, overhead};
use crate::model::{Allocator, Outcome};
use crate::output::text::worst;
use crate::replay::costs::CostReport;
use crate::replay::observe::{Observer, Study};
use crate::replay::run::{Peak, Replayed};
use crate::replay::state::{Whole, heap_after, resolve, whole_studied};
use crate::replay::{Plan, Stretch};
use crate::report::{Asked, Moment, Report, VmReport};
use crate::source::FileTrace;

/// What is kept of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::commands) struct Done {
    /// Its rows.
    pub(in crate::commands) result: TraceResult,
    /// Its heaps as if they were one.
    pub(in crate::commands) heaps: Populations,
}

/// What a trace is called, and how large it is.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Named {
    /// Its name.
    pub(in crate::commands) name: String,
    /// In how many files it is.
    pub(in crate::commands) files: u64,
    /// Their bytes.
    pub(in crate::commands) bytes: u64,
}

/// What one pass over a trace came to.
pub(in crate::commands) struct Counted<S> {
    /// What is kept of it.
    pub(in crate::commands) done: Done,
    /// That of `analyze stats`.
    pub(in crate::commands) report: Report,
    /// The replay.
    pub(in crate::commands) whole: Whole,
    /// What each process of the result paid, if the trace tells.
    pub(in crate::commands) costs: Vec<Option<CostReport>>,
    /// What else was made of it.
    pub(in crate::commands) study: S,
}

/// Replays a trace. The report is that of `analyze stats`.
pub(super) fn one(recording: &Recording) -> Result<(Done, Report)> {
    let trace = recording.source().open()?;
    let plan = Plan::new(&trace)?;
    let named = Named { name: recording.name(), files: recording.files.len() as u64, bytes: recording.bytes() };
    let Counted { done, report, .. } = counted(named, &trace, &plan, ());
    Ok((done, report))
}

/// Replays a trace while another study is made of it.
pub(in crate::commands) fn counted<S: Study>(named: Named, trace: &FileTrace, plan: &Plan, study: S) -> Counted<S> {
    let Named { name, files, bytes } = named;
    let asked = resolve(Asked::Default, trace);
    let mut studies = (Starts::default(), study);
    let whole = whole_studied(trace, plan, &mut studies);
    let (starts, study) = studies;
    let mut calls: BTreeMap<u32, u64> = BTreeMap::new();
    for frame in trace.frames.iter().filter(|frame| frame.head.kind == Kind::Calls) {
        *calls.entry(frame.head.vm).or_default() += u64::from(frame.head.count);
    }

    let mut report = Report {
        source: name.clone(),
        header: trace.header.clone(),
        processes: plan.processes.clone(),
        verdict: whole.verdict.clone(),
        vms: Vec::new(),
    };
    let mut heaps = Populations::default();
    let mut processes: Vec<ProcessResult> = plan.processes.iter().map(|process| of_process(process, plan)).collect();
    for (number, vm) in &plan.vms {
        let mut result = VmResult {
            vm: *number,
            label: vm.label.clone(),
            build: vm.build.clone(),
            gc64: vm.gc64,
            calls: calls.get(number).copied().unwrap_or_default(),
            peak_bytes: None,
            peak_ns: None,
            growth_bytes: None,
            heap: None,
            heap_unknown: None,
        };
        match heap_after(trace, plan, &whole, *number, asked) {
            Ok((heap, moment)) => {
                let populations = Populations::of(&heap);
                let came = plan.stretches.iter().zip(&whole.stretches).filter(|(stretch, _)| stretch.vm == *number);
                // Of equal peaks the first.
                let peak = came.map(|(_, came)| came.peak).rev().max_by_key(|peak| peak.bytes);
                result.peak_bytes = peak.map(|Peak { bytes, .. }| bytes);
                result.peak_ns = peak.map(|Peak { time, .. }| time);
                let now = populations.used.all.bytes.saturating_add(populations.direct.all.bytes);
                // Two's complement: right for every difference below 2^63 bytes.
                result.growth_bytes = starts.0.get(number).map(|start| now.wrapping_sub(*start).cast_signed());
                result.heap = Some(of_heap(&populations, &moment));
                heaps.merge(&populations);
                report.vms.push(VmReport { number: *number, vm: vm.clone(), moment, populations });
            }
            Err(error) => result.heap_unknown = Some(format!("{error:#}")),
        }
        let at = plan.process_of.get(number).copied().filter(|at| *at < plan.processes.len());
        let at = at.unwrap_or_else(|| {
            // The trace does not tell of its process.
            processes.push(of_process(&Process { pid: vm.pid, ..Process::default() }, plan));
            processes.len() - 1
        });
        processes[at].vms.push(result);
    }
    // A lone process paid what the recording cost; of several each tells for itself.
    let of_trace = report.verdict.cost.filter(|_| processes.len() == 1);
    let own = |at: usize| plan.processes.get(at).filter(|process| process.cost != Cost::default());
    let costs = (0..processes.len()).map(|at| of_trace.or(own(at).map(|process| CostReport::of(&process.cost, 0))));
    let costs: Vec<Option<CostReport>> = costs.collect();
    for (process, cost) in processes.iter_mut().zip(&costs) {
        cost.iter().for_each(|cost| process.pay(cost));
    }
    let result = TraceResult {
        trace: name,
        files,
        bytes,
        host: trace.header.host.clone(),
        started_unix_ns: trace.header.started_unix_ns,
        mode: trace.header.mode.clone(),
        duration_ns: plan.end,
        judgement: report.verdict.judgement(),
        reason: worst(&report.verdict),
        counts: Counts::of(&report.verdict),
        processes,
    };
    Counted { done: Done { result, heaps }, report, whole, costs, study }
}

fn of_process(process: &Process, plan: &Plan) -> ProcessResult {
    ProcessResult {
        pid: process.pid,
        program: process.program.clone(),
        parent: process.parent,
        children: plan.processes.iter().filter(|other| other.parent == process.pid && process.pid != 0).count() as u64,
        longest_pause_ns: None,
        cost_ppm: None,
        worst_minute_ppm: None,
        vms: Vec::new(),
    }
}

impl ProcessResult {
    fn pay(&mut self, cost: &CostReport) {
        let share = u128::from(cost.target_ns) * 1_000_000 / u128::from(cost.elapsed_ns.max(1));
        self.longest_pause_ns = Some(cost.longest_pause_ns);
        self.cost_ppm = Some(u64::try_from(share).unwrap_or(u64::MAX));
        self.worst_minute_ppm = Some(cost.worst_minute_ppm);
    }
}

fn of_heap(populations: &Populations, moment: &Moment) -> HeapResult {
    HeapResult {
        time_ns: moment.time,
        at: if moment.asked == Asked::Peak { "peak" } else { "end" }.to_owned(),
        short_of: moment.short_of.clone(),
        used: populations.used.all,
        free: populations.free.all,
        segments: populations.segments.all,
        direct: populations.direct.all,
        overhead_bytes: populations.overhead,
        gc_total: populations.gc_total,
    }
}

/// What each VM had, used and direct, at its first keyframe.
#[derive(Debug, Default)]
struct Starts(BTreeMap<u32, u64>);

/// The same at one keyframe.
#[derive(Debug, Default)]
struct Start(Option<u64>);

impl Study for Starts {
    type Observer = Start;

    fn observer(&self, _: &Stretch) -> Start {
        Start::default()
    }

    fn seen(&mut self, stretch: &Stretch, _: &Replayed, start: Start) {
        if let Some(bytes) = start.0 {
            self.0.entry(stretch.vm).or_insert(bytes);
        }
    }
}

impl Observer for Start {
    fn start(&mut self, _: Nanos, heap: &Allocator) {
        let totals = heap.totals();
        let outside = totals.free_bytes.wrapping_add(overhead(totals.segments));
        self.0 = Some(totals.segment_bytes.wrapping_sub(outside).wrapping_add(totals.direct_bytes));
    }

    #[inline]
    fn call(&mut self, _: &Call, _: &Outcome, _: &Allocator) {}
}
