//! Keyframes: stop the process at a moment that can be told exactly, copy, let go, then walk the copy beside the
//! recording.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytesize::ByteSize;
use nix::unistd::Pid;
use shared::heap::Heap;
use shared::heap::walk::WalkError;
use shared::trace::keyframe::{Keyframe, Pause};
use shared::trace::meta::Gap;
use shared::{Addr, Nanos};

use super::{Mode, Session};
use crate::clock::{cpu_ns, monotonic_ns};
use crate::door::Place;
use crate::freeze::{FreezeError, Frozen};
use crate::priority;
use crate::privilege;
use crate::snapshot::{self, Snapshot};

/// How often a stop may find a thread inside the allocator before the keyframe is given up.
const MAX_STOPS: u64 = 300;
/// Pages that are looked through for direct blocks until the rings are emptied: some 25 ms, in which a ring of 8 MB does
/// not fill.
const LOOKED_THROUGH: usize = 1 << 16;
/// After how many missed keyframes only those due by the clock are tried.
const MAX_MISSED: u64 = 8;

/// A walk under way, and what its keyframes will say beside the heap.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) heaps: JoinHandle<(Heaps, Snapshot)>,
    time: (Nanos, Nanos),
    /// `CLOCK_MONOTONIC` while the process stood still.
    pub(super) frozen_at: u64,
    pause: Pause,
}

/// Each VM's heap, or why it is none.
pub(super) type Heaps = Vec<(u32, Result<Heap, WalkError>)>;

/// What became of a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// The heaps are copied.
    Yes,
    /// They are not, and the trace says why.
    Missed,
}

/// What a stop came to.
enum Stop {
    Copied {
        snapshot: Box<Snapshot>,
        frozen_at: u64,
        held: Vec<super::Entry>,
    },
    /// A thread was inside the allocator.
    Inside,
    TooSlow,
    /// Another program runs in the process.
    Replaced,
}

impl Session {
    /// Takes keyframes of all VMs, those not seen before included. `held` is a stop the target is already in. If the
    /// target ends meanwhile that is seen elsewhere.
    pub(super) fn keyframe(&mut self, mut held: Option<Frozen>) -> Result<Taken> {
        self.finish_walk()?;
        self.stop_census()?;
        if !self.streams.has_room_for_keyframe() {
            // Where there is none for the next keyframe, there is an end to the recording.
            self.streams.pen.fill();
            return Ok(Taken::Missed);
        }
        self.note_losses()?;
        self.get_ready()?;
        let heap_bytes = snapshot::heap_bytes(&self.target, &self.open_vms());
        let start = self.now();
        let mut pause = Pause::default();
        if !self.governor.fits(heap_bytes) {
            let needed = Duration::from_nanos(self.governor.expected_pause(heap_bytes));
            let allowed = Duration::from_nanos(self.settings.limits.max_pause);
            let reason = format!(
                "a heap of {} would stop the process for about {needed:.1?}, longer than --max-pause {allowed:?}",
                ByteSize(heap_bytes)
            );
            if let Some(held) = held {
                self.note_pause(&mut pause, held.release());
            }
            return self.give_up(start, reason, &pause);
        }
        snapshot::prepare(heap_bytes, &mut self.arena);
        let max_pause = Duration::from_nanos(self.settings.limits.max_pause);
        loop {
            let stopping = Instant::now();
            let was_held = held.is_some();
            let frozen = match held.take().map_or_else(|| Frozen::stop(self.target.pid, max_pause), Ok) {
                Ok(frozen) => frozen,
                Err(FreezeError::Ended) => return self.leave_off(start, &pause),
                Err(error) => {
                    self.note_pause(&mut pause, stopping.elapsed());
                    // Without the right to stop it nothing is known of the process; else it goes on without this one.
                    let refused = matches!(error, FreezeError::Refused { .. });
                    let error = privilege::explain_ptrace(self.target.pid, error);
                    if refused && self.heap_bytes.is_empty() {
                        return Err(error);
                    }
                    return self.give_up(start, error.to_string(), &pause);
                }
            };
            pause.stops += 1;
            // A tenth is for the pieces under way and for letting go.
            match self.copy(frozen, was_held, stopping + max_pause.mul_f64(0.9), start, &mut pause)? {
                Stop::Copied { snapshot, frozen_at, held } => {
                    self.start_walk(*snapshot, (start, frozen_at), pause);
                    // What had come through the door without effect belongs behind the keyframe.
                    self.backlog.extend(held);
                    return Ok(Taken::Yes);
                }
                Stop::TooSlow => {
                    let reason = format!("{} could not be copied within {max_pause:?}", ByteSize(heap_bytes));
                    return self.give_up(start, reason, &pause);
                }
                Stop::Inside if self.streams.replaced => return self.leave_off(start, &pause),
                Stop::Replaced => return self.leave_off(start, &pause),
                Stop::Inside => self.get_ready()?,
            }
            if pause.stops >= MAX_STOPS || pause.stopped_ns > 2 * self.settings.limits.max_pause {
                let reason =
                    format!("in each of {} stops a thread was inside the allocator, or hits were lost", pause.stops);
                return self.give_up(start, reason, &pause);
            }
            // Not a multiple of anything the target does, and ever longer: its threads must get to run in between.
            std::thread::sleep(Duration::from_micros(50 + pause.stops * 37 % 150 + 10 * pause.stops));
        }
    }

