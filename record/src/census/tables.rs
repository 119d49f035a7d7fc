//! Tables: their parts, and how far these are filled.

use shared::Addr;
use shared::heap::layout::{CINUSE, HEADER, INUSE, IS_DIRECT};
use shared::trace::census::{Label, ObjectKind, TableFill};

use super::Walk;
use super::blocks::Block;
use super::layout::{Head, NODE, SLOT};
use crate::target::Memory;

/// Slots of a direct block are read in pieces of so many bytes, a multiple of [`NODE`] and [`SLOT`].
const PIECE: u64 = 2000 * NODE;
/// The upper half of nil, in a slot of any build; no other value has it.
const NIL: [u8; 4] = [0xff; 4];

impl<L: Memory> Walk<'_, L> {
    /// A table's header with the array slots that it was made with.
    pub(super) fn table_size(&self, head: Head<'_>) -> u64 {
        self.layout.table[4] as u64 + self.colo(head).inside * SLOT
    }

    /// Labels a table's parts.
    pub(super) fn label_parts(&mut self, head: Head<'_>, garbage: bool) {
        let [array, node, asize, hmask, _] = self.layout.table;
        let (slots, mask) = (head.int(asize), head.int(hmask));
        if slots > 0 && !self.colo(head).in_use {
            let label = Label { kind: ObjectKind::TableArray, garbage };
            self.label_part(head.reference(self.layout, array), slots * SLOT, label);
        }
        // Without a hash part the table refers to one of the global state's, whose mask is 0.
        if mask > 0 {
            let label = Label { kind: ObjectKind::TableHash, garbage };
            self.label_part(head.reference(self.layout, node), (mask + 1) * NODE, label);
        }
    }

    /// How far a table is filled, whose parts are labelled.
    pub(super) fn fill(&self, block: &Block<'_>) -> TableFill {
        let head = Head(block.bytes);
        let [array, node, asize, hmask, size] = self.layout.table;
        let (slots, mask, colo) = (head.int(asize), head.int(hmask), self.colo(head));
        let hash = if mask == 0 { 0 } else { mask + 1 };
        let apart = slots > 0 && !colo.in_use;
        let array_used = match slots {
            0 => Some(0),
            _ if apart => self.used(head.reference(self.layout, array), slots, SLOT, ObjectKind::TableArray),
            _ => block.bytes.get(size..).and_then(|bytes| count(bytes, slots, SLOT)),
        };
        let hash_used = match hash {
            0 => Some(0),
            _ => self.used(head.reference(self.layout, node), hash, NODE, ObjectKind::TableHash),
        };
        TableFill { inside: colo.inside, array: slots, array_used, hash, hash_used, apart }
    }

    /// How many of so many slots of a part, each of `stride` bytes, are not nil.
    fn used(&self, addr: Addr, slots: u64, stride: u64, kind: ObjectKind) -> Option<u64> {
        let part = self.blocks.find(addr)?;
        if self.blocks.label(&part).kind != kind || !part.fits(slots * stride) {
            return None;
        }
        if part.direct { self.used_later(&part, slots, stride) } else { count(part.bytes, slots, stride) }
    }

    /// The same of a direct block, whose slots were not copied. It may have been freed since.
    fn used_later(&self, part: &Block<'_>, slots: u64, stride: u64) -> Option<u64> {
        let (later, before) = (self.later?, part.start - HEADER);
        let head = later.word(before + 8)?;
        let size = (head & !INUSE) + shared::heap::layout::DIRECT_FOOT;
        if later.word(before) != Some(IS_DIRECT) || head & INUSE != CINUSE || size != part.size {
            return None;
        }
        let (mut bytes, mut used) = (vec![0; PIECE as usize], 0);
        let end = part.start.checked_add(slots.checked_mul(stride)?)?;
        for start in (part.start..end).step_by(PIECE as usize) {
            let piece = &mut bytes[..PIECE.min(end - start) as usize];
            later.read(start, piece).ok()?;
            used += count(piece, piece.len() as u64 / stride, stride)?;
        }
        Some(used)
    }

    /// What the table was made with.
    fn colo(&self, head: Head<'_>) -> Colo {
        let colo = head.byte(self.layout.reference + 3) as i8;
        Colo { inside: u64::from(colo as u8 & 0x7f), in_use: colo > 0 }
    }
}

/// Array slots in the header's block.
struct Colo {
    inside: u64,
    /// The array part has not outgrown them.
    in_use: bool,
}

/// How many of the first so many slots are not nil; nothing if there are not as many.
fn count(bytes: &[u8], slots: u64, stride: u64) -> Option<u64> {
    let bytes = bytes.get(..usize::try_from(slots.checked_mul(stride)?).ok()?)?;
    let used = bytes.chunks_exact(stride as usize).filter(|slot| slot[4..8] != NIL);
    Some(used.count() as u64)
}
