//! What of the memory that sampled calls got is still in use at the end of their window, or of the recording.
//!
//! A block belongs to the call that made it, however often it is resized since, with the size it has in the end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Read, Seek};

use shared::call::Call;
use shared::trace::census::ObjectKind;
use shared::trace::reader::Trace;
use shared::{Addr, Nanos};

use super::calls::{Sampled, Which, starts};
use super::kinds;
use crate::metrics::births::ByAddress;
use crate::model::{Allocator, Outcome};
use crate::replay::observe::{Observer, Study};
use crate::replay::period::Period;
use crate::replay::run::Replayed;
use crate::replay::{Plan, Stretch, StretchEnd};

/// A sample's number among its VM's.
type Number = usize;

/// Follows the blocks of some VMs.
#[derive(Debug, Default)]
pub struct Lasting {
    vms: BTreeMap<u32, OfVm>,
}

/// What is still in use of a VM's blocks that were made in its period.
#[derive(Debug)]
struct OfVm {
    period: Period,
    /// Where blocks of calls begin, by their place in the trace.
    starts: HashMap<(usize, u64), u64>,
    samples: Vec<Which>,
    /// Blocks that live where the last stretch ended: who made them, and their bytes.
    alive: HashMap<Addr, (Option<Number>, u64), ByAddress>,
    /// Bytes still in use at the ends, by sample; none of calls that could not be replayed.
    of_samples: Vec<Option<u64>>,
    /// Of all calls.
    total: u64,
    /// When keyframes were taken that have a census.
    censuses: HashSet<Nanos>,
    /// Where blocks were then that samples' calls had made or resized.
    at_censuses: Vec<(Nanos, Vec<(Addr, Number)>)>,
}

/// Of the calls that have resized a block no more than this are kept.
const MOST_TOUCHED: usize = 4;

/// Where a block comes from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// From a call here, which may be a sample.
    Made(Option<Number>),
    /// It was there when the stretch began, at this address.
    Before(Addr),
}

/// Looks on at one stretch.
#[derive(Debug)]
pub struct Blocks {
    period: Period,
    /// The samples in the stretch: which of its calls they are.
    samples: Vec<(u64, Number)>,
    next: usize,
    calls: u64,
    alive: HashMap<Addr, (Origin, u64), ByAddress>,
    /// Where the blocks are that samples' calls have made or resized.
    there: HashMap<Addr, Vec<Number>, ByAddress>,
    /// Where blocks were freed, or moved away, that were not made here.
    left: HashSet<Addr, ByAddress>,
}

impl Lasting {
    /// Follows a VM's blocks, too.
    pub fn add<R>(&mut self, trace: &Trace<R>, plan: &Plan, vm: u32, period: Period, sampled: &Sampled) {
        let samples: Vec<Which> = sampled.samples().map(|sample| sample.which).collect();
        let starts = starts(trace, vm).into_iter().map(|(block, start)| ((block.part, block.offset), start)).collect();
        let of_samples = vec![None; samples.len()];
        let censuses = plan.censuses.iter().filter(|frame| frame.head.vm == vm).map(|frame| frame.head.start).collect();
        let alive = HashMap::default();
        let of = OfVm { period, starts, samples, alive, of_samples, total: 0, censuses, at_censuses: Vec::new() };
        self.vms.insert(vm, of);
    }

    /// What kind of object a census has found the blocks of a VM's samples to be, of those that were there at one.
    pub fn kinds<R: Read + Seek>(&self, trace: &Trace<R>, plan: &Plan, vm: u32) -> Vec<(usize, ObjectKind)> {
        let taken = self.vms.get(&vm).into_iter().flat_map(|of| &of.at_censuses);
        taken.flat_map(|(time, blocks)| kinds::at_census(trace, plan, (vm, *time), blocks)).collect()
    }

    /// Bytes still in use of what each of a VM's samples made, and of what all calls in the period made.
    pub fn take(&mut self, vm: u32) -> (Vec<Option<u64>>, u64) {
        self.vms.remove(&vm).map_or_else(Default::default, |mut of| {
            of.end();
            (of.of_samples, of.total)
        })
    }
}

