//! Turns what comes out of the rings into each VM's stream in the trace: who a call belongs to, where something is
//! missing, and when a keyframe is due because of it. Pure: items in, frames out.

use std::collections::BTreeMap;
use std::io::Write;

use shared::call::{Call, MapCall, MapOp};
use shared::trace::TraceError;
use shared::trace::meta::Gap;
use shared::trace::writer::Writer;
use shared::{Addr, Nanos};

use crate::hits::Hit;
use crate::probes::{Item, Role};
use crate::site::MapSyscall;

/// A VM that has a stream.
#[derive(Debug, Clone, Copy)]
struct Known {
    number: u32,
    mstate: Addr,
    /// Its memory was unmapped: the next VM at this address is another one.
    closed: bool,
}

/// What must be done about the stream from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// A keyframe, because calls are missing.
    pub keyframe: bool,
    /// A look for VMs and a keyframe, because somebody unknown calls.
    pub vms: bool,
    /// Probes on new threads.
    pub threads: bool,
}

/// The streams of one process.
#[derive(Debug)]
pub struct Streams<W> {
    /// Where they go.
    pub writer: Writer<W>,
    /// `CLOCK_MONOTONIC` at the trace's time 0.
    base: u64,
    pid: u32,
    vms: Vec<Known>,
    /// Callers that are no VM we know, and how often they called.
    strangers: BTreeMap<Addr, u64>,
    /// The VM each thread called last: its mapping calls belong to it.
    last: Vec<Option<usize>>,
    /// The VM that made each mapping, by its first byte.
    mapped_by: BTreeMap<Addr, u32>,
    /// What must be done.
    pub wanted: Wanted,
    /// Hits dropped by the kernel.
    pub lost: u64,
    /// How many of those its counters told of before its records did.
    early: u64,
    /// Calls of VMs that were not known yet.
    pub unattributed: u64,
}

impl<W: Write> Streams<W> {
    /// No VM yet.
    pub fn new(writer: Writer<W>, base: u64, pid: u32) -> Self {
        Streams {
            writer,
            base,
            pid,
            vms: Vec::new(),
            strangers: BTreeMap::new(),
            last: Vec::new(),
            mapped_by: BTreeMap::new(),
            wanted: Wanted::default(),
            lost: 0,
            early: 0,
            unattributed: 0,
        }
    }

    /// Starts a VM's stream; its keyframe must come next.
    pub fn add_vm(&mut self, number: u32, mstate: Addr) {
        self.strangers.remove(&mstate);
        self.vms.push(Known { number, mstate, closed: false });
    }

    /// Whether the VM at this address has a stream.
    pub fn knows(&self, mstate: Addr) -> bool {
        self.vms.iter().any(|vm| vm.mstate == mstate && !vm.closed)
    }

    /// Ends a VM's stream: it is gone.
    pub fn close_vm(&mut self, number: u32) {
        self.vms.iter_mut().filter(|vm| vm.number == number).for_each(|vm| vm.closed = true);
    }

    /// Whether a VM's stream goes on.
    pub fn is_open(&self, number: u32) -> bool {
        self.vms.iter().any(|vm| vm.number == number && !vm.closed)
    }

    /// The VM that made each mapping there is, by its first byte, as far as that was seen.
    pub fn mapped_by(&self) -> BTreeMap<Addr, u32> {
        self.mapped_by.clone()
    }

    /// Time in the trace of a `CLOCK_MONOTONIC` reading.
    pub fn time(&self, monotonic: u64) -> Nanos {
        monotonic.saturating_sub(self.base)
    }

