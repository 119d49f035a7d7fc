//! Memory that the VM keeps for its own work: what its state refers to and no object owns.

use shared::Addr;
use shared::trace::census::{Label, ObjectKind};

use super::Walk;
use super::layout::IR;
use crate::target::Memory;

/// `CTState`: where it refers to the last thread that used it; to the global state behind that.
const TYPES_THREAD: u64 = 16;

impl<M: Memory, L: Memory> Walk<'_, M, L> {
    /// Labels the compiler's buffers, the table of traces, the text being made, the C types.
    pub(super) fn label_buffers(&mut self) {
        let Some(state) = self.blocks.find(self.global.main_thread) else { return };
        let state = self.blocks.block(state);
        let buffers = self.label_referred(state.start, state.room());
        self.label_biased(state.start, state.room());
        for at in buffers {
            let block = self.blocks.block(at);
            if self.is_types(block.start) {
                self.label_referred(block.start, block.room());
            }
        }
    }

    /// Labels the blocks still unknown that the words of a structure refer to; their numbers. Pointers have 64 bits;
    /// references 32 without GC64.
    fn label_referred(&mut self, start: Addr, room: u64) -> Vec<usize> {
        let mut found = Vec::new();
        for place in (start..start + room / 8 * 8).step_by(8) {
            let word = self.memory.word(place).unwrap_or_default();
            let halves = if self.layout.reference == 8 { [0, 0] } else { [word & 0xffff_ffff, word >> 32] };
            for addr in halves.into_iter().chain([word]) {
                let free = |at: &usize| self.blocks.is_unknown(*at) && !self.found.misfits.contains(at);
                if let Some(at) = self.blocks.find(addr).filter(free) {
                    self.blocks.set(at, Label { kind: ObjectKind::VmBuffer, garbage: false });
                    found.push(at);
                }
            }
        }
        found
    }

    /// The compiler's instructions: their address is that of number 0, which lies before the block; the largest number
    /// and the smallest follow it.
    fn label_biased(&mut self, start: Addr, room: u64) {
        for place in (start..start + (room / 8).saturating_sub(1) * 8).step_by(8) {
            let [Some(address), Some(limits)] = [0, 8].map(|at| self.memory.word(place + at)) else { continue };
            let (largest, smallest) = (limits & 0xffff_ffff, limits >> 32);
            if let Some(count) = largest.checked_sub(smallest).filter(|count| *count > 0) {
                let label = Label { kind: ObjectKind::VmBuffer, garbage: false };
                self.label_part(address.wrapping_add(smallest * IR), count * IR, label);
            }
        }
    }

    /// Whether this is the state of the FFI's C types, by what it refers to.
    fn is_types(&self, start: Addr) -> bool {
        let [thread, global] = [0, 8].map(|at| self.memory.word(start + TYPES_THREAD + at));
        let kind = |thread| self.blocks.find(thread).map(|at| self.blocks.label(at).kind);
        let is_thread = |thread| matches!(kind(thread), Some(ObjectKind::Thread | ObjectKind::VmState));
        // No thread has used it yet.
        let is_unused = thread == Some(0);
        (is_unused || thread.is_some_and(is_thread)) && global == Some(self.global.addr)
    }
}
