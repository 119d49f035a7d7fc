//! One stretch, from its keyframe to its end or to a moment inside.

use std::io::{Read, Seek};

use schemars::JsonSchema;
use serde::Serialize;
use shared::Nanos;
use shared::call::Call;
use shared::heap::Heap;
use shared::trace::TraceError;
use shared::trace::calls::Block;
use shared::trace::reader::{Frame, Trace};

use super::compare::{Comparison, in_flight};
use super::follow::{Followed, changes, mapped};
use super::observe::Observer;
use super::system::Recorded;
use super::{Stretch, StretchEnd};
use crate::model::{Allocator, ReleaseCheck};

/// Where to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// At the stretch's end.
    End,
    /// Before the first call later than this.
    Time(Nanos),
    /// After so many calls.
    Calls(u64),
}

/// Where the trace and the model disagree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ContradictionAt {
    /// The VM.
    pub vm: u32,
    /// When the call was made.
    pub time_ns: Nanos,
    /// The call's number in the stretch, from 1.
    pub call: u64,
    /// What is wrong.
    pub what: String,
}

/// The highest point of a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Peak {
    /// Bytes in used chunks and direct blocks.
    pub bytes: u64,
    /// After so many calls of the stretch.
    pub calls: u64,
    /// When.
    pub time: Nanos,
}

/// What became of a stretch.
pub struct Replayed {
    /// The VM.
    pub vm: u32,
    /// Calls that the model took.
    pub calls: u64,
    /// Calls that it could not take: those behind a contradiction, and one whose mapping calls are missing with what follows.
    pub skipped: u64,
    /// The first contradiction; nothing behind it counts.
    pub contradiction: Option<ContradictionAt>,
    /// Its end against the keyframe there, if it got that far and there is one.
    pub comparison: Option<Comparison>,
    /// A frame that could not be read.
    pub damage: Option<String>,
    /// The model where it stopped.
    pub state: Option<Allocator>,
    /// Which of the two checks for wholly free segments the build has, if a call told.
    pub release_check: Option<ReleaseCheck>,
    /// When the last call it took was made, or the keyframe's stop.
    pub time: Nanos,
    /// The highest point on the way.
    pub peak: Peak,
    /// Memory mapped at its keyframe, in bytes; 0 if that could not be read.
    pub mapped: u64,
    /// Memory mapped behind the mapping calls that follow its window.
    pub followed: Option<Followed>,
}

impl Replayed {
    /// It did not get to the stretch's end.
    pub fn is_cut_short(&self) -> bool {
        self.contradiction.is_some() || self.damage.is_some()
    }
}

/// How many calls ahead the model is told of: enough to hide the time memory takes.
const EXPECTED: usize = 12;

/// How many blocks are decoded ahead, side by side: 2 MB each.
const AHEAD: usize = 4;

struct Runner<'o, O> {
    outcome: Replayed,
    observer: &'o mut O,
    system: Recorded,
    /// The last call, until all mapping calls behind it are known.
    open: Option<Call>,
    until: Until,
    done: bool,
}

/// Replays a stretch.
pub fn run<R: Read + Seek + Send>(trace: &Trace<R>, stretch: &Stretch, until: Until) -> Replayed {
    run_observed(trace, stretch, until, &mut ())
}

/// Replays a stretch while somebody looks on.
pub fn run_observed<R: Read + Seek + Send, O: Observer>(
    trace: &Trace<R>,
    stretch: &Stretch,
    until: Until,
    observer: &mut O,
) -> Replayed {
    let time = stretch.keyframe.head.start;
    let outcome = Replayed {
        vm: stretch.vm,
        calls: 0,
        skipped: 0,
        contradiction: None,
        comparison: None,
        damage: None,
        state: None,
        release_check: None,
        time,
        peak: Peak { time, ..Peak::default() },
        mapped: 0,
        followed: None,
    };
    let mut runner = Runner { outcome, observer, system: Recorded::default(), open: None, until, done: false };
    if let Err(error) = runner.replay(trace, stretch) {
        runner.outcome.damage = Some(error.to_string());
        runner.outcome.skipped = stretch.calls() - runner.outcome.calls.min(stretch.calls());
    }
    runner.outcome
}

