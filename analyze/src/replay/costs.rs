//! What a recording cost.

use schemars::JsonSchema;
use serde::Serialize;
use shared::trace::meta::{Cost, Process};

/// What a recording cost, as its recorder measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CostReport {
    /// Wall time of the recording.
    pub elapsed_ns: u64,
    /// How often the target stood still.
    pub pauses: u64,
    /// How long in all.
    pub paused_ns: u64,
    /// The longest.
    pub longest_pause_ns: u64,
    /// What one hit costs the target; 0 if not measured.
    pub hit_ns: u64,
    /// How far the rounds of that measurement lie apart.
    pub hit_spread_ns: u64,
    /// Hits of all probes.
    pub hits: u64,
    /// What hits and pauses cost the target together.
    pub target_ns: u64,
    /// The most they took of any 60 seconds, in millionths; 0 if the recorder does not say.
    pub worst_minute_ppm: u64,
    /// The recorder's own processor time.
    pub recorder_cpu_ns: u64,
}

impl CostReport {
    /// A recorder's words. Those of old ones do not tell of hits: then each call was one.
    pub fn of(cost: &Cost, calls: u64) -> CostReport {
        let hits = if cost.hits == 0 { calls } else { cost.hits };
        CostReport {
            elapsed_ns: cost.elapsed_ns,
            pauses: cost.pauses,
            paused_ns: cost.paused_ns,
            longest_pause_ns: cost.longest_pause_ns,
            hit_ns: cost.hit_ns,
            hit_spread_ns: cost.hit_spread_ns,
            hits,
            target_ns: hits.saturating_mul(cost.hit_ns).saturating_add(cost.paused_ns),
            worst_minute_ppm: cost.worst_minute_ppm,
            recorder_cpu_ns: cost.recorder_cpu_ns,
        }
    }

    /// What several processes paid is the sum of what each did, at prices of their own.
    pub fn take(&mut self, processes: &[ProcessCost]) {
        if processes.iter().map(|process| process.cost.hits).sum::<u64>() == self.hits {
            self.target_ns = processes.iter().map(|process| process.cost.target_ns).fold(0, u64::saturating_add);
        }
    }
}

/// What it cost one process of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProcessCost {
    /// The process.
    pub pid: u32,
    /// Its program.
    pub program: String,
    /// What it paid.
    pub cost: CostReport,
}

impl ProcessCost {
    /// What a process paid, if the trace tells.
    pub fn of(process: &Process) -> Option<ProcessCost> {
        let told = process.cost != Cost::default();
        told.then(|| ProcessCost {
            pid: process.pid,
            program: process.program.clone(),
            cost: CostReport::of(&process.cost, 0),
        })
    }
}
