//! Where memory goes as JSON: one object, the verdict first. All amounts are bytes.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;
use shared::trace::breakdown::{Glibc, Memory, Slice, VmPages, Zone};

use crate::metrics::advice::{self, Advice};
use crate::metrics::breakdown::history::Look;
use crate::metrics::breakdown::instance::{Instance, role};
use crate::metrics::breakdown::owners::owner;
use crate::metrics::breakdown::{Check, Owner, ProcessMemory, Share, System, VmHeap, VmMemory};
use crate::output::Output;
use crate::output::json::{self, Head};
use crate::report::BreakdownReport;
use crate::shapes;

/// Where the memory of processes goes. All amounts are bytes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Document<'a> {
    /// What every document begins with.
    #[serde(flatten)]
    head: Head,
    /// The moment asked for; null for the end.
    asked_time_ns: Option<u64>,
    /// It is when most was resident.
    peak: bool,
    /// Masters with their workers, and other trees of processes.
    instances: Vec<InstanceFacts<'a>>,
    /// The processes, each at its look.
    processes: Vec<ProcessFacts<'a>>,
}

/// A master and its workers.
#[derive(Debug, Serialize, JsonSchema)]
struct InstanceFacts<'a> {
    /// What it consists of.
    #[serde(flatten)]
    instance: &'a Instance,
    /// What is to be said of it.
    advice: Vec<Advice>,
}

/// A process at its look.
#[derive(Debug, Serialize, JsonSchema)]
struct ProcessFacts<'a> {
    /// Its id.
    pid: u32,
    /// When it was started, in clock ticks since boot: tells two users of a pid apart.
    started_ticks: u64,
    /// Its program, if the trace tells.
    program: Option<&'a str>,
    /// `master`, `worker`, ... as an nginx's title says.
    role: Option<&'static str>,
    /// Its parent's id, if the trace tells.
    parent: Option<u32>,
    /// When it ended, if that was before the moment asked for: this is the last look at it.
    ended_ns: Option<u64>,
    /// When the look was begun.
    time_ns: u64,
    /// How long it took.
    took_ns: u64,
    /// How long the process stood still for it.
    stopped_ns: u64,
    /// How often.
    stops: u64,
    /// How many looks at the process there are.
    looks: u64,
    /// The kernel's totals against the slices.
    checks: Vec<CheckFacts>,
    /// What could not be looked at, and why.
    missing: &'a [String],
    /// The kernel's totals.
    #[schemars(with = "shapes::Memory")]
    total: Memory,
    /// By what the system does for it.
    system: System,
    /// By owner; `by_convention` is what OpenResty's pictures count.
    application: Vec<ShareFacts<'a>>,
    /// Every byte of its mappings, once.
    slices: Vec<SliceFacts<'a>>,
    /// glibc's allocator, if it was found.
    #[schemars(with = "Option<shapes::Glibc>")]
    glibc: Option<&'a Glibc>,
    /// nginx's shared zones.
    #[schemars(with = "Vec<shapes::Zone>")]
    zones: &'a [Zone],
    /// Its Lua VMs.
    vms: Vec<VmMemoryFacts<'a>>,
    /// What is to be said of it.
    advice: &'a [Advice],
    /// Each look, by owner.
    over_time: OverTime,
}

/// A figure of the kernel's beside the sum over all slices.
#[derive(Debug, Serialize, JsonSchema)]
struct CheckFacts {
    /// Both.
    #[serde(flatten)]
    check: Check,
    /// The slices less the kernel's.
    off: i64,
}

/// What an owner has.
#[derive(Debug, Serialize, JsonSchema)]
struct ShareFacts<'a> {
    /// Its memory.
    #[serde(flatten)]
    share: &'a Share,
    /// What it has by the convention of OpenResty's pictures: mapped bytes, but of shared zones what is loaded, and no
    /// address space that is only reserved.
    by_convention: u64,
}

/// A slice, with its owner.
#[derive(Debug, Serialize, JsonSchema)]
struct SliceFacts<'a> {
    /// The label of its owner in `application`.
    owner: String,
    /// The slice.
    #[serde(flatten)]
    #[schemars(with = "shapes::Slice")]
    slice: &'a Slice,
}

