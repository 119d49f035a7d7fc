//! Blocks from their birth to their end, while a stretch is replayed. A block that is resized lives on.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use shared::call::Call;
use shared::{Addr, Nanos};

use super::fates::{Fates, Life};
use crate::model::{Allocator, Block, Outcome};
use crate::replay::observe::Observer;
use crate::replay::period::Period;

/// Where a live block comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Here(Life),
    /// It was there when the stretch began, at this address.
    Before(Addr, Life),
}

/// Follows the blocks of one stretch. Memory in proportion to the blocks that are born in it and alive, and to those
/// that were there before and were freed or resized.
#[derive(Debug)]
pub struct Births {
    period: Period,
    live: HashMap<Addr, Origin, ByAddress>,
    /// Blocks that were there before and died.
    ended: Vec<(Addr, Life, Nanos)>,
    fates: Fates,
    /// The heap at the stretch's start.
    start: Level,
    /// When the first call was made.
    first: Option<Nanos>,
    /// The heap after the last one.
    now: Level,
}

/// What lives at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Level {
    time: Nanos,
    blocks: u64,
    bytes: u64,
}

/// Follows blocks over the stretches of a window, one after the other.
#[derive(Debug, Default)]
pub struct Run {
    live: HashMap<Addr, Life, ByAddress>,
    fates: Fates,
    start: Option<Level>,
    /// A call was made since.
    called: bool,
    now: Level,
}

impl Observer for Births {
    fn start(&mut self, time: Nanos, heap: &Allocator) {
        let totals = heap.totals();
        let blocks = totals.used_chunks + totals.direct_blocks;
        let bytes = totals.used_bytes + totals.direct_bytes;
        self.start = Level { time: time.max(self.period.from), blocks, bytes };
        self.now = self.start;
    }

    #[inline]
    fn call(&mut self, call: &Call, outcome: &Outcome, _: &Allocator) {
        self.see(call, outcome);
    }
}

impl Births {
    /// Follows blocks within a period: what was born before it is as unknown as what was born before the stretch, and what
    /// lives at its end lives on.
    pub fn new(period: Period) -> Births {
        Births {
            period,
            live: HashMap::default(),
            ended: Vec::new(),
            fates: Fates::default(),
            start: Level::default(),
            first: None,
            now: Level::default(),
        }
    }

    fn see(&mut self, call: &Call, outcome: &Outcome) {
        if call.time > self.period.to {
            return;
        }
        let failed = call.nsize > 0 && outcome.after.is_none();
        let is_in = call.time >= self.period.from;
        if is_in {
            self.fates.live_byte_ns += match self.first {
                Some(_) => self.now.since(call.time),
                None => 0,
            };
            self.first = self.first.or(Some(call.time));
            self.now.time = self.now.time.max(call.time);
        }
        if failed {
            self.fates.resizes.sums.failed += u64::from(is_in && outcome.before.is_some());
            return;
        }
        self.now.change(outcome);
        if is_in {
            self.follow(call, outcome);
        } else {
            self.start.change(outcome);
        }
    }

    fn follow(&mut self, call: &Call, outcome: &Outcome) {
        match *outcome {
            Outcome { before: None, after: Some(Block { ptr, size, .. }) } => {
                let life = Life { born: Some(call.time), first: size, last: size, resizes: 0 };
                self.live.insert(ptr, Origin::Here(life));
            }
            Outcome { before: Some(block), after: None } => match self.take(block) {
                Origin::Here(life) => self.fates.died(life, call.time),
                Origin::Before(addr, life) => self.ended.push((addr, life, call.time)),
            },
            Outcome { before: Some(block), after: Some(resized) } => {
                self.fates.resizes.observe(block, resized, call.nsize);
                let mut origin = self.take(block);
                let (Origin::Here(life) | Origin::Before(_, life)) = &mut origin;
                life.last = resized.size;
                life.resizes += 1;
                self.live.insert(resized.ptr, origin);
            }
            Outcome { before: None, after: None } => {}
        }
    }

    fn take(&mut self, block: Block) -> Origin {
        let before = Life { born: None, first: block.size, last: block.size, resizes: 0 };
        self.live.remove(&block.ptr).unwrap_or(Origin::Before(block.ptr, before))
    }
}

impl Level {
    fn change(&mut self, outcome: &Outcome) {
        if let Some(block) = outcome.after {
            self.blocks = self.blocks.wrapping_add(1);
            self.bytes = self.bytes.wrapping_add(block.size);
        }
        if let Some(block) = outcome.before {
            self.blocks = self.blocks.wrapping_sub(1);
            self.bytes = self.bytes.wrapping_sub(block.size);
        }
    }