    fn give_up(&mut self, start: Nanos, reason: String, pause: &Pause) -> Result<Taken> {
        self.streams.wanted.keyframe = false;
        self.miss(start, reason, pause)?;
        Ok(Taken::Missed)
    }

    /// The target is gone: no keyframe is missed, but what trying has cost is told all the same.
    fn leave_off(&mut self, start: Nanos, pause: &Pause) -> Result<Taken> {
        if pause.stopped_ns > 0 {
            self.write_missed(start, self.gone().reason().to_owned(), pause)?;
        }
        Ok(Taken::Missed)
    }

    /// Looks for what may have come into being, while the process runs: that can take long.
    pub(super) fn get_ready(&mut self) -> Result<()> {
        if std::mem::take(&mut self.streams.wanted.vms) {
            self.look_for_vms()?;
        }
        if std::mem::take(&mut self.streams.wanted.direct) {
            let mappings = self.target.mappings().unwrap_or_default();
            for pages in snapshot::data_pages(&mappings).chunks(LOOKED_THROUGH) {
                self.streams.add_mapped(snapshot::maybe_direct(&self.target, pages));
                self.drain()?;
            }
        }
        Ok(())
    }

    /// In a stop: copies the heaps if they are in order, and lets the process go. The place of the keyframe among the hits
    /// is exact: what is in the rings now happened before; what comes later, behind.
    fn copy(
        &mut self,
        frozen: Frozen,
        was_held: bool,
        deadline: Instant,
        start: Nanos,
        pause: &mut Pause,
    ) -> Result<Stop> {
        let Some(positions) = frozen.positions() else {
            self.note_pause(pause, frozen.release());
            return Ok(Stop::Inside);
        };
        let places: Vec<_> = positions.into_iter().map(|(tid, ip, top)| (tid, self.door.place(ip, top))).collect();
        let probed = |tid| self.threads.iter().find(|thread| thread.probes.tid == tid && thread.probes.has_door());
        let in_order = |(tid, place): &(Pid, Place)| match (place, probed(*tid)) {
            (Place::Outside, _) | (Place::AtDoor, None) => true,
            // In a stop that began before the probes were opened, the thread came through the door unseen. A thread
            // that lost its processor at the door may have had its hit passed on since.
            (Place::AtDoor, Some(thread)) => !was_held && !thread.probes.is_drained(),
            (Place::Inside, _) => false,
        };
        let in_order = places.iter().all(in_order);
        let at_door = places.iter().filter(|(tid, place)| *place == Place::AtDoor && probed(*tid).is_some());
        let at_door: Vec<Pid> = at_door.map(|(tid, _)| *tid).collect();
        let lost = self.lost();
        // Where hits were lost since the rings were looked at, the last one there is may be any, not the one at the door;
        // and what was mapped may be anywhere.
        if !in_order || lost > self.streams.lost {
            self.note_pause(pause, frozen.release());
            // It may take many stops; a ring that fills up meanwhile would lose hits. But a thread that waits for its
            // processor at the door must keep its hit in the ring, or it is in the way until it has run again.
            if lost > self.streams.lost || pause.stops.is_multiple_of(16) {
                self.drain()?;
                self.streams.kernel_lost(start, lost)?;
            }
            return Ok(Stop::Inside);
        }
        let (copying, frozen_at) = (Instant::now(), monotonic_ns());
        self.cpu = cpu_ns(self.target.pid).unwrap_or(self.cpu);
        let maybe_direct = self.maybe_direct()?;
        let arena = std::mem::take(&mut self.arena);
        let taken = snapshot::take(&self.target, &self.open_vms(), &maybe_direct, arena, deadline);
        let copied = copying.elapsed();
        let marks: Vec<u64> = self.threads.iter().map(|thread| thread.probes.position()).collect();
        let stopped = frozen.release();
        self.note_pause(pause, stopped);
        let mut snapshot = match taken {
            Ok(snapshot) => snapshot,
            Err((snapshot::TooSlow, arena)) => {
                self.arena = arena;
                self.learn_pause(stopped, copied, self.arena.len() as u64);
                return Ok(Stop::TooSlow);
            }
        };
        self.learn_pause(stopped, copied, snapshot.memory.len());
        let held = self.drain_to(&marks, &at_door)?;
        self.streams.kernel_lost(start, lost)?;
        if self.streams.replaced {
            // What was copied is another program's.
            self.arena = snapshot.into_arena();
            return Ok(Stop::Replaced);
        }
        snapshot.mapped_for.clone_from(self.streams.mapped_for());
        if !self.streams.has_window() {
            self.streams.open_window(self.now(), true);
        }
        Ok(Stop::Copied { snapshot: Box::new(snapshot), frozen_at, held })
    }