/// A Lua VM's memory.
#[derive(Debug, Serialize, JsonSchema)]
struct VmMemoryFacts<'a> {
    /// Its number in the trace.
    number: u32,
    /// `http`, `stream`, or the program's name.
    label: &'a str,
    /// `_G.jit.version`; empty if it could not be read.
    build: &'a str,
    /// 64-bit object references.
    gc64: bool,
    /// Its segments and direct blocks.
    #[serde(flatten)]
    #[schemars(with = "shapes::Memory")]
    memory: Memory,
    /// Its heap at the nearest keyframe, if there is one.
    heap: Option<&'a VmHeap>,
    /// What of its free memory is resident, if that is known.
    #[schemars(with = "Option<shapes::VmPages>")]
    pages: Option<VmPages>,
}

/// All looks at a process.
#[derive(Debug, Serialize, JsonSchema)]
struct OverTime {
    /// The owners there have been.
    owners: Vec<Owner>,
    /// The looks, in order of time.
    looks: Vec<LookFacts>,
}

/// A look at a process.
#[derive(Debug, Serialize, JsonSchema)]
struct LookFacts {
    /// When it was begun.
    time_ns: u64,
    /// The kernel's totals.
    #[schemars(with = "shapes::Memory")]
    total: Memory,
    /// What each owner had, in the order of `owners`.
    #[schemars(with = "Vec<shapes::Memory>")]
    memory: Vec<Memory>,
}

/// Writes the document.
pub(super) fn write(report: &BreakdownReport, out: &mut dyn Write) -> io::Result<()> {
    let instances = report.instances.iter();
    let processes = report.processes.iter().zip(&report.advice);
    let document = Document {
        head: Head::of(report.origin()),
        asked_time_ns: report.asked,
        peak: report.peak,
        instances: instances.map(|one| InstanceFacts { instance: one, advice: advice::of_instance(one) }).collect(),
        processes: processes.map(|(process, advice)| facts(report, process, advice)).collect(),
    };
    json::document(&document, out)
}

fn facts<'a>(report: &BreakdownReport, process: &'a ProcessMemory, advice: &'a [Advice]) -> ProcessFacts<'a> {
    let breakdown = &process.breakdown;
    let off = |check: &Check| i64::try_from(check.off()).unwrap_or(if check.off() < 0 { i64::MIN } else { i64::MAX });
    let share = |share| ShareFacts { share, by_convention: Share::by_convention(share) };
    let slice = |slice| SliceFacts { owner: owner(slice, &report.vms).label, slice };
    ProcessFacts {
        pid: breakdown.pid,
        started_ticks: breakdown.started_ticks,
        program: process.process.as_ref().map(|process| process.program.as_str()),
        role: process.process.as_ref().and_then(role),
        parent: process.process.as_ref().map(|process| process.parent),
        ended_ns: process.ended,
        time_ns: process.time,
        took_ns: process.took_ns,
        stopped_ns: breakdown.stopped_ns,
        stops: breakdown.stops,
        looks: process.looks,
        checks: process.checks().iter().map(|check| CheckFacts { check: *check, off: off(check) }).collect(),
        missing: &breakdown.missing,
        total: breakdown.total,
        system: process.system(),
        application: process.shares.iter().map(share).collect(),
        slices: breakdown.slices.iter().map(slice).collect(),
        glibc: breakdown.glibc.as_ref(),
        zones: &breakdown.zones,
        vms: process.vms.iter().map(vm).collect(),
        advice,
        over_time: over_time(report, process),
    }
}

fn vm(vm: &VmMemory) -> VmMemoryFacts<'_> {
    VmMemoryFacts {
        number: vm.number,
        label: &vm.vm.label,
        build: &vm.vm.build,
        gc64: vm.vm.gc64,
        memory: vm.memory,
        heap: vm.heap.as_ref(),
        pages: vm.pages,
    }
}

fn over_time(report: &BreakdownReport, process: &ProcessMemory) -> OverTime {
    let rows = process.history.by_owner(&report.vms);
    let look = |(at, look): (usize, &Look)| LookFacts {
        time_ns: look.time,
        total: look.total,
        memory: rows.iter().map(|(_, row)| row[at]).collect(),
    };
    let looks = process.history.looks.iter().enumerate().map(look).collect();
    OverTime { looks, owners: rows.into_iter().map(|(owner, _)| owner).collect() }
}
