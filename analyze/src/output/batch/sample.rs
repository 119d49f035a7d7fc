//! Some results to write in tests.

use crate::metrics::batch::outliers::outliers;
use crate::metrics::batch::{BatchReport, Counts, Duplicate, Failed, HeapResult, ProcessResult, TraceResult, VmResult};
use crate::metrics::population::{Population, Populations, Tally};
use crate::replay::verdict::Judgement;

/// A trace of one worker with so many bytes in use.
pub(crate) fn trace(name: &str, used: u64) -> TraceResult {
    let free = 1 << 20;
    let heap = HeapResult {
        time_ns: 5_000_000_000,
        at: "end".to_owned(),
        short_of: None,
        used: Tally { count: 1, bytes: used },
        free: Tally { count: 1, bytes: free },
        segments: Tally { count: 1, bytes: used.saturating_add(free + 64) },
        direct: Tally::default(),
        overhead_bytes: 64,
        gc_total: used,
    };
    let vm = VmResult {
        vm: 1,
        label: "http".to_owned(),
        build: "LuaJIT 2.1.1700000000".to_owned(),
        gc64: true,
        calls: 1000,
        peak_bytes: Some(used),
        peak_ns: Some(1_000_000_000),
        growth_bytes: Some(-8),
        heap: Some(heap),
        heap_unknown: None,
    };
    let process = ProcessResult {
        pid: 4711,
        program: "nginx".to_owned(),
        parent: 1,
        children: 0,
        longest_pause_ns: Some(1_000_000),
        cost_ppm: Some(9_000),
        worst_minute_ppm: Some(10_000),
        vms: vec![vm],
    };
    TraceResult {
        trace: name.to_owned(),
        files: 1,
        bytes: 4096,
        host: "web-1".to_owned(),
        started_unix_ns: 1_763_000_000_000_000_000,
        mode: "sample".to_owned(),
        duration_ns: 5_000_000_000,
        judgement: Judgement::Verified,
        reason: None,
        counts: Counts { trace_calls: 1000, calls_replayed: 1000, ..Counts::default() },
        processes: vec![process],
    }
}

/// Six traces, one of them cut off and one different, a file that is no trace, and a copy.
pub(crate) fn report() -> BatchReport {
    let used = [10u64 << 20, 11 << 20, 50 << 20, 10 << 20, 12 << 20, 11 << 20];
    let mut traces: Vec<TraceResult> =
        used.iter().enumerate().map(|(at, used)| trace(&format!("{at}.ljt"), *used)).collect();
    traces[5].trace = "cut.ljt".to_owned();
    traces[5].judgement = Judgement::Incomplete;
    traces[5].reason = Some("truncated: the frame at byte 77 is incomplete".to_owned());
    let all = |of: fn(&HeapResult) -> u64| -> Population {
        traces.iter().filter_map(|trace| trace.processes[0].vms[0].heap.as_ref()).map(of).collect()
    };
    let heaps = Populations {
        used: all(|heap| heap.used.bytes),
        free: all(|heap| heap.free.bytes),
        segments: all(|heap| heap.segments.bytes),
        direct: Population::default(),
        overhead: 6 * 64,
        gc_total: used.iter().sum(),
    };
    BatchReport {
        folder: "out".to_owned(),
        failed: vec![Failed { path: "bad.ljt".to_owned(), reason: "not a trace: it starts with []".to_owned() }],
        duplicates: vec![Duplicate { path: "copy.ljt".to_owned(), of: "0.ljt".to_owned() }],
        kept: 3,
        left: 0,
        heaps,
        outliers: outliers(&traces),
        traces,
    }
}
