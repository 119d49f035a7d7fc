//! One process being recorded, from attaching to its part's end. Each session has a thread of its own: the kernel lets
//! only the thread that stopped a process let it go.

mod breakdowns;
mod censuses;
mod keyframes;
mod rings;
mod run;
mod threads;
mod turns;
mod vms;
mod windows;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::unistd::Pid;
use shared::Nanos;
use shared::trace::keyframe::Pause;
use shared::trace::meta::{Cost, Missed, Probe, Process};

use crate::census::Wanted;
use crate::clock::{cpu_ns, monotonic_ns};
use crate::control::Stopped;
use crate::door::Door;
use crate::governor::{Governor, Limits};
use crate::probes::{Callers, Item, Plan, RingSizes};
use crate::progress::Progress;
use crate::recording::Pen;
use crate::stacks::Sampling;
use crate::stream::Streams;
use crate::target::Target;
use breakdowns::Breakdowns;
use censuses::Censuses;
use keyframes::Walk;
use threads::Thread;
use turns::Turns;
use vms::SessionVm;
use windows::OpenWindow;

/// How to record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// One exact heap snapshot, no probe.
    Snapshot,
    /// Windows within a budget.
    Sample,
    /// Every call, with a keyframe every so often.
    Full {
        /// The time between two keyframes.
        keyframe_every: Duration,
    },
}

/// What a session must know beside its process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// How to record.
    pub mode: Mode,
    /// What the user allows.
    pub limits: Limits,
    /// What a hit costs the process, and how far the measurements lie apart.
    pub hit_ns: (u64, u64),
    /// The time between two looks at where its memory goes.
    pub breakdown_every: Duration,
    /// How often stacks are taken; none if they are not to be.
    pub stacks: Option<Sampling>,
    /// Whether the trace gets the names of functions' places.
    pub names: bool,
}

/// A thread's number, about when its ring was emptied, and what was in it.
type Entry = (usize, Nanos, Item);

/// A process being recorded.
#[derive(Debug)]
pub struct Session {
    target: Target,
    about: Process,
    door: Door,
    settings: Settings,
    /// None in a snapshot.
    plan: Option<Plan>,
    callers: Callers,
    threads: Vec<Thread>,
    /// How often each thread had been given a processor when last asked.
    runs: BTreeMap<Pid, u64>,
    streams: Streams,
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
    governor: Governor,
    breakdowns: Breakdowns,
    censuses: Censuses,
    /// Whether and when stacks are taken; none if they are not to be.
    turns: Option<Turns>,
    window: Option<OpenWindow>,
    next_keyframe: Instant,
    /// Hits that the governor was told of.
    paid_hits: u64,
    /// The process's processor time when it was last looked at.
    cpu: Nanos,
    cost: Cost,
    progress: Arc<Progress>,
}

