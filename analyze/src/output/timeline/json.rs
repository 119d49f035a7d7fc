//! Heaps over time as JSON: one object, the verdict first.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;
use shared::Nanos;

use crate::metrics::timeline::{Cycles, Flow, Gauge, Lane, Periods, Point};
use crate::output::Output;
use crate::output::json::{self, Head};
use crate::report::TimelineReport;

/// How heaps develop over time. All amounts are bytes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Document<'a> {
    #[serde(flatten)]
    head: Head,
    /// Where the first point begins, from the start of the recording.
    from_ns: Nanos,
    /// Where the last one ends.
    to_ns: Nanos,
    /// Processes of several VMs as a whole, and each VM.
    timelines: Vec<LaneFacts<'a>>,
}

/// A process of several VMs, or a VM.
#[derive(Debug, Serialize, JsonSchema)]
struct LaneFacts<'a> {
    /// The process.
    pid: u32,
    /// Its program.
    program: Option<&'a str>,
    /// The VM's number; none of a process as a whole.
    vm: Option<u32>,
    /// What the VM is for.
    label: Option<&'a str>,
    /// How many VMs it is about.
    vms: u64,
    /// The collector's cycles; none of a process as a whole.
    gc_cycles: Option<CycleFacts>,
    /// The points, in order of time.
    points: Vec<PointFacts>,
}

/// The collector's cycles.
#[derive(Debug, Serialize, JsonSchema)]
struct CycleFacts {
    /// How many ended: `gc.total` fell by a sixteenth or more, not by one call alone, and rose again by as much.
    count: u64,
    /// From the end of one to that of the next one, where every call between is recorded.
    periods: Periods,
    /// The mean of these; none of none.
    mean_period_ns: Option<u64>,
    /// `gc.total` at their ends: the first one's, the lowest, the highest, the last one's.
    live_bytes: Option<Gauge>,
}

/// A stretch of time.
#[derive(Debug, Serialize, JsonSchema)]
struct PointFacts {
    /// Where it begins.
    from_ns: Nanos,
    /// Where it ends.
    to_ns: Nanos,
    /// How much of it calls were recorded; of a process, the most of its VMs.
    recorded_ns: u64,
    /// The heap as far as it was known in it; none if it was not. Of a process, sums, where all of its VMs are known:
    /// `min` and `max` are bounds then.
    heap: Option<HeapFacts>,
    /// The process's resident bytes when they were looked at; none if they were not.
    resident_bytes: Option<Gauge>,
    /// Calls recorded in it, and their bytes, by kind.
    calls: Flow,
    /// The same a second of what was recorded; none if nothing was.
    per_second: Option<FlowFacts>,
    /// Collector cycles that ended in it.
    gc_cycles: u64,
    /// Places in it where calls are lost.
    gaps: u64,
    /// Windows that begin in it.
    windows: u64,
}

/// A heap over a stretch of time.
#[derive(Debug, Serialize, JsonSchema)]
struct HeapFacts {
    /// Chunks in use.
    used_bytes: Gauge,
    /// Free chunks.
    free_bytes: Gauge,
    /// Mapped for chunks.
    segment_bytes: Gauge,
    /// Blocks mapped on their own.
    direct_bytes: Gauge,
    /// What the collector counts.
    gc_total: Gauge,
    /// Free chunks of segments, between 0 and 1, when last seen; none without segments.
    fragmentation: Option<f64>,
}

/// Calls and bytes a second.
#[derive(Debug, Serialize, JsonSchema)]
struct FlowFacts {
    /// Allocations.
    alloc: f64,
    /// Resizes.
    resize: f64,
    /// Frees.
    free: f64,
    /// Bytes that allocations ask for.
    allocated_bytes: f64,
    /// Bytes by which resizes grow.
    grown_bytes: f64,
    /// Bytes by which resizes shrink.
    shrunk_bytes: f64,
    /// Bytes that frees give back.
    freed_bytes: f64,
}

/// Writes the document.
pub(super) fn write(report: &TimelineReport, out: &mut dyn Write) -> io::Result<()> {
    let document = Document {
        head: Head::of(report.origin()),
        from_ns: report.scale.from,
        to_ns: report.scale.to,
        timelines: report.lanes.iter().map(|lane| lane_facts(report, lane)).collect(),
    };
    json::document(&document, out)
}

fn lane_facts<'a>(report: &'a TimelineReport, lane: &'a Lane) -> LaneFacts<'a> {
    let process = report.processes.iter().find(|process| process.pid == lane.pid);
    LaneFacts {
        pid: lane.pid,
        program: process.map(|process| process.program.as_str()),
        vm: lane.vm.as_ref().map(|(number, _)| *number),
        label: lane.vm.as_ref().map(|(_, vm)| vm.label.as_str()),
        vms: lane.vms,
        gc_cycles: lane.cycles.as_ref().map(cycle_facts),
        points: lane.points.iter().enumerate().map(|(at, point)| point_facts(report.scale.span(at), point)).collect(),
    }
}

fn cycle_facts(cycles: &Cycles) -> CycleFacts {
    CycleFacts {
        count: cycles.count,
        periods: cycles.periods,
        mean_period_ns: cycles.periods.mean_ns(),
        live_bytes: cycles.live,
    }
}

fn point_facts((from_ns, to_ns): (Nanos, Nanos), point: &Point) -> PointFacts {
    PointFacts {
        from_ns,
        to_ns,
        recorded_ns: point.recorded_ns,
        heap: point.heap.map(|heap| HeapFacts {
            used_bytes: heap.gauge(|levels| levels.used),
            free_bytes: heap.gauge(|levels| levels.free),
            segment_bytes: heap.gauge(|levels| levels.segments),
            direct_bytes: heap.gauge(|levels| levels.direct),
            gc_total: heap.gauge(|levels| levels.gc_total),
            fragmentation: heap.fragmentation(),
        }),
        resident_bytes: point.resident,
        calls: point.flow,
        per_second: per_second(point),
        gc_cycles: point.cycles,
        gaps: point.gaps,
        windows: point.windows,
    }
}

fn per_second(point: &Point) -> Option<FlowFacts> {
    let flow = &point.flow;
    Some(FlowFacts {
        alloc: point.per_second(flow.alloc)?,
        resize: point.per_second(flow.resize)?,
        free: point.per_second(flow.free)?,
        allocated_bytes: point.per_second(flow.allocated_bytes)?,
        grown_bytes: point.per_second(flow.grown_bytes)?,
        shrunk_bytes: point.per_second(flow.shrunk_bytes)?,
        freed_bytes: point.per_second(flow.freed_bytes)?,
    })
}
