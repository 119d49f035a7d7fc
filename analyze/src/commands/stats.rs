//! `analyze TRACE` and `analyze stats`: the populations of each VM's heap at a moment.

use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};

use super::{exit_code, options, with_output};
use crate::cli::StatsArguments;
use crate::metrics::population::Populations;
use crate::output::{self, Format, Options};
use crate::replay::Plan;
use crate::replay::state::{heap_after, heap_at, resolve, whole};
use crate::replay::verdict::Verdict;
use crate::report::{Asked, Report, VmReport};
use crate::source::{FileTrace, Source};

/// Runs the command.
pub fn run(arguments: &StatsArguments) -> Result<ExitCode> {
    if arguments.compat && arguments.format != Format::Json {
        bail!("--compat is about JSON: add --format json");
    }
    let source = Source(arguments.trace.clone());
    let trace = source.open()?;
    let asked = arguments.at.unwrap_or_default();
    let report = report(&source.to_string(), &trace, asked, arguments.vm)?;
    let options = Options { compat: arguments.compat, ..options(arguments.output.as_deref()) };
    with_output(arguments.output.as_deref(), |out| output::write(&report, arguments.format, &options, out))?;
    let exact = report.vms.iter().all(|vm| vm.moment.short_of.is_none());
    Ok(if exact { exit_code(&report.verdict) } else { ExitCode::from(2) })
}

/// The heaps of one or all VMs at a moment. For the end and the peak the whole trace is replayed, and the verdict is
/// about all of it; for a time only what leads there.
pub fn report(source: &str, trace: &FileTrace, asked: Asked, only: Option<u32>) -> Result<Report> {
    let plan = Plan::new(trace)?;
    let numbers: Vec<u32> = plan.vms.keys().copied().filter(|number| only.is_none_or(|only| only == *number)).collect();
    if let (Some(only), []) = (only, &*numbers) {
        let known: Vec<String> = plan.vms.keys().map(u32::to_string).collect();
        bail!("there is no VM {only} in this trace; it has {}", known.join(", "));
    }
    let asked = resolve(asked, trace);
    let (mut heaps, mut unknown) = (Vec::new(), None);
    let verdict = if let Asked::At(time) = asked {
        let mut verdict = Verdict::of_trace(&plan, &trace.end);
        for number in numbers {
            match heap_at(trace, &plan, number, time) {
                Ok((heap, moment, replayed)) => {
                    verdict.add(&replayed);
                    heaps.push((number, heap, moment));
                }
                // Not born yet, for one.
                Err(error) => unknown = unknown.or(Some(error)),
            }
        }
        verdict
    } else {
        let whole = whole(trace, &plan);
        for number in numbers {
            match heap_after(trace, &plan, &whole, number, asked) {
                Ok((heap, moment)) => heaps.push((number, heap, moment)),
                // Other VMs of a damaged trace may still have an answer; the verdict tells of the damage.
                Err(error) => unknown = unknown.or(Some(error)),
            }
        }
        whole.verdict
    };
    if heaps.is_empty() {
        let error = unknown.unwrap_or_else(|| anyhow!("there is no VM in this trace"));
        let damage: String = verdict.truncated.iter().chain(&verdict.damage).map(|what| format!("; {what}")).collect();
        bail!("{error:#}{damage}");
    }
    let vms = heaps.into_iter().map(|(number, heap, moment)| VmReport {
        number,
        vm: plan.vms[&number].clone(),
        moment,
        populations: Populations::of(&heap),
    });
    Ok(Report {
        source: source.to_owned(),
        header: trace.header.clone(),
        vms: vms.collect(),
        processes: plan.processes,
        verdict,
    })
}
