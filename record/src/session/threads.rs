//! The threads of a process: which have probes, and which may call the allocator.
//!
//! Closing a probe takes the kernel 75 ms, one after the other, and until the last one is closed the breakpoint stays.
//! So in a window only threads get one that have run of late or were seen at the door.

use std::fs;
use std::path::Path;

use anyhow::Result;
use nix::unistd::Pid;
use shared::trace::meta::Gap;

use super::{Mode, Session};
use crate::privilege;
use crate::probes::{Plan, ThreadProbes};

/// In its first window, a process with no more threads than this has a probe on each, for nothing is known of them.
const FIRST: usize = 6;
/// A process with more threads than this gets probes on those only that run.
const FEW: usize = 16;

/// A thread with probes.
#[derive(Debug)]
pub(super) struct Thread {
    /// A number that is never used again.
    pub(super) key: usize,
    pub(super) probes: ThreadProbes,
    /// Whether it was ever seen at the door.
    pub(super) calls: bool,
}

/// How often a thread was given a processor: the third number of its `schedstat`.
fn runs(pid: Pid, tid: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).unwrap_or_default();
    text.split_whitespace().nth(2).and_then(|word| word.parse().ok()).unwrap_or_default()
}

impl Session {
    /// Opens the probes that stay open, on the threads there are.
    pub(super) fn open_probes(&mut self) -> Result<()> {
        let tids = self.target.threads()?;
        for &tid in &tids {
            if self.is_probed_from_the_start(tid, tids.len()) {
                self.probe_thread(tid, tids.len())?;
            }
        }
        Ok(())
    }

    /// Where every call counts, all threads are probed, and where there are few; else those that call are found out.
    fn is_probed_from_the_start(&self, tid: Pid, threads: usize) -> bool {
        threads <= FEW || tid == self.target.pid || self.settings.mode != Mode::Sample
    }

    fn probe_thread(&mut self, tid: Pid, threads: usize) -> Result<bool> {
        let Some(plan) = &self.plan else { return Ok(false) };
        match ThreadProbes::open(plan, tid, threads) {
            Ok(probes) => {
                self.threads.push(Thread { key: self.next_key, probes, calls: false });
                self.next_key += 1;
                Ok(true)
            }
            // A thread may end between being listed and being probed.
            Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(false),
            Err(error) => Err(privilege::explain_perf(tid, &error)),
        }
    }

    /// Probes threads that have started.
    pub(super) fn follow_threads(&mut self) -> Result<()> {
        self.streams.wanted.threads = false;
        let listed = self.target.threads().unwrap_or_default();
        let mut fresh = false;
        for &tid in &listed {
            let known = self.threads.iter().any(|thread| thread.probes.tid == tid);
            if !known && self.is_probed_from_the_start(tid, listed.len()) && self.probe_thread(tid, listed.len())? {
                fresh = true;
            }
        }
        if !fresh {
            return Ok(());
        }
        if self.settings.mode != Mode::Sample {
            self.open_doors(|_| true)?;
        }
        // In a window, too: it is without a probe at the door.
        let gap = Gap { reason: "a thread started before it was probed".into(), lost: 0, window: None };
        let now = self.now();
        Ok(self.streams.gap(now, gap)?)
    }

    /// Opens the door's probe on the threads that are chosen.
    pub(super) fn open_doors(&mut self, chosen: impl Fn(Pid) -> bool) -> Result<()> {
        let Some(plan) = &self.plan else { return Ok(()) };
        for thread in self.threads.iter_mut().filter(|thread| chosen(thread.probes.tid)) {
            open_door(plan, &mut thread.probes)?;
        }
        Ok(())
    }

    /// The threads that may come through the door soon: the main one, those that did before, and those that have run
    /// since this was last asked. Of many threads, those that run are probed from now on.
    pub(super) fn threads_that_may_call(&mut self) -> Result<Vec<Pid>> {
        let pid = self.target.pid;
        let listed = self.target.threads().unwrap_or_default();
        let first = self.runs.is_empty();
        let before = std::mem::take(&mut self.runs);
        self.runs = listed.iter().map(|tid| (*tid, runs(pid, *tid))).collect();
        let mut may = Vec::new();
        for tid in &listed {
            let ran = before.get(tid).map_or(!first || listed.len() <= FIRST, |before| *before != self.runs[tid]);
            let calls = self.threads.iter().find(|thread| thread.probes.tid == *tid).map(|thread| thread.calls);
            let probed = calls.is_some() || ran && self.probe_thread(*tid, listed.len())?;
            if probed && (ran || *tid == pid || calls == Some(true)) {
                may.push(*tid);
            }
        }
        Ok(may)
    }

    /// Whether a thread without a probe at the door has run since then: if it called, its calls are missing. The next
    /// window will have it.
    pub(super) fn others_ran(&self, probed: &[Pid]) -> bool {
        let others = self.runs.iter().filter(|(tid, _)| !probed.contains(tid));
        others.into_iter().any(|(tid, before)| self.exists(*tid) && runs(self.target.pid, *tid) != *before)
    }

    fn exists(&self, tid: Pid) -> bool {
        Path::new(&format!("/proc/{}/task/{tid}", self.target.pid)).exists()
    }
}

fn open_door(plan: &Plan, probes: &mut ThreadProbes) -> Result<()> {
    match probes.open_door(plan) {
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(()),
        opened => opened.map_err(|error| privilege::explain_perf(probes.tid, &error)),
    }
}
