//! A recording from attaching to the trailer.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shared::Nanos;
use shared::heap::Heap;
use shared::heap::walk::WalkError;
use shared::trace::keyframe::{Keyframe, Pause};
use shared::trace::meta::{Cost, Gap, Probe, Trailer, Vm};
use shared::trace::writer::Writer;

use crate::door::Door;
use crate::freeze::{FreezeError, Frozen};
use crate::locate::{self, FoundVm};
use crate::probes::{self, Item, Plan, ThreadProbes};
use crate::snapshot::{self, Snapshot, VmPlace};
use crate::stream::Streams;
use crate::target::Target;

/// How often a stop may find a thread inside the allocator before the keyframe is given up.
const MAX_STOPS: u64 = 300;
/// How much may pile up while a heap is walked: 48 bytes an item, so 96 MB.
const MAX_BACKLOG: usize = 2 << 20;
/// How often the rings are looked at when they do not fill.
const TICK: Duration = Duration::from_millis(100);

/// `CLOCK_MONOTONIC` in nanoseconds: the clock of the trace.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A VM of the session.
#[derive(Debug)]
struct SessionVm {
    place: VmPlace,
    found: FoundVm,
}

/// A walk under way, and what its keyframes will say beside the heap.
#[derive(Debug)]
struct Walk {
    heaps: JoinHandle<(Heaps, Vec<u8>)>,
    time: (Nanos, Nanos),
    pause: Pause,
}

