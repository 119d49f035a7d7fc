//! Which workers and nodes differ most from their peers, by the statistic of `analyze batch`: how far a figure is from
//! the median of its peers, in median absolute deviations.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Fleet;
use crate::metrics::batch::outliers::{Apart, Compared, apart};
use crate::metrics::partial::Who;

/// A worker's VM, or a node, that differs from its peers.
#[derive(Debug, Clone, PartialEq)]
pub struct Differs {
    /// Whose the figure is; of a node, without its workers.
    pub who: Who,
    /// How it differs.
    pub apart: Apart,
    /// How many peers there are, this one included.
    pub peers: u64,
}

/// VMs that differ from those of the same service, build, role and label, most first. Each counts once in each trace.
pub fn workers(fleet: &Fleet) -> Vec<Differs> {
    let mut groups: BTreeMap<[&str; 4], Vec<(&Arc<Who>, Compared)>> = BTreeMap::new();
    for (who, heap) in &fleet.vms {
        let key = [&who.service, &who.build, &who.role, &who.label].map(String::as_str);
        groups.entry(key).or_default().push((who, *heap));
    }
    let groups =
        groups.into_values().map(|peers| peers.into_iter().map(|(who, heap)| ((**who).clone(), heap)).collect());
    differing(groups)
}

/// Nodes that differ from those with the same service and build by the mean over their VMs, most first.
pub fn nodes(fleet: &Fleet) -> Vec<Differs> {
    let mut nodes: BTreeMap<[&str; 3], (Compared, u64)> = BTreeMap::new();
    for (who, heap) in fleet.vms.iter().filter(|(who, _)| !who.node.is_empty()) {
        let (sum, count) = nodes.entry([&who.service, &who.build, &who.node].map(String::as_str)).or_default();
        add(sum, heap);
        *count += 1;
    }
    let mut groups: BTreeMap<[&str; 2], Vec<(Who, Compared)>> = BTreeMap::new();
    for ([service, build, node], (sum, count)) in nodes {
        let [of_service, of_build, node_name] = [service, build, node].map(str::to_owned);
        let who = Who { service: of_service, build: of_build, node: node_name, ..Who::default() };
        groups.entry([service, build]).or_default().push((who, mean(&sum, count)));
    }
    differing(groups.into_values())
}

fn differing(groups: impl Iterator<Item = Vec<(Who, Compared)>>) -> Vec<Differs> {
    let mut all = Vec::new();
    for peers in groups {
        let (who, heaps): (Vec<Who>, Vec<Compared>) = peers.into_iter().unzip();
        let peers = who.len() as u64;
        all.extend(apart(&heaps).map(|apart| Differs { who: who[apart.at].clone(), apart, peers }));
    }
    all.sort_by(|a, b| {
        let by_distance = b.apart.deviations.abs().total_cmp(&a.apart.deviations.abs());
        by_distance.then_with(|| (a.apart.measure, &a.who).cmp(&(b.apart.measure, &b.who)))
    });
    all
}

fn add(sum: &mut Compared, heap: &Compared) {
    sum.used_bytes = sum.used_bytes.saturating_add(heap.used_bytes);
    sum.free_bytes = sum.free_bytes.saturating_add(heap.free_bytes);
    sum.segments_bytes = sum.segments_bytes.saturating_add(heap.segments_bytes);
    sum.direct_bytes = sum.direct_bytes.saturating_add(heap.direct_bytes);
    sum.gc_total = sum.gc_total.saturating_add(heap.gc_total);
}

fn mean(sum: &Compared, count: u64) -> Compared {
    let of = |sum: u64| sum / count.max(1);
    Compared {
        used_bytes: of(sum.used_bytes),
        free_bytes: of(sum.free_bytes),
        segments_bytes: of(sum.segments_bytes),
        direct_bytes: of(sum.direct_bytes),
        gc_total: of(sum.gc_total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::batch::outliers::Measure;
    use crate::metrics::partial::fleet::sample;

    #[test]
    fn the_one_that_differs_is_found_among_those_of_its_build_alone() {
        const M: i64 = 1 << 20;
        // What is usual of b would be far out among those of a.
        let fleet = sample::fleet(&[("a", &[9 * M, 10 * M, 11 * M, 90 * M, 10 * M]), ("b", &[90 * M, 91 * M, 92 * M])]);
        for found in [workers(&fleet), nodes(&fleet)] {
            let used: Vec<&Differs> = found.iter().filter(|one| one.apart.measure == Measure::UsedBytes).collect();
            let [one] = used[..] else { panic!("{found:?}") };
            assert_eq!((one.who.build.as_str(), one.who.node.as_str(), one.peers), ("a", "web-3", 5));
            assert_eq!((one.apart.value, one.apart.median), (90 * M, 10 * M));
        }
        assert_eq!((workers(&Fleet::default()), nodes(&Fleet::default())), (Vec::new(), Vec::new()));
    }
}
