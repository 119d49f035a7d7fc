//! Which of two lists belong together: those that are called the same, in their order; and one of each, whatever they
//! are called.

use std::collections::BTreeMap;

/// What belongs together, by places in the two lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs {
    /// In both, in the order of the first list.
    pub both: Vec<(usize, usize)>,
    /// In the first list only.
    pub only_a: Vec<usize>,
    /// In the second list only.
    pub only_b: Vec<usize>,
}

/// Pairs the first of a name with the first of that name, the second with the second, and so on.
pub fn pair<K: Ord>(a: &[K], b: &[K]) -> Pairs {
    if let ([_], [_]) = (a, b) {
        return Pairs { both: vec![(0, 0)], ..Pairs::default() };
    }
    let mut free: BTreeMap<&K, Vec<usize>> = BTreeMap::new();
    for (at, key) in b.iter().enumerate().rev() {
        free.entry(key).or_default().push(at);
    }
    let mut pairs = Pairs::default();
    for (at, key) in a.iter().enumerate() {
        match free.get_mut(key).and_then(Vec::pop) {
            Some(other) => pairs.both.push((at, other)),
            None => pairs.only_a.push(at),
        }
    }
    pairs.only_b = free.into_values().flatten().collect();
    pairs.only_b.sort_unstable();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_second_of_a_name_is_paired_with_the_second() {
        let pairs = pair(&["http", "stream", "http"], &["stream", "http", "http", "http"]);
        assert_eq!(pairs, Pairs { both: vec![(0, 1), (1, 0), (2, 2)], only_a: vec![], only_b: vec![3] });
        assert_eq!(pair(&["old"], &["new"]).both, [(0, 0)]);
        assert_eq!(pair(&["old"], &["new", "newer"]).only_a, [0]);
    }

    proptest! {
        #[test]
        fn each_is_in_one_place(a in prop::collection::vec(0u8..4, 0..9), b in prop::collection::vec(0u8..4, 0..9)) {
            let pairs = pair(&a, &b);
            let mut firsts: Vec<usize> = pairs.both.iter().map(|(a, _)| *a).chain(pairs.only_a).collect();
            let mut seconds: Vec<usize> = pairs.both.iter().map(|(_, b)| *b).chain(pairs.only_b).collect();
            firsts.sort_unstable();
            seconds.sort_unstable();
            prop_assert_eq!(firsts, (0..a.len()).collect::<Vec<_>>());
            prop_assert_eq!(seconds, (0..b.len()).collect::<Vec<_>>());
        }

        #[test]
        fn a_list_is_paired_with_itself(a in prop::collection::vec(0u8..4, 0..9)) {
            prop_assert_eq!(pair(&a, &a).both, (0..a.len()).map(|at| (at, at)).collect::<Vec<_>>());
        }
    }
}
