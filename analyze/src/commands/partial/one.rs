//! One trace's rows, from one replay.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use shared::Nanos;
use shared::trace::meta::{Header, Process};

use super::Labels;
use crate::commands::batch::one::{Counted, Named, counted};
use crate::commands::growth;
use crate::metrics::asks::Asks;
use crate::metrics::batch::{Failed, ProcessResult};
use crate::metrics::followed::Followed;
use crate::metrics::growth::Growth;
use crate::metrics::partial::count::Rows;
use crate::metrics::partial::places::{Place, places};
use crate::metrics::partial::{Partial, UNKNOWN, Who};
use crate::output::rows::integer;
use crate::output::words;
use crate::replay::period::Period;
use crate::replay::spans::fold;
use crate::replay::verdict::Judgement;
use crate::replay::{BreakdownAt, Plan};
use crate::source::{FileTrace, Source};

/// A name in a row has at most so many characters.
const LONGEST: usize = 1000;

/// The rows of a trace, and whether nothing in it is missing or contradicted.
pub(super) fn one(source: &Source, name: String, labels: &Labels) -> Result<(Partial, bool)> {
    let trace = source.open()?;
    let plan = Plan::new(&trace)?;
    let named = Named { name, files: source.0.len() as u64, bytes: trace.bytes };
    let numbers: Vec<u32> = plan.vms.keys().copied().collect();
    let always = Period { from: 0, to: Nanos::MAX };
    let followed = Followed::new(&plan, numbers.iter().map(|vm| (*vm, always)).collect());
    let study = (followed, Growth::new(&plan, &numbers));
    let Counted { done, report, whole, costs, study: (followed, grown) } = counted(named, &trace, &plan, study);
    let result = &done.result;
    let fates = followed.fates();
    let asks = asks(&trace, &plan);
    // Of a trace without two heaps nothing is known to grow.
    let growth = growth::found(&result.trace, &trace, &plan, &whole, &grown, &Default::default());
    let growth = growth.map(|report| report.vms).unwrap_or_default();

    let whose = Whose::new(&trace.header, &plan, &result.trace, labels);
    let mut rows = Rows::new(span(&trace.header, plan.end));
    rows.of(whose.trace());
    rows.trace(result, &report.verdict);
    for (at, process) in result.processes.iter().enumerate() {
        let who = whose.process(at, process);
        rows.of(who.clone());
        rows.process(costs[at].as_ref());
        if let Some(look) = plan.processes.get(at).and_then(|process| last_look(&plan, process)) {
            // One that cannot be read is among the verdict's damages.
            trace.breakdown(&look.frame).iter().for_each(|breakdown| rows.memory(breakdown));
        }
        for result in &process.vms {
            let vm = &plan.vms[&result.vm];
            let (label, luajit) = (words::name(&vm.label, LONGEST), words::name(&words::build(vm), LONGEST));
            rows.of(Who { vm: i64::from(result.vm), label, luajit, ..who.clone() });
            let heap = report.vms.iter().find(|vm| vm.number == result.vm).map(|vm| &vm.populations);
            rows.vm(result, heap);
            asks.get(&result.vm).iter().for_each(|(asks, observed_ns)| rows.asks(asks, *observed_ns));
            fates.get(&result.vm).iter().for_each(|fates| rows.fates(fates));
            growth.iter().filter(|vm| vm.number == result.vm).for_each(|vm| rows.growth(&vm.figures));
        }
    }
    let is_whole = matches!(result.judgement, Judgement::Verified | Judgement::Consistent);
    Ok((rows.finish()?, is_whole))
}

/// The row of a trace that cannot be read.
pub(super) fn failed(failed: &Failed, labels: &Labels) -> Partial {
    let name = words::name(&failed.path, LONGEST);
    let or_unknown = |label: &Option<String>| label.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    let mut rows = Rows::new((0, 0));
    rows.of(Who {
        service: or_unknown(&labels.service),
        day: UNKNOWN.to_owned(),
        node: labels.node.clone().unwrap_or_default(),
        build: or_unknown(&labels.build),
        recording: name.clone(),
        trace: name,
        ..Who::default()
    });
    rows.failed(&words::name(&failed.reason, LONGEST));
    rows.finish().unwrap_or_default()
}

