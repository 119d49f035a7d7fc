//! `analyze rates`: what the program asks of its allocator, a second, and how long its blocks live.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use shared::Nanos;
use shared::trace::meta::Window;

use super::{exit_code, vms, write};
use crate::cli::{Input, Of, Written};
use crate::metrics::asks::Asks;
use crate::metrics::followed::Followed;
use crate::metrics::lifetimes::Ages;
use crate::metrics::rates::{Rates, Time};
use crate::metrics::windows::{hit_cost, sampling};
use crate::replay::Plan;
use crate::replay::period::Period;
use crate::replay::spans::{Span, fold};
use crate::replay::state::whole_studied;
use crate::replay::verdict::Verdict;
use crate::report::{RatesReport, Section};
use crate::source::{FileTrace, Source};

/// `analyze rates`
#[derive(Debug, Args)]
pub struct Arguments {
    /// What is read
    #[command(flatten)]
    pub input: Input,
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
    let report = report(&source.to_string(), &trace, arguments.of.vm, arguments.of.pid)?;
    write(&report, &arguments.written)?;
    Ok(exit_code(&report.verdict))
}

/// The rates of all processes and VMs, of one VM, or of one process.
pub fn report(source: &str, trace: &FileTrace, only: Option<u32>, pid: Option<u32>) -> Result<RatesReport> {
    let plan = Plan::new(trace)?;
    let asked = vms(&plan, only, pid)?;
    has_calls(&plan, &asked)?;
    let always = Period { from: 0, to: Nanos::MAX };
    let mut followed = Followed::new(&plan, asked.iter().map(|vm| (*vm, always)).collect());
    let verdict = whole_studied(trace, &plan, &mut followed).verdict;
    let ages = followed.fates().into_iter().map(|(vm, fates)| (vm, fates.ages())).collect();
    found(source, trace, &plan, &asked, ages, verdict)
}

/// The rates of some VMs, and of each process that has several of them, after a pass over the whole trace.
///
/// # Errors
/// There are no calls.
pub fn found(
    source: &str,
    trace: &FileTrace,
    plan: &Plan,
    asked: &[u32],
    mut ages: BTreeMap<u32, Ages>,
    mut verdict: Verdict,
) -> Result<RatesReport> {
    let spans = has_calls(plan, asked)?;
    let mut counted = Vec::new();
    let counts = fold(trace, &spans, Asks::observe);
    for (span, asks) in spans.into_iter().zip(counts) {
        match asks {
            Ok(asks) => counted.push((span, asks)),
            Err(error) => verdict.note_damage(error.to_string()),
        }
    }
    let mut sections = Vec::new();
    for (number, process) in plan.processes.iter().enumerate() {
        let numbers: Vec<u32> = asked.iter().copied().filter(|vm| plan.process_of.get(vm) == Some(&number)).collect();
        let hit = hit_cost(process, verdict.cost.as_ref());
        let recorded = Recorded { plan, number, counted: &counted, hit };
        if numbers.len() > 1 {
            let mut all = Ages::default();
            numbers.iter().filter_map(|vm| ages.get(vm)).for_each(|ages| all.merge(ages));
            sections.extend(recorded.section(&numbers, None, &all));
        }
        for vm in numbers {
            sections.extend(recorded.section(&[vm], Some(vm), &ages.remove(&vm).unwrap_or_default()));
        }
    }
    Ok(RatesReport {
        source: source.to_owned(),
        header: trace.header.clone(),
        processes: plan.processes.clone(),
        verdict,
        sections,
    })
}

/// When calls of some VMs were recorded; an error if there were none.
fn has_calls(plan: &Plan, asked: &[u32]) -> Result<Vec<Span>> {
    let mut spans = plan.spans();
    spans.retain(|span| asked.contains(&span.vm));
    if spans.iter().all(|span| span.window.is_none() && span.blocks.is_empty()) {
        bail!("no calls were recorded, so there are no rates: record in mode sample or full");
    }
    Ok(spans)
}

/// What was recorded of a process.
struct Recorded<'a> {
    plan: &'a Plan,
    number: usize,
    counted: &'a [(Span, Asks)],
    hit: (u64, u64),
}

impl Recorded<'_> {
    /// The rates of some of its VMs together; nothing if none of its calls were recorded.
    fn section(&self, numbers: &[u32], vm: Option<u32>, ages: &Ages) -> Option<Section> {
        let process = &self.plan.processes[self.number];
        let in_process = |span: &Span| self.plan.process_of.get(&span.vm) == Some(&self.number);
        let spans = self.counted.iter().filter(|(span, _)| in_process(span));
        // All VMs of a process share its windows.
        let mut windows: BTreeMap<Nanos, (&Span, Asks)> = BTreeMap::new();
        let mut exact = Vec::new();
        for (span, asks) in spans.clone() {
            let ours = numbers.contains(&span.vm);
            if span.window.is_some() {
                let (_, all) = windows.entry(span.start).or_insert_with(|| (span, Asks::default()));
                if ours {
                    all.merge(asks);
                }
            } else if ours {
                exact.push(asks.clone());
            }
        }
        let rates = if windows.is_empty() {
            let recorded_ns = union(spans.map(|(span, _)| (span.start, span.end)));
            (!exact.is_empty()).then(|| Rates::exact(&exact, Time { recorded_ns, observed_ns: recorded_ns }))?
        } else {
            let (windows, asks): (Vec<&Span>, Vec<Asks>) = windows.into_values().unzip();
            let windows: Vec<Window> = windows.iter().filter_map(|span| span.window).collect();
            let (sampling, time) = sampling(self.plan, self.number, &windows, true, self.hit);
            Rates::estimated(&sampling, &asks, time)
        };
        let without_keyframe = self.plan.windows.iter().filter(|at| numbers.contains(&at.vm) && !at.keyframe);
        Some(Section {
            pid: process.pid,
            vm: vm.and_then(|number| self.plan.vms.get(&number).map(|vm| (number, vm.clone()))),
            vms: numbers.len() as u64,
            rates,
            hit_ns: self.hit.0,
            lifetimes: ages.finish(),
            windows_without_lifetimes: without_keyframe.count() as u64,
        })
    }
}

/// How long at least one of the stretches of time lasts.
fn union(stretches: impl Iterator<Item = (Nanos, Nanos)>) -> u64 {
    let mut stretches: Vec<(Nanos, Nanos)> = stretches.collect();
    stretches.sort_unstable();
    let (mut sum, mut reached) = (0, 0);
    for (start, end) in stretches {
        sum += end.saturating_sub(start.max(reached));
        reached = reached.max(end);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_counted_once() {
        assert_eq!(union([(5, 9), (0, 3), (2, 4), (6, 7)].into_iter()), 8);
        assert_eq!(union(std::iter::empty()), 0);
    }
}