impl Session {
    /// A session on a target whose door is known; nothing is done to the target yet.
    pub fn new(
        target: Target,
        about: Process,
        door: Door,
        settings: Settings,
        pen: Pen,
        progress: Arc<Progress>,
    ) -> Result<Self> {
        let pid = target.pid.as_raw() as u32;
        let sizes = match settings.mode {
            Mode::Snapshot => None,
            Mode::Sample => Some(RingSizes::WINDOWS),
            Mode::Full { .. } => Some(RingSizes::FULL),
        };
        let limits = match settings.mode {
            Mode::Sample => settings.limits,
            _ => Limits { share: 1.0, ..settings.limits },
        };
        let now = pen.recording().now();
        let cpu = cpu_ns(target.pid).unwrap_or_default();
        Ok(Session {
            plan: sizes.map(|sizes| Plan::new(&door, sizes)).transpose()?,
            callers: Callers { code: door.allocator().to_vec(), mstates: Vec::new() },
            streams: Streams::new(pen, pid),
            governor: Governor::new(limits, settings.hit_ns.0, now, now ^ u64::from(pid) << 32),
            breakdowns: Breakdowns::new(settings.breakdown_every),
            turns: settings.stacks.map(|sampling| Turns::new(sampling, now ^ u64::from(pid) << 16)),
            censuses: Censuses::with(Wanted { names: settings.names, code: settings.stacks.is_some() }),
            about: Process { cpu_start_ns: cpu, ..about },
            target,
            door,
            settings,
            vms: Vec::new(),
            walk: None,
            backlog: Vec::new(),
            pending: Vec::new(),
            safe_until: 0,
            next_key: 0,
            threads: Vec::new(),
            runs: BTreeMap::new(),
            started: Instant::now(),
            heap_bytes: BTreeMap::new(),
            arena: Vec::new(),
            window: None,
            next_keyframe: Instant::now(),
            paid_hits: 0,
            cpu,
            cost: Cost { hit_ns: settings.hit_ns.0, hit_spread_ns: settings.hit_ns.1, ..Cost::default() },
            progress,
        })
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

    /// Whether the process is still there, and still the same program.
    pub fn is_alive(&self) -> bool {
        !self.streams.replaced && self.target.is_alive()
    }

    /// Why the process is not there any more.
    fn gone(&self) -> Stopped {
        if self.streams.replaced { Stopped::Replaced } else { Stopped::TargetEnded }
    }

    /// What it has cost the process so far.
    fn cost_now(&self) -> Cost {
        let elapsed_ns = self.started.elapsed().as_nanos() as u64;
        let cost = Cost { elapsed_ns, hits: self.streams.hits, ..self.cost };
        // The ledger has each hit at the price known then; a better one must not make the worst less than the average.
        let spent = u128::from(cost.hits * cost.hit_ns + cost.paused_ns);
        let average_ppm = (spent * 1_000_000 / u128::from(elapsed_ns.max(1))) as u64;
        Cost { worst_minute_ppm: self.governor.ledger().worst_minute_ppm(elapsed_ns).max(average_ppm), ..cost }
    }

    fn report_progress(&self) {
        let vms = self.vms.len() as u64;
        self.progress.update(|figures| {
            figures.cost = self.cost_now();
            figures.calls = self.streams.calls;
            figures.lost = self.streams.missing;
            figures.unattributed = self.streams.unattributed;
            figures.vms = vms;
            figures.in_window = self.window.is_some();
        });
    }

    /// Writes what the process is; at the end also why its part ended, and what that cost.
    fn write_process(&mut self, ended: Option<String>) -> Result<()> {
        let mut process = self.about.clone();
        if let Some(ended) = ended {
            process = Process { ended, cpu_end_ns: self.cpu, cost: self.cost_now(), ..process };
        }
        let now = self.now();
        Ok(self.streams.pen.write(true, |writer| writer.process(now, &process))?)
    }

    /// Goes over to the current part.
    fn move_on(&mut self) -> Result<()> {
        self.hold_stacks();
        self.write_stacks()?;
        self.streams.flush()?;
        self.write_process(Some("goes on in the next part".into()))?;
        self.streams.move_on()?;
        self.write_process(None)?;
        let now = self.now();
        for (number, vm) in self.vms().into_iter().filter(|(number, _)| self.streams.is_open(*number)) {
            self.streams.write_vm(now, number, vm)?;
        }
        Ok(())
    }

    /// Notes a keyframe that could not be taken, and what trying cost.
    fn miss(&mut self, since: Nanos, reason: String, pause: &Pause) -> Result<()> {
        self.progress.update(|figures| figures.missed.add(reason.clone()));
        self.write_missed(since, reason, pause)
    }

    fn write_missed(&self, since: Nanos, reason: String, pause: &Pause) -> Result<()> {
        let pid = self.target.pid.as_raw() as u32;
        let missed = Missed { pid, reason, stopped_ns: pause.stopped_ns, stops: pause.stops };
        let now = self.now();
        self.streams.pen.write(true, |writer| writer.missed((since, now), &missed)).context("the trace")
    }
}
