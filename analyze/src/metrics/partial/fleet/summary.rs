//! Sums and quantiles by service, build and day. Quantiles come from classes, so each is the lower end of the class that
//! the true one is in.

use std::collections::BTreeMap;

use super::{Fleet, Group};
use crate::metrics::partial::classes::quantile;

/// A metric's classes, each with what is in it.
type Classes = BTreeMap<i64, i64>;

/// What a group's rows come to.
#[derive(Debug, Clone, Default)]
pub struct Sums(BTreeMap<String, Classes>);

impl Sums {
    /// All that a metric comes to.
    pub fn sum(&self, metric: &str) -> i64 {
        self.0.get(metric).into_iter().flat_map(BTreeMap::values).fold(0, |sum, value| sum.wrapping_add(*value))
    }

    /// The lower end of the class in which a quantile is; nothing of nothing.
    pub fn quantile(&self, metric: &str, share: f64) -> Option<i64> {
        self.0.get(metric).and_then(|classes| quantile(classes, share))
    }

    /// One sum by another, times so much; nothing by 0.
    pub fn ratio(&self, of: &str, by: &str, times: i64) -> Option<i64> {
        let (of, by) = (i128::from(self.sum(of)), i128::from(self.sum(by)));
        (by > 0).then(|| i64::try_from(of * i128::from(times) / by).unwrap_or(i64::MAX))
    }
}

/// The sums of rows that have the same to say of whose they are: of a day, a build or everything.
pub fn sums(fleet: &Fleet, whose: impl Fn(Group) -> Group) -> BTreeMap<Group, Sums> {
    let mut all: BTreeMap<Group, Sums> = BTreeMap::new();
    for (key, figure) in &fleet.groups.0 {
        let Sums(metrics) = all.entry(whose(Group::of(&key.who))).or_default();
        let classes = metrics.entry(key.metric.to_string()).or_default();
        let sum = classes.entry(key.bucket).or_default();
        *sum = sum.wrapping_add(figure.value);
    }
    all
}

/// Bytes of memory by owner: mapped, resident, swapped, and by PSS.
pub type Owners = BTreeMap<(Group, String), [i64; 4]>;

/// Whose the memory of each service and build is, at the last look at each process.
pub fn owners(fleet: &Fleet) -> Owners {
    let mut all = Owners::new();
    let metrics = ["mapped_bytes", "resident_bytes", "swapped_bytes", "pss_bytes"];
    for (key, figure) in &fleet.groups.0 {
        if let Some(at) = metrics.iter().position(|metric| *metric == key.metric) {
            let group = Group { day: String::new(), ..Group::of(&key.who) };
            let sum = &mut all.entry((group, key.name.clone())).or_default()[at];
            *sum = sum.wrapping_add(figure.value);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::partial::classes::class;
    use crate::metrics::partial::fleet::sample;

    #[test]
    fn days_sum_to_the_whole_and_quantiles_are_of_vms() {
        let fleet = sample::fleet(&[("a", &[100, 300, 1000]), ("b", &[50])]);
        let days = sums(&fleet, |group| group);
        let whole = sums(&fleet, |_| Group::default());
        let [whole] = &whole.values().collect::<Vec<_>>()[..] else { panic!("one") };
        assert_eq!(days.values().map(|sums| sums.sum("used_bytes")).sum::<i64>(), 1450);
        assert_eq!((whole.sum("used_bytes"), whole.sum("heaps"), whole.sum("nothing")), (1450, 4, 0));
        let quantiles = [0.25, 0.5, 0.75, 1.0].map(|share| whole.quantile("vms_by_used_bytes", share).unwrap());
        assert_eq!(quantiles, [50, 100, 300, 1000].map(|used| class(used) as i64));
        assert_eq!((whole.ratio("used_bytes", "heaps", 2), whole.ratio("heaps", "nothing", 1)), (Some(725), None));
    }
}