    /// Live bytes, each as often as nanoseconds went by.
    fn since(&self, time: Nanos) -> u128 {
        u128::from(self.bytes) * u128::from(time.saturating_sub(self.time))
    }
}

impl Run {
    /// Goes on with the next stretch.
    pub fn add(&mut self, births: Births) {
        let Births { period, live, ended, fates, start, first, now } = births;
        if start.time > period.to {
            return;
        }
        // Calls before the period change what lives when it begins.
        if !self.called {
            self.now = Level { time: self.start.map_or(start.time, |start| start.time), ..start };
            self.start = Some(self.now);
            self.called = first.is_some();
        }
        self.fates.merge(&fates);
        if let Some(first) = first {
            self.fates.live_byte_ns += self.now.since(first);
            self.now = Level { time: self.now.time.max(now.time), ..now };
        }
        // All leave their old places before any takes its new one.
        let ended: Vec<(Life, Nanos)> =
            ended.into_iter().map(|(addr, life, time)| (self.take(addr, life), time)).collect();
        let taken: Vec<(Addr, Life)> = live
            .into_iter()
            .map(|(ptr, origin)| match origin {
                Origin::Here(life) => (ptr, life),
                Origin::Before(addr, life) => (ptr, self.take(addr, life)),
            })
            .collect();
        ended.into_iter().for_each(|(life, time)| self.fates.died(life, time));
        self.live.extend(taken);
    }

    /// A block that a stretch found at an address, with what earlier ones know of it.
    fn take(&mut self, addr: Addr, later: Life) -> Life {
        match self.live.remove(&addr) {
            Some(known) => Life { last: later.last, resizes: known.resizes + later.resizes, ..known },
            None => later,
        }
    }

    /// The window is over: what lives lives on.
    pub fn end(self, time: Nanos) -> Fates {
        let Run { live, mut fates, start, now, .. } = self;
        let Some(start) = start else { return fates };
        let time = time.max(now.time);
        fates.live_byte_ns += now.since(time);
        fates.observed_ns += time.saturating_sub(start.time);
        fates.windows += 1;
        fates.at_start += start.blocks;
        fates.at_end += now.blocks;
        live.into_values().for_each(|life| fates.lives_on(life, time));
        fates
    }
}

/// Spreads addresses, of which the low bits are 0. Nobody chooses them to do us harm but who could as well lengthen the
/// trace.
pub(crate) type ByAddress = BuildHasherDefault<AddressHasher>;

