//! How heaps develop: a fixed number of points over a time, however long the trace, and in each what was seen.
//!
//! A point in which nothing was recorded stays empty, and nothing is put between two others. A heap is known from a
//! keyframe to where its calls are recorded no more; while no call is made it stays as it is.

pub mod cycles;
pub mod points;
mod watch;

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use shared::trace::TraceError;
use shared::trace::meta::{Process, Vm};
use shared::trace::reader::{Frame, Trace};

pub use self::cycles::{Cycles, Periods, Turns};
pub use self::points::{Flow, Gauge, Heaps, Levels, Point, Scale};
use self::watch::Reach;
pub use self::watch::Watch;
use crate::replay::observe::Study;
use crate::replay::run::Replayed;
use crate::replay::spans::{Span, fold};
use crate::replay::{Plan, Stretch, StretchEnd};

/// A VM, or a process of several, over time.
#[derive(Debug, Clone)]
pub struct Lane {
    /// The process.
    pub pid: u32,
    /// The VM, by its number; none of a process as a whole.
    pub vm: Option<(u32, Vm)>,
    /// How many VMs it is about.
    pub vms: u64,
    /// As many as the scale has.
    pub points: Vec<Point>,
    /// The collector's cycles; none of a process as a whole, whose VMs each have their own.
    pub cycles: Option<Cycles>,
}

/// Follows the heaps of some VMs.
#[derive(Debug)]
pub struct Timeline<'a> {
    plan: &'a Plan,
    scale: Scale,
    spans: Vec<Span>,
    tracks: BTreeMap<u32, Track>,
}

/// A VM on its way.
#[derive(Debug, Clone)]
struct Track {
    points: Vec<Point>,
    cycles: Cycles,
}