impl OfVm {
    /// Nothing is known of what happens next.
    fn end(&mut self) {
        for (_, (maker, bytes)) in self.alive.drain() {
            self.total = self.total.saturating_add(bytes);
            if let Some(of_sample) = maker.and_then(|maker| self.of_samples.get_mut(maker)) {
                *of_sample = Some(of_sample.unwrap_or(0).saturating_add(bytes));
            }
        }
    }

    fn take(&mut self, blocks: Blocks) {
        let mut moved: HashMap<Addr, (Addr, u64), ByAddress> = HashMap::default();
        let mut made = Vec::new();
        for (addr, (origin, bytes)) in blocks.alive {
            match origin {
                Origin::Made(maker) => made.push((addr, (maker, bytes))),
                Origin::Before(before) => {
                    moved.insert(before, (addr, bytes));
                }
            }
        }
        let stays = |(addr, (maker, bytes))| match moved.get(&addr) {
            Some((now, bytes)) => Some((*now, (maker, *bytes))),
            None => (!blocks.left.contains(&addr)).then_some((addr, (maker, bytes))),
        };
        self.alive = std::mem::take(&mut self.alive).into_iter().filter_map(stays).chain(made).collect();
        for (_, sample) in &blocks.samples[..blocks.next] {
            let of_sample = &mut self.of_samples[*sample];
            *of_sample = of_sample.or(Some(0));
        }
    }
}

impl Observer for Blocks {
    fn call(&mut self, call: &Call, outcome: &Outcome, _: &Allocator) {
        let number = self.calls;
        self.calls += 1;
        let mut sample = None;
        while let Some((_, of)) = self.samples.get(self.next).filter(|(at, _)| *at <= number) {
            sample = Some(*of);
            self.next += 1;
        }
        let before = outcome.before.and_then(|before| self.there.remove(&before.ptr));
        if let Some(after) = outcome.after
            && (before.is_some() || sample.is_some())
        {
            let touched = before.into_iter().flatten().chain(sample);
            self.there.insert(after.ptr, touched.take(MOST_TOUCHED).collect());
        }
        let failed = call.nsize > 0 && outcome.after.is_none();
        if call.time > self.period.to || failed {
            return;
        }
        let origin = match outcome.before {
            Some(block) => match self.alive.remove(&block.ptr) {
                Some((origin, _)) => Some(origin),
                // What is at an address that a block has left was made since, and is nobody's.
                None => self.left.insert(block.ptr).then_some(Origin::Before(block.ptr)),
            },
            None => self.period.contains(call.time).then_some(Origin::Made(sample)),
        };
        if let (Some(origin), Some(block)) = (origin, outcome.after) {
            self.alive.insert(block.ptr, (origin, block.size));
        }
    }
}

impl Study for Lasting {
    type Observer = Option<Blocks>;

    fn observer(&self, stretch: &Stretch) -> Option<Blocks> {
        let of = self.vms.get(&stretch.vm)?;
        let (mut samples, mut before) = (Vec::new(), 0);
        for block in &stretch.blocks {
            let start = of.starts.get(&(block.part, block.offset)).copied().unwrap_or(0);
            let end = start + u64::from(block.head.count);
            let from = of.samples.partition_point(|which| *which < (block.part, start));
            let to = of.samples.partition_point(|which| *which < (block.part, end));
            samples.extend((from..to).map(|sample| (before + of.samples[sample].1 - start, sample)));
            before += u64::from(block.head.count);
        }
        let (alive, there, left) = (HashMap::default(), HashMap::default(), HashSet::default());
        Some(Blocks { period: of.period, samples, next: 0, calls: 0, alive, there, left })
    }

    fn seen(&mut self, stretch: &Stretch, replayed: &Replayed, blocks: Option<Blocks>) {
        let (Some(of), Some(blocks)) = (self.vms.get_mut(&stretch.vm), blocks) else { return };
        let there =
            blocks.there.iter().flat_map(|(addr, samples)| samples.iter().map(|sample| (*addr, *sample))).collect();
        of.take(blocks);
        if let StretchEnd::Keyframe(frame, _) = &stretch.end
            && of.censuses.contains(&frame.head.start)
            && !replayed.is_cut_short()
        {
            of.at_censuses.push((frame.head.start, there));
        }
        let goes_on = matches!(stretch.end, StretchEnd::Keyframe(..)) && !replayed.is_cut_short();
        if !goes_on {
            of.end();
        }
    }
}
