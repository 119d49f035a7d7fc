//! Which pages are in RAM and which in swap; and by them, how a mapping is divided among several owners.

use std::ops::Range;

use procfs::process::{MemoryPageFlags, PageInfo, PageMap};
use shared::Addr;
use shared::heap::layout::PAGE;
use shared::trace::breakdown::Memory;

use super::areas::Area;
use super::claims::Claims;
use super::owners::Owner;
use crate::target::{PAGE_MAP_PIECE, Target};

/// A process's page map; nothing is known of any page if it cannot be opened.
#[derive(Default)]
pub struct Pages(Option<PageMap>);

impl Pages {
    /// Of a process.
    pub fn open(target: &Target) -> Pages {
        Pages(target.page_map().ok())
    }

    /// Bytes of a range of whole pages, and those of them in RAM and in swap.
    pub fn count(&mut self, range: &Range<Addr>) -> Memory {
        let mut found = Memory { mapped: range.end - range.start, ..Memory::default() };
        let Some(map) = &mut self.0 else { return found };
        let (mut at, end) = (range.start / PAGE, range.end / PAGE);
        while at < end {
            let next = end.min(at + PAGE_MAP_PIECE as u64);
            for page in map.get_range_info(at as usize..next as usize).unwrap_or_default() {
                match page {
                    PageInfo::MemoryPage(flags) if flags.contains(MemoryPageFlags::PRESENT) => found.resident += PAGE,
                    PageInfo::SwapPage(_) => found.swapped += PAGE,
                    PageInfo::MemoryPage(_) => {}
                }
            }
            at = next;
        }
        found
    }

    /// An area's memory by owner: those who claim parts of it, and `rest`. The parts sum to the area's figures, which are
    /// divided by the pages that are where they say now.
    pub fn divide(&mut self, area: &Area, rest: &Owner, claims: &Claims) -> Vec<(Owner, Memory)> {
        let claimed = claims.within(&area.range).into_iter().map(|(range, owner)| (range, owner.clone()));
        let unclaimed = claims.gaps(&area.range).into_iter().map(|range| (range, rest.clone()));
        let mut parts: Vec<(Range<Addr>, Owner)> = claimed.chain(unclaimed).collect();
        if let [(_, owner)] = &mut parts[..] {
            return vec![(owner.clone(), area.memory)];
        }
        parts.sort_by_key(|(range, _)| range.start);
        let counts: Vec<Memory> = parts.iter().map(|(range, _)| self.count(range)).collect();
        let shares = |of: fn(&Memory) -> u64, by: fn(&Memory) -> u64| {
            share_out(of(&area.memory), &counts.iter().map(by).collect::<Vec<_>>())
        };
        let resident = shares(|memory| memory.resident, |count| count.resident);
        let swapped = shares(|memory| memory.swapped, |count| count.swapped);
        let pss = shares(|memory| memory.pss, |count| count.resident);
        let memory = |at: usize| Memory {
            mapped: counts[at].mapped,
            resident: resident[at],
            swapped: swapped[at],
            pss: pss[at],
        };
        parts.into_iter().enumerate().map(|(at, (_, owner))| (owner, memory(at))).collect()
    }
}

/// Divides a total by weights, to the unit; all goes to the first where no weight is known.
fn share_out(total: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let (mut seen, mut given) = (0u128, 0u64);
    let share = |weight: &u64| {
        seen += u128::from(*weight);
        let up_to = (u128::from(total) * seen).checked_div(sum).unwrap_or(u128::from(total)) as u64;
        let share = up_to - given;
        given = up_to;
        share
    };
    weights.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_sum_to_the_total_and_differ_from_the_weights_by_rounding(
            weights in vec(0..1u64 << 40, 1..20), total in 0..1u64 << 45,
        ) {
            let shares = share_out(total, &weights);
            prop_assert_eq!(shares.iter().sum::<u64>(), total);
            let sum: u64 = weights.iter().sum();
            for (share, weight) in shares.iter().zip(&weights).filter(|_| sum > 0) {
                let exact = u128::from(total) * u128::from(*weight) / u128::from(sum);
                prop_assert!(u128::from(*share).abs_diff(exact) <= 1);
            }
        }
    }
}