/// What each VM was asked for, and how many nanoseconds of that were recorded.
fn asks(trace: &FileTrace, plan: &Plan) -> BTreeMap<u32, (Asks, u64)> {
    let spans = plan.spans();
    let counted = fold(trace, &spans, Asks::observe);
    let mut all: BTreeMap<u32, (Asks, u64)> = BTreeMap::new();
    // The replay has seen a block that cannot be read, too.
    for (span, asks) in spans.iter().zip(counted).filter_map(|(span, asks)| Some((span, asks.ok()?))) {
        let (sum, observed_ns) = all.entry(span.vm).or_default();
        sum.merge(&asks);
        *observed_ns = observed_ns.saturating_add(span.end.saturating_sub(span.start));
    }
    all
}

/// The last look at a process's memory.
fn last_look<'a>(plan: &'a Plan, process: &Process) -> Option<&'a BreakdownAt> {
    let key = (process.pid, process.started_ticks);
    plan.breakdowns.iter().rfind(|look| (look.pid, look.started_ticks) == key)
}

/// When a trace was recorded, in nanoseconds since 1970; 0 if it does not tell.
fn span(header: &Header, end: Nanos) -> (i64, i64) {
    match header.started_unix_ns {
        0 => (0, 0),
        started => (integer(started), integer(started.saturating_add(end))),
    }
}

/// Whose the rows of a trace are.
struct Whose<'a> {
    processes: &'a [Process],
    places: Vec<Place>,
    /// The build of each of the processes.
    builds: Vec<String>,
    /// What all rows have.
    all: Who,
}

impl<'a> Whose<'a> {
    fn new(header: &Header, plan: &'a Plan, trace: &str, labels: &Labels) -> Whose<'a> {
        let first = plan.processes.first().map_or("", |process| &process.program);
        let started = Timestamp::from_nanosecond(i128::from(header.started_unix_ns)).ok();
        let day = started.filter(|_| header.started_unix_ns != 0).map(|time| time.to_zoned(TimeZone::UTC).date());
        let module = |at: usize| {
            let ours = plan.vms.iter().filter(move |(number, _)| plan.process_of.get(number) == Some(&at));
            ours.map(|(_, vm)| vm.module_build_id.as_str()).next().unwrap_or_default()
        };
        let build = |(at, process): (usize, &Process)| {
            let told = [&process.build_id, module(at)].into_iter().find(|id| !id.is_empty());
            labels.build.clone().unwrap_or_else(|| words::name(told.unwrap_or(UNKNOWN), LONGEST))
        };
        let service = labels.service.as_deref().unwrap_or(first);
        Whose {
            processes: &plan.processes,
            places: places(&plan.processes),
            builds: plan.processes.iter().enumerate().map(build).collect(),
            all: Who {
                service: words::name(if service.is_empty() { UNKNOWN } else { service }, LONGEST),
                day: day.map_or_else(|| UNKNOWN.to_owned(), |day| day.to_string()),
                node: words::name(labels.node.as_deref().unwrap_or(&header.host), LONGEST),
                build: labels.build.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
                mode: words::name(&header.mode, LONGEST),
                trace: words::name(trace, LONGEST),
                recording: recording(header, trace),
                ..Who::default()
            },
        }
    }

    /// A trace's own rows have the program and the build of its first process.
    fn trace(&self) -> Who {
        let program = self.processes.first().map_or("", |process| &process.program);
        let build = self.builds.first().unwrap_or(&self.all.build).clone();
        Who { program: words::name(program, LONGEST), build, ..self.all.clone() }
    }

    /// Those of the result's process of that number.
    fn process(&self, at: usize, result: &ProcessResult) -> Who {
        let Place { role, generation, worker } = self.places.get(at).cloned().unwrap_or_default();
        Who {
            build: self.builds.get(at).unwrap_or(&self.all.build).clone(),
            program: words::name(&result.program, LONGEST),
            role: role.to_owned(),
            generation: integer(generation),
            worker: integer(worker),
            pid: i64::from(result.pid),
            ..self.all.clone()
        }
    }
}

/// The same in all copies of a trace: its part of a recording, or where and to the nanosecond when it was begun; its name
/// if it does not tell.
fn recording(header: &Header, trace: &str) -> String {
    let Header { recording, part, host, started_unix_ns, clock_start_ns, .. } = header;
    let told = match (recording.is_empty(), started_unix_ns) {
        (false, _) => format!("{recording}/{part}"),
        (true, 0) => trace.to_owned(),
        (true, _) => format!("{host}@{started_unix_ns}+{clock_start_ns}"),
    };
    words::name(&told, LONGEST)
}
