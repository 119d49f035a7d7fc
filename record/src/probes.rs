//! The open probes of a process: on each thread one behind each mapping call, all the time, and one at the door while
//! calls are recorded; all of a thread's into one ring.

use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::unistd::Pid;
use shared::Addr;

use crate::door::{Door, uprobe_pmu};
use crate::hits::{self, HIT_BYTES, Hit, Record};
use crate::site::MapSyscall;
use crate::stacks::Pace;
use crate::stacks::matcher::Matched;
use crate::stacks::probe::{SAMPLE_BYTES, StackProbe};
use crate::stacks::record::Sampled;
use crate::sys::{PerfEvent, ProbeSpec, Ring, Tells};

const PAGE: usize = 4096;
/// Rings are made smaller down to this, where the kernel allows us no more locked memory (perf_event_mlock_kb).
const RING_LEAST: usize = 16 << 10;

/// How large the rings are.
#[derive(Debug, Clone, Copy)]
pub struct RingSizes {
    /// All rings of a process together take no more than this ...
    pub total: usize,
    /// ... one no more than this ...
    pub most: usize,
    /// ... and none less than this.
    pub least: usize,
    /// So many bytes in a ring wake the recorder up.
    pub watermark: usize,
}

impl RingSizes {
    /// For every call: 8 MiB are 116,000 hits, a tenth of a second at a million a second.
    pub const FULL: RingSizes = RingSizes { total: 64 << 20, most: 8 << 20, least: 256 << 10, watermark: 2 << 20 };
    /// For windows: they end after some thousand hits, and the recorder must see soon that calls come fast.
    pub const WINDOWS: RingSizes = RingSizes { total: 32 << 20, most: 2 << 20, least: 128 << 10, watermark: 32 << 10 };
}

/// Who made a mapping call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Nobody of interest, as far as one can tell.
    Other,
    /// The allocator, for a VM that could not be told.
    Allocator,
    /// The allocator, for the VM with this `malloc_state`.
    Vm(Addr),
}

/// What comes out of a thread's ring, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A call at the allocator's door.
    Door(Hit),
    /// The stack of a call that was handed out before.
    Stack(Matched),
    /// The return of a mapping call.
    Map(MapSyscall, Hit, Caller),
    /// So many hits are missing here.
    Lost(u64),
    /// A thread or process was started.
    Fork {
        /// The process it belongs to.
        pid: u32,
        /// Itself.
        tid: u32,
    },
    /// What comes is another program's.
    Exec,
}

/// How callers are told: by return addresses into the allocator, and by the addresses of the VMs' states, which it
/// keeps in registers or on the stack.
#[derive(Debug, Clone, Default)]
pub struct Callers {
    /// The allocator's code.
    pub code: Vec<Range<Addr>>,
    /// The states of the VMs that are known.
    pub mstates: Vec<Addr>,
}

impl Callers {
    fn tell(&self, caller: &hits::Caller<'_>) -> Caller {
        if !caller.words().any(|word| self.code.iter().any(|range| range.contains(&word))) {
            return Caller::Other;
        }
        caller.words().find(|word| self.mstates.contains(word)).map_or(Caller::Allocator, Caller::Vm)
    }
}

/// What to open on each thread.
#[derive(Debug)]
pub struct Plan {
    maps: Vec<(MapSyscall, ProbeSpec)>,
    door: ProbeSpec,
    sizes: RingSizes,
}

impl Plan {
    /// The probes of a door.
    pub fn new(door: &Door, sizes: RingSizes) -> Result<Plan> {
        let pmu = uprobe_pmu().context("the kernel has no uprobe PMU (CONFIG_UPROBE_EVENTS)")?;
        let spec = |path: &Path, offset, tells| -> Result<ProbeSpec> {
            let path = CString::new(path.as_os_str().as_bytes())?;
            Ok(ProbeSpec { pmu, path, offset, watermark: Some(0), follow_tasks: false, tells })
        };
        let maps = door.map_sites.iter().map(|site| Ok((site.syscall, spec(&site.path, site.offset, Tells::Caller)?)));
        let mut maps = maps.collect::<Result<Vec<_>>>()?;
        // The first one owns the ring.
        maps.first_mut().context("no mapping call to probe")?.1.follow_tasks = true;
        Ok(Plan { maps, door: spec(&door.module.path, door.probe_offset()?, Tells::Arguments)?, sizes })
    }
}

