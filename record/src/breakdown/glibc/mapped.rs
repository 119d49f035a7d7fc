//! Blocks that glibc has mapped on their own.

use std::ops::Range;

use shared::Addr;
use shared::heap::layout::PAGE;

use super::layout::{FLAGS, HEAD, IS_MMAPPED};
use crate::target::Memory;

/// So many pages are asked for at once where no block was expected.
const BATCH: u64 = 512;

/// Blocks mapped on their own in ranges of anonymous memory that nobody else claims. The kernel makes one mapping of
/// neighbours, so one may stand behind the other, and behind memory of somebody else.
pub fn mapped_blocks(memory: &impl Memory, unclaimed: &[Range<Addr>]) -> Vec<Range<Addr>> {
    let mut found = Vec::new();
    for range in unclaimed {
        let mut page = range.start.next_multiple_of(PAGE);
        while page < range.end {
            // Pages inside a block are not touched: most of them may never have been.
            let block = block_at(page, range.end, memory);
            let next = block.clone().or_else(|| {
                let batch_end = range.end.min(page.saturating_add(BATCH * PAGE));
                let pages: Vec<Addr> = (page + PAGE..batch_end).step_by(PAGE as usize).collect();
                let mut first = None;
                memory.read_many(&memory.in_ram(pages), HEAD as usize, |page, bytes| {
                    if first.is_none() {
                        first = block_in(page, range.end, bytes);
                    }
                });
                first
            });
            page = next.as_ref().map_or(page.saturating_add(BATCH * PAGE), |block| block.end);
            found.extend(next);
        }
    }
    found
}

fn block_at(page: Addr, end: Addr, memory: &impl Memory) -> Option<Range<Addr>> {
    let mut head = [0; HEAD as usize];
    memory.read(page, &mut head).ok()?;
    block_in(page, end, &head)
}

/// The block whose head stands at the start of a page. `memalign` makes a second head inside; the first one stays.
fn block_in(page: Addr, end: Addr, head: &[u8]) -> Option<Range<Addr>> {
    let word = |at: usize| head.get(at..at + 8).and_then(|word| word.try_into().ok()).map(u64::from_le_bytes);
    let (before, size) = (word(0)?, word(8)?);
    let block = page..page.checked_add(size & !FLAGS)?;
    // Nothing is before it in its mapping.
    let is_block =
        before == 0 && size & FLAGS == IS_MMAPPED && size & !FLAGS != 0 && (size & !FLAGS).is_multiple_of(PAGE);
    (is_block && block.end <= end).then_some(block)
}
