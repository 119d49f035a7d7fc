//! `analyze breakdown`: where the memory of each process goes.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use shared::Nanos;
use shared::trace::breakdown::{Breakdown, Memory, SliceKind};
use shared::trace::frame::Kind;
use shared::trace::reader::Frame;

use super::{exit_code, is_there, write};
use crate::cli::{Input, Written, parse_moment};
use crate::metrics::advice;
use crate::metrics::breakdown::instance::instances;
use crate::metrics::breakdown::owners::shares;
use crate::metrics::breakdown::{History, ProcessMemory, VmHeap, VmMemory};
use crate::replay::state::{micros, resolve, whole};
use crate::replay::{BreakdownAt, Life, Plan};
use crate::report::{Asked, BreakdownReport};
use crate::source::{FileTrace, Source};

/// `analyze breakdown`
#[derive(Debug, Args)]
pub struct Arguments {
    /// What is read
    #[command(flatten)]
    pub input: Input,
    /// The moment: a time from the start such as 2.5s or 1m30s, `peak` (most bytes resident) or `end`
    /// [default: end; peak if the program ended before]. Rows are of all looks unless this names one
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub at: Option<Asked>,
    /// One process, by its id [default: all]
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// How it is written
    #[command(flatten)]
    pub written: Written,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let source = Source::of(&arguments.input)?;
    let trace = source.open()?;
    let report = report(&source.to_string(), &trace, arguments.at, arguments.pid)?;
    write(&report, &arguments.written)?;
    Ok(exit_code(&report.verdict))
}

/// The memory of all processes or of one, at a moment; the end, if none is asked for.
pub fn report(source: &str, trace: &FileTrace, at: Option<Asked>, pid: Option<u32>) -> Result<BreakdownReport> {
    let plan = Plan::new(trace)?;
    pid.map_or(Ok(()), |pid| is_there(&plan, pid))?;
    let mut looks = plan.breakdowns.clone();
    looks.retain(|look| pid.is_none_or(|pid| pid == look.pid));
    if looks.is_empty() {
        bail!("{}", nothing(source, trace, &plan, pid));
    }
    let asked = resolve(at.unwrap_or_default(), trace);
    let moment = match asked {
        Asked::At(time) if time > plan.end => {
            bail!("the trace ends at {}: ask for an earlier time", humantime::format_duration(micros(plan.end)))
        }
        Asked::At(time) => time,
        Asked::Peak => peak(&looks, &plan),
        Asked::Default | Asked::End => Nanos::MAX,
    };
    let mut by_process: BTreeMap<(u64, u32), Vec<BreakdownAt>> = BTreeMap::new();
    for look in &looks {
        by_process.entry((look.started_ticks, look.pid)).or_default().push(*look);
    }
    let mut processes = Vec::new();
    for looks in by_process.values() {
        processes.extend(process(trace, &plan, looks, moment)?);
    }
    if processes.is_empty() {
        let first = looks.iter().map(|look| look.frame.head.start).min().unwrap_or(0);
        let first = humantime::format_duration(micros(first));
        bail!("where memory goes is known from {first} on: ask for a later time");
    }
    let verdict = whole(trace, &plan).verdict;
    let release_check = verdict.release_check.as_deref();
    Ok(BreakdownReport {
        source: source.to_owned(),
        header: trace.header.clone(),
        asked: (moment < Nanos::MAX).then_some(moment),
        peak: asked == Asked::Peak,
        only_moment: at.is_some(),
        advice: processes.iter().map(|process| advice::of_process(process, release_check)).collect(),
        instances: instances(&processes, &trace.header),
        vms: plan.vms,
        processes,
        verdict,
    })
}

/// Why there is nothing to show, and what to do.
fn nothing(source: &str, trace: &FileTrace, plan: &Plan, pid: Option<u32>) -> String {
    let damage = plan.damage.first().map_or(String::new(), |damage| format!(" ({damage})"));
    let there = trace.frames.iter().any(|frame| frame.head.kind == Kind::Breakdown);
    match pid.filter(|_| there) {
        Some(pid) => format!(
            "{source} has no breakdown of process {pid}{damage}: it ended before one was taken, or its mappings could not \
             be read; leave out --pid to see the others"
        ),
        None => format!(
            "{source} has no breakdown that can be read{damage}: its recorder took none; record again with this version, \
             `record --mode snapshot -p PID` is enough"
        ),
    }
}