impl Plan {
    /// What to open where stacks are to be taken.
    pub fn stacks(&self) -> StackPlan {
        StackPlan { door: self.door.clone(), sizes: self.sizes }
    }
}

/// What to open on a thread to have stacks taken.
#[derive(Debug, Clone)]
pub struct StackPlan {
    door: ProbeSpec,
    sizes: RingSizes,
}

impl StackPlan {
    /// Opens the probe that takes stacks, on one of so many threads; see [`StackProbe::open`].
    pub fn open(&self, tid: Pid, threads: usize, pace: Pace) -> io::Result<StackProbe> {
        // As long as the hits' own ring does not overflow, this one is not to, either.
        let hits = (self.sizes.total / threads.max(1)).clamp(self.sizes.least, self.sizes.most) / HIT_BYTES;
        let wanted = (hits as u64 / pace.mean + SPARE) as usize * SAMPLE_BYTES;
        let room = (STACK_RINGS / threads.max(1)).max(SPARE as usize * SAMPLE_BYTES);
        StackProbe::open(&self.door, tid.as_raw(), pace, wanted.min(room))
    }
}

/// So many stacks may come beside those.
const SPARE: u64 = 24;
/// All rings with stacks of a process together.
const STACK_RINGS: usize = 32 << 20;

/// One thread's probes.
#[derive(Debug)]
pub struct ThreadProbes {
    /// The thread.
    pub tid: Pid,
    maps: Vec<(MapSyscall, u64, PerfEvent)>,
    door: Option<(u64, PerfEvent)>,
    /// Takes stacks at the door, in a turn.
    stacks: Option<StackProbe>,
    /// What the kernel dropped at doors that are closed by now.
    lost_before: u64,
    ring: Ring,
}

impl ThreadProbes {
    /// Opens the probes of mapping calls on a thread and starts them. `threads` is how many share the memory for rings.
    pub fn open(plan: &Plan, tid: Pid, threads: usize) -> io::Result<ThreadProbes> {
        let RingSizes { total, most, least, .. } = plan.sizes;
        let mut bytes = 1 << (total / threads.max(1)).clamp(least, most).ilog2();
        loop {
            match Self::open_sized(plan, tid, bytes) {
                Err(error) if error.kind() == io::ErrorKind::QuotaExceeded && bytes > RING_LEAST => bytes /= 2,
                opened => return opened,
            }
        }
    }

    fn open_sized(plan: &Plan, tid: Pid, bytes: usize) -> io::Result<ThreadProbes> {
        let watermark = Some(plan.sizes.watermark.min(bytes / 4) as u32);
        let mut maps: Vec<(MapSyscall, u64, PerfEvent)> = Vec::new();
        let mut ring = None;
        for (syscall, spec) in &plan.maps {
            let event = PerfEvent::open(&ProbeSpec { watermark, ..spec.clone() }, tid.as_raw())?;
            match maps.first() {
                Some((_, _, owner)) => event.redirect_to(owner)?,
                None => ring = Some(Ring::map(&event, bytes / PAGE)?),
            }
            maps.push((*syscall, event.id()?, event));
        }
        let ring = ring.ok_or(io::ErrorKind::InvalidInput)?;
        for (_, _, event) in &maps {
            event.enable()?;
        }
        Ok(ThreadProbes { tid, maps, door: None, stacks: None, lost_before: 0, ring })
    }

    /// Opens the door's probe and starts it.
    pub fn open_door(&mut self, plan: &Plan) -> io::Result<()> {
        if self.door.is_none() {
            let spec = ProbeSpec { watermark: Some(plan.sizes.watermark as u32), ..plan.door.clone() };
            let event = PerfEvent::open(&spec, self.tid.as_raw())?;
            event.redirect_to(&self.maps[0].2)?;
            event.enable()?;
            self.door = Some((event.id()?, event));
        }
        Ok(())
    }

