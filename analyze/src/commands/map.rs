//! `analyze map`: the address space of each VM's heap, at one moment or at several.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use rayon::prelude::*;
use shared::Nanos;
use shared::trace::reader::Frame;

use super::{damage, exit_code, objects, stats, vms, write};
use crate::cli::{Input, Of, Period, Written, parse_duration, parse_moment};
use crate::metrics::map::{By, Map};
use crate::output::words;
use crate::replay::Plan;
use crate::replay::run::Replayed;
use crate::replay::state::{Whole, heap_after, heap_at, resolve, whole};
use crate::replay::verdict::Verdict;
use crate::report::{Asked, MapReport, Moment, VmMaps, Without};
use crate::source::{FileTrace, Source};

/// The most moments of a sheet.
const MOST: u64 = 24;

/// `analyze map`
#[derive(Debug, Default, Args)]
pub struct Arguments {
    /// What is read
    #[command(flatten)]
    pub input: Input,
    /// A moment: a time from the start such as 2.5s or 1m30s, `peak` (most bytes in use) or `end`; may be given several
    /// times [default: end; peak if the program ended before]
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub at: Vec<Asked>,
    /// Moments so far apart, from --from to --to
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with_all = ["at", "steps"])]
    pub every: Option<Nanos>,
    /// So many moments, from --from to --to
    #[arg(long, value_name = "N", conflicts_with = "at")]
    pub steps: Option<u64>,
    /// From when to when
    #[command(flatten)]
    pub period: Period,
    /// By what bytes are told apart
    #[arg(long, value_enum, default_value_t)]
    pub by: By,
    /// Of which VMs
    #[command(flatten)]
    pub of: Of,
    /// How it is written
    #[command(flatten)]
    pub written: Written,
}

/// The moments that are asked for.
#[derive(Debug, Clone, Default)]
pub enum Moments {
    /// What `stats` shows without `--at`.
    #[default]
    Default,
    /// These.
    At(Vec<Asked>),
    /// Moments in a period that are so many nanoseconds apart.
    Every(Nanos, Period),
    /// So many moments in a period, the first and the last moment of it among them.
    Steps(u64, Period),
}

impl Arguments {
    /// The moments that are asked for.
    ///
    /// # Errors
    /// A period for nothing.
    pub fn moments(&self) -> Result<Moments> {
        match (self.every, self.steps) {
            (Some(apart), _) => Ok(Moments::Every(apart, self.period)),
            (_, Some(steps)) => Ok(Moments::Steps(steps, self.period)),
            _ if self.period.from.or(self.period.to).is_some() => {
                bail!("--from and --to bound a sequence of maps: add --steps N or --every TIME")
            }
            _ if self.at.is_empty() => Ok(Moments::Default),
            _ => Ok(Moments::At(self.at.clone())),
        }
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let moments = arguments.moments()?;
    let source = Source::of(&arguments.input)?;
    let trace = source.open()?;
    let report = report(&source.to_string(), &trace, &moments, arguments.by, &arguments.of)?;
    write(&report, &arguments.written)?;
    let exact = report.vms.iter().flat_map(|vm| &vm.maps).all(|(moment, _)| moment.is_as_meant());
    Ok(if exact { exit_code(&report.verdict) } else { ExitCode::from(2) })
}

/// The maps of one or all VMs. For the end and the peak the whole trace is replayed, and the verdict is about all of it; for
/// times only what leads there.
pub fn report(source: &str, trace: &FileTrace, moments: &Moments, by: By, of: &Of) -> Result<MapReport> {
    let plan = Plan::new(trace)?;
    let numbers = vms(&plan, of.vm, of.pid)?;
    if by == By::Kind {
        objects::need_census(source, &plan, &numbers)?;
    }
    // The verdict on censuses is that on the trace.
    let whole = (by == By::Kind || moments.need_everything()).then(|| whole(trace, &plan));
    let looking = Looking { trace, plan: &plan, whole: whole.as_ref(), by };
    looking.report(source, moments, &numbers)
}

/// The maps of some VMs at moments, after a replay of the whole trace.
///
/// # Errors
/// No heap is known at one of the moments.
pub fn after(
    source: &str,
    trace: &FileTrace,
    plan: &Plan,
    whole: &Whole,
    numbers: &[u32],
    moments: &Moments,
) -> Result<MapReport> {
    Looking { trace, plan, whole: Some(whole), by: By::Allocator }.report(source, moments, numbers)
}

impl Moments {
    /// Whether it takes a replay of the whole trace to find them.
    fn need_everything(&self) -> bool {
        match self {
            Moments::Default => true,
            Moments::At(asked) => asked.iter().any(|asked| !matches!(asked, Asked::At(_))),
            Moments::Every(_, Period { from, to }) | Moments::Steps(_, Period { from, to }) => {
                [from, to].contains(&&Some(Asked::Peak))
            }
        }
    }
}

/// What a look at a heap came to.
struct Looked {
    asked: Asked,
    /// The map, or why there is none.
    map: Result<(Moment, Map), String>,
    /// The start of the stretch that was replayed for it, and what that came to.
    replayed: Option<(Nanos, Replayed)>,
}

/// Looks at heaps of a trace.
struct Looking<'a> {
    trace: &'a FileTrace,
    plan: &'a Plan,
    /// If all of it was replayed.
    whole: Option<&'a Whole>,
    by: By,
}

