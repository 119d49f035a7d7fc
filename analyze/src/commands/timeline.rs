//! `analyze timeline`: how heaps develop.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::stats::no_vm;
use super::{exit_code, period, vms, write};
use crate::cli::{Input, Of, Period, Written};
use crate::metrics::timeline::{Scale, Timeline};
use crate::replay::Plan;
use crate::replay::state::whole_studied;
use crate::replay::verdict::Verdict;
use crate::report::TimelineReport;
use crate::source::{FileTrace, Source};

/// Points in time, if nobody asks for another number: what a picture has room for.
pub const POINTS: u64 = 240;

/// `analyze timeline`
#[derive(Debug, Args)]
pub struct Arguments {
    /// What is read
    #[command(flatten)]
    pub input: Input,
    /// Of which time
    #[command(flatten)]
    pub period: Period,
    /// At most so many points in time
    #[arg(long, value_name = "N", default_value_t = POINTS, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub points: u64,
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
    let Arguments { period, points, of, .. } = arguments;
    let report = report(&source.to_string(), &trace, period, *points, of)?;
    write(&report, &arguments.written)?;
    Ok(exit_code(&report.verdict))
}

/// The heaps of all VMs, of one, or of one process, over a time in at most so many points. All of the trace is replayed,
/// and the verdict is about that.
pub fn report(source: &str, trace: &FileTrace, asked: &Period, points: u64, of: &Of) -> Result<TimelineReport> {
    let plan = Plan::new(trace)?;
    let numbers = vms(&plan, of.vm, of.pid)?;
    if numbers.is_empty() {
        return Err(no_vm(&plan));
    }
    let (from, to) = period(trace, &plan, &numbers, asked)?;
    let mut timeline = Timeline::new(&plan, &numbers, Scale::new(from, to, points));
    let verdict = whole_studied(trace, &plan, &mut timeline).verdict;
    Ok(found(source, trace, timeline, verdict))
}

/// What a study came to, after a pass over the whole trace.
pub fn found(source: &str, trace: &FileTrace, timeline: Timeline, mut verdict: Verdict) -> TimelineReport {
    let (scale, processes) = (timeline.scale(), timeline.processes().to_vec());
    let (lanes, damage) = timeline.finish(trace);
    damage.iter().for_each(|error| verdict.note_damage(error.to_string()));
    TimelineReport { source: source.to_owned(), header: trace.header.clone(), processes, verdict, scale, lanes }
}
