//! The course of a session: its begin, its loop, its end.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Mode, Session};
use crate::clock::cpu_ns;
use crate::control::{Control, Stopped};
use crate::freeze::{self, Frozen};
use crate::governor::Next;
use crate::{probes, snapshot};

impl Session {
    /// Takes what the session begins with: its probes, then a first keyframe or window. `held` is a stop the process is
    /// already in. `false` if it has ended.
    pub fn begin(&mut self, held: Option<Frozen>) -> Result<bool> {
        if self.plan.is_some() {
            self.open_probes()?;
        }
        // Behind the probes: what is mapped from here on is seen.
        self.streams.wanted.direct = true;
        if self.plan.is_some() && held.is_none() {
            self.get_ready()?;
            self.breakdown()?;
        }
        match self.settings.mode {
            Mode::Sample => self.window_if_due(held)?,
            Mode::Full { keyframe_every } => {
                self.open_doors(|_| true)?;
                self.keyframe(held)?;
                self.next_keyframe = Instant::now() + keyframe_every;
            }
            Mode::Snapshot => {
                self.keyframe(held)?;
            }
        }
        self.report_progress();
        Ok(self.is_alive())
    }

    /// Records until asked to stop or the target ends.
    pub fn run(&mut self, control: &Control) -> Result<Stopped> {
        let pidfd = rustix::process::Pid::from_raw(self.target.pid.as_raw())
            .and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
        loop {
            let ended = self.wait(pidfd.as_ref(), control)?;
            self.drain()?;
            self.drop_threads(&ended)?;
            self.pay_hits();
            self.cpu = cpu_ns(self.target.pid).unwrap_or(self.cpu);
            self.report_progress();
            if let Some(stopped) = control.stopped() {
                return Ok(stopped);
            }
            if !self.is_alive() {
                self.drain()?;
                return Ok(self.gone());
            }
            if self.streams.wanted.threads {
                self.follow_threads()?;
            }
            self.name_vms()?;
            self.census_if_done()?;
            if self.settings.mode != Mode::Snapshot {
                self.breakdown_if_due()?;
            }
            match self.settings.mode {
                Mode::Snapshot => return Ok(Stopped::Snapshot),
                Mode::Sample => {
                    self.mind_window()?;
                    self.settle_turn()?;
                }
                Mode::Full { keyframe_every } => {
                    self.mind_keyframes(keyframe_every)?;
                    self.mind_turns()?;
                }
            }
        }
    }

    /// Mode `full`: a keyframe by the clock, where calls are missing, where a VM was born, and for a new part.
    fn mind_keyframes(&mut self, every: Duration) -> Result<()> {
        let wanted = self.streams.wanted.keyframe || self.streams.wanted.vms || self.streams.pen.is_old();
        if wanted && self.walk.is_none() || Instant::now() >= self.next_keyframe {
            self.next_keyframe = Instant::now() + every;
            self.keyframe(None)?;
        }
        Ok(())
    }

    /// Mode `sample`: opens and closes windows as the governor says.
    fn mind_window(&mut self) -> Result<()> {
        let now = self.now();
        if self.window.is_none() {
            return self.window_if_due(None);
        }
        // Where a thread ran that is not probed, the next window has it.
        if self.streams.is_lossy() || !self.governor.keeps(now) || self.others_ran_of_late() {
            return self.close_window();
        }
        Ok(())
    }

    fn window_if_due(&mut self, held: Option<Frozen>) -> Result<()> {
        if self.now() < self.governor.due() {
            return Ok(());
        }
        let heap_bytes = snapshot::heap_bytes(&self.target, &self.open_vms());
        match self.governor.next(self.now(), heap_bytes) {
            Next::Window(window) => self.open_window(window, held),
            Next::At(_) => Ok(()),
        }
    }

    /// Tells the governor of hits it does not know of, at the price that is known by now.
    pub(super) fn pay_hits(&mut self) {
        if let Some((ns, spread)) = self.streams.price.measured() {
            let ns = ns + self.settings.stacks.map_or(0, |stacks| stacks.stacks_ns());
            (self.cost.hit_ns, self.cost.hit_spread_ns) = (ns, spread);
            self.governor.set_price(ns);
        }
        let hits = self.streams.hits - self.paid_hits;
        self.paid_hits = self.streams.hits;
        self.governor.hits(self.now(), hits);
    }

    /// Takes the last keyframe if that can be, what is left in the rings, and closes the probes: from here on the target
    /// is as it was. The end of the process's part is written.
    pub fn close(&mut self, stopped: Stopped) -> Result<()> {
        self.drain()?;
        let mut alive = stopped != Stopped::TargetEnded && self.is_alive();
        match self.settings.mode {
            Mode::Snapshot => {}
            Mode::Full { .. } => self.last_look(&mut alive)?,
            Mode::Sample => {
                self.close_window()?;
                self.last_look(&mut alive)?;
            }
        }
        self.drain_all()?;
        self.finish_walk()?;
        self.note_losses()?;
        if alive && self.settings.mode == Mode::Snapshot {
            self.finish_census()?;
            self.breakdown()?;
        }
        self.turn_off();
        self.hold_stacks();
        freeze::release_late();
        probes::close(self.threads.drain(..).flat_map(|thread| thread.probes.into_events()).collect());
        self.finish_census()?;
        self.write_stacks()?;
        self.pay_hits();
        self.streams.flush()?;
        self.cpu = cpu_ns(self.target.pid).unwrap_or(self.cpu);
        let ended = if alive { stopped } else { self.gone() }.reason().to_owned();
        self.write_process(Some(ended))?;
        self.report_progress();
        Ok(())
    }

    /// The end's breakdown, and its keyframe if there is budget and room for one: that comes last, so that calls lead up to
    /// it.
    fn last_look(&mut self, alive: &mut bool) -> Result<()> {
        if *alive {
            self.finish_walk()?;
            self.breakdown()?;
            *alive = self.is_alive();
        }
        let bytes = snapshot::heap_bytes(&self.target, &self.open_vms());
        let afforded = *alive && self.governor.affords_keyframe(self.now(), bytes);
        if afforded && self.streams.has_room_for_keyframe() {
            self.censuses.wanted = true;
            self.keyframe(None)?;
            *alive = self.is_alive();
        }
        Ok(())
    }
}
