//! Windows: the door's probe is open for a while, from a keyframe on where the heap is not too large, then closed again.

use std::time::{Duration, Instant};

use anyhow::Result;
use nix::unistd::Pid;
use shared::Nanos;
use shared::trace::meta::Gap;

use super::Session;
use super::keyframes::Taken;
use crate::clock::{cpu_ns, monotonic_ns};
use crate::freeze::Frozen;
use crate::governor::Window;
use crate::probes::{self, Item};

/// A window that is open.
#[derive(Debug)]
pub(super) struct OpenWindow {
    plan: Window,
    /// The threads with a probe at the door.
    probed: Vec<Pid>,
    /// What the process had used of the processors when it was opened.
    cpu_start: Nanos,
    /// When it was opened.
    since: Instant,
    /// When it was last looked whether other threads ran.
    looked: Instant,
}

/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A window that has been open for so long belongs to a process that makes few calls: it may close some milliseconds late.
const CALM: Duration = Duration::from_secs(1);

impl OpenWindow {
    /// Whether calls come so slowly that other work can be done meanwhile.
    pub(super) fn is_calm(&self) -> bool {
        self.since.elapsed() >= CALM
    }
}

impl Session {
    /// Opens the door's probe and takes the window's keyframe. Hits before it are paid for and otherwise ignored.
    pub(super) fn open_window(&mut self, plan: Window, held: Option<Frozen>) -> Result<()> {
        let probed = self.threads_that_may_call()?;
        let opened = self.open_doors_in_turn(&probed)?;
        // Where the heap is too large, this says so, stops nothing, and the window goes on without.
        let taken = self.keyframe(held)?;
        if !self.is_alive() {
            return Ok(());
        }
        if taken == Taken::Missed {
            if plan.keyframe {
                // It was to be replayed from there, and the target has paid for the attempt: that is enough for now.
                return self.shut_door();
            }
            self.drain()?;
            self.cpu = cpu_ns(self.target.pid).unwrap_or(self.cpu);
            self.streams.open_window(self.now(), false);
        }
        // As of the stop: what the process has used since belongs to the window.
        let cpu_start = self.cpu;
        self.window = Some(OpenWindow { plan, probed, cpu_start, since: Instant::now(), looked: Instant::now() });
        self.pay_hits();
        self.governor.opened(self.now(), self.heap_bytes.values().sum());
        self.progress.update(|figures| figures.windows += 1);
        self.turn_on(opened)
    }

    /// Whether a thread ran that is not probed; looked at now and then.
    pub(super) fn others_ran_of_late(&mut self) -> bool {
        let Some(window) = &mut self.window else { return false };
        if self.threads.len() < 2 || window.looked.elapsed() < LOOK_EVERY {
            return false;
        }
        window.looked = Instant::now();
        let probed = window.probed.clone();
        self.others_ran(&probed)
    }

    /// Ends the window, with a keyframe if it is to prove itself, and closes the door's probe.
    pub(super) fn close_window(&mut self) -> Result<()> {
        let Some(window) = self.window.take() else { return Ok(()) };
        let (mut end, mut cpu) = (monotonic_ns(), cpu_ns(self.target.pid).unwrap_or(self.cpu));
        if window.plan.proof && !self.streams.is_lossy() && self.is_alive() && self.keyframe(None)? == Taken::Yes {
            // The keyframe is the end; a call that stood at the door then is none of the window's.
            (end, cpu) = (self.walk.as_ref().map_or(end, |walk| walk.frozen_at), self.cpu);
            self.backlog.retain(|(_, _, item)| !matches!(item, Item::Door(_)));
        }
        // Before anything else is taken from the rings: a call that is left out must be the last one.
        self.streams.end_window_at(self.streams.time(end));
        // Those behind its end are paid for as well.
        self.drain()?;
        self.turn_off();
        let hits = self.streams.hits_in_window();
        if self.others_ran(&window.probed) && self.threads.len() > 1 {
            let gap = Gap { reason: "a thread ran that was not probed".into(), lost: 0, window: None };
            self.streams.gap(self.streams.time(end), gap)?;
        }
        self.shut_door()?;
        self.end_turn_with_window();
        let used = cpu.saturating_sub(window.cpu_start);
        self.streams.close_window(hits, (window.cpu_start, used))?;
        if self.streams.pen.is_old() {
            self.move_on()?;
        }
        Ok(())
    }

    /// Closes the door's probe on all threads, and passes on what it has left in the rings.
    fn shut_door(&mut self) -> Result<()> {
        self.turn_off();
        let doors = self.threads.iter_mut().filter_map(|thread| thread.probes.take_door());
        probes::close(doors.collect());
        self.drain_all()?;
        self.finish_walk()?;
        self.note_losses()?;
        self.pay_hits();
        self.governor.closed();
        self.start_waiting_census();
        Ok(())
    }
}
