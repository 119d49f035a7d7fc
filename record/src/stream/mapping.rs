//! Mapping calls: whose they are, and what they map. While calls are recorded all are passed on, for the replay tells
//! which it needs; between windows those of the allocator.

use shared::Addr;
use shared::call::{MapCall, MapOp};
use shared::trace::TraceError;

use super::{Gate, Streams};
use crate::hits::Hit;
use crate::probes::Caller;
use crate::site::MapSyscall;

impl Streams {
    pub(super) fn map(
        &mut self,
        thread: usize,
        syscall: MapSyscall,
        hit: Hit,
        caller: Caller,
    ) -> Result<(), TraceError> {
        self.hits += 1;
        let registers = hit.registers;
        let (op, new_len) = match syscall {
            MapSyscall::Mmap => (MapOp::Map, 0),
            MapSyscall::Munmap => (MapOp::Unmap, 0),
            MapSyscall::Mremap => (MapOp::Remap, registers.dx),
        };
        let time = self.time(hit.time);
        let map = MapCall { time, op, addr: registers.di, len: registers.si, new_len, result: registers.ax };
        let msp = self.made_for(thread, caller);
        // While calls are recorded, the replay itself tells which mapping calls are the allocator's.
        let wanted = self.gate != Gate::Shut && time <= self.until || caller != Caller::Other;
        let at = msp.and_then(|msp| self.vms.iter().position(|vm| vm.mstate == msp && !vm.closed));
        if let Some(at) = at.filter(|_| wanted) {
            let vm = &mut self.vms[at];
            vm.block.push_map(&shifted(map, vm.shift));
            if vm.block.is_full() {
                self.flush_vm(at)?;
            }
        }
        if let Some(result) = map.ok() {
            if op != MapOp::Map {
                self.mapped_for.remove(&map.addr);
            }
            if op != MapOp::Unmap {
                self.mapped_for.insert(result, msp.unwrap_or(0));
            }
        }
        if op == MapOp::Unmap && map.ok().is_some() {
            let unmapped = map.addr..map.addr.saturating_add(map.len);
            self.vms.iter_mut().filter(|vm| unmapped.contains(&vm.mstate)).for_each(|vm| vm.closed = true);
        }
        Ok(())
    }

    /// The `malloc_state` of the VM for which a thread made a mapping call: the one that the thread called last in an
    /// open window; else the one that was seen in its registers or stack, or the only one there is.
    fn made_for(&self, thread: usize, caller: Caller) -> Option<Addr> {
        let last = self.last.get(thread).copied().filter(|msp| *msp != 0);
        match (self.gate, caller) {
            (Gate::Open { .. }, _) if last.is_some() => last,
            (_, Caller::Vm(msp)) => Some(msp),
            (_, Caller::Other) => None,
            (_, Caller::Allocator) => {
                let mut open = self.vms.iter().filter(|vm| !vm.closed);
                let only = open.next().filter(|_| open.next().is_none()).map(|vm| vm.mstate);
                only.or(last)
            }
        }
    }
}

/// A mapping call with its addresses shifted: not a null pointer, not an error.
fn shifted(map: MapCall, shift: u64) -> MapCall {
    let of = |addr: Addr| if addr == 0 { 0 } else { addr.wrapping_add(shift) };
    // munmap returns 0.
    MapCall { addr: of(map.addr), result: map.ok().map_or(map.result, of), ..map }
}
