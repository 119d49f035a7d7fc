//! `analyze growth`: which size classes grow, and whether they are leak suspects.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use shared::heap::Heap;

use super::stats::no_vm;
use super::{damage, exit_code, vms, write};
use crate::cli::{Input, Of, Period, Written};
use crate::metrics::growth::{Figures, Growth, GrowthReport, VmGrowth};
use crate::metrics::population::Populations;
use crate::output::words;
use crate::replay::Plan;
use crate::replay::state::{Whole, heap_after, resolve, whole_studied};
use crate::report::{Asked, Moment};
use crate::source::{FileTrace, Source};

/// `analyze growth`
#[derive(Debug, Args)]
pub struct Arguments {
    /// What is read
    #[command(flatten)]
    pub input: Input,
    /// Between which two heaps
    #[command(flatten)]
    pub period: Period,
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
    let report = report(&source.to_string(), &trace, &arguments.period, &arguments.of)?;
    write(&report, &arguments.written)?;
    let exact = report.vms.iter().all(|vm| vm.from.is_as_meant() && vm.to.is_as_meant());
    Ok(if exact { exit_code(&report.verdict) } else { ExitCode::from(2) })
}

/// What grows in the heaps of all VMs, of one, or of one process's. All of the trace is replayed, and the verdict is about
/// that.
pub fn report(source: &str, trace: &FileTrace, period: &Period, of: &Of) -> Result<GrowthReport> {
    let plan = Plan::new(trace)?;
    let mut growth = Growth::new(&plan, &vms(&plan, of.vm, of.pid)?);
    let whole = whole_studied(trace, &plan, &mut growth);
    found(source, trace, &plan, &whole, &growth, period)
}

/// What a study came to, after a pass over the whole trace. A VM of which no two heaps are known does not keep others from
/// their answer.
///
/// # Errors
/// There is no VM with two heaps.
pub fn found(
    source: &str,
    trace: &FileTrace,
    plan: &Plan,
    whole: &Whole,
    growth: &Growth,
    period: &Period,
) -> Result<GrowthReport> {
    let (mut known, mut unknown) = (Vec::new(), None);
    for number in growth.vms() {
        match heaps(trace, plan, whole, number, period) {
            Ok([(before, from), (after, to)]) => {
                let (basis, moments) = growth.moments(number, (from.time, to.time));
                let heaps = [before, after].map(|heap| Populations::of(&heap));
                let figures = Figures::of(&heaps[0], &heaps[1], basis, &moments);
                known.push(VmGrowth { number, vm: plan.vms[&number].clone(), from, to, figures });
            }
            Err(error) => unknown = unknown.or(Some(error)),
        }
    }
    if known.is_empty() {
        let error = unknown.unwrap_or_else(|| no_vm(plan));
        bail!("{error:#}{}", damage(&whole.verdict));
    }
    Ok(GrowthReport {
        source: source.to_owned(),
        header: trace.header.clone(),
        vms: known,
        processes: plan.processes.clone(),
        verdict: whole.verdict.clone(),
    })
}

/// A VM's heaps at both ends of a period, which begins at its first keyframe if not later.
fn heaps(trace: &FileTrace, plan: &Plan, whole: &Whole, vm: u32, period: &Period) -> Result<[(Heap, Moment); 2]> {
    let first = plan.of_vm(vm).next().map_or(0, |stretch| stretch.start());
    let from = match period.from {
        None => Asked::At(first),
        Some(Asked::At(time)) => Asked::At(time.max(first)),
        Some(asked) => resolve(asked, trace),
    };
    let to = resolve(period.to.unwrap_or_default(), trace);
    let [from, to] = [from, to].map(|asked| heap_after(trace, plan, whole, vm, asked));
    let (from, to) = (from?, to?);
    if from.1.time >= to.1.time {
        let [from, to] = [from.1.time, to.1.time].map(words::time);
        bail!("of VM {vm}, the heap at {from} is not before that at {to}: growth is between two, --from before --to");
    }
    Ok([from, to])
}
