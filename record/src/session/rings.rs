//! The rings of a session: waits for them, empties them, and puts several threads' hits in the order of time.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shared::trace::meta::Gap;

use super::{Entry, Session, monotonic_ns};
use crate::freeze;
use crate::probes::{Item, Role, ThreadProbes};

/// How much may pile up while a heap is walked: 48 bytes an item, so 96 MB.
const MAX_BACKLOG: usize = 2 << 20;
/// How often the rings are looked at when they do not fill.
const TICK: Duration = Duration::from_millis(100);
/// The same while a thread may stop late and must be let go then.
const LATE_TICK: Duration = Duration::from_millis(1);

impl<W: Write> Session<W> {
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
        for (place, (key, thread)) in self.threads.iter_mut().enumerate() {
            let (key, until) = (*key, marks.and_then(|marks| marks.get(place).copied()));
            let (pending, backlog, streams) = (&mut self.pending, &mut self.backlog, &mut self.streams);
            let waiting = self.walk.is_some();
            let mut failed = Ok(());
            let mut pass_on = |item| match (merge, waiting) {
                (true, _) => pending.push((key, at, item)),
                (false, true) => backlog.push((key, at, item)),
                (false, false) => {
                    if failed.is_ok() {
                        failed = streams.push(key, at, item);
                    }
                }
            };
            if at_door.contains(&thread.tid) {
                let mut last = None;
                thread.drain(until, |item| {
                    last.replace(item).into_iter().for_each(&mut pass_on);
                });
                match last {
                    Some(Item::Hit(Role::Door, _)) => held_back.extend(last.map(|hit| (key, at, hit))),
                    // The hit itself was lost: then something is missing behind the keyframe, too.
                    other => {
                        other.into_iter().for_each(&mut pass_on);
                        held_back.push((key, at, Item::Lost(0)));
                    }
                }
            } else {
                thread.drain(until, pass_on);
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
                if let Item::Hit(_, hit) = entry.2 {
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

    /// Sleeps until a ring fills, the target ends or a tick is over. Returns the threads that have ended.
    pub(super) fn wait(&self, process: Option<&OwnedFd>) -> Result<Vec<usize>> {
        let tick = if freeze::release_late().is_some() { LATE_TICK } else { TICK };
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(tick.subsec_nanos()) };
        let rings = self.threads.iter().map(|(_, thread)| PollFd::from_borrowed_fd(thread.fd(), PollFlags::IN));
        let mut fds: Vec<PollFd<'_>> = rings.chain(process.map(|fd| PollFd::new(fd, PollFlags::IN))).collect();
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("poll"),
        }
        let ended = self.threads.iter().zip(&fds).filter(|(_, fd)| fd.revents().contains(PollFlags::HUP));
        Ok(ended.map(|((key, _), _)| *key).collect())
    }

    /// Probes threads that have started.
    pub(super) fn follow_threads(&mut self) -> Result<()> {
        self.streams.wanted.threads = false;
        let Some(plan) = &self.plan else { return Ok(()) };
        let listed = self.target.threads().unwrap_or_default();
        let mut fresh = false;
        for tid in &listed {
            if !self.threads.iter().any(|(_, thread)| thread.tid == *tid)
                && let Ok(thread) = ThreadProbes::open(plan, *tid, listed.len())
            {
                self.threads.push((self.next_key, thread));
                self.next_key += 1;
                fresh = true;
            }
        }
        if fresh {
            let gap = Gap { reason: "a thread started before it was probed".into(), lost: 0 };
            let now = self.now();
            self.streams.gap(now, gap)?;
        }
        Ok(())
    }
}
