//! When a recording ends: what the main thread tells its sessions.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// A signal asked for it.
    Asked,
    /// The time was up.
    Duration,
    /// The trace has the size it may have.
    Size,
    /// Writing failed, or another session failed in a way that ends all.
    Failed,
    /// The target is no more.
    TargetEnded,
    /// The target goes on as another program.
    Replaced,
    /// One snapshot was all there was to do.
    Snapshot,
}

impl Stopped {
    const ALL: [Stopped; 7] = [
        Stopped::Asked,
        Stopped::Duration,
        Stopped::Size,
        Stopped::Failed,
        Stopped::TargetEnded,
        Stopped::Replaced,
        Stopped::Snapshot,
    ];

    /// The words in the trace and the summary.
    pub fn reason(self) -> &'static str {
        match self {
            Stopped::Asked => "asked to stop",
            Stopped::Duration => "the time was up",
            Stopped::Size => "the size limit was reached",
            Stopped::Failed => "the recording failed",
            Stopped::TargetEnded => "the target ended",
            Stopped::Replaced => "the target became another program",
            Stopped::Snapshot => "the snapshot is taken",
        }
    }
}

/// Shared by the main thread and all sessions.
#[derive(Debug, Default)]
pub struct Control {
    /// Set by SIGINT and SIGTERM.
    pub signal: Arc<AtomicBool>,
    /// 1 + place in [`Stopped::ALL`]; 0 as long as all goes on.
    stop: AtomicU8,
    until: OnceLock<Instant>,
}

impl Control {
    /// Asks all sessions to stop; the first reason counts.
    pub fn stop(&self, why: Stopped) {
        let place = Stopped::ALL.iter().position(|one| *one == why).unwrap_or_default() as u8;
        let _ = self.stop.compare_exchange(0, place + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Sets when the time is up; the first call counts.
    pub fn set_until(&self, until: Instant) {
        let _ = self.until.set(until);
    }

    /// When the time is up.
    pub fn until(&self) -> Option<Instant> {
        self.until.get().copied()
    }

    /// Whether, and why, all is to stop.
    pub fn stopped(&self) -> Option<Stopped> {
        if self.signal.load(Ordering::Relaxed) {
            self.stop(Stopped::Asked);
        }
        if self.until().is_some_and(|until| Instant::now() >= until) {
            self.stop(Stopped::Duration);
        }
        let place = self.stop.load(Ordering::Relaxed).checked_sub(1)?;
        Stopped::ALL.get(usize::from(place)).copied()
    }
}
