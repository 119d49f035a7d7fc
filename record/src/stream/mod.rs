//! Turns what comes out of the rings into each VM's stream in the trace: who a call belongs to, whether a window is open
//! for it, where something is missing, and what must be done about it. Items in, frames out.

mod mapping;
mod turn;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use shared::call::Call;
use shared::trace::TraceError;
use shared::trace::calls::Encoder;
use shared::trace::census::Census;
use shared::trace::keyframe::Keyframe;
use shared::trace::meta::{Gap, Vm, Window};
use shared::trace::names::Names;
use shared::{Addr, Nanos};

use crate::hits::Hit;
use crate::price::Price;
use crate::probes::Item;
use crate::recording::Pen;
use crate::stacks::Collected;

/// A VM that has a stream.
#[derive(Debug)]
struct Known {
    number: u32,
    mstate: Addr,
    /// What is added to its addresses in the trace.
    shift: u64,
    /// Its memory was unmapped: the next VM at this address is another one.
    closed: bool,
    block: Encoder,
    /// Calls since the window was opened.
    in_window: u64,
    /// What its last keyframe took in the trace.
    keyframe_bytes: u64,
    /// Calls in this part of the recording.
    in_part: u64,
    /// Those of which stacks are taken.
    sampled: Option<Collected>,
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
    /// A look for direct blocks, because mapping calls may be missing.
    pub direct: bool,
}

/// Whether calls are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// None: only mapping calls of the allocator are followed.
    Shut,
    /// All, from a keyframe on, or only to be counted.
    Open { start: Nanos, keyframe: bool, hits_before: u64, lossy: bool },
}

/// The streams of one process.
#[derive(Debug)]
pub struct Streams {
    /// Where they go.
    pub pen: Pen,
    /// `CLOCK_MONOTONIC` at the trace's time 0.
    base: u64,
    pid: u32,
    vms: Vec<Known>,
    gate: Gate,
    /// Calls later than this are not wanted any more.
    until: Nanos,
    /// Hits behind it.
    late: u64,
    /// Callers that are no VM we know, and how often they called.
    strangers: BTreeMap<Addr, u64>,
    /// `msp` of each thread's last call: its mapping calls are made for it. 0 if there was none.
    last: Vec<Addr>,
    /// Stacks are taken of calls in this time, by `CLOCK_MONOTONIC`.
    turn: Option<RangeInclusive<u64>>,
    /// Each thread's last call in it: the place of its VM, its number, and when it was hit.
    last_in_turn: BTreeMap<usize, (usize, u64, u64)>,
    /// Who each mapping was made for, by its first byte: the `malloc_state`, which may be one we do not know; 0 if that
    /// was not seen.
    mapped_for: BTreeMap<Addr, Addr>,
    /// What must be done.
    pub wanted: Wanted,
    /// What a hit costs, by the process's own.
    pub price: Price,
    /// Calls passed on.
    pub calls: u64,
    /// Hits the target paid for, whether they were wanted or not.
    pub hits: u64,
    /// Hits dropped by the kernel.
    pub lost: u64,
    /// Those of them that are missing in the trace: calls were wanted.
    pub missing: u64,
    /// How many of those its counters told of before its records did.
    early: u64,
    /// Calls of VMs that were not known yet.
    pub unattributed: u64,
    /// Another program runs in the process: nothing that comes now is about its VMs.
    pub replaced: bool,
}

impl Streams {
    /// No VM yet, and no window open.
    pub fn new(pen: Pen, pid: u32) -> Self {
        Streams {
            base: pen.recording().base(),
            pen,
            pid,
            vms: Vec::new(),
            gate: Gate::Shut,
            until: Nanos::MAX,
            late: 0,
            strangers: BTreeMap::new(),
            last: Vec::new(),
            turn: None,
            last_in_turn: BTreeMap::new(),
            mapped_for: BTreeMap::new(),
            wanted: Wanted::default(),
            price: Price::default(),
            calls: 0,
            hits: 0,
            lost: 0,
            missing: 0,
            early: 0,
            unattributed: 0,
            replaced: false,
        }
    }

    /// Starts a VM's stream; its keyframe must come next.
    pub fn add_vm(&mut self, number: u32, mstate: Addr, shift: u64) {
        self.strangers.remove(&mstate);
        let block = Encoder::default();
        self.vms.push(Known {
            number,
            mstate,
            shift,
            closed: false,
            block,
            in_window: 0,
            keyframe_bytes: 0,
            in_part: 0,
            sampled: None,
        });
    }

    /// Whether the VM at this address has a stream.
    pub fn knows(&self, mstate: Addr) -> bool {
        self.vms.iter().any(|vm| vm.mstate == mstate && !vm.closed)
    }

    /// The `malloc_state`s of the VMs that are there.
    pub fn mstates(&self) -> Vec<Addr> {
        self.vms.iter().filter(|vm| !vm.closed).map(|vm| vm.mstate).collect()
    }

