//! Strings: they are in no list but the string table's chains. What of the blocks left is one is told by its header, its
//! length and the zero behind it; that the VM counts as many is the proof.

use shared::Addr;
use shared::trace::census::{Label, ObjectKind};

use super::Walk;
use super::blocks::Block;
use super::layout::{Head, gct};
use crate::target::Memory;

/// So many strings may be in the making when the target is stopped, and one of so many more.
const MAY_DIFFER: (u64, u64) = (2, 1000);
/// `global_State` has the string table's address, mask and count within so many bytes.
const TABLE_WITHIN: u64 = 512;

impl<'a, L: Memory> Walk<'a, L> {
    /// Labels strings and their table. How many the VM counts; what is wrong if it counts others.
    pub(super) fn label_strings(&mut self) -> Result<u64, String> {
        let blocks = self.blocks.in_order().take_while(|_| !self.is_stopped());
        let unknown = blocks.flatten().filter(|block| self.blocks.is_unknown(block));
        let (mut candidates, mut counts) = (Vec::new(), [0; 2]);
        for block in unknown {
            let head = Head(block.bytes);
            if head.byte(self.layout.reference + 1) != gct::STRING {
                continue;
            }
            let fits = self.layout.strings.map(|layout| is_string(&block, layout));
            if fits.contains(&true) {
                counts.iter_mut().zip(fits).for_each(|(count, fits)| *count += u64::from(fits));
                candidates.push((block.place(), fits, self.is_garbage(head.byte(self.layout.reference))));
            }
        }
        let with_table = (0..counts.len()).filter_map(|layout| {
            let (table, counted) = self.string_table(counts[layout])?;
            Some((layout, table, counted))
        });
        let Some((layout, table, counted)) = with_table.max_by_key(|(layout, ..)| counts[*layout]) else {
            let most = counts.into_iter().max().unwrap_or_default();
            return Err(format!("{most} strings were found, and no string table that counts as many"));
        };
        for (place, _, garbage) in candidates.into_iter().filter(|(_, fits, _)| fits[layout]) {
            self.blocks.set_at(place, Label { kind: ObjectKind::String, garbage });
        }
        self.blocks.set(&table, Label { kind: ObjectKind::StringTable, garbage: false });
        self.string = self.layout.strings[layout];
        Ok(counted)
    }

    /// The block of the string table that counts about so many strings, and its count.
    fn string_table(&self, found: u64) -> Option<(Block<'a>, u64)> {
        let global = self.global.addr;
        (global..global + TABLE_WITHIN).step_by(8).find_map(|place| self.string_table_at(place, found))
    }

    fn string_table_at(&self, place: Addr, found: u64) -> Option<(Block<'a>, u64)> {
        let (table, numbers) = (self.word(place)?, self.word(place + 8)?);
        let (slots, counted) = ((numbers & 0xffff_ffff) + 1, numbers >> 32);
        let block = self.blocks.find(table)?;
        let is_table = slots.is_power_of_two() && block.fits(slots * self.layout.reference as u64);
        let (few, share) = MAY_DIFFER;
        (is_table && counted.abs_diff(found) <= few + found / share).then_some((block, counted))
    }
}

/// Whether a block is a string that has its length there, and such a header.
fn is_string(block: &Block<'_>, [len, size]: [usize; 2]) -> bool {
    let length = Head(block.bytes).int(len);
    // Newer builds round the text up to four bytes, which can only make the chunk's size the next one.
    let text = size as u64 + length;
    // Of a direct block only the first bytes were copied.
    let ends = || block.direct || usize::try_from(text).is_ok_and(|end| block.bytes.get(end) == Some(&0));
    (block.fits(text + 1) || block.fits(text + 4)) && ends()
}