/// Each VM's heap, or why it is none.
type Heaps = Vec<(u32, Result<Heap, WalkError>)>;

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
    backlog: Vec<(usize, Nanos, Item)>,
    pending: Vec<(usize, Nanos, Item)>,
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

    /// Takes keyframes of all VMs, those not seen before included. `held` is a stop the target is already in.
    /// `Ok(false)` if the target has ended.
    pub fn keyframe(&mut self, mut held: Option<Frozen>) -> Result<bool> {
        self.finish_walk()?;
        snapshot::prepare(&self.target, &self.open_vms(), &mut self.arena);
        let mut pause = Pause::default();
        let start = self.now();
        let snapshot = loop {
            let frozen = match held.take().map_or_else(|| Frozen::stop(self.target.pid), Ok) {
                Ok(frozen) => frozen,
                Err(FreezeError::Ended) => return Ok(false),
                Err(FreezeError::Stuck { tid }) => {
                    self.missed_keyframes.push(format!("thread {tid} hung in the kernel"));
                    return Ok(true);
                }
                Err(error) => return Err(crate::privilege::explain_ptrace(self.target.pid, error)),
            };
            pause.stops += 1;
            let inside = frozen.positions().iter().any(|&(ip, top)| self.door.is_inside(ip, top));
            if !inside {
                let snapshot = self.snapshot_frozen()?;
                // What is in the rings now happened before; what comes later, behind.
                let marks: Vec<u64> = self.threads.iter().map(|(_, thread)| thread.position()).collect();
                let lost = self.threads.iter().map(|(_, thread)| thread.counts().lost).sum();
                self.note_pause(&mut pause, frozen.release());
                self.drain(Some(&marks))?;
                self.streams.kernel_lost(start, lost)?;
                break snapshot;
            }
            self.note_pause(&mut pause, frozen.release());
            if pause.stops >= MAX_STOPS {
                self.missed_keyframes.push(format!("{MAX_STOPS} stops all fell inside the allocator"));
                return Ok(true);
            }
            if pause.stops % 16 == 0 {
                self.drain(None)?;
            }
            // Not a multiple of anything the target does.
            std::thread::sleep(Duration::from_micros(50 + pause.stops * 37 % 150));
        };
        for number in &snapshot.gone {
            self.streams.close_vm(*number);
        }
        self.streams.wanted.keyframe = false;
        pause.copied_bytes = snapshot.memory.len();
        self.heap_bytes = snapshot.vms.iter().map(|(vm, bytes)| (vm.number, *bytes)).collect();
        let time = (start, self.now());
        let heaps = std::thread::spawn(move || (snapshot.heaps(), snapshot.into_arena()));
        self.walk = Some(Walk { heaps, time, pause });
        Ok(true)
    }

    fn note_pause(&mut self, pause: &mut Pause, stopped: Duration) {
        let ns = stopped.as_nanos() as u64;
        pause.stopped_ns += ns;
        self.cost.pauses += 1;
        self.cost.paused_ns += ns;
        self.cost.longest_pause_ns = self.cost.longest_pause_ns.max(ns);
    }

    /// Looks for new VMs if there may be any, and copies all heaps. The target stands still.
    fn snapshot_frozen(&mut self) -> Result<Snapshot> {
        let mappings = self.target.mappings()?;
        if std::mem::take(&mut self.streams.wanted.vms) {
            self.add_vms(locate::vms(&self.target, &mappings).vms)?;
        }
        let arena = std::mem::take(&mut self.arena);
        Ok(snapshot::take(&self.target, &self.open_vms(), &mappings, arena))
    }

    /// The VMs that are still there.
    fn open_vms(&self) -> Vec<VmPlace> {
        let places = self.vms.iter().map(|vm| vm.place);
        places.filter(|place| self.streams.is_open(place.number)).collect()
    }

    /// Starts the streams of those VMs that have none yet.
    pub fn add_vms(&mut self, found: Vec<FoundVm>) -> Result<()> {
        for vm in found {
            // A VM of another copy of LuaJIT in the same process would pass by our probe.
            let same_door = self.vms.first().is_none_or(|first| first.place.global.allocf == vm.global.allocf);
            if same_door && !self.streams.knows(vm.mstate) {
                self.add_vm(vm)?;
            }
        }
        Ok(())
    }

    fn add_vm(&mut self, found: FoundVm) -> Result<()> {
        let number = self.vms.len() as u32 + 1;
        let place = VmPlace { number, mstate: found.mstate, global: found.global };
        self.streams.add_vm(number, found.mstate);
        self.streams.writer.vm(self.now(), number, &self.describe(&found))?;
        self.vms.push(SessionVm { place, found });
        Ok(())
    }

    fn describe(&self, found: &FoundVm) -> Vm {
        let program = self.target.exe().file_name().map(|name| name.to_string_lossy().into_owned());
        Vm {
            pid: self.target.pid.as_raw() as u32,
            label: found.subsystem.clone().or(program).unwrap_or_default(),
            build: found.build.clone().unwrap_or_default(),
            gc64: found.global.gc64,
            mstate: found.mstate,
            global: found.global.addr,
            module: self.door.module.name.display().to_string(),
            module_build_id: self.door.module.image.build_id.clone(),
            door: self.door.addr,
            door_confirmed: self.door.confirmed,
            probe: self.plan.as_ref().map(|_| self.door.probe.clone()),
        }
    }

    /// What the trace says of each VM: its number, itself, and the size of its heap in bytes if one is known.
    pub fn vms(&self) -> Vec<(u32, Vm)> {
        self.vms.iter().map(|vm| (vm.place.number, self.describe(&vm.found))).collect()
    }

    /// The file of `lj_alloc_f` as the target names it, the function's address in it, and what symbols say to that.
    pub fn door(&self) -> (&Path, u64, Option<bool>) {
        (&self.door.module.name, self.door.addr, self.door.confirmed)
    }

    /// Bytes in a VM's segments, as of the last keyframe.
    pub fn heap_bytes(&self, number: u32) -> Option<u64> {
        self.heap_bytes.get(&number).copied()
    }

    /// The probe in use.
    pub fn probe(&self) -> &Probe {
        &self.door.probe
    }

    /// Waits for a walk under way, writes its keyframes, then what came in meanwhile.
    fn finish_walk(&mut self) -> Result<()> {
        let Some(walk) = self.walk.take() else { return Ok(()) };
        let Ok((heaps, arena)) = walk.heaps.join() else { bail!("the heap walk failed; this is a defect of ljscope") };
        self.arena = arena;
        for (number, heap) in heaps {
            match heap {
                Ok(heap) => self.streams.writer.keyframe(number, walk.time, &Keyframe { heap, pause: walk.pause })?,
                Err(error) => {
                    let reason = format!("no keyframe of VM {number}: {error}");
                    self.streams.writer.gap(number, walk.time, &Gap { reason: reason.clone(), lost: 0 })?;
                    self.missed_keyframes.push(reason);
                }
            }
        }
        for (thread, now, item) in std::mem::take(&mut self.backlog) {
            self.streams.push(thread, now, item)?;
        }
        Ok(())
    }

    /// Empties the rings, up to the marks or as far as they are filled, and passes on what is due.
    fn drain(&mut self, marks: Option<&[u64]>) -> Result<()> {
        let now = monotonic_ns();
        let at = self.streams.time(now);
        let merge = self.threads.len() > 1 || !self.pending.is_empty();
        for (place, (key, thread)) in self.threads.iter_mut().enumerate() {
            let (key, until) = (*key, marks.and_then(|marks| marks.get(place).copied()));
            let (pending, backlog, streams) = (&mut self.pending, &mut self.backlog, &mut self.streams);
            let waiting = self.walk.is_some();
            let mut failed = Ok(());
            thread.drain(until, |item| match (merge, waiting) {
                (true, _) => pending.push((key, at, item)),
                (false, true) => backlog.push((key, at, item)),
                (false, false) => {
                    if failed.is_ok() {
                        failed = streams.push(key, at, item);
                    }
                }
            });
            failed?;
        }
        if merge {
            self.merge(now, marks.is_some())?;
        }
        if self.backlog.len() > MAX_BACKLOG || self.walk.as_ref().is_some_and(|walk| walk.heaps.is_finished()) {
            self.finish_walk()?;
        }
        Ok(())
    }

    /// Several threads' items in the order of time. What is younger than the last look at the rings waits: an older
    /// item of another thread may not have been there yet. With the target frozen nothing can come.
    fn merge(&mut self, now: u64, frozen: bool) -> Result<()> {
        let safe = if frozen { u64::MAX } else { self.safe_until };
        self.safe_until = now;
        let mut time = 0;
        let mut keyed: Vec<(u64, (usize, Nanos, Item))> = std::mem::take(&mut self.pending)
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

    /// Records until asked to stop, the time is up, or the target ends.
    pub fn run(&mut self, stop: &AtomicBool, until: Option<Instant>, keyframe_every: Duration) -> Result<Stopped> {
        let pidfd = rustix::process::Pid::from_raw(self.target.pid.as_raw())
            .and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
        let mut next_keyframe = Instant::now() + keyframe_every;
        loop {
            let ended = self.wait(pidfd.as_ref())?;
            self.drain(None)?;
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
                self.drain(None)?;
                return Ok(Stopped::TargetEnded);
            }
            if self.streams.wanted.threads {
                self.follow_threads()?;
            }
            let wanted = self.streams.wanted.keyframe || self.streams.wanted.vms;
            if wanted && self.walk.is_none() || Instant::now() >= next_keyframe {
                next_keyframe = Instant::now() + keyframe_every;
                if !self.keyframe(None)? {
                    return Ok(Stopped::TargetEnded);
                }
            }
        }
    }

    /// Sleeps until a ring fills, the target ends or a tick is over. Returns the threads that have ended.
    fn wait(&self, process: Option<&OwnedFd>) -> Result<Vec<usize>> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: TICK.as_nanos() as i64 };
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
    fn follow_threads(&mut self) -> Result<()> {
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

    /// Takes what is left in the rings and closes the probes: from here on the target is as it was.
    pub fn close(&mut self) -> Result<()> {
        self.drain(None)?;
        self.safe_until = u64::MAX;
        self.drain(None)?;
        self.finish_walk()?;
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