/// When the processes that were there had the most resident bytes together.
fn peak(looks: &[BreakdownAt], plan: &Plan) -> Nanos {
    // Of each process what it has, and nothing from its end on.
    let key = |look: &BreakdownAt| (look.pid, look.started_ticks);
    let mut changes: Vec<(Nanos, (u32, u64), u64)> =
        looks.iter().map(|look| (look.frame.head.start, key(look), look.resident)).collect();
    for (process, life) in plan.processes.iter().zip(&plan.lives) {
        changes.extend(gone(life, &process.ended).map(|end| (end, (process.pid, process.started_ticks), 0)));
    }
    changes.sort_unstable();
    let mut now: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    let (mut sum, mut highest) = (0u128, (0u128, 0));
    for (time, process, resident) in changes {
        let before = now.insert(process, resident).unwrap_or(0);
        sum = sum - u128::from(before) + u128::from(resident);
        if sum > highest.0 {
            highest = (sum, time);
        }
    }
    highest.1
}

/// When a process ended itself, not merely its recording.
fn gone(life: &Life, why: &str) -> Option<Nanos> {
    // As `record` says it; what the target exited with may follow.
    life.ended.filter(|_| why.starts_with("the target ended"))
}

/// One process at the look nearest to a moment; nothing if there was none yet.
fn process(trace: &FileTrace, plan: &Plan, looks: &[BreakdownAt], moment: Nanos) -> Result<Option<ProcessMemory>> {
    let is_there = looks.iter().any(|look| look.frame.head.start <= moment);
    let nearest = looks.iter().min_by_key(|look| look.frame.head.start.abs_diff(moment)).filter(|_| is_there);
    let Some(shown) = nearest else { return Ok(None) };
    let mut history = History::default();
    for look in looks {
        history.push(look.frame.head.start, &trace.breakdown(&look.frame)?);
    }
    let breakdown = trace.breakdown(&shown.frame)?;
    let at = plan.processes.iter().position(|p| (p.pid, p.started_ticks) == (shown.pid, shown.started_ticks));
    let (process, life) = at.map(|at| (plan.processes[at].clone(), plan.lives[at])).unzip();
    let ended = process.as_ref().zip(life).and_then(|(process, life)| gone(&life, &process.ended));
    let head = shown.frame.head;
    Ok(Some(ProcessMemory {
        ended: ended.filter(|ended| *ended <= moment.min(plan.end.saturating_sub(1))),
        time: head.start,
        took_ns: head.end.saturating_sub(head.start),
        looks: looks.len() as u64,
        vms: vms(trace, plan, &breakdown, at, head.start),
        shares: shares(&breakdown.slices, &plan.vms),
        process,
        breakdown,
        history,
    }))
}

/// The process's VMs, each with its heap at the keyframe nearest to the look.
fn vms(trace: &FileTrace, plan: &Plan, breakdown: &Breakdown, process: Option<usize>, time: Nanos) -> Vec<VmMemory> {
    let mut all = Vec::new();
    for (number, vm) in &plan.vms {
        let slices = breakdown.slices.iter().filter(|slice| slice.kind == SliceKind::Luajit && slice.vm == *number);
        let memory: Memory = slices.clone().map(|slice| slice.memory).sum();
        let in_it = process.is_some() && plan.process_of.get(number).copied() == process;
        if slices.count() == 0 && !in_it {
            continue;
        }
        all.push(VmMemory {
            number: *number,
            vm: vm.clone(),
            memory,
            heap: heap(trace, *number, time),
            pages: breakdown.vms.iter().find(|pages| pages.vm == *number).copied(),
        });
    }
    all
}

/// The VM's heap at the keyframe nearest to a time; of one that is damaged the verdict tells.
fn heap(trace: &FileTrace, vm: u32, time: Nanos) -> Option<VmHeap> {
    let of_vm = |frame: &&Frame| frame.head.kind == Kind::Keyframe && frame.head.vm == vm;
    let frame = trace.frames.iter().filter(of_vm).min_by_key(|frame| frame.head.start.abs_diff(time))?;
    let keyframe = trace.keyframe(frame).ok()?;
    Some(VmHeap::of(&keyframe.heap, (frame.head.start, frame.head.end)))
}
