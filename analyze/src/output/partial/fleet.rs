//! What is found of a fleet, as rows of tables.

use anyhow::Result;
use polars::prelude::DataFrame;

use crate::metrics::partial::fleet::builds::{Step, grown_ppm};
use crate::metrics::partial::fleet::peers::Differs;
use crate::metrics::partial::fleet::summary::{Owners, Sums};
use crate::metrics::partial::fleet::{Fleet, Group, Trouble};
use crate::output::rows::integer;

/// Sums by group.
pub type Groups = std::collections::BTreeMap<Group, Sums>;

/// One row for each service, build and day.
pub fn groups(fleet: &Fleet, groups: &Groups) -> Result<DataFrame> {
    let text = |of: fn(&Group) -> &str| groups.keys().map(of).collect::<Vec<&str>>();
    let sum = |metric: &str| groups.values().map(|sums| sums.sum(metric)).collect::<Vec<i64>>();
    let sums = |metrics: &[&str]| -> Vec<i64> {
        groups.values().map(|sums| metrics.iter().map(|metric| sums.sum(metric)).sum()).collect()
    };
    let at = |metric: &str, share: f64| -> Vec<Option<i64>> {
        groups.values().map(|sums| sums.quantile(metric, share)).collect()
    };
    let ratio = |of: &str, by: &str, times: i64| -> Vec<Option<i64>> {
        groups.values().map(|sums| sums.ratio(of, by, times)).collect()
    };
    let nodes = groups.keys().map(|group| integer(fleet.nodes.get(group).map_or(0, |nodes| nodes.len() as u64)));
    Ok(polars::df!(
        "service" => text(|group| &group.service),
        "build" => text(|group| &group.build),
        "day" => text(|group| &group.day),
        "traces" => sums(&WHOLE.iter().chain(&TROUBLES).copied().collect::<Vec<_>>()),
        "not_whole" => sums(&TROUBLES),
        "nodes" => nodes.collect::<Vec<i64>>(),
        "vms" => sum("vms"),
        "used_bytes" => sum("used_bytes"),
        "used_p50" => at("vms_by_used_bytes", 0.5),
        "used_p90" => at("vms_by_used_bytes", 0.9),
        "used_p99" => at("vms_by_used_bytes", 0.99),
        "segments_p50" => at("vms_by_segments_bytes", 0.5),
        "segments_p99" => at("vms_by_segments_bytes", 0.99),
        "gc_total_p50" => at("vms_by_gc_total", 0.5),
        "gc_total_p99" => at("vms_by_gc_total", 0.99),
        "free_ppm" => ratio("free_bytes", "segments_bytes", 1_000_000),
        "growth_bytes" => sum("growth_bytes"),
        "suspects" => sum("suspects"),
        "asked_bytes_per_second" => ratio("asked_bytes", "observed_us", 1_000_000),
        "longest_pause_p99_us" => at("processes_by_longest_pause_us", 0.99),
        "cost_ppm" => ratio("cost_us", "elapsed_us", 1_000_000),
    )?)
}

/// The outcomes of traces that are whole, and of those that are not.
pub const WHOLE: [&str; 2] = ["traces_verified", "traces_consistent"];
/// Those of traces that are not.
pub const TROUBLES: [&str; 3] = ["traces_incomplete", "traces_contradicted", "traces_failed"];

/// What blocks and chunks are counted by, and the metrics that hold how many and how much of each class.
const SIZES: [(&str, &str, &str); 4] = [
    ("used", "used_count", "used_bytes"),
    ("free", "free_count", "free_bytes"),
    ("direct", "direct_count", "direct_bytes"),
    ("asked", "asked_count", "asked_bytes"),
];

/// How large chunks are, by service and build: the lower ends of size classes.
pub fn sizes(builds: &Groups) -> Result<DataFrame> {
    let all: Vec<_> = builds.iter().flat_map(|(group, sums)| SIZES.iter().map(move |of| (group, sums, of))).collect();
    let all: Vec<_> = all.into_iter().filter(|(_, sums, (_, count, _))| sums.sum(count) > 0).collect();
    let count = |share: f64| all.iter().map(|(_, sums, (_, count, _))| sums.quantile(count, share)).collect::<Vec<_>>();
    let bytes = |share: f64| all.iter().map(|(_, sums, (.., bytes))| sums.quantile(bytes, share)).collect::<Vec<_>>();
    Ok(polars::df!(
        "service" => all.iter().map(|(group, ..)| group.service.as_str()).collect::<Vec<_>>(),
        "build" => all.iter().map(|(group, ..)| group.build.as_str()).collect::<Vec<_>>(),
        "quantity" => all.iter().map(|(.., (name, ..))| *name).collect::<Vec<_>>(),
        "count" => all.iter().map(|(_, sums, (_, count, _))| sums.sum(count)).collect::<Vec<_>>(),
        "bytes" => all.iter().map(|(_, sums, (.., bytes))| sums.sum(bytes)).collect::<Vec<_>>(),
        "size_p50" => count(0.5),
        "size_p90" => count(0.9),
        "size_p99" => count(0.99),
        "size_p50_by_bytes" => bytes(0.5),
        "size_p90_by_bytes" => bytes(0.9),
    )?)
}