    /// Ends a VM's stream: it is gone.
    pub fn close_vm(&mut self, number: u32) {
        self.vms.iter_mut().filter(|vm| vm.number == number).for_each(|vm| vm.closed = true);
    }

    /// Whether a VM's stream goes on.
    pub fn is_open(&self, number: u32) -> bool {
        self.vms.iter().any(|vm| vm.number == number && !vm.closed)
    }

    /// Who each mapping was made for, by its first byte: see [`crate::snapshot::Snapshot`].
    pub fn mapped_for(&self) -> &BTreeMap<Addr, Addr> {
        &self.mapped_for
    }

    /// Adds blocks that were mapped before mapping calls were followed.
    pub fn add_mapped(&mut self, blocks: impl IntoIterator<Item = Addr>) {
        for block in blocks {
            self.mapped_for.entry(block).or_insert(0);
        }
    }

    /// Time in the trace of a `CLOCK_MONOTONIC` reading.
    pub fn time(&self, monotonic: u64) -> Nanos {
        monotonic.saturating_sub(self.base)
    }

    /// Takes an item that thread number `thread` produced at about `now`.
    pub fn push(&mut self, thread: usize, now: Nanos, item: Item) -> Result<(), TraceError> {
        match item {
            Item::Exec => {
                self.replaced = true;
                Ok(())
            }
            Item::Door(_) | Item::Map(..) if self.replaced => {
                self.hits += 1;
                Ok(())
            }
            Item::Door(hit) => self.call(thread, hit),
            Item::Stack(matched) => {
                self.stack(thread, matched);
                Ok(())
            }
            Item::Map(syscall, hit, caller) => self.map(thread, syscall, hit, caller),
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
        self.hits += 1;
        let registers = hit.registers;
        self.set_last(thread, registers.di);
        self.price.call(thread, hit.time, registers.cx == 0);
        let time = self.time(hit.time);
        if self.gate == Gate::Shut || time > self.until {
            self.late += 1;
            return Ok(());
        }
        let Some(at) = self.vms.iter().position(|vm| vm.mstate == registers.di && !vm.closed) else {
            self.unattributed += 1;
            self.pen.count(0, 1);
            // A VM born since the last look. It may not be complete yet, so look again, but ever more rarely.
            let calls = self.strangers.entry(registers.di).or_default();
            *calls += 1;
            self.wanted.vms |= calls.is_power_of_two();
            return Ok(());
        };
        let vm = &mut self.vms[at];
        let ptr = if registers.si == 0 { 0 } else { registers.si.wrapping_add(vm.shift) };
        vm.block.push_call(&Call { time, ptr, osize: registers.dx, nsize: registers.cx });
        vm.in_window += 1;
        self.calls += 1;
        vm.in_part += 1;
        let is_full = vm.block.is_full();
        self.count_in_turn(thread, at, hit.time);
        if is_full { self.flush_vm(at) } else { Ok(()) }
    }

    /// A new part begins, in which calls are counted anew.
    pub fn move_on(&mut self) -> anyhow::Result<()> {
        self.vms.iter_mut().for_each(|vm| vm.in_part = 0);
        self.pen.move_on()
    }

    fn set_last(&mut self, thread: usize, msp: Addr) {
        if self.last.len() <= thread {
            self.last.resize(thread + 1, 0);
        }
        self.last[thread] = msp;
    }

    /// Lets calls pass from here on: a window is open, from a keyframe or only for counting.
    pub fn open_window(&mut self, start: Nanos, keyframe: bool) {
        self.gate = Gate::Open { start, keyframe, hits_before: self.hits, lossy: false };
        (self.until, self.late) = (Nanos::MAX, 0);
        // Before it, calls were not seen.
        self.last.fill(0);
        self.vms.iter_mut().for_each(|vm| vm.in_window = 0);
    }

    /// Calls later than this are no longer wanted; [`Streams::close_window`] must follow.
    pub fn end_window_at(&mut self, until: Nanos) {
        self.until = until;
    }

    /// Whether calls pass.
    pub fn has_window(&self) -> bool {
        self.gate != Gate::Shut
    }

    /// Whether calls of the open window are missing.
    pub fn is_lossy(&self) -> bool {
        matches!(self.gate, Gate::Open { lossy: true, .. })
    }

    /// Ends the window: every VM's stream says so. `hits` were in it, `cpu` is what the process had used at its start and
    /// used in it.
    pub fn close_window(&mut self, hits: u64, (cpu_start_ns, cpu_ns): (Nanos, Nanos)) -> Result<(), TraceError> {
        let Gate::Open { start, keyframe, lossy, .. } = std::mem::replace(&mut self.gate, Gate::Shut) else {
            return Ok(());
        };
        let end = std::mem::replace(&mut self.until, Nanos::MAX);
        for at in 0..self.vms.len() {
            self.flush_vm(at)?;
            let vm = &self.vms[at];
            if !vm.closed || vm.in_window > 0 {
                let calls = vm.in_window;
                let window = Window { start, end, calls, hits, keyframe, cpu_start_ns, cpu_ns, lossy };
                let gap = Gap { reason: "the window was closed".into(), lost: 0, window: Some(window) };
                self.pen.write(true, |writer| writer.gap(vm.number, (end, end), &gap))?;
            }
        }
        self.flush()
    }

    /// Hits since the window was opened, up to its end.
    pub fn hits_in_window(&self) -> u64 {
        match self.gate {
            Gate::Open { hits_before, .. } => self.hits - hits_before - self.late,
            Gate::Shut => 0,
        }
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
        self.hits += lost;
        self.wanted.direct = true;
        if self.gate == Gate::Shut {
            // No call was wanted. Should a mapping call be among them, the next keyframe tells.
            return Ok(());
        }
        self.missing += lost;
        self.pen.count(lost, 0);
        self.gap(now, Gap { reason: "the ring was full".into(), lost, window: None })
    }

    /// Marks that calls of every VM may be missing here.
    pub fn gap(&mut self, now: Nanos, gap: Gap) -> Result<(), TraceError> {
        let Gate::Open { lossy, .. } = &mut self.gate else { return Ok(()) };
        *lossy = true;
        self.wanted.keyframe = true;
        for at in 0..self.vms.len() {
            self.flush_vm(at)?;
            let vm = &self.vms[at];
            if !vm.closed {
                self.pen.write(false, |writer| writer.gap(vm.number, (now, now), &gap))?;
            }
        }
        Ok(())
    }

    /// Writes what a VM is.
    pub fn write_vm(&self, now: Nanos, number: u32, mut vm: Vm) -> Result<(), TraceError> {
        let shift = self.vms.iter().find(|vm| vm.number == number).map_or(0, |vm| vm.shift);
        vm.mstate = vm.mstate.wrapping_add(shift);
        vm.global = vm.global.wrapping_add(shift);
        self.pen.write(true, |writer| writer.vm(now, number, &vm))
    }

    /// Writes a VM's keyframe behind all that was pushed for it. Where the trace is full, calls before it are not in
    /// there either, so it is left out.
    pub fn keyframe(&mut self, number: u32, time: (Nanos, Nanos), keyframe: &Keyframe) -> Result<(), TraceError> {
        let Some(at) = self.vms.iter().position(|vm| vm.number == number) else { return Ok(()) };
        self.flush_vm(at)?;
        let mut bytes = 0;
        self.pen.write(false, |writer| {
            let before = writer.bytes();
            writer.keyframe(number, time, keyframe)?;
            bytes = writer.bytes() - before;
            Ok(())
        })?;
        self.vms[at].keyframe_bytes = bytes;
        Ok(())
    }

    /// Writes what the blocks of a VM's keyframe are, and where its functions were written. Where the trace has no room for
    /// that, it is left out.
    pub fn census(
        &mut self,
        number: u32,
        time: (Nanos, Nanos),
        census: &Census,
        names: Option<&Names>,
    ) -> Result<(), TraceError> {
        let known = self.vms.iter().any(|vm| vm.number == number);
        // Labels are small, and so are numbers: it is far shorter when written.
        if !known || !self.pen.has_room(census.labels.len() as u64) {
            return Ok(());
        }
        self.pen.write(false, |writer| {
            writer.census(number, time, census)?;
            names.map_or(Ok(()), |names| writer.names(number, time, names))
        })
    }

    /// Whether the trace has room for one more keyframe of each VM, as large as the last ones and half as much again.
    pub fn has_room_for_keyframe(&self) -> bool {
        let bytes: u64 = self.vms.iter().filter(|vm| !vm.closed).map(|vm| vm.keyframe_bytes).sum();
        !self.pen.recording().is_full() && self.pen.has_room(bytes + bytes / 2)
    }

    /// What is added to a VM's addresses.
    pub fn shift(&self, number: u32) -> u64 {
        self.vms.iter().find(|vm| vm.number == number).map_or(0, |vm| vm.shift)
    }

    fn flush_vm(&mut self, at: usize) -> Result<(), TraceError> {
        let vm = &mut self.vms[at];
        if vm.block.is_empty() {
            return Ok(());
        }
        let sealed = vm.block.seal();
        self.pen.write(false, |writer| writer.block(vm.number, &sealed))
    }

    /// Writes the open blocks and puts all on disk, so that what was pushed so far can be read whatever happens next.
    pub fn flush(&mut self) -> Result<(), TraceError> {
        for at in 0..self.vms.len() {
            self.flush_vm(at)?;
        }
        self.pen.flush()
    }
}
