//! A recording from attaching to the trailer.

mod keyframes;
mod rings;
mod vms;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::unistd::Pid;
use shared::Nanos;
use shared::trace::meta::{Cost, Probe, Trailer};
use shared::trace::writer::Writer;

use crate::door::Door;
use crate::freeze;
use crate::probes::{self, Item, Plan, ThreadProbes};
use crate::stream::Streams;
use crate::target::Target;
use keyframes::Walk;
use vms::SessionVm;

/// `CLOCK_MONOTONIC` in nanoseconds: the clock of the trace.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Why [`Session::run`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// A signal asked for it.
    Asked,
    /// The time was up.
    Duration,
    /// The target is no more.
    TargetEnded,
    /// One snapshot was all there was to do.
    Snapshot,
}

impl Stopped {
    /// The words in the trace and the summary.
    pub fn reason(self) -> &'static str {
        match self {
            Stopped::Asked => "asked to stop",
            Stopped::Duration => "the time was up",
            Stopped::TargetEnded => "the target ended",
            Stopped::Snapshot => "the snapshot is taken",
        }
    }
}

/// A thread's number, about when its ring was emptied, and what was in it.
type Entry = (usize, Nanos, Item);

/// A process being recorded.
#[derive(Debug)]
pub struct Session<W> {
    target: Target,
    door: Door,
    plan: Option<Plan>,
    /// Each with a number that is never used again.
    threads: Vec<(usize, ThreadProbes)>,
    streams: Streams<W>,
    vms: Vec<SessionVm>,
    walk: Option<Walk>,
    /// What came in while a walk is under way.
    backlog: Vec<Entry>,
    /// What may be younger than something another thread's ring is yet to show.
    pending: Vec<Entry>,
    safe_until: u64,
    next_key: usize,
    started: Instant,
    heap_bytes: BTreeMap<u32, u64>,
    /// Memory for the copy of the heaps, kept from one keyframe to the next.
    arena: Vec<u8>,
    /// What it cost so far.
    pub cost: Cost,
    /// Why keyframes that should have been taken were not.
    missed_keyframes: Vec<String>,
}

/// The probes of a process, opened before the first byte of the trace is written.
#[derive(Debug)]
pub struct Armed {
    plan: Plan,
    threads: Vec<ThreadProbes>,
}

impl Armed {
    /// Opens the door's probes on every thread of the target.
    pub fn open(target: &Target, door: &Door) -> Result<Armed> {
        let plan = Plan::new(door)?;
        let tids = target.threads().context("the process has ended")?;
        let open = |tid: &Pid| ThreadProbes::open(&plan, *tid, tids.len()).map_err(|error| (*tid, error));
        let threads = tids
            .iter()
            .map(open)
            // A thread may end between being listed and being probed.
            .filter(|opened| !matches!(opened, Err((_, e)) if e.raw_os_error() == Some(nix::libc::ESRCH)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|(tid, error)| crate::privilege::explain_perf(tid, &error))?;
        Ok(Armed { plan, threads })
    }
}

impl<W: Write> Session<W> {
    /// A session on a target whose door is known. `armed` is absent in a snapshot.
    pub fn new(target: Target, door: Door, armed: Option<Armed>, writer: Writer<W>, base: u64) -> Self {
        let pid = target.pid.as_raw() as u32;
        let (plan, threads) = match armed {
            Some(Armed { plan, threads }) => (Some(plan), threads),
            None => (None, Vec::new()),
        };
        Session {
            streams: Streams::new(writer, base, pid),
            target,
            door,
            plan,
            vms: Vec::new(),
            walk: None,
            backlog: Vec::new(),
            pending: Vec::new(),
            safe_until: 0,
            next_key: threads.len(),
            threads: threads.into_iter().enumerate().collect(),
            started: Instant::now(),
            heap_bytes: BTreeMap::new(),
            arena: Vec::new(),
            cost: Cost::default(),
            missed_keyframes: Vec::new(),
        }
    }

    fn now(&self) -> Nanos {
        self.streams.time(monotonic_ns())
    }

    /// The file of `lj_alloc_f` as the target names it, the function's address in it, and what symbols say to that.
    pub fn door(&self) -> (&Path, u64, Option<bool>) {
        (&self.door.module.name, self.door.addr, self.door.confirmed)
    }

    /// The probe in use.
    pub fn probe(&self) -> &Probe {
        &self.door.probe
    }

    /// Records until asked to stop, the time is up, or the target ends.
    pub fn run(&mut self, stop: &AtomicBool, until: Option<Instant>, keyframe_every: Duration) -> Result<Stopped> {
        let pidfd = rustix::process::Pid::from_raw(self.target.pid.as_raw())
            .and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
        let mut next_keyframe = Instant::now() + keyframe_every;
        loop {
            let ended = self.wait(pidfd.as_ref())?;
            self.drain()?;
            for (_, thread) in self.threads.extract_if(.., |(key, _)| ended.contains(key)) {
                let events = thread.into_events();
                std::thread::spawn(|| probes::close(events));
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(Stopped::Asked);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Stopped::Duration);
            }
            if !self.target.is_alive() {
                self.drain()?;
                return Ok(Stopped::TargetEnded);
            }
            if self.streams.wanted.threads {
                self.follow_threads()?;
            }
            self.name_vms()?;
            let wanted = self.streams.wanted.keyframe || self.streams.wanted.vms;
            if wanted && self.walk.is_none() || Instant::now() >= next_keyframe {
                next_keyframe = Instant::now() + keyframe_every;
                if !self.keyframe(None)? {
                    return Ok(Stopped::TargetEnded);
                }
            }
        }
    }

    /// Takes what is left in the rings and closes the probes: from here on the target is as it was.
    pub fn close(&mut self) -> Result<()> {
        self.drain()?;
        self.safe_until = u64::MAX;
        self.drain()?;
        self.finish_walk()?;
        freeze::release_late();
        probes::close(self.threads.drain(..).flat_map(|(_, thread)| thread.into_events()).collect());
        self.cost.elapsed_ns = self.started.elapsed().as_nanos() as u64;
        self.cost.recorder_cpu_ns = cpu_ns();
        Ok(())
    }

    /// Ends the trace of a closed session. Returns the totals it ends with, the bytes written, and why keyframes are
    /// missing.
    pub fn finish(self, stopped: Stopped, target_status: Option<String>) -> Result<(Trailer, u64, Vec<String>)> {
        let trailer = Trailer {
            reason: stopped.reason().to_owned(),
            target_ended: stopped == Stopped::TargetEnded,
            target_status,
            calls: self.streams.writer.calls(),
            lost: self.streams.lost,
            unattributed: self.streams.unattributed,
            cost: self.cost,
            ..Trailer::default()
        };
        let now = self.now();
        let bytes = self.streams.writer.finish(now, trailer.clone())?;
        Ok((trailer, bytes, self.missed_keyframes))
    }
}

/// Our own processor time so far, user and system.
fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
