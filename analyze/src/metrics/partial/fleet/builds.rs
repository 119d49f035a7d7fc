//! Builds against the one before: the builds of a service follow each other by when they were first seen.

use std::collections::BTreeMap;

use super::Fleet;
use crate::metrics::batch::outliers::{Compared, Measure, median};
use crate::metrics::partial::UNKNOWN;

/// Fewer VMs than this of either build say nothing.
const VMS: usize = 4;
/// From so much more on, in millionths of the median before, it may be a regression.
const MORE_PPM: i64 = 100_000;
/// In so many pairs of a VM of each build the newer one's figure is to be the larger one.
const PAIRS: f64 = 0.75;

/// A build's figure against that of the build before.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The service.
    pub service: String,
    /// The build before.
    pub before: String,
    /// The build.
    pub build: String,
    /// The figure.
    pub measure: Measure,
    /// VMs of the build before, each counted in each trace.
    pub vms_before: u64,
    /// VMs of this one.
    pub vms: u64,
    /// The median over the VMs of the build before.
    pub median_before: i64,
    /// Over those of this one.
    pub median: i64,
    /// The share of pairs, of a VM of each, in which this build's figure is the larger one; equal ones count half.
    pub larger: f64,
    /// The median is larger by a tenth and more, three pairs of four agree, and there are four VMs of each build.
    pub regresses: bool,
}

/// The builds of each service, in the order in which they were first seen; those without a name are left out.
pub fn in_order(fleet: &Fleet) -> BTreeMap<&str, Vec<&str>> {
    let mut first_seen: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for (key, figure) in fleet.groups.0.iter().filter(|(key, figure)| key.who.build != UNKNOWN && figure.first_ns > 0) {
        let first = first_seen.entry((&key.who.service, &key.who.build)).or_insert(figure.first_ns);
        *first = figure.first_ns.min(*first);
    }
    let mut first_seen: Vec<(i64, (&str, &str))> = first_seen.into_iter().map(|(of, first)| (first, of)).collect();
    first_seen.sort_unstable();
    let mut builds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (_, (service, build)) in first_seen {
        builds.entry(service).or_default().push(build);
    }
    builds
}

/// All steps, those that regress first, by how much the median has grown.
pub fn steps(fleet: &Fleet) -> Vec<Step> {
    let mut heaps: BTreeMap<(&str, &str), Vec<Compared>> = BTreeMap::new();
    for (who, heap) in &fleet.vms {
        heaps.entry((&who.service, &who.build)).or_default().push(*heap);
    }
    let mut steps = Vec::new();
    for (service, builds) in in_order(fleet) {
        for pair in builds.windows(2) {
            let [before, build] = [pair[0], pair[1]];
            // Without a heap of both there is nothing to compare.
            let Some((old, new)) = heaps.get(&(service, before)).zip(heaps.get(&(service, build))) else { continue };
            steps.extend(Measure::ALL.into_iter().map(|measure| {
                let figures = [old, new].map(|heaps| heaps.iter().map(|heap| measure.of(heap)).collect::<Vec<i64>>());
                step([service, before, build], measure, &figures)
            }));
        }
    }
    steps.sort_by(|a, b| b.regresses.cmp(&a.regresses).then(grown_ppm(b).cmp(&grown_ppm(a))));
    steps
}

/// How much larger the median is, in millionths of that before; nothing if that is 0.
pub fn grown_ppm(step: &Step) -> Option<i64> {
    let (before, now) = (i128::from(step.median_before), i128::from(step.median));
    let grown = (now - before) * 1_000_000;
    (before > 0).then(|| i64::try_from(grown / before).unwrap_or(i64::MAX))
}

fn step([service, before, build]: [&str; 3], measure: Measure, [old, new]: &[Vec<i64>; 2]) -> Step {
    let step = Step {
        service: service.to_owned(),
        before: before.to_owned(),
        build: build.to_owned(),
        measure,
        vms_before: old.len() as u64,
        vms: new.len() as u64,
        median_before: median(old.clone()),
        median: median(new.clone()),
        larger: larger(old, new),
        regresses: false,
    };
    let enough = old.len().min(new.len()) >= VMS;
    // Anything is much more than nothing.
    let grown = grown_ppm(&step).map_or(step.median > 0, |grown| grown >= MORE_PPM);
    let regresses = enough && grown && step.larger >= PAIRS;
    Step { regresses, ..step }
}

/// The share of pairs in which the second's figure is the larger one: Mann and Whitney's statistic.
fn larger(old: &[i64], new: &[i64]) -> f64 {
    let mut old = old.to_vec();
    old.sort_unstable();
    let halves = |figure: &i64| old.partition_point(|one| one < figure) + old.partition_point(|one| one <= figure);
    let sum: u128 = new.iter().map(|figure| halves(figure) as u128).sum();
    sum as f64 / (2.0 * old.len() as f64 * new.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::partial::fleet::sample;

    fn regressing(builds: &[(&str, &[i64])]) -> Vec<(String, String)> {
        let steps = steps(&sample::fleet(builds));
        let used = steps.into_iter().filter(|step| step.regresses && step.measure == Measure::UsedBytes);
        used.map(|step| (step.before, step.build)).collect()
    }

    #[test]
    fn a_build_that_takes_more_is_named_with_the_one_before() {
        let (usual, more): (&[i64], &[i64]) = (&[100, 101, 99, 100], &[130, 131, 90, 129]);
        let step = ("z".to_owned(), "a".to_owned());
        // Builds follow each other as they were seen, not by name.
        assert_eq!(regressing(&[("z", usual), ("a", more), ("m", usual)]), [step]);
        assert!(regressing(&[("a", usual), ("b", usual)]).is_empty());
        assert_eq!(regressing(&[("a", &[0, 0, 0, 0]), ("b", &[9, 9, 9, 0])]).len(), 1);
        assert!(regressing(&[("a", &[0, 0, 0, 0]), ("b", &[0, 0, 0, 0])]).is_empty());
        // Three VMs are too few; so is half of the pairs.
        assert!(regressing(&[("a", usual), ("b", &[200, 200, 200])]).is_empty());
        assert!(regressing(&[("a", &[1, 100, 120, 120, 100]), ("b", &[99, 99, 110, 111, 121])]).is_empty());
    }

    #[test]
    fn pairs_are_counted_as_a_naive_twin_counts_them() {
        let (old, new) = ([1, 5, 5, 9], [5, 6, 0]);
        let pairs = old.iter().flat_map(|old| new.iter().map(move |new| new.cmp(old)));
        let halves: i32 = pairs.map(|order| order as i32 + 1).sum();
        assert!((larger(&old, &new) - f64::from(halves) / 24.0).abs() < 1e-12);
    }
}
