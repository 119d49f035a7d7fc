//! A process's recording in windows, as estimates take it.

use shared::trace::meta::{Process, Window};

use super::estimate::{Observed, Sampling};
use super::rates::Time;
use crate::replay::Plan;
use crate::replay::costs::CostReport;

/// How well the cost of a hit is known at best: a tenth either way, so a fifth of it is taken as the spread.
const UNSURE: u64 = 5;

/// What a hit costs a process, and how well that is known: 0 if the trace does not say.
pub fn hit_cost(process: &Process, whole: Option<&CostReport>) -> (u64, u64) {
    let told = (process.cost.hit_ns > 0).then_some((process.cost.hit_ns, process.cost.hit_spread_ns));
    told.or(whole.map(|cost| (cost.hit_ns, cost.hit_spread_ns))).unwrap_or_default()
}

/// A recording of the plan's process of that number in windows, in order of time, and how long it was: from the moment
/// the process was found to its end or the last window's, or, if not `all` of it, from the first window to the last.
pub fn sampling(
    plan: &Plan,
    number: usize,
    windows: &[Window],
    all: bool,
    (hit_ns, hit_spread_ns): (u64, u64),
) -> (Sampling, Time) {
    let (process, life) = (&plan.processes[number], plan.lives[number]);
    let first = windows.first().map_or(life.found, |window| window.start);
    let start = if all { first.min(life.found) } else { first };
    let last = windows.iter().map(|window| window.end).max().unwrap_or(start);
    // Without a last word on the process, its recording ends with its last window.
    let end = life.ended.filter(|_| all && process.cpu_end_ns > 0);
    let sampling = Sampling {
        windows: windows.iter().map(observed).collect(),
        cpu_from_ns: windows.first().filter(|_| !all).map_or(process.cpu_start_ns, |window| window.cpu_start_ns),
        cpu_to_ns: end.map(|_| process.cpu_end_ns),
        hit_ns,
        hit_spread_ns: hit_spread_ns.max(hit_ns / UNSURE),
    };
    let good = windows.iter().filter(|window| !window.lossy);
    let observed_ns = good.map(|window| window.end.saturating_sub(window.start)).sum();
    let recorded_ns = end.unwrap_or(last).max(last).saturating_sub(start);
    (sampling, Time { recorded_ns, observed_ns })
}

fn observed(window: &Window) -> Observed {
    let Window { cpu_start_ns, cpu_ns, hits, lossy, .. } = *window;
    Observed { cpu_start_ns, cpu_ns, wall_ns: window.end.saturating_sub(window.start), hits, lossy }
}
