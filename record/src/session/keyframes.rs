//! Keyframes: stop the process at a moment that can be told exactly, copy, let go, then walk the copy beside the
//! recording.

use std::io::Write;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::unistd::Pid;
use shared::Nanos;
use shared::heap::Heap;
use shared::heap::walk::WalkError;
use shared::trace::keyframe::{Keyframe, Pause};
use shared::trace::meta::Gap;

use super::Session;
use crate::door::Place;
use crate::freeze::{FreezeError, Frozen};
use crate::locate;
use crate::privilege;
use crate::snapshot::{self, Snapshot};

/// How often a stop may find a thread inside the allocator before the keyframe is given up.
const MAX_STOPS: u64 = 300;
/// After how many missed keyframes only those due by the clock are tried.
const MAX_MISSED: usize = 8;

/// A walk under way, and what its keyframes will say beside the heap.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) heaps: JoinHandle<(Heaps, Vec<u8>)>,
    time: (Nanos, Nanos),
    pause: Pause,
}

/// Each VM's heap, or why it is none.
type Heaps = Vec<(u32, Result<Heap, WalkError>)>;

impl<W: Write> Session<W> {
    /// Takes keyframes of all VMs, those not seen before included. `held` is a stop the target is already in.
    /// `Ok(false)` if the target has ended.
    pub fn keyframe(&mut self, mut held: Option<Frozen>) -> Result<bool> {
        self.finish_walk()?;
        snapshot::prepare(&self.target, &self.open_vms(), &mut self.arena);
        let mut pause = Pause::default();
        let start = self.now();
        let (mut snapshot, held_hits) = loop {
            let stopping = Instant::now();
            let was_held = held.is_some();
            let frozen = match held.take().map_or_else(|| Frozen::stop(self.target.pid), Ok) {
                Ok(frozen) => frozen,
                Err(FreezeError::Ended) => return Ok(false),
                // The recording goes on without this one keyframe; without the first one there is nothing to go on from.
                Err(error) if self.begun() => {
                    self.note_pause(&mut pause, stopping.elapsed());
                    let error = privilege::explain_ptrace(self.target.pid, error);
                    self.missed_keyframes.push(error.to_string());
                    return Ok(true);
                }
                Err(error) => return Err(privilege::explain_ptrace(self.target.pid, error)),
            };
            pause.stops += 1;
            let positions = frozen.positions().into_iter();
            let places: Vec<_> = positions.map(|(tid, ip, top)| (tid, self.door.place(ip, top))).collect();
            let passed_on = |tid| self.threads.iter().any(|(_, thread)| thread.tid == tid && thread.is_drained());
            let in_order = |(tid, place): &(Pid, Place)| match place {
                Place::Outside => true,
                // In a stop that began before the probes were opened, the thread came through the door unseen. A thread
                // that lost its processor at the door may have had its hit passed on since.
                Place::AtDoor => !was_held && !passed_on(*tid),
                Place::Inside => false,
            };
            if places.iter().all(in_order) {
                let snapshot = self.snapshot_frozen()?;
                // What is in the rings now happened before; what comes later, behind.
                let marks: Vec<u64> = self.threads.iter().map(|(_, thread)| thread.position()).collect();
                let lost = self.threads.iter().map(|(_, thread)| thread.counts().lost).sum();
                self.note_pause(&mut pause, frozen.release());
                let at_door = places.iter().filter(|(_, place)| *place == Place::AtDoor && !self.threads.is_empty());
                let at_door: Vec<Pid> = at_door.map(|(tid, _)| *tid).collect();
                let held = self.drain_to(&marks, &at_door)?;
                self.streams.kernel_lost(start, lost)?;
                break (snapshot, held);
            }
            self.note_pause(&mut pause, frozen.release());
            if pause.stops >= MAX_STOPS {
                self.missed_keyframes.push(format!("{MAX_STOPS} stops all fell inside the allocator"));
                return Ok(true);
            }
            if pause.stops % 16 == 0 {
                self.drain()?;
            }
            // Not a multiple of anything the target does.
            std::thread::sleep(Duration::from_micros(50 + pause.stops * 37 % 150));
        };
        for number in &snapshot.gone {
            self.streams.close_vm(*number);
        }
        self.streams.wanted.keyframe = false;
        snapshot.mapped_by = self.streams.mapped_by();
        pause.copied_bytes = snapshot.memory.len();
        self.heap_bytes = snapshot.vms.iter().map(|(vm, bytes)| (vm.number, *bytes)).collect();
        let time = (start, self.now());
        let heaps = std::thread::spawn(move || (snapshot.heaps(), snapshot.into_arena()));
        self.walk = Some(Walk { heaps, time, pause });
        // What had come through the door without effect belongs behind the keyframe.
        self.backlog.extend(held_hits);
        Ok(true)
    }

    pub(super) fn note_pause(&mut self, pause: &mut Pause, stopped: Duration) {
        let ns = stopped.as_nanos() as u64;
        pause.stopped_ns += ns;
        self.cost.pauses += 1;
        self.cost.paused_ns += ns;
        self.cost.longest_pause_ns = self.cost.longest_pause_ns.max(ns);
    }

    /// Looks for new VMs if there may be any, and copies all heaps. The target stands still.
    pub(super) fn snapshot_frozen(&mut self) -> Result<Snapshot> {
        let mappings = self.target.mappings()?;
        if std::mem::take(&mut self.streams.wanted.vms) {
            self.add_vms(locate::vms(&self.target, &mappings).vms)?;
        }
        let arena = std::mem::take(&mut self.arena);
        Ok(snapshot::take(&self.target, &self.open_vms(), &mappings, arena))
    }

    /// Waits for a walk under way, writes its keyframes, then what came in meanwhile.
    pub(super) fn finish_walk(&mut self) -> Result<()> {
        let Some(walk) = self.walk.take() else { return Ok(()) };
        let Ok((heaps, arena)) = walk.heaps.join() else { bail!("the heap walk failed; this is a defect of ljscope") };
        self.arena = arena;
        // What came in since the stop waits in the backlog. A VM that is closed all the same was closed before it, and
        // where it was may be another one by now.
        let open = heaps.into_iter().filter(|(number, _)| self.streams.is_open(*number)).collect::<Vec<_>>();
        for (number, heap) in open {
            match heap {
                Ok(heap) => self.streams.writer.keyframe(number, walk.time, &Keyframe { heap, pause: walk.pause })?,
                Err(error) => {
                    let reason = format!("no keyframe of VM {number}: {error}");
                    self.streams.writer.gap(number, walk.time, &Gap { reason: reason.clone(), lost: 0 })?;
                    self.missed_keyframes.push(reason);
                    // Try again, but not for ever: a heap that cannot be walked now may never be.
                    self.streams.wanted.keyframe = self.missed_keyframes.len() <= MAX_MISSED;
                }
            }
        }
        // On disk now: should we be killed, this can be used.
        self.streams.writer.flush()?;
        for (thread, now, item) in std::mem::take(&mut self.backlog) {
            self.streams.push(thread, now, item)?;
        }
        Ok(())
    }
}