impl Looking<'_> {
    fn report(&self, source: &str, moments: &Moments, numbers: &[u32]) -> Result<MapReport> {
        if numbers.is_empty() {
            return Err(stats::no_vm(self.plan));
        }
        let asked = self.list(moments, numbers)?;
        let at = |number: &u32| asked.par_iter().map(|asked| self.at(*number, *asked)).collect();
        let looked: Vec<Vec<Looked>> = numbers.iter().map(at).collect();
        let verdict = self.verdict(&looked);
        if let Some(why) = nowhere(&looked, moments) {
            bail!("{why}{}", damage(&verdict));
        }
        let vms = numbers.iter().zip(looked).filter_map(|(number, looked)| {
            let (maps, without) = apart(looked, self.by);
            let vm = self.plan.vms[number].clone();
            (!maps.is_empty()).then(|| VmMaps::new(*number, vm, maps, without))
        });
        Ok(MapReport {
            source: source.to_owned(),
            header: self.trace.header.clone(),
            vms: vms.collect(),
            processes: self.plan.processes.clone(),
            verdict,
            by: self.by,
        })
    }

    /// The moments, one for one.
    fn list(&self, moments: &Moments, numbers: &[u32]) -> Result<Vec<Asked>> {
        let (period, steps, every) = match moments {
            Moments::Default => return Ok(vec![resolve(Asked::Default, self.trace)]),
            Moments::At(asked) => {
                few(asked.len() as u64, "give --at less often")?;
                return Ok(asked.clone());
            }
            Moments::Steps(steps, period) => (period, Some(*steps), 0),
            Moments::Every(every, period) => (period, None, *every),
        };
        let (from, to) = self.period(period, numbers)?;
        let steps = match steps {
            Some(0) => bail!("--steps 0 asks for no map: say 1 or more"),
            Some(steps) => {
                few(steps, "say --steps 24 or less")?;
                let moment = |step: u64| match steps {
                    1 => to,
                    _ => from + ((u128::from(to - from) * u128::from(step)) / u128::from(steps - 1)) as u64,
                };
                (0..steps).map(moment).collect::<Vec<Nanos>>()
            }
            None if every == 0 => bail!("--every 0 asks for maps without end: say a time between two, such as 1s"),
            None => {
                few((to - from) / every + 1, "make --every longer, or --from and --to closer")?;
                (0..=(to - from) / every).map(|step| from + step * every).collect()
            }
        };
        Ok(steps.into_iter().map(Asked::At).collect())
    }

    /// From when to when.
    fn period(&self, period: &Period, numbers: &[u32]) -> Result<(Nanos, Nanos)> {
        let firsts = numbers.iter().filter_map(|number| self.plan.of_vm(*number).next());
        let Some(known) = firsts.map(|stretch| stretch.start()).min() else { bail!("{}", self.unknown(numbers)) };
        let from = period.from.map_or(Ok(known), |asked| self.time(asked, numbers))?;
        let to = period.to.map_or(Ok(self.plan.end), |asked| self.time(asked, numbers))?;
        let show = |time| words::time(time);
        if from < known {
            bail!("no heap is known before {}: say a later --from", show(known));
        }
        if from > self.plan.end || to > self.plan.end {
            bail!("the trace ends at {}: say an earlier --from and --to", show(self.plan.end));
        }
        if from > to {
            bail!("--from {} is later than --to {}", show(from), show(to));
        }
        Ok((from, to))
    }

    /// When a moment is; of several VMs, the peak is the first of theirs.
    fn time(&self, asked: Asked, numbers: &[u32]) -> Result<Nanos> {
        match asked {
            Asked::At(time) => Ok(time),
            Asked::End | Asked::Default => Ok(self.plan.end),
            Asked::Peak => {
                let peaks = numbers.iter().filter_map(|number| match self.at(*number, Asked::Peak).map {
                    Ok((moment, _)) => Some(moment.time),
                    Err(_) => None,
                });
                match peaks.min() {
                    Some(time) => Ok(time),
                    None => bail!("{}", self.unknown(numbers)),
                }
            }
        }
    }

    /// Why no heap of some VMs is known.
    fn unknown(&self, numbers: &[u32]) -> String {
        let why = numbers.first().and_then(|number| self.at(*number, Asked::At(self.plan.end)).map.err());
        format!("{}{}", why.unwrap_or_default(), damage(&self.verdict(&[])))
    }

    /// Looks at a heap. The end and the peak need the whole replay.
    fn at(&self, vm: u32, asked: Asked) -> Looked {
        if self.by == By::Kind {
            let map = self.by_kind(vm, asked).map_err(|error| format!("{error:#}"));
            return Looked { asked, map, replayed: None };
        }
        let found = match (asked, self.whole) {
            (Asked::At(time), _) => heap_at(self.trace, self.plan, vm, time)
                .map(|(heap, moment, replayed)| (heap, moment, Some(self.proof(vm, time, replayed)))),
            (_, Some(whole)) => {
                heap_after(self.trace, self.plan, whole, vm, asked).map(|(heap, moment)| (heap, moment, None))
            }
            (_, None) => Err(anyhow!("the trace was not replayed")),
        };
        match found {
            Ok((heap, moment, replayed)) => Looked { asked, map: Ok((moment, Map::of(&heap))), replayed },
            Err(error) => Looked { asked, map: Err(format!("{error:#}")), replayed: None },
        }
    }

    /// Looks at the last census until a moment.
    fn by_kind(&self, vm: u32, asked: Asked) -> Result<(Moment, Map)> {
        let censuses: Vec<Frame> = self.plan.censuses.iter().filter(|frame| frame.head.vm == vm).copied().collect();
        let until = match asked {
            Asked::At(time) => time,
            Asked::Peak => objects::peak(self.trace, &censuses),
            Asked::End | Asked::Default => Nanos::MAX,
        };
        let Some(frame) = censuses.iter().rfind(|frame| frame.head.start <= until) else {
            bail!("VM {vm} has no census until then");
        };
        let (heap, census) = objects::labelled(self.trace, frame)?;
        let map = Map::by_kind(&heap, &census).map_err(|why| anyhow!("at byte {}: {why}", frame.offset))?;
        let time = frame.head.start;
        let asked = Asked::At(time);
        Ok((Moment { time, asked, calls_since_keyframe: 0, short_of: None, between_windows: false }, map))
    }

    /// What a replay tells the verdict, without the heap.
    fn proof(&self, vm: u32, time: Nanos, mut replayed: Replayed) -> (Nanos, Replayed) {
        let stretch = self.plan.of_vm(vm).rev().find(|stretch| stretch.start() <= time);
        replayed.release_check = replayed.state.take().and_then(|state| state.variant());
        (stretch.map_or(0, |stretch| stretch.start()), replayed)
    }

    /// The verdict over all of the trace if that was replayed, else over what leads to the moments, each call once.
    fn verdict(&self, looked: &[Vec<Looked>]) -> Verdict {
        if let Some(whole) = self.whole {
            return whole.verdict.clone();
        }
        let mut furthest: BTreeMap<(u32, Nanos), &Replayed> = BTreeMap::new();
        for (start, replayed) in looked.iter().flatten().filter_map(|looked| looked.replayed.as_ref()) {
            let best = furthest.entry((replayed.vm, *start)).or_insert(replayed);
            if replayed.calls > best.calls {
                *best = replayed;
            }
        }
        let mut verdict = Verdict::of_trace(self.plan, self.trace);
        furthest.values().for_each(|replayed| verdict.add(replayed));
        verdict
    }
}

