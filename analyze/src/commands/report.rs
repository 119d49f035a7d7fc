//! `analyze report`: one page with everything, for colleagues. The trace is replayed once for all of it. That of a fleet
//! is in [`fleet`](super::fleet).

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use shared::Nanos;

use super::timeline::POINTS;
use super::{
    breakdown, exit_code, fleet, growth, lifetimes, map, objects, rates, sites, stats, timeline, vms, with_output,
};
use crate::cli::{self, Input, Of};
use crate::metrics::followed::Followed;
use crate::metrics::growth::Growth;
use crate::metrics::timeline::{Scale, Timeline};
use crate::output::html::{self, Page};
use crate::replay::Plan;
use crate::replay::period::Period;
use crate::replay::state::whole_studied;
use crate::report::{Asked, Report};
use crate::source::Source;
use crate::symbols::Symbols;

/// So many VMs have pictures, those with the largest heaps; more would not be read.
const SHOWN: usize = 6;

/// `analyze report`
#[derive(Debug, Args)]
pub struct Arguments {
    /// The trace, all parts of one recording, or a directory of them; - for standard input
    #[arg(required_unless_present = "from_partials", value_name = "TRACE")]
    pub traces: Vec<PathBuf>,
    /// Draw the page of a fleet instead, from rows of `analyze partial`: a Parquet file, or a directory of them as Spark
    /// writes it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["traces", "vm", "pid", "symbols"])]
    pub from_partials: Option<PathBuf>,
    /// Of which VMs
    #[command(flatten)]
    pub of: Of,
    /// Where files with symbols are looked for first, as by `sites`
    #[arg(long, value_name = "DIR")]
    pub symbols: Vec<PathBuf>,
    /// Write to FILE, such as report.html [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(rows) = &arguments.from_partials {
        return fleet::run(rows, arguments.output.as_deref());
    }
    let source = Source::of(&Input { traces: arguments.traces.clone() })?;
    let trace = source.open()?;
    let name = source.to_string();
    let plan = Plan::new(&trace)?;
    let asked = vms(&plan, arguments.of.vm, arguments.of.pid)?;
    let always = Period { from: 0, to: Nanos::MAX };
    let whole_of_each = asked.iter().map(|vm| (*vm, Period { from: 0, to: plan.end })).collect();
    let (sampled, lasting) = sites::sampled(&trace, &plan, whole_of_each);
    let mut study = (
        (
            Timeline::new(&plan, &asked, Scale::new(0, plan.end, POINTS)),
            Followed::new(&plan, asked.iter().map(|vm| (*vm, always)).collect()),
        ),
        (Growth::new(&plan, &asked), lasting),
    );
    let whole = whole_studied(&trace, &plan, &mut study);
    let ((timeline, followed), (growth, lasting)) = study;
    let mut heaps = stats::heaps(&name, &trace, &plan, &whole, &asked, Asked::Default)?;
    let others = keep_largest(&mut heaps);
    let shown: Vec<u32> = heaps.vms.iter().map(|vm| vm.number).collect();
    let is_shown = |vm: Option<u32>| vm.is_none_or(|vm| shown.contains(&vm));

    let mut timeline = timeline::found(&name, &trace, timeline, whole.verdict.clone());
    timeline.lanes.retain(|lane| is_shown(lane.vm.as_ref().map(|(number, _)| *number)));
    let mut growth = growth::found(&name, &trace, &plan, &whole, &growth, &cli::Period::default());
    if let Ok(growth) = &mut growth {
        growth.vms.retain(|vm| is_shown(Some(vm.number)));
    }
    let objects = objects::found(&name, &trace, &plan, &shown, (None, Asked::Default), whole.verdict.clone());
    let map = map::after(&name, &trace, &plan, &whole, &shown, &map::Moments::Default);
    let lifetimes = lifetimes::has_calls(&plan, &shown).map(|()| {
        let mut found = lifetimes::found(&name, &trace, &plan, &followed, whole.verdict.clone());
        found.vms.retain(|vm| is_shown(Some(vm.number)));
        found
    });
    let ages = followed.fates().into_iter().map(|(vm, fates)| (vm, fates.ages())).collect();
    let mut rates = rates::found(&name, &trace, &plan, &asked, ages, whole.verdict.clone());
    if let Ok(rates) = &mut rates {
        rates.sections.retain(|section| is_shown(section.vm.as_ref().map(|(number, _)| *number)));
    }
    let mut symbols = Symbols::new(sites::folders(&arguments.symbols, &source));
    let sites = sites::found(&name, (&trace, &plan), &shown, (sampled, lasting), whole.verdict.clone(), &mut symbols);
    let breakdown = breakdown::report(&name, &trace, None, arguments.of.pid);

    let mut page = Page { heaps: &heaps, others, sections: Vec::new(), without: Vec::new() };
    let question = "What the heap consists of, by size: chunks in use, free chunks, segments, direct blocks.";
    page.add("stats", "By size", question, Ok(&heaps));
    let question =
        "What kind of objects fill the heap: strings, tables and their parts, functions; what of them is garbage.";
    page.add("objects", "By kind", question, objects.as_ref());
    let question = "How the heap developed; when the collector ran; how much was asked for.";
    page.add("timeline", "Over time", question, Ok(&timeline));
    let question = "Which sizes grow, and whether from one collector cycle to the next: what may leak.";
    page.add("growth", "Growth", question, growth.as_ref());
    let question = "Where used and free memory lie, and what keeps free memory from being given back.";
    page.add("map", "Map", question, map.as_ref());
    let question = "Which code allocates: what LuaJIT was doing, and for whom, by the stacks of sampled calls.";
    page.add("sites", "Who allocates", question, sites.as_ref());
    let question = "What the program asks of its allocator a second, by size.";
    page.add("rates", "Rates", question, rates.as_ref());
    let question = "How long blocks live, how often the heap is turned over, how blocks grow.";
    page.add("lifetimes", "Lifetimes", question, lifetimes.as_ref());
    let question = "Where the memory of each process goes: Lua, the system allocator, shared zones, text, stacks.";
    page.add("breakdown", "All memory", question, breakdown.as_ref());
    with_output(arguments.output.as_deref(), |out| html::write(&page, out))?;
    Ok(exit_code(&heaps.verdict))
}

/// Leaves the largest heaps, in the order of the trace, and says how many it took away.
fn keep_largest(heaps: &mut Report) -> usize {
    let others = heaps.vms.len().saturating_sub(SHOWN);
    let mapped = |vm: &crate::report::VmReport| vm.populations.segments.all.bytes + vm.populations.direct.all.bytes;
    heaps.vms.sort_by_key(|vm| std::cmp::Reverse(mapped(vm)));
    heaps.vms.truncate(SHOWN);
    heaps.vms.sort_by_key(|vm| vm.number);
    others
}
