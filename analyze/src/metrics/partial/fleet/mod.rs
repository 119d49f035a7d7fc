//! What the rows of many traces say of a fleet: sums by service, build and day, who is not like the others, which builds
//! are worse than the one before, and what could not be analysed.

pub mod builds;
pub mod peers;
pub mod summary;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Figure, Key, Partial, Who};
use crate::metrics::batch::outliers::Compared;

/// Takes in rows, one after the other, in any order.
#[derive(Debug, Default)]
pub struct Fleet {
    /// Rows that were taken in.
    pub rows: u64,
    /// All of them by service, build and day alone.
    pub groups: Partial,
    /// The nodes of each of those.
    pub nodes: BTreeMap<Group, BTreeSet<String>>,
    /// The VMs whose heaps are known.
    pub vms: BTreeMap<Arc<Who>, Compared>,
    /// Traces that failed or are not whole.
    pub troubles: BTreeSet<Trouble>,
    /// How often each trace, by its name and its recording, is among the rows: once, unless a data set was doubled.
    traces: BTreeMap<(String, String), i64>,
}

/// What rows are grouped by.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The service.
    pub service: String,
    /// Its build.
    pub build: String,
    /// The day.
    pub day: String,
}

/// A trace that failed or is not whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trouble {
    /// `failed`, `contradicted` or `incomplete`.
    pub outcome: &'static str,
    /// Where and when it is of.
    pub group: Group,
    /// The node, if that is known.
    pub node: String,
    /// The trace.
    pub trace: String,
    /// Why.
    pub reason: String,
}

impl Group {
    fn of(who: &Who) -> Group {
        Group { service: who.service.clone(), build: who.build.clone(), day: who.day.clone() }
    }

    /// As rows have it, with nothing else said.
    fn who(&self) -> Who {
        let Group { service, build, day } = self.clone();
        Who { service, build, day, ..Who::default() }
    }
}

impl Fleet {
    /// Takes in a row.
    pub fn observe(&mut self, key: &Key, figure: Figure) {
        self.rows += 1;
        let who = &key.who;
        let group = Group::of(who);
        self.groups.add(Key { who: Arc::new(group.who()), ..key.clone() }, figure);
        let outcome = match &*key.metric {
            "traces_failed" => Some("failed"),
            "traces_contradicted" => Some("contradicted"),
            "traces_incomplete" => Some("incomplete"),
            _ => None,
        };
        if let Some(outcome) = outcome {
            let (node, trace, reason) = (who.node.clone(), who.trace.clone(), key.name.clone());
            self.troubles.insert(Trouble { outcome, group: group.clone(), node, trace, reason });
        }
        if key.metric.starts_with("traces_") && !who.trace.is_empty() {
            let times = self.traces.entry((who.trace.clone(), who.recording.clone())).or_default();
            *times = times.saturating_add(figure.value);
        }
        if who.vm > 0 {
            self.heap(key, figure.value);
        }
        if !who.node.is_empty() {
            self.nodes.entry(group).or_default().insert(who.node.clone());
        }
    }

    fn heap(&mut self, key: &Key, value: i64) {
        let of: Option<fn(&mut Compared) -> &mut u64> = match &*key.metric {
            // A heap may be empty, and is one all the same.
            "heaps" => None,
            "used_bytes" => Some(|heap| &mut heap.used_bytes),
            "free_bytes" => Some(|heap| &mut heap.free_bytes),
            "segments_bytes" => Some(|heap| &mut heap.segments_bytes),
            "direct_bytes" => Some(|heap| &mut heap.direct_bytes),
            "gc_total" => Some(|heap| &mut heap.gc_total),
            _ => return,
        };
        let heap = self.vms.entry(Arc::clone(&key.who)).or_default();
        if let Some(figure) = of.map(|of| of(heap)) {
            *figure = figure.wrapping_add_signed(value);
        }
    }

    /// Traces whose rows are there more than once: all figures count them so often.
    pub fn doubled(&self) -> u64 {
        self.traces.values().filter(|times| **times > 1).count() as u64
    }

    /// The names of all nodes.
    pub fn all_nodes(&self) -> BTreeSet<&str> {
        self.nodes.values().flatten().map(String::as_str).collect()
    }

    /// The first and the last moment of all traces that tell, in nanoseconds since 1970.
    pub fn span(&self) -> Option<(i64, i64)> {
        let known = || self.groups.0.values().filter(|figure| figure.first_ns > 0);
        Some((known().map(|figure| figure.first_ns).min()?, known().map(|figure| figure.last_ns).max()?))
    }
}

#[cfg(test)]
pub(crate) mod sample {
    use super::*;
    use crate::metrics::partial::NO_CLASS;

    /// A fleet of one service: a build's heaps on nodes of their own, one a day.
    pub(crate) fn fleet(builds: &[(&str, &[i64])]) -> Fleet {
        let mut fleet = Fleet::default();
        for (day, (build, used)) in builds.iter().enumerate() {
            for (node, used) in used.iter().enumerate() {
                let who = Arc::new(Who {
                    service: "shop".into(),
                    build: (*build).to_owned(),
                    day: format!("2026-11-{:02}", day + 1),
                    node: format!("web-{node}"),
                    trace: format!("{build}/{node}.ljt"),
                    role: "worker".into(),
                    label: "http".into(),
                    pid: 7,
                    vm: 1,
                    ..Who::default()
                });
                let first_ns = 1_000_000_000 * (1 + day as i64);
                let mut row = |metric: &'static str, bucket: i64, value: i64| {
                    let key = Key { who: Arc::clone(&who), metric: metric.into(), name: String::new(), bucket };
                    fleet.observe(&key, Figure { value, first_ns, last_ns: first_ns + 5 });
                };
                row("heaps", NO_CLASS, 1);
                row("used_bytes", 1024, *used / 2);
                row("used_bytes", 64, *used - *used / 2);
                row("segments_bytes", 1 << 20, *used + (1 << 20));
                row("vms_by_used_bytes", crate::metrics::partial::classes::class(*used as u64) as i64, 1);
            }
        }
        fleet
    }

    #[test]
    fn heaps_are_put_together_from_their_rows() {
        let fleet = fleet(&[("a", &[100, 300]), ("b", &[50])]);
        let used: Vec<u64> = fleet.vms.values().map(|heap| heap.used_bytes).collect();
        assert_eq!(used, [100, 300, 50]);
        assert_eq!((fleet.groups.sum("used_bytes"), fleet.all_nodes().len(), fleet.rows), (450, 2, 15));
        assert_eq!(fleet.span(), Some((1_000_000_000, 2_000_000_005)));
    }
}
