//! A heap at a moment, and the verdict over a whole trace.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use shared::Nanos;
use shared::heap::Heap;
use shared::trace::frame::Head;
use shared::trace::reader::{End, Frame, Trace};

use super::observe::Study;
use super::run::{Peak, Replayed, Until, run, run_observed};
use super::verdict::Verdict;
use super::{Plan, Stretch, StretchEnd};
use crate::report::{Asked, Moment};

/// Everything a replay of a whole trace yields.
#[derive(Debug)]
pub struct Whole {
    /// How far it can be trusted.
    pub verdict: Verdict,
    /// What each stretch came to, in the plan's order.
    pub stretches: Vec<Came>,
}

/// What a stretch came to.
#[derive(Debug)]
pub struct Came {
    /// Its highest point.
    pub peak: Peak,
    /// Its last heap, of a VM's last stretch only.
    pub last: Option<(Heap, Moment)>,
}

/// Replays all of a trace, every stretch side by side. The result does not depend on how many threads do it.
pub fn whole<R: Read + Seek + Send>(trace: &Trace<R>, plan: &Plan) -> Whole {
    studied(trace, plan, usize::MAX, &mut ())
}

/// The same while a study is made of it. Stretches are replayed some at a time, because an observer may remember much:
/// each live block, for one.
pub fn whole_studied<R: Read + Seek + Send>(trace: &Trace<R>, plan: &Plan, study: &mut impl Study) -> Whole {
    studied(trace, plan, 4 * rayon::current_num_threads(), study)
}

fn studied<R: Read + Seek + Send, S: Study>(trace: &Trace<R>, plan: &Plan, at_a_time: usize, study: &mut S) -> Whole {
    let mut last_of: BTreeMap<u32, usize> = BTreeMap::new();
    for (at, stretch) in plan.stretches.iter().enumerate() {
        last_of.insert(stretch.vm, at);
    }
    let mut verdict = Verdict::of_trace(plan, trace);
    let mut stretches = Vec::with_capacity(plan.stretches.len());
    let mut followed = None;
    for (batch, some) in plan.stretches.chunks(at_a_time.max(1)).enumerate() {
        let first = batch.saturating_mul(at_a_time);
        let looking: &S = study;
        let replayed: Vec<(Replayed, _, S::Observer)> = some
            .par_iter()
            .enumerate()
            .map(|(at, stretch)| {
                let mut observer = looking.observer(stretch);
                let mut replayed = run_observed(trace, stretch, Until::End, &mut observer);
                let is_last = last_of.get(&stretch.vm) == Some(&(first + at));
                let last = is_last.then(|| heap_of(stretch, &replayed, Asked::End)).flatten();
                // Only the last heap of each VM is kept, however many stretches there are.
                replayed.release_check = replayed.state.take().and_then(|state| state.variant());
                (replayed, last, observer)
            })
            .collect();
        for (stretch, (replayed, last, observer)) in some.iter().zip(replayed) {
            verdict.add(&replayed);
            if let Some(before) = followed.take() {
                verdict.follow(before, &replayed);
            }
            followed = replayed.followed.filter(|_| stretch.followed);
            study.seen(stretch, &replayed, observer);
            stretches.push(Came { peak: replayed.peak, last });
        }
    }
    Whole { verdict, stretches }
}

/// The heap where a replay stopped.
fn heap_of(stretch: &Stretch, replayed: &Replayed, asked: Asked) -> Option<(Heap, Moment)> {
    let at = |what: &str| Some(format!("{what} from {} on", humantime::format_duration(micros(replayed.time))));
    let mut between_windows = false;
    let short_of = match (&replayed.contradiction, &replayed.damage, &stretch.end, asked) {
        (Some(_), ..) => at("the trace contradicts the model"),
        (_, Some(_), ..) => at("the trace is damaged"),
        (_, _, StretchEnd::Gap(_) | StretchEnd::Part(_), Asked::End) => at("calls are missing"),
        (_, _, StretchEnd::Window(end), Asked::End) => {
            between_windows = true;
            Some(left_out(stretch, *end))
        }
        _ => None,
    };
    let moment = Moment { time: replayed.time, asked, calls_since_keyframe: replayed.calls, short_of, between_windows };
    Some((replayed.state.as_ref()?.to_heap(), moment))
}