impl<O: Observer> Runner<'_, O> {
    fn replay<R: Read + Seek + Send>(&mut self, trace: &Trace<R>, stretch: &Stretch) -> Result<(), TraceError> {
        let start = trace.keyframe(&stretch.keyframe)?.heap;
        let gc_start = start.gc_total;
        let unseen = if stretch.unseen { largest(&start) } else { 0 };
        let at = stretch.keyframe.offset;
        let model = Allocator::from_heap(&start)
            .map_err(|error| TraceError::Damaged { at, what: format!("the keyframe is no heap: {error}") })?;
        drop(start);
        self.outcome.peak.bytes = occupied(&model);
        self.outcome.mapped = mapped(&model.totals());
        self.observer.start(self.outcome.time, &model);
        self.outcome.state = Some(model);
        let (mut first, mut last) = (None, None);
        let mut batches = stretch.blocks.chunks(AHEAD);
        let mut ahead = decode(trace, batches.next().unwrap_or_default());
        while !ahead.is_empty() && !self.done {
            let next = batches.next().unwrap_or_default();
            let ((), decoded) = rayon::join(
                || {
                    for block in &ahead {
                        let Ok(block) = block else { break };
                        first = first.or(block.calls.first().copied());
                        last = block.calls.last().copied().or(last);
                        self.block(block);
                    }
                },
                || decode(trace, next),
            );
            let damaged = std::mem::replace(&mut ahead, decoded).into_iter().find_map(Result::err);
            if let Some(error) = damaged {
                self.close_call();
                return Err(error);
            }
        }
        if !self.done {
            self.end_window(trace, stretch)?;
        }
        if self.outcome.contradiction.is_some() {
            self.outcome.skipped = stretch.calls() - self.outcome.calls;
        } else if let (StretchEnd::Keyframe(frame, after), Until::End) = (&stretch.end, self.until) {
            let calls_next_to_start = (last_call(trace, stretch.before)?, first);
            let calls_next_to_end = (last.or(calls_next_to_start.0), first_call(trace, *after)?);
            let real = trace.keyframe(frame)?.heap;
            self.compare(&real, gc_start, calls_next_to_start, calls_next_to_end, unseen);
        }
        Ok(())
    }

    /// Executes the last call. If a window ends here, mapping calls follow it.
    fn end_window<R: Read + Seek + Send>(&mut self, trace: &Trace<R>, stretch: &Stretch) -> Result<(), TraceError> {
        let mut trailing = Vec::new();
        for block in decode(trace, &stretch.trailing) {
            trailing.extend(block?.maps.into_iter().map(|(_, map)| map));
        }
        self.system.push_late(&trailing);
        self.close_call();
        // Where calls are missing, so may be what the last one before them asked of the system.
        let is_cut = matches!(stretch.end, StretchEnd::Gap(_) | StretchEnd::Part(_) | StretchEnd::Trace);
        if is_cut && self.system.missing.is_some() {
            self.outcome.contradiction = None;
            self.outcome.skipped = 1;
        }
        if let (None, Some(model), StretchEnd::Window(_)) =
            (&self.outcome.contradiction, &self.outcome.state, &stretch.end)
        {
            let later = changes(&trailing).wrapping_sub(self.system.taken_late());
            let bytes = mapped(&model.totals()).wrapping_add(later);
            self.outcome.followed = Some(Followed { bytes, or: bytes.wrapping_add(self.system.left_over()) });
        }
        Ok(())
    }

    fn block(&mut self, block: &Block) {
        let mut maps = block.maps.iter().peekable();
        for (at, call) in block.calls.iter().enumerate() {
            while let Some((_, map)) = maps.next_if(|(after, _)| *after as usize <= at) {
                self.system.push(*map);
            }
            self.close_call();
            let reached = match self.until {
                Until::End => false,
                Until::Time(time) => call.time > time,
                Until::Calls(calls) => self.outcome.calls >= calls,
            };
            if reached || self.outcome.contradiction.is_some() {
                self.done = true;
                return;
            }
            if let (Some(model), Some(soon)) = (&self.outcome.state, block.calls.get(at + EXPECTED)) {
                model.expect(soon.ptr);
            }
            self.system.clear();
            self.open = Some(*call);
        }
        maps.for_each(|(_, map)| self.system.push(*map));
    }

    /// Executes the open call; what it needed from the system is known by now.
    #[inline]
    fn close_call(&mut self) {
        let (Some(call), Some(model)) = (self.open.take(), &mut self.outcome.state) else { return };
        let result = model.call(call.ptr, call.osize, call.nsize, &mut self.system);
        let wrong = match (&result, self.system.missing) {
            (Ok(_), None) => None,
            (_, Some(missing)) => Some(missing.to_string()),
            (Err(contradiction), None) => Some(contradiction.to_string()),
        };
        if let Some(what) = wrong {
            let number = self.outcome.calls + 1;
            let vm = self.outcome.vm;
            self.outcome.contradiction = Some(ContradictionAt { vm, time_ns: call.time, call: number, what });
            self.done = true;
            return;
        }
        if let Ok(outcome) = &result {
            self.observer.call(&call, outcome, model);
        }
        self.outcome.calls += 1;
        self.outcome.time = call.time;
        let bytes = occupied(model);
        if bytes > self.outcome.peak.bytes {
            self.outcome.peak = Peak { bytes, calls: self.outcome.calls, time: call.time };
        }
    }

    /// Compares with a keyframe. `unseen`: what `gc.total` may be off by because of a call that is not in the trace.
    fn compare(&mut self, real: &Heap, gc_start: u64, start: CallPair, end: CallPair, unseen: u64) {
        let Some(model) = &self.outcome.state else { return };
        let replayed = model.to_heap();
        let mut comparison = Comparison::of(&replayed, real);
        let counted = replayed.gc_total.wrapping_sub(gc_start);
        let explained = in_flight(start.0, start.1).into_iter().any(|at_start| {
            let true_start = gc_start.wrapping_sub(at_start);
            in_flight(end.0, end.1)
                .into_iter()
                .any(|at_end| real.gc_total == true_start.wrapping_add(counted).wrapping_add(at_end))
        });
        let off = real.gc_total.wrapping_sub(gc_start.wrapping_add(counted));
        if !explained && off.min(off.wrapping_neg()) > unseen {
            comparison.differing.push("gc.total");
        }
        self.outcome.comparison = Some(comparison);
    }
}