    pub(super) fn learn_pause(&mut self, stopped: Duration, copied: Duration, bytes: u64) {
        let stop = stopped.saturating_sub(copied);
        self.governor.learn_pause(stop.as_nanos() as u64, copied.as_nanos() as u64, bytes);
    }

    /// Where direct blocks may be, exactly: what was found before, and what was mapped since, up to this stop. In a
    /// snapshot nothing is followed, so that all has to be looked through now.
    fn maybe_direct(&mut self) -> Result<BTreeSet<Addr>> {
        if self.plan.is_none() {
            return Ok(snapshot::maybe_direct(&self.target, &snapshot::data_pages(&self.target.mappings()?)));
        }
        let mut all: BTreeSet<Addr> = self.streams.mapped_for().keys().copied().collect();
        for entry in self.pending.iter().chain(&self.backlog) {
            if let crate::probes::Item::Map(_, hit, _) = entry.2 {
                all.insert(hit.registers.ax);
            }
        }
        for thread in &mut self.threads {
            all.extend(thread.probes.peek_mapped());
        }
        Ok(all)
    }

    fn start_walk(&mut self, snapshot: Snapshot, (start, frozen_at): (Nanos, u64), mut pause: Pause) {
        for number in &snapshot.gone {
            self.streams.close_vm(*number);
        }
        self.callers.mstates = self.streams.mstates();
        self.streams.wanted.keyframe = false;
        pause.copied_bytes = snapshot.memory.len();
        self.heap_bytes = snapshot.vms.iter().map(|(vm, bytes)| (vm.number, *bytes)).collect();
        let time = (start, self.now());
        let heaps = std::thread::spawn(move || {
            priority::lower();
            (snapshot.heaps(), snapshot)
        });
        self.walk = Some(Walk { heaps, time, frozen_at, pause });
    }

    fn note_pause(&mut self, pause: &mut Pause, stopped: Duration) {
        pause.stopped_ns += stopped.as_nanos() as u64;
        self.note_stop(stopped);
    }

    /// Counts a stop.
    pub(super) fn note_stop(&mut self, stopped: Duration) {
        let ns = stopped.as_nanos() as u64;
        self.cost.pauses += 1;
        self.cost.paused_ns += ns;
        self.cost.longest_pause_ns = self.cost.longest_pause_ns.max(ns);
        self.governor.paused(self.now(), ns);
    }

    /// Waits for a walk under way, writes its keyframes, then what came in meanwhile.
    pub(super) fn finish_walk(&mut self) -> Result<()> {
        let Some(walk) = self.walk.take() else { return Ok(()) };
        let Ok((heaps, snapshot)) = walk.heaps.join() else {
            bail!("the heap walk failed; this is a defect of ljscope")
        };
        let heaps = Arc::new(heaps);
        self.start_census(snapshot, &heaps, walk.time);
        // What came in since the stop waits in the backlog. A VM that is closed all the same was closed before it, and
        // where it was may be another one by now.
        let heaps = Arc::try_unwrap(heaps).unwrap_or_else(|heaps| Heaps::clone(&heaps));
        let open = heaps.into_iter().filter(|(number, _)| self.streams.is_open(*number));
        let mut keyframes = Vec::new();
        for (number, heap) in open.collect::<Vec<_>>() {
            match heap {
                Ok(mut heap) => {
                    self.breakdowns.learn(number, walk.time.1, &heap);
                    heap.shift(self.streams.shift(number));
                    let keyframe = Keyframe { heap, pause: walk.pause };
                    self.streams.keyframe(number, walk.time, &keyframe)?;
                    keyframes.push((number, keyframe));
                }
                Err(error) => {
                    let reason = format!("no keyframe of VM {number}: {error}");
                    let gap = Gap { reason: reason.clone(), lost: 0, window: None };
                    self.streams.pen.write(true, |writer| writer.gap(number, walk.time, &gap))?;
                    let missed = self.progress.figures().missed.all;
                    self.progress.update(|figures| figures.missed.add(reason));
                    // Try again, but not for ever: a heap that cannot be walked now may never be.
                    self.streams.wanted.keyframe = missed < MAX_MISSED;
                }
            }
        }
        if keyframes.is_empty() {
            // Each reason is told already; what trying has cost is not.
            self.write_missed(walk.time.0, "nothing that was copied is a heap".to_owned(), &walk.pause)?;
        }
        // A keyframe is where a stream of all calls goes over to a new part; it stands in both.
        if matches!(self.settings.mode, Mode::Full { .. }) && self.streams.pen.is_old() {
            self.move_on()?;
            for (number, keyframe) in &keyframes {
                self.streams.keyframe(*number, walk.time, keyframe)?;
            }
        }
        // On disk now: should we be killed, this can be used.
        self.streams.flush()?;
        for (thread, now, item) in std::mem::take(&mut self.backlog) {
            self.streams.push(thread, now, item)?;
        }
        Ok(())
    }
}
