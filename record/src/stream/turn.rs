//! Turns: while one lasts, calls may have stacks.

use std::ops::RangeInclusive;

use shared::Nanos;
use shared::trace::TraceError;
use shared::trace::stacks::{Sample, Stacks};

use super::Streams;
use crate::stacks::Collected;
use crate::stacks::matcher::Matched;

impl Streams {
    /// Takes a call, hit at that time by `CLOCK_MONOTONIC`, that was just passed on to the VM in this place.
    #[inline]
    pub(super) fn count_in_turn(&mut self, thread: usize, at: usize, hit: u64) {
        if !self.turn.as_ref().is_some_and(|turn| turn.contains(&hit)) {
            return;
        }
        let time = self.time(hit);
        let vm = &mut self.vms[at];
        let number = vm.in_part - 1;
        let sampled = vm.sampled.get_or_insert_with(|| Collected::from(number, time));
        sampled.calls = number + 1 - sampled.first;
        sampled.time.1 = sampled.time.1.max(time);
        self.last_in_turn.insert(thread, (at, number, hit));
    }

    /// Takes the stack of a thread's last call; of another one it is none that is wanted.
    pub(super) fn stack(&mut self, thread: usize, matched: Matched) {
        let last = self.last_in_turn.get(&thread).filter(|(_, _, hit)| *hit == matched.hit);
        if let Some((at, call, _)) = last
            && let Some(sampled) = &mut self.vms[*at].sampled
        {
            sampled.samples.push(Sample { call: *call, stack: matched.stack });
        }
    }

    /// Stacks are taken of the calls in this time, by `CLOCK_MONOTONIC`.
    pub fn set_turn(&mut self, turn: Option<RangeInclusive<u64>>) {
        self.turn = turn;
        self.last_in_turn.clear();
    }

    /// What was collected of each VM's calls since this was last asked; nothing may be on its way any more.
    pub fn take_collected(&mut self) -> Vec<(u32, Collected)> {
        self.vms.iter_mut().filter_map(|vm| Some((vm.number, vm.sampled.take()?))).collect()
    }

    /// Whether anything was collected that was not taken.
    pub fn has_collected(&self) -> bool {
        self.vms.iter().any(|vm| vm.sampled.is_some())
    }

    /// Writes who made a VM's calls.
    pub fn stacks(&mut self, number: u32, time: (Nanos, Nanos), stacks: &Stacks) -> Result<(), TraceError> {
        self.pen.write(false, |writer| writer.stacks(number, time, stacks))
    }
}