/// The calls before and after a keyframe.
type CallPair = (Option<Call>, Option<Call>);

fn occupied(model: &Allocator) -> u64 {
    let totals = model.totals();
    totals.used_bytes + totals.direct_bytes
}

/// The largest block of a heap: as much may a call add to or take from `gc.total`.
fn largest(heap: &Heap) -> u64 {
    let chunks = heap.chunks.iter().filter(|chunk| chunk.used).map(|chunk| chunk.size);
    chunks.chain(heap.direct.iter().map(|direct| direct.size)).max().unwrap_or(0)
}

fn decode<R: Read + Seek + Send>(trace: &Trace<R>, frames: &[Frame]) -> Vec<Result<Block, TraceError>> {
    use rayon::prelude::*;
    frames.par_iter().map(|frame| trace.calls(frame)).collect()
}

fn last_call<R: Read + Seek>(trace: &Trace<R>, block: Option<Frame>) -> Result<Option<Call>, TraceError> {
    Ok(block.map(|frame| trace.calls(&frame)).transpose()?.and_then(|block| block.calls.last().copied()))
}

fn first_call<R: Read + Seek>(trace: &Trace<R>, block: Option<Frame>) -> Result<Option<Call>, TraceError> {
    Ok(block.map(|frame| trace.calls(&frame)).transpose()?.and_then(|block| block.calls.first().copied()))
}
