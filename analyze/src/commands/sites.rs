//! `analyze sites`: who allocates.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use super::{exit_code, vms, write};
use crate::cli::{Input, Of, Period, Written};
use crate::metrics::sites::{By, Lasting, Sampled, SitesReport, VmSites};
use crate::replay::Plan;
use crate::replay::period::{self as replay, periods};
use crate::replay::state::whole_studied;
use crate::replay::verdict::Verdict;
use crate::report::Asked;
use crate::source::{FileTrace, Source};
use crate::symbols::Symbols;

/// `analyze sites`
///
/// Of every so many calls the stack was recorded. Shares among these samples, times the sum over all recorded calls, which
/// is exact, estimate what each operation and each site asked for. The 95 % confidence intervals come from how far groups of
/// consecutive samples differ, and are never narrower than so few samples allow: below some ten they say little.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// What is read
    #[command(flatten)]
    pub input: Input,
    /// What a call weighs
    #[arg(long, value_enum, default_value = "bytes")]
    pub by: By,
    /// Where files with symbols and debug information are looked for first: a folder that is laid out like /, or by build id;
    /// may be given several times. TRACE.symbols is always looked into
    #[arg(long, value_name = "DIR")]
    pub symbols: Vec<PathBuf>,
    /// Of which VMs
    #[command(flatten)]
    pub of: Of,
    /// From when to when calls count
    #[command(flatten)]
    pub period: Period,
    /// How it is written
    #[command(flatten)]
    pub written: Written,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let source = Source::of(&arguments.input)?;
    let trace = source.open()?;
    let plan = Plan::new(&trace)?;
    let mut symbols = Symbols::new(folders(&arguments.symbols, &source));
    let asked = Question { by: arguments.by, of: &arguments.of, period: &arguments.period };
    let report = report(&source.to_string(), &trace, &plan, &asked, &mut symbols)?;
    for problem in report.modules.iter().flat_map(|module| &module.problems) {
        eprintln!("analyze: {problem}");
    }
    write(&report, &arguments.written)?;
    Ok(exit_code(&report.verdict))
}

/// Where symbols are looked for: in the folders given, then beside each file of the trace.
pub fn folders(given: &[PathBuf], source: &Source) -> Vec<PathBuf> {
    let beside = |path: &PathBuf| {
        let mut name = OsString::from(path);
        name.push(".symbols");
        PathBuf::from(name)
    };
    given.iter().cloned().chain(source.0.iter().map(beside).filter(|path| path.is_dir())).collect()
}

/// What is asked.
pub struct Question<'a> {
    /// What calls weigh.
    pub by: By,
    /// Of which VMs.
    pub of: &'a Of,
    /// From when to when.
    pub period: &'a Period,
}

/// Who allocates, after a replay of the whole trace.
///
/// # Errors
/// There are no stacks of these VMs, or the moments are not in the trace.
pub fn report(
    name: &str,
    trace: &FileTrace,
    plan: &Plan,
    asked: &Question<'_>,
    symbols: &mut Symbols,
) -> Result<SitesReport> {
    let numbers = vms(plan, asked.of.vm, asked.of.pid)?;
    has_stacks(name, plan, &numbers)?;
    // The heap of a target that has ended is empty, but its calls all count.
    let to = asked.period.to.or(Some(Asked::End));
    let periods = periods(trace, plan, &numbers, &Period { to, ..*asked.period })?;
    let (sampled, mut lasting) = sampled(trace, plan, periods);
    let verdict = whole_studied(trace, plan, &mut lasting).verdict;
    Ok(told(name, (trace, plan), asked.by, (&numbers, sampled, lasting), verdict, symbols))
}

/// The samples of some VMs, each with its period.
pub type SampledVms = Vec<(u32, replay::Period, Sampled)>;

/// The samples of those VMs that have stacks, and what follows their blocks through a replay.
pub fn sampled(trace: &FileTrace, plan: &Plan, periods: BTreeMap<u32, replay::Period>) -> (SampledVms, Lasting) {
    let mut lasting = Lasting::default();
    let has_stacks = |vm: &u32| plan.stacks.iter().any(|frame| frame.head.vm == *vm);
    let sample = |(vm, period): (u32, replay::Period)| {
        let sampled = Sampled::of(trace, plan, vm, period);
        lasting.add(trace, plan, vm, period, &sampled);
        (vm, period, sampled)
    };
    let sampled = periods.into_iter().filter(|(vm, _)| has_stacks(vm)).map(sample).collect();
    (sampled, lasting)
}

/// Who allocates, by bytes, after a replay that was made for something else, too.
///
/// # Errors
/// There are no stacks of these VMs.
pub fn found(
    name: &str,
    (trace, plan): (&FileTrace, &Plan),
    numbers: &[u32],
    (mut sampled, lasting): (SampledVms, Lasting),
    verdict: Verdict,
    symbols: &mut Symbols,
) -> Result<SitesReport> {
    has_stacks(name, plan, numbers)?;
    sampled.retain(|(vm, ..)| numbers.contains(vm));
    Ok(told(name, (trace, plan), By::Bytes, (numbers, sampled, lasting), verdict, symbols))
}

fn told(
    name: &str,
    (trace, plan): (&FileTrace, &Plan),
    by: By,
    (numbers, sampled, mut lasting): (&[u32], SampledVms, Lasting),
    mut verdict: Verdict,
    symbols: &mut Symbols,
) -> SitesReport {
    let mut vms = Vec::new();
    for (number, period, sampled) in sampled {
        sampled.damage.iter().for_each(|damage| verdict.note_damage(damage.clone()));
        let vm = plan.vms.get(&number).cloned().unwrap_or_default();
        let kinds = lasting.kinds(trace, plan, number);
        vms.push(VmSites::of((number, vm), period, &sampled, (by, lasting.take(number)), &kinds, symbols));
    }
    let is_there = |number: &u32| vms.iter().any(|vm| vm.number == *number);
    SitesReport {
        source: name.to_owned(),
        header: trace.header.clone(),
        processes: plan.processes.clone(),
        verdict,
        by,
        without: numbers.iter().copied().filter(|number| !is_there(number)).collect(),
        vms,
        modules: symbols.facts().cloned().collect(),
    }
}

fn has_stacks(name: &str, plan: &Plan, numbers: &[u32]) -> Result<()> {
    if !plan.stacks.iter().any(|frame| numbers.contains(&frame.head.vm)) {
        bail!(
            "{name} has no stacks of these VMs, so who allocates is not known: record with `--stacks 1/1000`, in mode \
             sample or full"
        );
    }
    Ok(())
}
