//! When a session looks at where its process's memory goes, and what it tells of its VMs there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::Result;
use shared::heap::Heap;
use shared::heap::layout::PAGE;
use shared::heap::walk::{self, Unreadable};
use shared::trace::keyframe::Pause;
use shared::{Addr, Nanos};

use super::Session;
use crate::anonymize;
use crate::breakdown::{Survey, VmMemory, stopped_ns};
use crate::target::Memory;

/// Links of a free chunk, at its start: head, list, tree.
const LINKS: u64 = 64;

/// What is kept from one breakdown to the next.
#[derive(Debug)]
pub(super) struct Breakdowns {
    survey: Survey,
    every: Duration,
    next: Instant,
    /// By VM: what its last keyframe says.
    keyframes: BTreeMap<u32, LastKeyframe>,
}

#[derive(Debug, Default)]
struct LastKeyframe {
    time: Nanos,
    free_pages: Vec<Range<Addr>>,
    direct: Vec<Addr>,
}

impl Breakdowns {
    pub(super) fn new(every: Duration) -> Breakdowns {
        Breakdowns { survey: Survey::default(), every, next: Instant::now(), keyframes: BTreeMap::new() }
    }

    /// Keeps of a keyframe what breakdowns need, before its addresses are shifted.
    pub(super) fn learn(&mut self, vm: u32, time: Nanos, heap: &Heap) {
        let free = heap.chunks.iter().filter(|chunk| !chunk.used);
        let pages =
            free.map(|chunk| (chunk.addr + LINKS).next_multiple_of(PAGE)..(chunk.addr + chunk.size) & !(PAGE - 1));
        let free_pages = pages.filter(|pages| !pages.is_empty()).collect();
        let direct = heap.direct.iter().map(|direct| direct.base).collect();
        self.keyframes.insert(vm, LastKeyframe { time, free_pages, direct });
    }
}

impl Session {
    /// A breakdown if it is time for one. Not while calls come fast or a walk is under way: they would wait in the rings.
    pub(super) fn breakdown_if_due(&mut self) -> Result<()> {
        let is_busy = self.walk.is_some() || self.window.as_ref().is_some_and(|window| !window.is_calm());
        if Instant::now() < self.breakdowns.next || is_busy {
            return Ok(());
        }
        self.breakdown()
    }

    /// Writes where the process's memory goes now. What cannot be looked at is left out, and told in it.
    pub(super) fn breakdown(&mut self) -> Result<()> {
        self.breakdowns.next = Instant::now() + self.breakdowns.every;
        let start = self.now();
        // What was mapped or moved of late.
        self.drain()?;
        let vms = self.vm_memory();
        let mut survey = std::mem::take(&mut self.breakdowns.survey);
        let longest = Duration::from_nanos(self.settings.limits.max_pause);
        let governor = &mut self.governor;
        let allow = |bytes| governor.affords_keyframe(start, bytes).then_some(longest);
        let mut stops = Vec::new();
        let taken = survey.take(&self.target, &vms, allow, &mut stops);
        self.breakdowns.survey = survey;
        for stop in &stops {
            self.note_stop(stop.stopped);
            self.learn_pause(stop.stopped, stop.copied, stop.bytes);
        }
        let breakdown = match taken {
            Ok(breakdown) => breakdown,
            // The process is gone, which is told elsewhere; what it has cost is not.
            Err(_) if stops.is_empty() && !self.is_alive() => return Ok(()),
            Err(error) => {
                let pause = Pause { stopped_ns: stopped_ns(&stops), stops: stops.len() as u64, copied_bytes: 0 };
                return self.write_missed(start, format!("no breakdown: {error}"), &pause);
            }
        };
        let anonymized = self.streams.pen.recording().anonymized();
        let breakdown = if anonymized { anonymize::breakdown(breakdown) } else { breakdown };
        let time = (start, self.now());
        Ok(self.streams.pen.write(true, |writer| writer.breakdown(time, &breakdown))?)
    }

    /// What each VM has mapped now: its segments, and the direct blocks that are known to be its own.
    fn vm_memory(&self) -> Vec<VmMemory> {
        let read = |addr, bytes: &mut [u8]| self.target.read(addr, bytes).map_err(|_| Unreadable);
        let vms: Vec<_> = self.vms.iter().filter(|vm| self.streams.is_open(vm.place.number)).collect();
        let mut owned: BTreeMap<Addr, u32> = BTreeMap::new();
        for (block, caller) in self.streams.mapped_for() {
            let owner = vms.iter().find(|vm| vm.place.mstate == *caller).or(vms.first().filter(|_| *caller == 0));
            owned.extend(owner.map(|vm| (*block, vm.place.number)));
        }
        for (number, keyframe) in &self.breakdowns.keyframes {
            owned.extend(keyframe.direct.iter().map(|block| (*block, *number)));
        }
        let memory = |vm: &&super::SessionVm| {
            let place = vm.place;
            let segments = walk::segments(place.mstate, &read).unwrap_or_default();
            let own = owned.iter().filter(|(_, owner)| **owner == place.number);
            let direct = own.filter_map(|(block, _)| walk::direct_block(*block, &read));
            let direct = direct.map(|block| block.base..block.base + block.size);
            let last = self.breakdowns.keyframes.get(&place.number);
            VmMemory {
                number: place.number,
                label: self.label(&vm.found),
                ranges: segments.iter().map(|segment| segment.base..segment.end()).chain(direct).collect(),
                keyframe: last.map_or(0, |last| last.time),
                free_pages: last.map(|last| last.free_pages.clone()).unwrap_or_default(),
            }
        };
        vms.iter().map(memory).collect()
    }
}
