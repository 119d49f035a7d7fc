//! The calls whose stacks are known: which they are in their VM's stream, and what they asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::io::{Read, Seek};
use std::ops::Range;

use rayon::prelude::*;
use shared::call::Call;
use shared::trace::TraceError;
use shared::trace::frame::Kind;
use shared::trace::reader::{Frame, Trace};
use shared::trace::stacks::{Frame as Place, Module, Place as LuaLine};

use crate::replay::Plan;
use crate::replay::period::Period;

/// A call's place in its VM's stream: the part of the trace, and its number there.
pub(super) type Which = (usize, u64);

/// A call whose stack is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Which call.
    pub which: Which,
    /// The number of its stack.
    pub stack: usize,
    /// The bytes it asked for.
    pub bytes: u64,
}

/// What is known of a VM's calls in a period.
#[derive(Debug, Default)]
pub struct Sampled {
    /// Of so many calls one was sampled, as it was in the trace.
    pub every: BTreeSet<u64>,
    /// Samples that were lost, or whose call is not in the trace.
    pub lost: u64,
    /// In the order of the stream, those of each stretch of calls during which samples were taken apart; stretches that
    /// follow one another at once are one.
    pub turns: Vec<Vec<Sample>>,
    /// Different stacks, each from the innermost frame on.
    pub stacks: Vec<Vec<Place>>,
    /// The files that they lead through.
    pub modules: Vec<Module>,
    /// The Lua functions' lines.
    pub lines: Vec<LuaLine>,
    /// All calls.
    pub calls: u64,
    /// Those made while samples were taken.
    pub covered: u64,
    /// Bytes that all calls asked for.
    pub bytes: u64,
    /// Frames that could not be read, and why.
    pub damage: Vec<String>,
}

/// Bytes that a call asks for: of a resize, those by which the block grows.
pub fn asked(call: &Call) -> u64 {
    if call.ptr == 0 { call.nsize } else { call.nsize.saturating_sub(call.osize) }
}

/// Where each of a VM's blocks of calls begins in its stream.
pub(super) fn starts<R>(trace: &Trace<R>, vm: u32) -> Vec<(Frame, u64)> {
    let mut next: BTreeMap<usize, u64> = BTreeMap::new();
    let blocks = trace.frames.iter().filter(|frame| frame.head.kind == Kind::Calls && frame.head.vm == vm);
    let start = |frame: &Frame| {
        let next = next.entry(frame.part).or_default();
        let start = *next;
        *next += u64::from(frame.head.count);
        (*frame, start)
    };
    blocks.map(start).collect()
}

/// What one block says.
#[derive(Debug, Default)]
struct Found {
    calls: u64,
    covered: u64,
    bytes: u64,
    /// Of samples whose call is here, by their number: the bytes it asked for, if it is in the period.
    samples: Vec<(usize, Option<u64>)>,
}

impl Sampled {
    /// Reads a VM's stacks, and all of its calls.
    pub fn of<R: Read + Seek + Send>(trace: &Trace<R>, plan: &Plan, vm: u32, period: Period) -> Sampled {
        let mut sampled = Sampled::default();
        let (mut stacks, mut modules, mut lines) = (Known::default(), Known::default(), Known::default());
        let mut samples: Vec<(Which, usize)> = Vec::new();
        let mut turns: Vec<(usize, Range<u64>)> = Vec::new();
        for frame in plan.stacks.iter().filter(|frame| frame.head.vm == vm) {
            let read = match trace.stacks(frame) {
                Ok(read) => read,
                Err(error) => {
                    sampled.damage.push(error.to_string());
                    continue;
                }
            };
            if frame.head.start > period.to || frame.head.end < period.from {
                continue;
            }
            let about = &read.about;
            sampled.every.insert(about.every);
            sampled.lost = sampled.lost.saturating_add(about.lost);
            turns.push((frame.part, about.first..about.first.saturating_add(about.calls)));
            let module: Vec<u32> = about.modules.iter().map(|module| modules.number(module) as u32).collect();
            let line: Vec<u32> = about.places.iter().map(|line| lines.number(line) as u32).collect();
            let renumbered = |place: &Place| match *place {
                Place::Lua(number) => Place::Lua(line[number as usize]),
                Place::Code { module: number, addr } => Place::Code { module: module[number as usize], addr },
                other => other,
            };
            let renumber = |stack: &Vec<Place>| stacks.number(&stack.iter().map(renumbered).collect());
            let numbers: Vec<usize> = read.stacks.iter().map(renumber).collect();
            samples
                .extend(read.samples.iter().map(|sample| ((frame.part, sample.call), numbers[sample.stack as usize])));
        }
        (sampled.stacks, sampled.modules, sampled.lines) = (stacks.all(), modules.all(), lines.all());
        samples.sort_unstable();
        let turns = joined(turns);
        let asked = sampled.look_up(trace, vm, period, &samples, &turns);
        sampled.turns = turns
            .iter()
            .map(|(part, calls)| {
                let from = samples.partition_point(|(which, _)| *which < (*part, calls.start));
                let to = samples.partition_point(|(which, _)| *which < (*part, calls.end));
                let of_turn = samples[from..to].iter().zip(&asked[from..to]);
                let sample = |(&(which, stack), bytes): (&(Which, usize), &Option<u64>)| {
                    bytes.map(|bytes| Sample { which, stack, bytes })
                };
                of_turn.filter_map(sample).collect()
            })
            .collect();
        sampled
    }

