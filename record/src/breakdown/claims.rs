//! Stretches of memory that are known to be somebody's. Who claims first, keeps: each byte has one owner.

use std::collections::BTreeMap;
use std::ops::Range;

use shared::Addr;
use shared::heap::layout::PAGE;

use super::owners::Owner;

/// Disjoint stretches and their owners.
#[derive(Debug, Clone, Default)]
pub struct Claims(BTreeMap<Addr, (Addr, Owner)>);

impl Claims {
    /// Gives what is unclaimed of a range, rounded outwards to whole pages, to an owner.
    pub fn add(&mut self, range: Range<Addr>, owner: &Owner) {
        let range = range.start & !(PAGE - 1)..range.end.saturating_add(PAGE - 1) & !(PAGE - 1);
        for gap in self.gaps(&range) {
            self.0.insert(gap.start, (gap.end, owner.clone()));
        }
    }

    /// What is claimed of a range, ascending.
    pub fn within(&self, range: &Range<Addr>) -> Vec<(Range<Addr>, &Owner)> {
        let first = self.0.range(..=range.start).next_back().map_or(range.start, |(start, _)| *start);
        let all = self.0.range(first..range.end.max(first));
        let cut = all.map(|(start, (end, owner))| ((*start).max(range.start)..(*end).min(range.end), owner));
        cut.filter(|(piece, _)| !piece.is_empty()).collect()
    }

    /// What is not claimed of a range, ascending.
    pub fn gaps(&self, range: &Range<Addr>) -> Vec<Range<Addr>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        for (claimed, _) in self.within(range) {
            gaps.push(at..claimed.start);
            at = claimed.end;
        }
        gaps.push(at..range.end);
        gaps.retain(|gap| !gap.is_empty());
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use shared::trace::breakdown::SliceKind;

    proptest! {
        #[test]
        fn every_page_has_the_owner_that_claimed_it_first(
            wishes in vec((0..40u64, 0..12u64), 0..12), looked_at in (0..30u64, 0..30u64),
        ) {
            let (mut claims, mut pages) = (Claims::default(), [None; 64]);
            for (number, (start, length)) in wishes.iter().enumerate() {
                let owner = Owner { vm: number as u32, ..Owner::new(SliceKind::Luajit, "") };
                claims.add(start * PAGE..(start + length) * PAGE, &owner);
                for page in *start..start + length {
                    pages[page as usize].get_or_insert(number as u32);
                }
            }
            let range = looked_at.0 * PAGE..(looked_at.0 + looked_at.1) * PAGE;
            let mut seen = [None; 64];
            for (piece, owner) in claims.within(&range) {
                for page in piece.start / PAGE..piece.end / PAGE {
                    prop_assert_eq!(seen[page as usize].replace(owner.vm), None, "claimed once");
                }
            }
            let gaps: u64 = claims.gaps(&range).iter().map(|gap| (gap.end - gap.start) / PAGE).sum();
            let mut unclaimed = 0;
            for page in looked_at.0..looked_at.0 + looked_at.1 {
                let page = page as usize;
                prop_assert_eq!(seen.get(page), pages.get(page));
                unclaimed += u64::from(pages.get(page).is_none_or(Option::is_none));
            }
            prop_assert_eq!(gaps, unclaimed);
        }
    }
}
