//! Memory that the VM keeps for its own work: what its state refers to and no object owns.

use shared::trace::census::{Label, ObjectKind};

use super::Walk;
use super::blocks::Block;
use super::layout::{Head, IR};
use crate::target::Memory;

/// `CTState`: where it refers to the last thread that used it; to the global state behind that.
const TYPES_THREAD: usize = 16;

impl<'a, L: Memory> Walk<'a, L> {
    /// Labels the compiler's buffers, the table of traces, the text being made, the C types.
    pub(super) fn label_buffers(&mut self) {
        let Some(state) = self.blocks.find(self.global.main_thread) else { return };
        let buffers = self.label_referred(&state);
        self.label_biased(&state);
        for buffer in buffers {
            if self.is_types(&buffer) {
                self.label_referred(&buffer);
            }
        }
    }

    /// Labels the blocks still unknown that the words of a structure refer to. Pointers have 64 bits; references 32
    /// without GC64.
    fn label_referred(&mut self, structure: &Block<'_>) -> Vec<Block<'a>> {
        let mut found = Vec::new();
        for at in (0..structure.bytes.len()).step_by(8) {
            let word = Head(structure.bytes).word(at);
            let halves = if self.layout.reference == 8 { [0, 0] } else { [word & 0xffff_ffff, word >> 32] };
            for addr in halves.into_iter().chain([word]).filter(|addr| !self.misfits.contains(addr)) {
                if let Some(block) = self.blocks.find(addr).filter(|block| self.blocks.is_unknown(block)) {
                    self.blocks.set(&block, Label { kind: ObjectKind::VmBuffer, garbage: false });
                    found.push(block);
                }
            }
        }
        found
    }

    /// The compiler's instructions: their address is that of number 0, which lies before the block; the largest number
    /// and the smallest follow it.
    fn label_biased(&mut self, structure: &Block<'_>) {
        let head = Head(structure.bytes);
        for at in (0..structure.bytes.len()).step_by(8) {
            let (address, largest, smallest) = (head.word(at), head.int(at + 8), head.int(at + 12));
            if let Some(count) = largest.checked_sub(smallest).filter(|count| *count > 0) {
                let label = Label { kind: ObjectKind::VmBuffer, garbage: false };
                self.label_part(address.wrapping_add(smallest * IR), count * IR, label);
            }
        }
    }

    /// Whether this is the state of the FFI's C types, by what it refers to.
    fn is_types(&self, block: &Block<'_>) -> bool {
        let [thread, global] = [0, 8].map(|at| Head(block.bytes).word(TYPES_THREAD + at));
        let kind = self.blocks.find(thread).map(|block| self.blocks.label(&block).kind);
        // No thread may have used it yet.
        let is_thread = thread == 0 || matches!(kind, Some(ObjectKind::Thread | ObjectKind::VmState));
        is_thread && global == self.global.addr
    }
}
