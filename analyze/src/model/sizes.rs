//! A set of small integers that finds its next member fast.

/// How many integers the set can hold: 64 to the power of its three levels.
pub(super) const CAPACITY: usize = 64 * 64 * 64;

/// A set of integers below [`CAPACITY`]: three levels of bitmaps, where a bit of one level says that the word below
/// has any. Every operation takes constant time.
pub(super) struct SizeSet {
    members: Box<[u64]>,
    words: [u64; 64],
    groups: u64,
}

impl SizeSet {
    /// The empty set.
    pub(super) fn new() -> SizeSet {
        SizeSet { members: vec![0; CAPACITY / 64].into(), words: [0; 64], groups: 0 }
    }

    /// Adds `i`.
    #[inline]
    pub(super) fn insert(&mut self, i: usize) {
        self.members[i >> 6] |= 1 << (i & 63);
        self.words[i >> 12] |= 1 << (i >> 6 & 63);
        self.groups |= 1 << (i >> 12);
    }

    /// Removes `i`.
    #[inline]
    pub(super) fn remove(&mut self, i: usize) {
        self.members[i >> 6] &= !(1 << (i & 63));
        if self.members[i >> 6] == 0 {
            self.words[i >> 12] &= !(1 << (i >> 6 & 63));
            if self.words[i >> 12] == 0 {
                self.groups &= !(1 << (i >> 12));
            }
        }
    }

    /// The smallest member that is not below `i`.
    #[inline]
    pub(super) fn first_from(&self, i: usize) -> Option<usize> {
        let word = i >> 6;
        let member = |word: usize, bits: u64| word << 6 | bits.trailing_zeros() as usize;
        let here = self.members[word] & (!0 << (i & 63));
        if here != 0 {
            return Some(member(word, here));
        }
        let group = word >> 6;
        let later = self.words[group] & above(word & 63);
        let word = if later != 0 {
            group << 6 | later.trailing_zeros() as usize
        } else {
            let groups = self.groups & above(group);
            if groups == 0 {
                return None;
            }
            let group = groups.trailing_zeros() as usize;
            group << 6 | self.words[group].trailing_zeros() as usize
        };
        Some(member(word, self.members[word]))
    }
}

/// The bits of a word above bit `i`.
fn above(i: usize) -> u64 {
    !1 << i
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn finds_what_a_btree_finds() {
        let (mut fast, mut plain) = (SizeSet::new(), BTreeSet::new());
        let mut x = 1u64;
        for round in 0..20_000 {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            // Few high members, many low ones, and both ends.
            let i = ((x >> 33) as usize % CAPACITY) >> (x % 19);
            let i = if round % 100 == 0 { CAPACITY - 1 } else { i };
            if x >> 63 == 0 {
                fast.insert(i);
                plain.insert(i);
            } else {
                fast.remove(i);
                plain.remove(&i);
            }
            let from = (x >> 20) as usize % CAPACITY;
            assert_eq!(fast.first_from(from), plain.range(from..).next().copied());
            assert_eq!(fast.first_from(i), plain.range(i..).next().copied());
        }
    }
}
