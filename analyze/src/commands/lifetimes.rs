//! `analyze lifetimes`: how long blocks live, how often the heap is turned over, how blocks grow.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use super::{exit_code, vms, write};
use crate::cli::{Input, Of, Period, Written};
use crate::metrics::followed::Followed;
use crate::metrics::lives::LifetimesReport;
use crate::replay::Plan;
use crate::replay::period::periods;
use crate::replay::state::whole_studied;
use crate::replay::verdict::Verdict;
use crate::source::{FileTrace, Source};

/// `analyze lifetimes`
#[derive(Debug, Args)]
pub struct Arguments {
    /// What is read
    #[command(flatten)]
    pub input: Input,
    /// Of which VMs
    #[command(flatten)]
    pub of: Of,
    /// From when to when: blocks born before that are as those born before a window
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
    let report = report(&source.to_string(), &trace, &arguments.period, &arguments.of)?;
    write(&report, &arguments.written)?;
    Ok(exit_code(&report.verdict))
}

/// The lives of the blocks of all VMs, of one, or of one process's.
pub fn report(source: &str, trace: &FileTrace, period: &Period, of: &Of) -> Result<LifetimesReport> {
    let plan = Plan::new(trace)?;
    let asked = vms(&plan, of.vm, of.pid)?;
    has_calls(&plan, &asked)?;
    // A program's end frees all: those blocks have died, too.
    let period = Period { to: period.to.or(Some(crate::report::Asked::End)), ..*period };
    let mut followed = Followed::new(&plan, periods(trace, &plan, &asked, &period)?);
    let verdict = whole_studied(trace, &plan, &mut followed).verdict;
    Ok(found(source, trace, &plan, &followed, verdict))
}

/// What a study came to, after a pass over the whole trace.
pub fn found(source: &str, trace: &FileTrace, plan: &Plan, followed: &Followed, verdict: Verdict) -> LifetimesReport {
    LifetimesReport {
        source: source.to_owned(),
        header: trace.header.clone(),
        vms: followed.finish(&verdict),
        processes: plan.processes.clone(),
        verdict,
    }
}

/// An error if no block of some VMs can have been followed.
pub fn has_calls(plan: &Plan, asked: &[u32]) -> Result<()> {
    if plan.stretches.iter().all(|stretch| stretch.calls() == 0 || !asked.contains(&stretch.vm)) {
        bail!("no calls behind a snapshot were recorded, so no block was followed: record in mode sample or full");
    }
    Ok(())
}
