//! `analyze objects`: what kind of things fill the heap.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use shared::Nanos;
use shared::trace::frame::Kind;
use shared::trace::reader::Frame;

use super::{exit_code, vms, write};
use crate::cli::{Input, Of, Written, parse_moment};
use crate::metrics::objects::{Growth, Objects, ObjectsReport, VmObjects};
use crate::replay::Plan;
use crate::replay::state::{micros, whole};
use crate::replay::verdict::Verdict;
use crate::report::Asked;
use crate::source::{FileTrace, Source};

/// `analyze objects`
#[derive(Debug, Args)]
pub struct Arguments {
    /// What is read
    #[command(flatten)]
    pub input: Input,
    /// The moment: a time from the start such as 2.5s or 1m30s, `peak` (most bytes in use) or `end`; shown is the last
    /// census until then [default: end]
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub at: Option<Asked>,
    /// Since when growth is counted: a time from the start, or `peak` [default: the first census]
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub from: Option<Asked>,
    /// Of which VMs
    #[command(flatten)]
    pub of: Of,
    /// How it is written
    #[command(flatten)]
    pub written: Written,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let source = Source::of(&arguments.input)?;
    let trace = source.open()?;
    let moments = (arguments.from, arguments.at.unwrap_or(Asked::End));
    let report = report(&source.to_string(), &trace, moments, &arguments.of)?;
    write(&report, &arguments.written)?;
    Ok(exit_code(&report.verdict))
}

/// The objects of all VMs, of one, or of one process's at a moment, and how they grew since another.
pub fn report(source: &str, trace: &FileTrace, moments: (Option<Asked>, Asked), of: &Of) -> Result<ObjectsReport> {
    let plan = Plan::new(trace)?;
    let asked = vms(&plan, of.vm, of.pid)?;
    if !plan.censuses.iter().any(|frame| asked.contains(&frame.head.vm)) {
        bail!(
            "{source} has no census of these VMs: its recorder took none; record again with this version, \
             `record --mode snapshot -p PID` is enough"
        );
    }
    let mut verdict = whole(trace, &plan).verdict;
    let (mut found, mut without, mut first) = (Vec::new(), Vec::new(), Nanos::MAX);
    for number in asked {
        let censuses: Vec<Frame> = plan.censuses.iter().filter(|frame| frame.head.vm == number).copied().collect();
        first = censuses.iter().map(|frame| frame.head.start).fold(first, Nanos::min);
        match vm(trace, &plan, &censuses, moments, &mut verdict)? {
            Some(objects) => found.push(objects),
            None => without.push(number),
        }
    }
    if found.is_empty() && verdict.damage.is_empty() {
        let first = humantime::format_duration(micros(first));
        bail!("what the heap consists of is known from {first} on: ask for a later time");
    }
    Ok(ObjectsReport {
        source: source.to_owned(),
        header: trace.header.clone(),
        processes: plan.processes,
        verdict,
        vms: found,
        without,
    })
}

/// One VM, by its censuses in order of time; none if there is none until the moment.
fn vm(
    trace: &FileTrace,
    plan: &Plan,
    censuses: &[Frame],
    (from, at): (Option<Asked>, Asked),
    verdict: &mut Verdict,
) -> Result<Option<VmObjects>> {
    let peak = if from == Some(Asked::Peak) || at == Asked::Peak { peak(trace, censuses) } else { 0 };
    let moment = |asked| match asked {
        Asked::At(time) => time,
        Asked::Peak => peak,
        Asked::Default | Asked::End => Nanos::MAX,
    };
    let (since, until) = (from.map_or(0, moment), moment(at));
    if since > until {
        bail!("growth cannot be counted from a moment behind the one shown: let --from be earlier than --at");
    }
    let mut counted = |frame: &Frame| match objects(trace, frame) {
        Ok(objects) => Some(objects),
        Err(error) => {
            verdict.note_damage(error.to_string());
            None
        }
    };
    let Some(shown) = censuses.iter().rfind(|frame| frame.head.start <= until) else { return Ok(None) };
    let Some(objects) = counted(shown) else { return Ok(None) };
    let earlier = censuses.iter().find(|frame| (since..shown.head.start).contains(&frame.head.start));
    let growth = earlier.and_then(|frame| {
        let before = counted(frame)?;
        Some(Growth::between((frame.head.start, &before), (shown.head.start, &objects)))
    });
    let number = shown.head.vm;
    Ok(Some(VmObjects {
        number,
        vm: plan.vms.get(&number).cloned().unwrap_or_default(),
        time: shown.head.start,
        censuses: censuses.len() as u64,
        objects,
        growth,
    }))
}

/// When the heap had the most bytes in use, by its censuses.
fn peak(trace: &FileTrace, censuses: &[Frame]) -> Nanos {
    let bytes = |frame: &Frame| objects(trace, frame).map_or(0, |objects| objects.all.bytes);
    // Of equal ones the first.
    censuses.iter().rev().max_by_key(|frame| bytes(frame)).map_or(0, |frame| frame.head.start)
}

/// A census counted with its keyframe.
fn objects(trace: &FileTrace, frame: &Frame) -> Result<Objects> {
    let census = trace.census(frame)?;
    let head = frame.head;
    let of_it = |kind| {
        trace.frames.iter().find(move |other| {
            let (vm, time) = (other.head.vm, (other.head.start, other.head.end));
            other.head.kind == kind && vm == head.vm && time == (head.start, head.end)
        })
    };
    let Some(keyframe) = of_it(Kind::Keyframe) else { bail!("a census at byte {} has no keyframe", frame.offset) };
    let heap = trace.keyframe(keyframe)?.heap;
    let names = of_it(Kind::Names).map(|frame| trace.names(frame)).transpose()?;
    Objects::of(&heap, &census, names.as_ref()).map_err(|why| anyhow::anyhow!("at byte {}: {why}", frame.offset))
}
