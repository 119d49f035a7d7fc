//! `analyze TRACE` and `analyze stats`: the populations of each VM's heap at a moment.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use shared::heap::Heap;

use super::{damage, exit_code, vms, write_with};
use crate::cli::{Input, Of, Written, parse_moment};
use crate::metrics::population::Populations;
use crate::output::{Format, Options};
use crate::replay::Plan;
use crate::replay::state::{Whole, heap_after, heap_at, resolve, whole};
use crate::replay::verdict::Verdict;
use crate::report::{Asked, Moment, Report, VmReport};
use crate::source::{FileTrace, Source};

/// `analyze stats`
#[derive(Debug, Default, Args)]
pub struct Arguments {
    /// What is read
    #[command(flatten)]
    pub input: Input,
    /// The moment: a time from the start such as 2.5s or 1m30s, `peak` (most bytes in use) or `end`
    /// [default: end; peak if the program ended before]
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub at: Option<Asked>,
    /// Of which VMs
    #[command(flatten)]
    pub of: Of,
    /// How it is written
    #[command(flatten)]
    pub written: Written,
    /// JSON: only what lj-alloc-stats has, without our own key
    #[arg(long)]
    pub compat: bool,
}

impl Arguments {
    /// `analyze TRACE`
    pub fn of(traces: Vec<PathBuf>) -> Arguments {
        Arguments { input: Input { traces }, ..Arguments::default() }
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.compat && arguments.written.format != Format::Json {
        bail!("--compat is about JSON: add --format json");
    }
    let source = Source::of(&arguments.input)?;
    let trace = source.open()?;
    let asked = arguments.at.unwrap_or_default();
    let report = report(&source.to_string(), &trace, asked, arguments.of.vm, arguments.of.pid)?;
    write_with(&report, &arguments.written, |options| Options { compat: arguments.compat, ..options })?;
    let exact = report.vms.iter().all(|vm| vm.moment.is_as_meant());
    Ok(if exact { exit_code(&report.verdict) } else { ExitCode::from(2) })
}

/// The heaps of one or all VMs at a moment. For the end and the peak the whole trace is replayed, and the verdict is
/// about all of it; for a time only what leads there.
pub fn report(source: &str, trace: &FileTrace, asked: Asked, only: Option<u32>, pid: Option<u32>) -> Result<Report> {
    let plan = Plan::new(trace)?;
    let numbers = vms(&plan, only, pid)?;
    let Asked::At(time) = resolve(asked, trace) else {
        let whole = whole(trace, &plan);
        return heaps(source, trace, &plan, &whole, &numbers, asked);
    };
    let mut verdict = Verdict::of_trace(&plan, trace);
    let heaps = numbers.into_iter().map(|number| {
        let (heap, moment, replayed) = heap_at(trace, &plan, number, time)?;
        verdict.add(&replayed);
        Ok((number, heap, moment))
    });
    let heaps: Vec<Result<At>> = heaps.collect();
    of_heaps(source, trace, &plan, verdict, heaps)
}

/// The heaps of some VMs at the end or the peak, after a replay of the whole trace.
pub fn heaps(
    source: &str,
    trace: &FileTrace,
    plan: &Plan,
    whole: &Whole,
    numbers: &[u32],
    asked: Asked,
) -> Result<Report> {
    let asked = resolve(asked, trace);
    let heaps = numbers
        .iter()
        .map(|number| heap_after(trace, plan, whole, *number, asked).map(|(heap, moment)| (*number, heap, moment)));
    let heaps: Vec<Result<At>> = heaps.collect();
    of_heaps(source, trace, plan, whole.verdict.clone(), heaps)
}

/// A VM's heap at a moment.
type At = (u32, Heap, Moment);

/// A VM that has no answer, not born yet for one, does not keep others from theirs.
fn of_heaps(source: &str, trace: &FileTrace, plan: &Plan, verdict: Verdict, heaps: Vec<Result<At>>) -> Result<Report> {
    let (mut known, mut unknown) = (Vec::new(), None);
    for heap in heaps {
        match heap {
            Ok(heap) => known.push(heap),
            Err(error) => unknown = unknown.or(Some(error)),
        }
    }
    if known.is_empty() {
        let error = unknown.unwrap_or_else(|| no_vm(plan));
        bail!("{error:#}{}", damage(&verdict));
    }
    let vms = known.into_iter().map(|(number, heap, moment)| VmReport {
        number,
        vm: plan.vms[&number].clone(),
        moment,
        populations: Populations::of(&heap),
    });
    Ok(Report {
        source: source.to_owned(),
        header: trace.header.clone(),
        vms: vms.collect(),
        processes: plan.processes.clone(),
        verdict,
    })
}

/// What to say of a trace without any VM.
pub(super) fn no_vm(plan: &Plan) -> anyhow::Error {
    let hint = if plan.breakdowns.is_empty() { "" } else { ": `analyze breakdown` shows where the memory goes" };
    anyhow!("there is no Lua VM in this trace{hint}")
}