    /// Has stacks taken at the door from here on.
    pub fn set_stacks(&mut self, probe: StackProbe) {
        self.stacks = Some(probe);
    }

    /// Gives the probe that takes stacks away, to be closed. What it has taken and was not handed out is dropped.
    pub fn take_stacks(&mut self) -> Option<PerfEvent> {
        self.stacks.take().map(StackProbe::into_event)
    }

    /// Gives the door's probe away, to be closed. Its hits up to then stay in the ring.
    pub fn take_door(&mut self) -> Option<PerfEvent> {
        let (_, event) = self.door.as_ref()?;
        self.lost_before += event.counts().map_or(0, |counts| counts.lost);
        self.door.take().map(|(_, event)| event)
    }

    /// Whether the door's probe is open.
    pub fn has_door(&self) -> bool {
        self.door.is_some()
    }

    /// Up to where the ring is filled now; see [`ThreadProbes::drain`].
    pub fn position(&self) -> u64 {
        self.ring.position()
    }

    /// Whether every hit of the thread was handed out.
    pub fn is_drained(&self) -> bool {
        self.ring.is_drained()
    }

    /// Where memory was mapped, by calls whose hits are in the ring and not handed out.
    pub fn peek_mapped(&mut self) -> Vec<Addr> {
        let mut mapped = Vec::new();
        self.ring.peek(|bytes| {
            if let Record::Called(hit, _) = Record::parse(bytes) {
                mapped.push(hit.registers.ax);
            }
        });
        mapped
    }

    /// Hands out what is in the ring, up to a position taken before or to the end. Returns the bytes read.
    ///
    /// A hit whose event is no longer known is one of the door that was closed since: nothing else is closed before its
    /// ring.
    ///
    /// `take` makes a number of a stack. A stack that is taken while the rings are emptied is handed out the next time;
    /// so it is where the thread may stand at the door.
    pub fn drain(
        &mut self,
        until: Option<u64>,
        callers: &Callers,
        take: &mut dyn FnMut(&Sampled<'_>) -> u32,
        mut each: impl FnMut(Item),
    ) -> usize {
        let (maps, stacks) = (&self.maps, &mut self.stacks);
        // First: the hits of all that is in there are in the other ring then.
        if let Some(stacks) = stacks {
            stacks.read(take);
        }
        let read = self.ring.drain(until, |bytes| match Record::parse(bytes) {
            Record::Hit(hit) => {
                if let Some(stacks) = stacks {
                    stacks.hit(&hit, |matched| each(Item::Stack(matched)));
                }
                each(Item::Door(hit));
            }
            Record::Called(hit, caller) => match maps.iter().find(|(_, id, _)| *id == hit.id) {
                Some((syscall, _, _)) => each(Item::Map(*syscall, hit, callers.tell(&caller))),
                None => each(Item::Lost(1)),
            },
            Record::Lost(lost) => each(Item::Lost(lost)),
            Record::Fork { pid, tid } => each(Item::Fork { pid, tid }),
            Record::Exec => each(Item::Exec),
            Record::Other => {}
        });
        if let (Some(stacks), None) = (stacks, until) {
            stacks.rest(|matched| each(Item::Stack(matched)));
        }
        read
    }

    /// Stacks that are missing, since this was last asked.
    pub fn stacks_lost(&mut self) -> u64 {
        self.stacks.as_mut().map_or(0, StackProbe::take_lost)
    }

    /// Hits the kernel dropped so far, on all probes of the thread.
    pub fn lost(&self) -> u64 {
        let maps = self.maps.iter().map(|(_, _, event)| event);
        let open = maps.chain(self.door.as_ref().map(|(_, event)| event));
        self.lost_before + open.filter_map(|event| event.counts().ok()).map(|counts| counts.lost).sum::<u64>()
    }

    /// What to poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.maps[0].2.as_fd()
    }

    /// Unmaps the ring and leaves the probes, still open; the door's first.
    pub fn into_events(self) -> Vec<PerfEvent> {
        let stacks = self.stacks.into_iter().map(StackProbe::into_event);
        let door = self.door.into_iter().map(|(_, event)| event);
        stacks.chain(door).chain(self.maps.into_iter().map(|(_, _, event)| event)).collect()
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