    /// Takes an item that thread number `thread` produced at about `now`.
    pub fn push(&mut self, thread: usize, now: Nanos, item: Item) -> Result<(), TraceError> {
        match item {
            Item::Hit(Role::Door, hit) => self.call(thread, hit),
            Item::Hit(Role::Map(syscall), hit) => self.map(thread, syscall, hit),
            Item::Lost(lost) => {
                let known = lost.min(self.early);
                self.early -= known;
                // A loss of nothing is how a gap is asked for without one.
                if known > 0 && known == lost { Ok(()) } else { self.lost(now, lost - known) }
            }
            Item::Fork { pid, .. } if pid == self.pid => {
                self.wanted.threads = true;
                Ok(())
            }
            Item::Fork { .. } => Ok(()),
        }
    }

    #[inline]
    fn call(&mut self, thread: usize, hit: Hit) -> Result<(), TraceError> {
        let registers = hit.registers;
        let Some(at) = self.vms.iter().position(|vm| vm.mstate == registers.di && !vm.closed) else {
            self.unattributed += 1;
            self.set_last(thread, None);
            // A VM born since the last look. It may not be complete yet, so look again, but ever more rarely.
            let calls = self.strangers.entry(registers.di).or_default();
            *calls += 1;
            self.wanted.vms |= calls.is_power_of_two();
            return Ok(());
        };
        self.set_last(thread, Some(at));
        let time = self.time(hit.time);
        let call = Call { time, ptr: registers.si, osize: registers.dx, nsize: registers.cx };
        self.writer.call(self.vms[at].number, &call)
    }

    fn set_last(&mut self, thread: usize, vm: Option<usize>) {
        if self.last.len() <= thread {
            self.last.resize(thread + 1, None);
        }
        self.last[thread] = vm;
    }

    fn map(&mut self, thread: usize, syscall: MapSyscall, hit: Hit) -> Result<(), TraceError> {
        let registers = hit.registers;
        let (op, new_len) = match syscall {
            MapSyscall::Mmap => (MapOp::Map, 0),
            MapSyscall::Munmap => (MapOp::Unmap, 0),
            MapSyscall::Mremap => (MapOp::Remap, registers.dx),
        };
        let time = self.time(hit.time);
        let map = MapCall { time, op, addr: registers.di, len: registers.si, new_len, result: registers.ax };
        let vm = self.last.get(thread).copied().flatten().map(|vm| self.vms[vm].number);
        if let Some(vm) = vm {
            self.writer.map(vm, &map)?;
        }
        if let Some(result) = map.ok() {
            if op != MapOp::Map {
                self.mapped_by.remove(&map.addr);
            }
            if op != MapOp::Unmap {
                // Nobody's if it is none of a VM we know.
                self.mapped_by.remove(&result);
                self.mapped_by.extend(vm.map(|vm| (result, vm)));
            }
        }
        if op == MapOp::Unmap && map.ok().is_some() {
            let unmapped = map.addr..map.addr.saturating_add(map.len);
            let closed: Vec<u32> =
                self.vms.iter().filter(|vm| !vm.closed && unmapped.contains(&vm.mstate)).map(|vm| vm.number).collect();
            for number in closed {
                self.close_vm(number);
            }
        }
        Ok(())
    }

    /// Takes the kernel's count of all losses so far. It writes a record of a loss only once there is room again,
    /// which may be after the keyframe that repairs it.
    pub fn kernel_lost(&mut self, now: Nanos, total: u64) -> Result<(), TraceError> {
        let fresh = total.saturating_sub(self.lost);
        if fresh == 0 {
            return Ok(());
        }
        self.early += fresh;
        self.lost(now, fresh)
    }

    fn lost(&mut self, now: Nanos, lost: u64) -> Result<(), TraceError> {
        self.lost += lost;
        self.gap(now, Gap { reason: "the ring was full".into(), lost })
    }

    /// Marks that calls of every VM may be missing here.
    pub fn gap(&mut self, now: Nanos, gap: Gap) -> Result<(), TraceError> {
        self.wanted.keyframe = true;
        for vm in self.vms.iter().filter(|vm| !vm.closed) {
            self.writer.gap(vm.number, (now, now), &gap)?;
        }
        Ok(())
    }
}