/// What is said of a moment between windows.
fn left_out(stretch: &Stretch, end: Nanos) -> String {
    let (last, time) = match stretch.calls() {
        0 => ("keyframe up to that moment is of", stretch.start()),
        _ => ("one before that moment ended at", end),
    };
    format!("recorded in windows; the last {last} {}", humantime::format_duration(micros(time)))
}

/// A time without the noise below a microsecond.
pub fn micros(time: Nanos) -> std::time::Duration {
    std::time::Duration::from_micros(time / 1000)
}

/// What [`Asked::Default`] stands for: the end, unless the target ended before, which empties its heap. Windows end
/// before that.
pub fn resolve<R: Read + Seek>(asked: Asked, trace: &Trace<R>) -> Asked {
    match (asked, &trace.end) {
        (Asked::Default, _) if trace.header.mode == "sample" => Asked::End,
        (Asked::Default, End::Complete(trailer)) if trailer.target_ended => Asked::Peak,
        (Asked::Default, _) => Asked::End,
        _ => asked,
    }
}

/// One VM's heap at a moment, after a replay of the whole trace.
pub fn heap_after<R: Read + Seek + Send>(
    trace: &Trace<R>,
    plan: &Plan,
    whole: &Whole,
    vm: u32,
    asked: Asked,
) -> Result<(Heap, Moment)> {
    let came = || plan.stretches.iter().zip(&whole.stretches).filter(|(stretch, _)| stretch.vm == vm);
    match asked {
        Asked::At(time) => heap_at(trace, plan, vm, time).map(|(heap, moment, _)| (heap, moment)),
        Asked::Peak => {
            // Of equal peaks the first.
            let highest = came().rev().max_by_key(|(_, came)| came.peak.bytes);
            let (stretch, came) = highest.with_context(|| no_keyframe(vm))?;
            let replayed = run(trace, stretch, Until::Calls(came.peak.calls));
            let (heap, mut moment) = heap_of(stretch, &replayed, asked).with_context(|| no_keyframe(vm))?;
            if moment.short_of.is_none() && plan.windows.iter().any(|at| at.vm == vm) {
                moment.short_of = Some("recorded in windows; this is the most that was seen in one".to_owned());
                moment.between_windows = true;
            }
            Ok((heap, moment))
        }
        Asked::Default | Asked::End => {
            let last = came().next_back().and_then(|(_, came)| came.last.clone());
            last.with_context(|| no_keyframe(vm))
        }
    }
}

/// Why a VM's heap is not known.
fn no_keyframe(vm: u32) -> String {
    format!("VM {vm} has no usable keyframe in this trace, so its heap is not known")
}

/// One VM's heap at a time, from the keyframe before; also what that replay is worth.
pub fn heap_at<R: Read + Seek + Send>(
    trace: &Trace<R>,
    plan: &Plan,
    vm: u32,
    time: Nanos,
) -> Result<(Heap, Moment, Replayed)> {
    let show = |time| humantime::format_duration(micros(time));
    let stretch = plan.of_vm(vm).rev().find(|stretch| stretch.start() <= time);
    let Some(stretch) = stretch else {
        let first = plan.of_vm(vm).next().with_context(|| no_keyframe(vm))?;
        bail!("the heap of VM {vm} is known from {} on: ask for a later time", show(first.start()));
    };
    if time > plan.end {
        bail!("the trace ends at {}: ask for an earlier time", show(plan.end));
    }
    let replayed = run(trace, stretch, Until::Time(time));
    let (heap, mut moment) = heap_of(stretch, &replayed, Asked::At(time)).with_context(|| no_keyframe(vm))?;
    if moment.short_of.is_none() {
        match &stretch.end {
            StretchEnd::Gap(Frame { head: Head { start: end, .. }, .. }) | StretchEnd::Part(end) if time > *end => {
                moment.short_of = Some(format!("calls are missing from {} on", show(*end)));
            }
            StretchEnd::Window(end) if time > *end => {
                moment.short_of = Some(left_out(stretch, *end));
                moment.between_windows = true;
            }
            _ => {}
        }
    }
    Ok((heap, moment, replayed))
}
