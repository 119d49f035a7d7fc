//! What a session has come to so far, for the status line and the summary.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use shared::trace::meta::Cost;

/// So many different reasons are kept: a recording may go on for weeks.
const REASONS: usize = 16;

/// Keyframes that should have been taken and were not.
#[derive(Debug, Clone, Default)]
pub struct Missed {
    /// How many.
    pub all: u64,
    /// How often for which reason, of the first few reasons.
    pub reasons: BTreeMap<String, u64>,
}

impl Missed {
    /// One more.
    pub fn add(&mut self, reason: String) {
        self.all += 1;
        if self.reasons.len() < REASONS || self.reasons.contains_key(&reason) {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }
}

/// A session's figures.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// The process.
    pub pid: u32,
    /// Its program.
    pub program: String,
    /// VMs seen in it.
    pub vms: u64,
    /// Windows opened.
    pub windows: u64,
    /// Whether one is open.
    pub in_window: bool,
    /// Calls passed on to the trace.
    pub calls: u64,
    /// Hits dropped by the kernel.
    pub lost: u64,
    /// Calls of VMs that were not known yet.
    pub unattributed: u64,
    /// What it cost the process.
    pub cost: Cost,
    /// Why keyframes that should have been taken were not.
    pub missed: Missed,
    /// Why its part ended, once it has.
    pub ended: Option<String>,
}

/// Figures that a session updates and others read.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Figures>);

impl Progress {
    /// Of a process.
    pub fn new(pid: u32, program: &str) -> Progress {
        Progress(Mutex::new(Figures { pid, program: program.to_owned(), ..Figures::default() }))
    }

    /// Changes the figures.
    pub fn update(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The figures now.
    pub fn figures(&self) -> Figures {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The sum over all processes, as a trailer tells it: see `FORMAT.md`. Elapsed time and our own processor time are the
/// caller's to fill in.
pub fn total(figures: &[Figures]) -> Cost {
    figures.iter().fold(Cost::default(), |sum, one| Cost {
        elapsed_ns: 0,
        recorder_cpu_ns: 0,
        pauses: sum.pauses + one.cost.pauses,
        paused_ns: sum.paused_ns + one.cost.paused_ns,
        longest_pause_ns: sum.longest_pause_ns.max(one.cost.longest_pause_ns),
        hit_ns: sum.hit_ns.max(one.cost.hit_ns),
        hit_spread_ns: sum.hit_spread_ns.max(one.cost.hit_spread_ns),
        hits: sum.hits + one.cost.hits,
        worst_minute_ppm: sum.worst_minute_ppm.max(one.cost.worst_minute_ppm),
    })
}
