//! The open probes of a process: on each thread one at the door and one behind each mapping call, into one ring.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::unistd::Pid;

use crate::door::{Door, uprobe_pmu};
use crate::hits::{Hit, Record};
use crate::site::MapSyscall;
use crate::sys::{Counts, PerfEvent, ProbeSpec, Ring};

/// All rings together take no more than this ...
const RINGS_TOTAL: usize = 64 << 20;
/// ... one no more than this (116,000 hits, a tenth of a second at a million a second) ...
const RING_MAX: usize = 8 << 20;
/// ... and none less than this.
const RING_MIN: usize = 256 << 10;
const PAGE: usize = 4096;

/// What a hit means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A call at the allocator's door.
    Door,
    /// The return of a mapping call.
    Map(MapSyscall),
}

/// What comes out of a thread's ring, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A hit.
    Hit(Role, Hit),
    /// So many hits are missing here.
    Lost(u64),
    /// A thread or process was started.
    Fork {
        /// The process it belongs to.
        pid: u32,
        /// Itself.
        tid: u32,
    },
}

/// What to open on each thread.
#[derive(Debug)]
pub struct Plan {
    /// The mapping calls first: the first one owns the ring, and outlives the door's probe.
    specs: Vec<(Role, ProbeSpec)>,
}

impl Plan {
    /// The probes of a door.
    pub fn new(door: &Door) -> Result<Plan> {
        let pmu = uprobe_pmu().context("the kernel has no uprobe PMU (CONFIG_UPROBE_EVENTS)")?;
        let spec = |path: &Path, offset| -> Result<ProbeSpec> {
            let path = CString::new(path.as_os_str().as_bytes())?;
            Ok(ProbeSpec { pmu, path, offset, watermark: Some(0), follow_tasks: false })
        };
        let mut specs = Vec::new();
        for site in &door.map_sites {
            specs.push((Role::Map(site.syscall), spec(&site.path, site.offset)?));
        }
        specs.push((Role::Door, spec(&door.module.path, door.probe_offset()?)?));
        specs[0].1.follow_tasks = true;
        Ok(Plan { specs })
    }
}

/// One thread's probes.
#[derive(Debug)]
pub struct ThreadProbes {
    /// The thread.
    pub tid: Pid,
    events: Vec<(Role, u64, PerfEvent)>,
    ring: Ring,
}

impl ThreadProbes {
    /// Opens the plan's probes on a thread and starts them. `threads` is how many share the memory for rings.
    pub fn open(plan: &Plan, tid: Pid, threads: usize) -> io::Result<ThreadProbes> {
        let fair = RINGS_TOTAL / threads.max(1);
        let bytes = fair.clamp(RING_MIN, RING_MAX);
        let pages = 1 << (bytes / PAGE).ilog2();
        let mut events: Vec<(Role, u64, PerfEvent)> = Vec::new();
        let mut ring = None;
        for (role, spec) in &plan.specs {
            let spec = ProbeSpec { watermark: Some((pages * PAGE / 4) as u32), ..spec.clone() };
            let event = PerfEvent::open(&spec, tid.as_raw())?;
            match events.first() {
                Some((_, _, owner)) => event.redirect_to(owner)?,
                None => ring = Some(Ring::map(&event, pages)?),
            }
            events.push((*role, event.id()?, event));
        }
        let ring = ring.ok_or(io::ErrorKind::InvalidInput)?;
        // The door last, so that no call is seen without the mapping calls behind it.
        for (_, _, event) in &events {
            event.enable()?;
        }
        Ok(ThreadProbes { tid, events, ring })
    }

    /// Up to where the ring is filled now; see [`ThreadProbes::drain`].
    pub fn position(&self) -> u64 {
        self.ring.position()
    }

    /// Whether every hit of the thread was handed out.
    pub fn is_drained(&self) -> bool {
        self.ring.is_drained()
    }

    /// Hands out what is in the ring, up to a position taken before or to the end. Returns the bytes read.
    pub fn drain(&mut self, until: Option<u64>, mut each: impl FnMut(Item)) -> usize {
        let events = &self.events;
        self.ring.drain(until, |bytes| match Record::parse(bytes) {
            Record::Hit(hit) => match events.iter().rev().find(|(_, id, _)| *id == hit.id) {
                Some((role, _, _)) => each(Item::Hit(*role, hit)),
                None => each(Item::Lost(1)),
            },
            Record::Lost(lost) => each(Item::Lost(lost)),
            Record::Fork { pid, tid } => each(Item::Fork { pid, tid }),
            Record::Other => {}
        })
    }

    /// Hits the kernel dropped so far, on all probes of the thread.
    pub fn counts(&self) -> Counts {
        let all = self.events.iter().filter_map(|(_, _, event)| event.counts().ok());
        all.fold(Counts::default(), |sum, one| Counts { hits: sum.hits + one.hits, lost: sum.lost + one.lost })
    }

    /// What to poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.events[0].2.as_fd()
    }

    /// Unmaps the ring and leaves the probes, still open.
    pub fn into_events(self) -> Vec<PerfEvent> {
        self.events.into_iter().map(|(_, _, event)| event).collect()
    }
}

/// Closes probes side by side: each close waits until no processor can still be in the breakpoint's handler.
pub fn close(events: Vec<PerfEvent>) {
    std::thread::scope(|scope| {
        for event in events {
            scope.spawn(move || drop(event));
        }
    });
}