#[derive(Debug, Default)]
pub(crate) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        // 2^64 over the golden ratio (Knuth, 6.4); the upper half decides, the lower one must not be left behind.
        let product = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ product >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use shared::trace::calls::TICK;

    const ALWAYS: Period = Period { from: 0, to: Nanos::MAX };

    fn step(births: &mut Births, tick: u64, nsize: u64, before: Addr, after: Addr) {
        let block = |ptr: Addr| (ptr != 0).then_some(Block { ptr, size: 48, direct: false });
        let call = Call { time: tick * TICK, ptr: before, osize: 40, nsize };
        births.see(&call, &Outcome { before: block(before), after: block(after) });
    }

    #[test]
    fn blocks_live_on_through_resizes_and_over_keyframes() {
        let mut first = Births::new(ALWAYS);
        step(&mut first, 1, 40, 0, 0x100); // Born at 1,
        step(&mut first, 2, 90, 0x100, 0x200); // moved,
        step(&mut first, 3, 40, 0, 0x100); // another one in its place at 3,
        step(&mut first, 4, 0, 0x300, 0); // one that was there before,
        step(&mut first, 4, 40, 0, 0x300); // and one born at 4 in its place.
        let mut second = Births::new(ALWAYS);
        step(&mut second, 5, 90, 0x200, 0x400); // The first one moves,
        step(&mut second, 6, 90, 0x100, 0x200); // the second one takes its place,
        step(&mut second, 9, 0, 0x400, 0); // the first one dies at 9, 8 old,
        step(&mut second, 9, u64::MAX, 0x200, 0); // a resize fails,
        step(&mut second, 14, 0, 0x300, 0); // and the third one dies at 14, 10 old.
        let mut run = Run::default();
        run.add(first);
        run.add(second);
        let fates = run.end(20 * TICK);
        let mut ages = super::super::lifetimes::Ages::default();
        ages.observe(8 * TICK, 48, true);
        ages.observe(10 * TICK, 48, true);
        ages.observe(17 * TICK, 48, false);
        assert_eq!(fates.ages(), ages);
        let class = &fates.classes[&32];
        assert_eq!((class.older_died.count, class.older_died.bytes), (1, 48));
        let sums = fates.resizes.sums;
        assert_eq!((sums.kept, sums.moved, sums.failed, sums.most, sums.older_blocks), (3, 3, 1, 2, 0));
    }

    /// What a random program does: `kind` and `pick` decide, `size` is asked for. Some blocks are there before.
    fn program(steps: &[(u8, usize, u64)]) -> (Level, Vec<(Call, Outcome)>) {
        let mut blocks: Vec<Block> =
            (0..5).map(|at| Block { ptr: 0x1000 + at * 0x1000, size: 64, direct: false }).collect();
        let start = Level { time: 0, blocks: 5, bytes: 5 * 64 };
        let mut free: Vec<Addr> = (6..200).map(|at| at * 0x1000).collect();
        let mut calls = Vec::new();
        for (at, &(kind, pick, size)) in steps.iter().enumerate() {
            let time = at as u64 / 3 * TICK;
            let size = (size + 8) / 8 * 8 + 32;
            let chosen = (!blocks.is_empty()).then(|| pick % blocks.len());
            let new = Block { ptr: free[pick % free.len()], size, direct: false };
            let (before, after) = match (kind % 4, chosen) {
                (0 | 1, _) | (_, None) => (None, Some(new)),
                (2, Some(chosen)) => (Some(blocks[chosen]), None),
                (_, Some(chosen)) if size % 16 == 0 => (Some(blocks[chosen]), Some(new)),
                (_, Some(chosen)) => (Some(blocks[chosen]), Some(Block { size, ..blocks[chosen] })),
            };
            if let Some(gone) = before {
                blocks.retain(|block| block.ptr != gone.ptr);
                free.push(gone.ptr);
            }
            if let Some(come) = after {
                free.retain(|ptr| *ptr != come.ptr);
                blocks.push(come);
            }
            let nsize = after.map_or(0, |block| block.size - 8);
            calls.push((Call { time, ptr: before.map_or(0, |b| b.ptr), osize: 0, nsize }, Outcome { before, after }));
        }
        (start, calls)
    }

    /// Follows blocks over stretches that end before these calls.
    fn followed(start: Level, calls: &[(Call, Outcome)], cuts: &[usize], period: Period, end: Nanos) -> Fates {
        let mut run = Run::default();
        let (mut level, mut from) = (start, 0);
        for to in cuts.iter().copied().chain([calls.len()]) {
            let mut births = Births::new(period);
            births.start = Level { time: level.time.max(period.from), ..level };
            births.now = births.start;
            for (call, outcome) in &calls[from..to] {
                births.see(call, outcome);
                level.change(outcome);
                level.time = call.time;
            }
            run.add(births);
            from = to;
        }
        run.end(end)
    }

    proptest! {
        #[test]
        fn split_anywhere_is_the_same(
            steps in vec((any::<u8>(), any::<usize>(), 0..4000u64), 1..120),
            cuts in vec(any::<proptest::sample::Index>(), 0..6),
            (from, length) in (0..20u64, 1..40u64),
            all: bool,
        ) {
            let (start, calls) = program(&steps);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(calls.len() + 1)).collect();
            cuts.sort_unstable();
            let period = if all { ALWAYS } else { Period { from: from * TICK, to: (from + length) * TICK } };
            let end = (calls.len() as u64 * TICK).min(period.to).max(period.from);
            let whole = followed(start, &calls, &[], period, end);
            prop_assert_eq!(&followed(start, &calls, &cuts, period, end), &whole);
            // Nobody is forgotten, and nobody counted twice.
            let ages = whole.ages();
            let older_died: u64 = whole.classes.values().map(|class| class.older_died.count).sum();
            let (born, alive) = (ages.born().count, ages.alive().count);
            prop_assert_eq!(whole.at_start + born, whole.at_end + (born - alive) + older_died);
            let seen = calls.iter().filter(|(call, _)| period.contains(call.time));
            let resized = seen.clone().filter(|(_, outcome)| outcome.before.is_some() && outcome.after.is_some());
            prop_assert_eq!(resized.count() as u64, whole.resizes.sums.all());
            let births = seen.filter(|(_, outcome)| outcome.before.is_none());
            prop_assert_eq!(births.count() as u64, born);
        }
    }
}