/// An error if so many moments do not fit a sheet.
fn few(moments: u64, instead: &str) -> Result<()> {
    if moments > MOST {
        bail!("{} maps do not fit a sheet, which has room for {MOST}: {instead}", words::thousands(moments));
    }
    Ok(())
}

/// An error if there is no map at all, or none of a moment that was asked for by name.
fn nowhere(looked: &[Vec<Looked>], moments: &Moments) -> Option<String> {
    let named = !matches!(moments, Moments::Every(..) | Moments::Steps(..));
    let at = |moment: usize| looked.iter().filter_map(move |of_vm| of_vm.get(moment));
    let count = looked.iter().map(Vec::len).max().unwrap_or(0);
    let without = |moment: &usize| at(*moment).all(|looked| looked.map.is_err());
    let mut missing = (0..count).filter(without);
    let first = missing.next()?;
    let all = missing.count() + 1 == count;
    let why = at(first).find_map(|looked| looked.map.as_ref().err().cloned());
    why.filter(|_| all || named)
}

/// The maps of a VM, and the moments without one: its heap is not known, or is not known to differ from the one before.
fn apart(looked: Vec<Looked>, by: By) -> (Vec<(Moment, Map)>, Vec<Without>) {
    let (mut maps, mut without): (Vec<(Moment, Map)>, Vec<Without>) = Default::default();
    for Looked { asked, map, .. } in looked {
        match map {
            Ok((moment, map)) => {
                let same = |(other, _): &&(Moment, Map)| {
                    (other.time, other.calls_since_keyframe) == (moment.time, moment.calls_since_keyframe)
                };
                match maps.iter().find(same) {
                    Some((shown, _)) => without.push(Without { asked, why: same_as(shown, &moment, by) }),
                    None => maps.push((moment, map)),
                }
            }
            Err(why) => without.push(Without { asked, why }),
        }
    }
    (maps, without)
}

/// Why a moment has no map of its own, though one is known.
fn same_as(shown: &Moment, moment: &Moment, by: By) -> String {
    let nothing = if by == By::Kind { "no census lies between" } else { "no call lies between" };
    let why = moment.short_of.as_deref().unwrap_or(nothing);
    format!("the map at {} is the last known: {why}", words::time(shown.time))
}