/// How old blocks became that were seen to die.
pub fn ages(builds: &Groups) -> Result<DataFrame> {
    let all: Vec<_> = builds.iter().filter(|(_, sums)| sums.sum("born_count") > 0).collect();
    let sum = |metric: &str| all.iter().map(|(_, sums)| sums.sum(metric)).collect::<Vec<i64>>();
    let age = |share: f64| all.iter().map(|(_, sums)| sums.quantile("died_count", share)).collect::<Vec<_>>();
    Ok(polars::df!(
        "service" => all.iter().map(|(group, _)| group.service.as_str()).collect::<Vec<_>>(),
        "build" => all.iter().map(|(group, _)| group.build.as_str()).collect::<Vec<_>>(),
        "born" => sum("born_count"),
        "died" => sum("died_count"),
        "alive" => sum("alive_count"),
        "older_died" => sum("older_died_count"),
        "age_p50_ns" => age(0.5),
        "age_p90_ns" => age(0.9),
        "age_p99_ns" => age(0.99),
    )?)
}

/// Whose the memory of processes is.
pub fn owners(owners: &Owners) -> Result<DataFrame> {
    let amount = |at: usize| owners.values().map(|amounts| amounts[at]).collect::<Vec<i64>>();
    Ok(polars::df!(
        "service" => owners.keys().map(|(group, _)| group.service.as_str()).collect::<Vec<_>>(),
        "build" => owners.keys().map(|(group, _)| group.build.as_str()).collect::<Vec<_>>(),
        "owner" => owners.keys().map(|(_, owner)| owner.as_str()).collect::<Vec<_>>(),
        "mapped" => amount(0),
        "resident" => amount(1),
        "swapped" => amount(2),
        "pss" => amount(3),
    )?)
}

/// VMs or nodes that differ from their peers.
pub fn differing(all: &[Differs]) -> Result<DataFrame> {
    let text = |of: fn(&Differs) -> &str| all.iter().map(of).collect::<Vec<&str>>();
    let number = |of: fn(&Differs) -> i64| all.iter().map(of).collect::<Vec<i64>>();
    Ok(polars::df!(
        "service" => text(|one| &one.who.service),
        "build" => text(|one| &one.who.build),
        "node" => text(|one| &one.who.node),
        "day" => text(|one| &one.who.day),
        "role" => text(|one| &one.who.role),
        "generation" => number(|one| one.who.generation),
        "worker" => number(|one| one.who.worker),
        "pid" => number(|one| one.who.pid),
        "label" => text(|one| &one.who.label),
        "measure" => text(|one| one.apart.measure.name()),
        "value" => number(|one| one.apart.value),
        "median" => number(|one| one.apart.median),
        "deviations" => all.iter().map(|one| one.apart.deviations).collect::<Vec<f64>>(),
        "peers" => number(|one| integer(one.peers)),
        "trace" => text(|one| &one.who.trace),
    )?)
}

/// Builds against the one before.
pub fn steps(all: &[Step]) -> Result<DataFrame> {
    let text = |of: fn(&Step) -> &str| all.iter().map(of).collect::<Vec<&str>>();
    let number = |of: fn(&Step) -> i64| all.iter().map(of).collect::<Vec<i64>>();
    Ok(polars::df!(
        "service" => text(|step| &step.service),
        "before" => text(|step| &step.before),
        "build" => text(|step| &step.build),
        "measure" => text(|step| step.measure.name()),
        "regresses" => all.iter().map(|step| step.regresses).collect::<Vec<bool>>(),
        "median_before" => number(|step| step.median_before),
        "median" => number(|step| step.median),
        "change_ppm" => all.iter().map(grown_ppm).collect::<Vec<Option<i64>>>(),
        "larger" => all.iter().map(|step| step.larger).collect::<Vec<f64>>(),
        "vms_before" => number(|step| integer(step.vms_before)),
        "vms" => number(|step| integer(step.vms)),
    )?)
}

/// Traces that failed or are not whole.
pub fn troubles<'a>(all: impl IntoIterator<Item = &'a Trouble>) -> Result<DataFrame> {
    let all: Vec<&Trouble> = all.into_iter().collect();
    let text = |of: fn(&Trouble) -> &str| all.iter().map(|one| of(one)).collect::<Vec<&str>>();
    Ok(polars::df!(
        "outcome" => text(|one| one.outcome),
        "trace" => text(|one| &one.trace),
        "reason" => text(|one| &one.reason),
        "node" => text(|one| &one.node),
        "service" => text(|one| &one.group.service),
        "build" => text(|one| &one.group.build),
        "day" => text(|one| &one.group.day),
    )?)
}