    /// Goes through all calls: sums them up, and finds what samples asked for.
    fn look_up<R: Read + Seek + Send>(
        &mut self,
        trace: &Trace<R>,
        vm: u32,
        period: Period,
        samples: &[(Which, usize)],
        turns: &[(usize, Range<u64>)],
    ) -> Vec<Option<u64>> {
        let look = |(block, start): &(Frame, u64)| {
            let calls = trace.calls(block)?.calls;
            let mut found = Found::default();
            let mut next = samples.partition_point(|(which, _)| *which < (block.part, *start));
            let mut turn = turns.partition_point(|(part, calls)| (*part, calls.end) <= (block.part, *start));
            for (number, call) in (*start..).zip(&calls) {
                let is_in = period.contains(call.time);
                while turns.get(turn).is_some_and(|(part, calls)| (*part, calls.end) <= (block.part, number)) {
                    turn += 1;
                }
                let covered =
                    turns.get(turn).is_some_and(|(part, calls)| *part == block.part && calls.contains(&number));
                if is_in {
                    found.calls += 1;
                    found.covered += u64::from(covered);
                    found.bytes = found.bytes.saturating_add(asked(call));
                }
                while samples.get(next).is_some_and(|(which, _)| *which == (block.part, number)) {
                    found.samples.push((next, is_in.then(|| asked(call))));
                    next += 1;
                }
            }
            Ok::<Found, TraceError>(found)
        };
        let found: Vec<_> = starts(trace, vm).par_iter().map(look).collect();
        let mut bytes = vec![None; samples.len()];
        let mut seen = 0;
        for found in found {
            match found {
                Ok(found) => {
                    self.calls += found.calls;
                    self.covered += found.covered;
                    self.bytes = self.bytes.saturating_add(found.bytes);
                    seen += found.samples.len() as u64;
                    found.samples.into_iter().for_each(|(sample, asked)| bytes[sample] = asked);
                }
                Err(error) => self.damage.push(error.to_string()),
            }
        }
        self.lost = self.lost.saturating_add(samples.len() as u64 - seen);
        bytes
    }

    /// All samples, in the order of the stream.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.turns.iter().flatten()
    }
}

/// Stretches of calls in order; those that follow one another at once, or overlap, are one.
fn joined(mut turns: Vec<(usize, Range<u64>)>) -> Vec<(usize, Range<u64>)> {
    turns.sort_unstable_by_key(|(part, calls)| (*part, calls.start, calls.end));
    let mut joined: Vec<(usize, Range<u64>)> = Vec::new();
    for (part, calls) in turns {
        match joined.last_mut() {
            Some((last, before)) if *last == part && calls.start <= before.end => {
                before.end = before.end.max(calls.end)
            }
            _ => joined.push((part, calls)),
        }
    }
    joined
}

/// Things by the number that they got when they were first seen.
struct Known<T>(HashMap<T, usize>);

impl<T> Default for Known<T> {
    fn default() -> Self {
        Known(HashMap::new())
    }
}

impl<T: Clone + Eq + Hash> Known<T> {
    fn number(&mut self, thing: &T) -> usize {
        let next = self.0.len();
        self.0.get(thing).copied().unwrap_or_else(|| {
            self.0.insert(thing.clone(), next);
            next
        })
    }

    fn all(self) -> Vec<T> {
        let mut all: Vec<(T, usize)> = self.0.into_iter().collect();
        all.sort_unstable_by_key(|(_, number)| *number);
        all.into_iter().map(|(thing, _)| thing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_without_a_gap_are_one() {
        let turns = vec![(0, 10..20), (1, 0..5), (0, 20..30), (0, 31..40), (0, 35..36), (1, 5..6)];
        assert_eq!(joined(turns), [(0, 10..30), (0, 31..40), (1, 0..6)]);
    }

    #[test]
    fn a_resize_asks_for_what_it_grows_by() {
        let asked = |ptr, osize, nsize| super::asked(&Call { time: 0, ptr, osize, nsize });
        assert_eq!([asked(0, 0, 40), asked(8, 40, 100), asked(8, 100, 40), asked(8, 40, 0)], [40, 60, 0, 0]);
    }
}
