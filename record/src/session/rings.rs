//! The rings of a session: waits for them, empties them, and puts several threads' hits in the order of time.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::threads::Thread;
use super::{Entry, Session};
use crate::clock::monotonic_ns;
use crate::control::Control;
use crate::freeze;
use crate::probes::{self, Item};
use crate::stacks::Collector;
use crate::stacks::record::Sampled;
use crate::target::Target;

/// How much may pile up while a heap is walked: 48 bytes an item, so 96 MB.
const MAX_BACKLOG: usize = 2 << 20;
/// How often the rings are looked at when they do not fill.
const TICK: Duration = Duration::from_millis(100);
/// The same while a window is open; when calls come fast, the ring's watermark comes first.
const WINDOW_TICK: Duration = Duration::from_millis(5);
/// The same while a thread may stop late and must be let go then.
const LATE_TICK: Duration = Duration::from_millis(1);

impl Session {
    /// Empties the rings and passes on what is due.
    pub(super) fn drain(&mut self) -> Result<()> {
        self.drain_some(None, &[]).map(drop)
    }

    /// Empties the rings up to the marks, which were taken while the target stood still. The last hit of each thread
    /// that stood at the door has had no effect yet: it is not passed on, but returned.
    pub(super) fn drain_to(&mut self, marks: &[u64], at_door: &[Pid]) -> Result<Vec<Entry>> {
        self.drain_some(Some(marks), at_door)
    }

    fn drain_some(&mut self, marks: Option<&[u64]>, at_door: &[Pid]) -> Result<Vec<Entry>> {
        let mut held_back = Vec::new();
        let now = monotonic_ns();
        let at = self.streams.time(now);
        let merge = self.threads.len() > 1 || !self.pending.is_empty();
        for (place, thread) in self.threads.iter_mut().enumerate() {
            let (key, until) = (thread.key, marks.and_then(|marks| marks.get(place).copied()));
            let Thread { probes: thread, calls, .. } = thread;
            let (pending, backlog, streams) = (&mut self.pending, &mut self.backlog, &mut self.streams);
            let waiting = self.walk.is_some();
            let collector = self.turns.as_mut().and_then(|turns| turns.collector.as_mut());
            let target = &self.target;
            let mut take = take_stacks(collector, target);
            let mut failed = Ok(());
            let mut pass_on = |item| {
                *calls |= matches!(item, Item::Door(_));
                match (merge, waiting) {
                    (true, _) => pending.push((key, at, item)),
                    (false, true) => backlog.push((key, at, item)),
                    (false, false) => {
                        if failed.is_ok() {
                            failed = streams.push(key, at, item);
                        }
                    }
                }
            };
            if at_door.contains(&thread.tid) {
                let mut last = None;
                thread.drain(until, &self.callers, &mut take, |item| {
                    last.replace(item).into_iter().for_each(&mut pass_on);
                });
                match last {
                    Some(Item::Door(_)) => held_back.extend(last.map(|hit| (key, at, hit))),
                    // The hit itself was lost: then something is missing behind the keyframe, too.
                    other => {
                        other.into_iter().for_each(&mut pass_on);
                        held_back.push((key, at, Item::Lost(0)));
                    }
                }
            } else {
                thread.drain(until, &self.callers, &mut take, pass_on);
            }
            failed?;
        }
        if merge {
            self.merge(now, marks.is_some())?;
        }
        if self.backlog.len() > MAX_BACKLOG || self.walk.as_ref().is_some_and(|walk| walk.heaps.is_finished()) {
            self.finish_walk()?;
        }
        Ok(held_back)
    }

    /// Several threads' items in the order of time. What is younger than the last look at the rings waits: an older
    /// item of another thread may not have been there yet. With the target frozen nothing can come.
    pub(super) fn merge(&mut self, now: u64, frozen: bool) -> Result<()> {
        let safe = if frozen { u64::MAX } else { self.safe_until };
        self.safe_until = now;
        let mut time = 0;
        let mut keyed: Vec<(u64, Entry)> = std::mem::take(&mut self.pending)
            .into_iter()
            .map(|entry| {
                // Losses and forks have no time of their own and stay behind the hit before them.
                if let Item::Door(hit) | Item::Map(_, hit, _) = entry.2 {
                    time = hit.time;
                }
                (time, entry)
            })
            .collect();
        keyed.sort_by_key(|(time, _)| *time);
        for (time, entry) in keyed {
            if time > safe {
                self.pending.push(entry);
            } else if self.walk.is_some() {
                self.backlog.push(entry);
            } else {
                self.streams.push(entry.0, entry.1, entry.2)?;
            }
        }
        Ok(())
    }

    /// Empties the rings and passes on everything, with nothing held back: no call can come any more, or none that is
    /// wanted.
    pub(super) fn drain_all(&mut self) -> Result<()> {
        self.drain()?;
        self.safe_until = u64::MAX;
        self.drain()
    }

    /// Hits that the kernel has dropped so far.
    pub(super) fn lost(&self) -> u64 {
        self.threads.iter().map(|thread| thread.probes.lost()).sum()
    }

    /// Takes losses into account that the kernel has not written of yet: it does so only with the next hit. No walk may
    /// be under way: what was lost is missing behind its keyframe.
    pub(super) fn note_losses(&mut self) -> Result<()> {
        let (now, lost) = (self.now(), self.lost());
        Ok(self.streams.kernel_lost(now, lost)?)
    }

    /// Takes what threads that have ended left behind, and closes their probes.
    pub(super) fn drop_threads(&mut self, ended: &[usize]) -> Result<()> {
        if ended.is_empty() {
            return Ok(());
        }
        // Its last records may have come since the rings were emptied.
        self.drain()?;
        for thread in self.threads.extract_if(.., |thread| ended.contains(&thread.key)) {
            let events = thread.probes.into_events();
            // Closing takes the kernel a while, and nobody needs to wait for it.
            std::thread::spawn(move || probes::close(events));
        }
        Ok(())
    }

    /// Sleeps until a ring fills, the target ends, something is due or a tick is over. Returns the threads that have
    /// ended.
    pub(super) fn wait(&self, process: Option<&OwnedFd>, control: &Control) -> Result<Vec<usize>> {
        let tick = match (freeze::release_late(), &self.window) {
            (Some(_), _) => LATE_TICK,
            (None, Some(_)) => WINDOW_TICK,
            (None, None) => TICK,
        };
        let tick = control.until().map_or(tick, |until| tick.min(until.saturating_duration_since(Instant::now())));
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(tick.subsec_nanos()) };
        let rings = self.threads.iter().map(|thread| PollFd::from_borrowed_fd(thread.probes.fd(), PollFlags::IN));
        let mut fds: Vec<PollFd<'_>> = rings.chain(process.map(|fd| PollFd::new(fd, PollFlags::IN))).collect();
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("poll"),
        }
        let ended = self.threads.iter().zip(&fds).filter(|(_, fd)| fd.revents().contains(PollFlags::HUP));
        Ok(ended.map(|(thread, _)| thread.key).collect())
    }
}

/// Makes numbers of stacks; where none are to be taken, none come.
fn take_stacks<'a>(
    mut collector: Option<&'a mut Collector>,
    target: &'a Target,
) -> impl FnMut(&Sampled<'_>) -> u32 + use<'a> {
    move |sampled| collector.as_mut().map_or(0, |collector| collector.take(target, sampled))
}