impl<'a> Timeline<'a> {
    /// Of these VMs, by their numbers.
    pub fn new(plan: &'a Plan, vms: &[u32], scale: Scale) -> Timeline<'a> {
        let track = Track { points: vec![Point::default(); scale.count()], cycles: Cycles::default() };
        Timeline { plan, scale, spans: plan.spans(), tracks: vms.iter().map(|vm| (*vm, track.clone())).collect() }
    }

    /// The points in time.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// The recorded processes.
    pub fn processes(&self) -> &[Process] {
        &self.plan.processes
    }

    fn reach(&self, stretch: &Stretch) -> Reach {
        // A keyframe's stop may take long to come about: calls go on until then.
        let last = |block: Option<&Frame>| block.map_or(0, |block| block.head.end);
        let before = last(stretch.before.as_ref());
        let behind = last(stretch.blocks.iter().rfind(|block| block.head.count > 0));
        let start = stretch.start().max(before);
        let end = self.plan.end_of(stretch).max(start).max(behind);
        // The span it lies in. Of a keyframe that stands alone there is none.
        let behind = self.spans.partition_point(|span| (span.vm, span.start) < (stretch.vm, end));
        let span = self.spans[..behind].last().filter(|span| span.vm == stretch.vm && span.end > start);
        Reach { start, calls_from: span.map_or(end, |span| span.start.clamp(start, end)), end }
    }

    /// What was found: each process of several VMs as a whole, and each VM; and what could not be read. Reads the calls of
    /// windows without a keyframe: those are counted, though their heaps are not known.
    pub fn finish<R: Read + Seek + Send>(mut self, trace: &Trace<R>) -> (Vec<Lane>, Vec<TraceError>) {
        let damage = self.windows(trace);
        for (vm, time, _) in &self.plan.gaps {
            let point = self.scale.at(*time).and_then(|at| Some(&mut self.tracks.get_mut(vm)?.points[at]));
            point.into_iter().for_each(|point| point.gaps += 1);
        }
        let mut lanes = Vec::new();
        for (number, process) in self.plan.processes.iter().enumerate() {
            let ours = self.lanes(|vm| self.plan.process_of.get(&vm) == Some(&number));
            let key = (process.pid, process.started_ticks);
            let looks = self.plan.breakdowns.iter().filter(|look| (look.pid, look.started_ticks) == key);
            let resident = looks.filter_map(|look| Some((self.scale.at(look.frame.head.start)?, look.resident)));
            let resident: Vec<(usize, u64)> = resident.collect();
            let whole = (ours.len() > 1).then(|| together(&ours)).flatten();
            for mut lane in whole.into_iter().chain(ours) {
                for (at, resident) in &resident {
                    lane.points[*at].then(&Point { resident: Some(Gauge::at(*resident)), ..Point::default() });
                }
                lanes.push(lane);
            }
        }
        // Of a process that the trace does not tell of.
        lanes.extend(self.lanes(|vm| !self.plan.process_of.contains_key(&vm)));
        (lanes, damage)
    }

    fn lanes(&self, are_meant: impl Fn(u32) -> bool) -> Vec<Lane> {
        let lane = |(number, track): (&u32, &Track)| {
            let vm = self.plan.vms.get(number)?;
            Some(Lane {
                pid: vm.pid,
                vm: Some((*number, vm.clone())),
                vms: 1,
                points: track.points.clone(),
                cycles: Some(track.cycles.clone()),
            })
        };
        self.tracks.iter().filter(|(number, _)| are_meant(**number)).filter_map(lane).collect()
    }

    /// Windows are counted, and the calls of those without a keyframe.
    fn windows<R: Read + Seek + Send>(&mut self, trace: &Trace<R>) -> Vec<TraceError> {
        let mut damage = Vec::new();
        let asked = self.plan.windows.iter().filter(|at| self.tracks.contains_key(&at.vm));
        let asked: Vec<_> = asked.collect();
        for at in &asked {
            let point = self.scale.at(at.window.start);
            let points = self.tracks.get_mut(&at.vm).map(|track| &mut track.points);
            points.zip(point).into_iter().for_each(|(points, point)| points[point].windows += 1);
        }
        let unknown = asked.iter().filter(|at| !at.keyframe && !at.window.lossy);
        let span = |vm, start, end, blocks| Span { vm, start, end, window: None, blocks };
        let spans: Vec<Span> =
            unknown.map(|at| span(at.vm, at.window.start, at.window.end, at.blocks.clone())).collect();
        let scale = self.scale;
        for (span, flows) in spans.iter().zip(fold(trace, &spans, |flows: &mut BTreeMap<usize, Flow>, call| {
            scale.at(call.time).into_iter().for_each(|at| flows.entry(at).or_default().count(call));
        })) {
            let Some(track) = self.tracks.get_mut(&span.vm) else { continue };
            match flows {
                Ok(flows) => {
                    let within = scale.within(span.start, span.end);
                    for at in within.clone() {
                        let (from, to) = scale.span(at);
                        track.points[at].recorded_ns += span.end.min(to).saturating_sub(span.start.max(from));
                    }
                    // Times are rounded down.
                    flows.iter().for_each(|(at, flow)| track.points[*at.max(&within.start)].flow.merge(flow));
                }
                Err(error) => damage.push(error),
            }
        }
        damage
    }
}

/// The VMs of a process as a whole.
fn together(lanes: &[Lane]) -> Option<Lane> {
    let (first, others) = lanes.split_first()?;
    let mut whole = Lane { vm: None, vms: lanes.len() as u64, cycles: None, ..first.clone() };
    for other in others {
        whole.points.iter_mut().zip(&other.points).for_each(|(point, other)| point.beside(other));
    }
    Some(whole)
}

impl Study for Timeline<'_> {
    type Observer = Option<Watch>;

    fn observer(&self, stretch: &Stretch) -> Option<Watch> {
        self.tracks.contains_key(&stretch.vm).then(|| Watch::new(self.scale, self.reach(stretch)))
    }

    fn seen(&mut self, stretch: &Stretch, replayed: &Replayed, watch: Option<Watch>) {
        let Some((track, watch)) = self.tracks.get_mut(&stretch.vm).zip(watch) else { return };
        let (points, turns) = watch.end(self.plan.known_until(stretch, replayed));
        for (at, point) in &points {
            track.points[*at].then(point);
        }
        let (scale, counted) = (self.scale, &mut track.points);
        track.cycles.feed(turns, |end| match scale.at(end.time) {
            Some(at) => {
                counted[at].cycles += 1;
                true
            }
            None => false,
        });
        if !matches!(stretch.end, StretchEnd::Keyframe(..)) || replayed.is_cut_short() {
            track.cycles.cut();
        }
    }
}
