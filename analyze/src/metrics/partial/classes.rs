//! Classes of figures that are fine enough for quantiles: eight an octave, so that a quantile is known to 12.5 %.

/// Bits of a figure that its class keeps.
const BITS: u32 = 4;

/// The lower end of a figure's class: its four leading bits. Up to 15 each figure has its own.
pub fn class(figure: u64) -> u64 {
    let drop = dropped(figure);
    figure >> drop << drop
}

/// The largest figure of a class, by its lower end.
pub fn last_of_class(lower: u64) -> u64 {
    lower | ((1 << dropped(lower)) - 1)
}

fn dropped(figure: u64) -> u32 {
    figure.max(1).ilog2().saturating_sub(BITS - 1)
}

/// The class that a quantile lies in: so much of all is in it or in those below, at least. Classes come by their lower ends,
/// ascending, each with how many are in it; nothing of none.
pub fn quantile<'a>(classes: impl IntoIterator<Item = (&'a i64, &'a i64)> + Clone, share: f64) -> Option<i64> {
    let all: i128 = classes.clone().into_iter().map(|(_, count)| i128::from(*count)).sum();
    let wanted = (share * all as f64).ceil().max(1.0) as i128;
    let mut sum = 0i128;
    let reached = classes.into_iter().find(|(_, count)| {
        sum += i128::from(**count);
        sum >= wanted
    });
    reached.map(|(lower, _)| *lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn classes_are_an_eighth_of_their_octave() {
        assert_eq!([0, 1, 15, 16, 17, 18, 127, 128, 143, 144].map(class), [0, 1, 15, 16, 16, 18, 120, 128, 128, 144]);
        assert_eq!([0, 15, 16, 128, 1 << 40].map(last_of_class), [0, 15, 17, 143, (1 << 40) + (1 << 37) - 1]);
        assert_eq!(last_of_class(class(u64::MAX)), u64::MAX);
    }

    proptest! {
        #[test]
        fn a_quantile_is_in_the_class_of_the_true_one(figures in prop::collection::vec(any::<u32>(), 1..50), share in 0.0..1.0f64) {
            let mut classes: BTreeMap<i64, i64> = BTreeMap::new();
            figures.iter().for_each(|figure| *classes.entry(class(u64::from(*figure)) as i64).or_default() += 1);
            let mut sorted = figures.clone();
            sorted.sort_unstable();
            let at = ((share * figures.len() as f64).ceil() as usize).max(1) - 1;
            let lower = quantile(&classes, share).unwrap() as u64;
            let truth = u64::from(sorted[at]);
            prop_assert!((lower..=last_of_class(lower)).contains(&truth));
            prop_assert!(last_of_class(lower) - lower <= truth / 8);
        }
    }

    #[test]
    fn of_none_there_is_no_quantile() {
        assert_eq!(quantile(&BTreeMap::new(), 0.5), None);
    }
}
