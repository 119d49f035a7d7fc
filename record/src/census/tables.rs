//! Tables: their parts, and how far these are filled.

use shared::Addr;
use shared::heap::layout::{CINUSE, HEADER, INUSE, IS_DIRECT};
use shared::trace::census::{Label, ObjectKind, TableFill};

use super::Walk;
use super::layout::{Head, NODE, SLOT};
use crate::target::Memory;

/// Slots are read in pieces of so many bytes, a multiple of [`NODE`] and [`SLOT`].
const PIECE: u64 = 170 * NODE;
/// The upper half of nil, in a slot of any build; no other value has it.
const NIL: u32 = u32::MAX;

impl<M: Memory, L: Memory> Walk<'_, M, L> {
    /// A table's header with the array slots that it was made with.
    pub(super) fn table_size(&self, head: &Head) -> u64 {
        self.layout.table[4] as u64 + inside(colo(self.layout.reference, head)) * SLOT
    }

    /// Labels a table's parts and counts what is in them.
    pub(super) fn table(&mut self, addr: Addr, head: &Head, garbage: bool) -> TableFill {
        let [array, node, asize, hmask, size] = self.layout.table;
        let colo = colo(self.layout.reference, head);
        let (array, node) = (head.reference(self.layout, array), head.reference(self.layout, node));
        // Without a hash part the table refers to one of the global state's, whose mask is 0.
        let hash = match head.int(hmask) {
            0 => 0,
            mask => mask + 1,
        };
        let mut fill = TableFill { inside: inside(colo), array: head.int(asize), hash, ..TableFill::default() };
        fill.apart = colo <= 0 && fill.array > 0;
        let array_is_there = if fill.apart {
            self.label_part(array, fill.array * SLOT, Label { kind: ObjectKind::TableArray, garbage })
        } else {
            array == addr + size as u64 && fill.array <= fill.inside
        };
        let hash_is_there =
            fill.hash > 0 && self.label_part(node, fill.hash * NODE, Label { kind: ObjectKind::TableHash, garbage });
        fill.array_used = match fill.array {
            0 => Some(0),
            slots => array_is_there.then(|| self.used(array, slots, SLOT)).flatten(),
        };
        fill.hash_used = match fill.hash {
            0 => Some(0),
            slots => hash_is_there.then(|| self.used(node, slots, NODE)).flatten(),
        };
        fill
    }

    /// How many of so many slots, each of `stride` bytes, are not nil.
    fn used(&self, addr: Addr, slots: u64, stride: u64) -> Option<u64> {
        let direct = self.blocks.find(addr).is_some_and(|at| self.blocks.block(at).direct);
        if !direct {
            return count(self.memory, addr, slots, stride);
        }
        // Its slots were not copied. It may have been freed since.
        let (later, before) = (self.later?, addr - HEADER);
        let size = self.memory.word(before + 8)?;
        let is_same = later.word(before) == Some(IS_DIRECT) && later.word(before + 8) == Some(size);
        if !is_same || size & INUSE != CINUSE {
            return None;
        }
        count(later, addr, slots, stride)
    }
}

/// The array slots in the header's block; negative if they are not used any more.
fn colo(reference: usize, head: &Head) -> i8 {
    head.byte(reference + 3) as i8
}

fn inside(colo: i8) -> u64 {
    u64::from(colo as u8 & 0x7f)
}

fn count(memory: &impl Memory, addr: Addr, slots: u64, stride: u64) -> Option<u64> {
    let (mut bytes, mut used) = ([0; PIECE as usize], 0);
    let end = addr.checked_add(slots.checked_mul(stride)?)?;
    for start in (addr..end).step_by(PIECE as usize) {
        let piece = &mut bytes[..PIECE.min(end - start) as usize];
        memory.read(start, piece).ok()?;
        let upper =
            piece.chunks_exact(stride as usize).map(|slot| u32::from_le_bytes([slot[4], slot[5], slot[6], slot[7]]));
        used += upper.filter(|upper| *upper != NIL).count() as u64;
    }
    Some(used)
}
