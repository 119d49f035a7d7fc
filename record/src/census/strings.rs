//! Strings: they are in no list but the string table's chains. What of the blocks left is one is told by its header, its
//! length and the zero behind it; that the VM counts as many is the proof.

use shared::Addr;
use shared::trace::census::{Label, ObjectKind};

use super::Walk;
use super::layout::gct;
use crate::target::Memory;

/// So many strings may be in the making when the target is stopped, and one of so many more.
const MAY_DIFFER: (u64, u64) = (2, 1000);
/// `global_State` has the string table's address, mask and count within so many bytes.
const TABLE_WITHIN: u64 = 512;

impl<M: Memory, L: Memory> Walk<'_, M, L> {
    /// Labels strings and their table. How many the VM counts; what is wrong if it counts others.
    pub(super) fn label_strings(&mut self) -> Result<u64, String> {
        let mut layouts: [Vec<(usize, u64, bool)>; 2] = Default::default();
        for at in 0..self.blocks.len() {
            if self.blocks.is_unknown(at) {
                for (found, place) in layouts.iter_mut().zip(self.layout.strings) {
                    found.extend(self.string(at, place).map(|(length, garbage)| (at, length, garbage)));
                }
            }
        }
        let table = |number: usize| Some((number, self.string_table(layouts[number].len() as u64)?));
        let best = (0..layouts.len()).filter_map(table).max_by_key(|(number, _)| layouts[*number].len());
        let Some((number, (table, counted))) = best else {
            let most = layouts.iter().map(Vec::len).max().unwrap_or_default();
            return Err(format!("{most} strings were found, and no string table that counts as many"));
        };
        for (at, length, garbage) in std::mem::take(&mut layouts[number]) {
            self.blocks.set(at, Label { kind: ObjectKind::String, garbage });
            self.found.strings.push((at, length));
        }
        self.blocks.set(table, Label { kind: ObjectKind::StringTable, garbage: false });
        Ok(counted)
    }

    /// A block's length as a string, and whether it is garbage, if it is one of this layout.
    fn string(&self, at: usize, [len, size]: [usize; 2]) -> Option<(u64, bool)> {
        let block = self.blocks.block(at);
        let head = self.head(block.start, block.room().min(size as u64 + 8))?;
        if head.byte(self.layout.reference + 1) != gct::STRING {
            return None;
        }
        let length = head.int(len);
        // Newer builds round the text up to four bytes, which can only make the chunk's size the next one.
        let text = size as u64 + length;
        if !block.fits(text + 1) && !block.fits(text + 4) {
            return None;
        }
        // Of a direct block only the first bytes were copied.
        let ends = block.direct || self.byte(block.start + text) == Some(0);
        ends.then(|| (length, self.is_garbage(head.byte(self.layout.reference))))
    }

    /// The block of the string table that counts about so many strings, and its count.
    fn string_table(&self, found: u64) -> Option<(usize, u64)> {
        let global = self.global.addr;
        (global..global + TABLE_WITHIN).step_by(8).find_map(|place| self.string_table_at(place, found))
    }

    fn string_table_at(&self, place: Addr, found: u64) -> Option<(usize, u64)> {
        let (table, numbers) = (self.memory.word(place)?, self.memory.word(place + 8)?);
        let (slots, counted) = ((numbers & 0xffff_ffff) + 1, numbers >> 32);
        let at = self.blocks.find(table)?;
        let is_table = slots.is_power_of_two() && self.blocks.block(at).fits(slots * self.layout.reference as u64);
        let (few, share) = MAY_DIFFER;
        (is_table && counted.abs_diff(found) <= few + found / share).then_some((at, counted))
    }
}
