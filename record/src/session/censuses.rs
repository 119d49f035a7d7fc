//! Censuses: what the blocks of a keyframe are, found out beside the recording once the keyframe is written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use shared::Nanos;

use super::Session;
use super::keyframes::Heaps;
use crate::anonymize;
use crate::census::{Code, Taken, Wanted};
use crate::priority;
use crate::snapshot::Snapshot;
use crate::target::Target;

/// Keyframes may be close together: only one that is so long behind the last census gets one. A little less than the time
/// between the keyframes of mode `full`.
const EVERY: Duration = Duration::from_secs(9);

/// What is kept from one census to the next.
#[derive(Debug, Default)]
pub(super) struct Censuses {
    last: Option<Instant>,
    under_way: Option<UnderWay>,
    /// The next keyframe gets one in any case.
    pub(super) wanted: bool,
    /// What they also collect.
    also: Wanted,
    /// What the last ones found of it, by the VMs' numbers.
    pub(super) code: BTreeMap<u32, Arc<Code>>,
}

/// Each VM's, by its number.
type ByVm = Vec<(u32, Taken)>;

#[derive(Debug)]
struct UnderWay {
    thread: JoinHandle<(ByVm, Vec<u8>)>,
    stop: Arc<AtomicBool>,
    /// That of its keyframes.
    time: (Nanos, Nanos),
}

impl Censuses {
    /// None yet; each is to collect this, too.
    pub(super) fn with(also: Wanted) -> Censuses {
        Censuses { also, ..Censuses::default() }
    }

    /// Whether a keyframe taken now gets one.
    fn is_due(&self) -> bool {
        self.wanted || self.last.is_none_or(|last| last.elapsed() >= EVERY)
    }
}

impl Session {
    /// Starts a census of the heaps of a keyframe, if it is time for one; else the copy's memory is free for the next.
    pub(super) fn start_census(&mut self, snapshot: Snapshot, heaps: &Arc<Heaps>, time: (Nanos, Nanos)) {
        // While a window is open the processor is needed for its calls: on a busy machine hits would be lost.
        if !self.censuses.is_due() || self.window.is_some() {
            self.arena = snapshot.into_arena();
            return;
        }
        (self.censuses.last, self.censuses.wanted) = (Some(Instant::now()), false);
        let (heaps, pid, stop) = (Arc::clone(heaps), self.target.pid, Arc::new(AtomicBool::new(false)));
        let (stopped, also) = (Arc::clone(&stop), self.censuses.also);
        let thread = std::thread::spawn(move || {
            priority::lower();
            let target = Target::open(pid).ok();
            (snapshot.censuses(&heaps, target.as_ref(), also, &stopped), snapshot.into_arena())
        });
        self.censuses.under_way = Some(UnderWay { thread, stop, time });
    }

    /// Writes a census that is done.
    pub(super) fn census_if_done(&mut self) -> Result<()> {
        let done = self.censuses.under_way.as_ref().is_some_and(|census| census.thread.is_finished());
        if done { self.finish_census() } else { Ok(()) }
    }

    /// Ends a census under way, whose memory the next keyframe needs: calls may wait in the rings, so it is not waited for.
    /// The next keyframe gets one instead.
    pub(super) fn stop_census(&mut self) -> Result<()> {
        self.census_if_done()?;
        if let Some(census) = &self.censuses.under_way {
            census.stop.store(true, Ordering::Relaxed);
            self.censuses.last = None;
        }
        self.finish_census()
    }

    /// Waits for a census under way, and writes it.
    pub(super) fn finish_census(&mut self) -> Result<()> {
        let Some(census) = self.censuses.under_way.take() else { return Ok(()) };
        let Ok((censuses, arena)) = census.thread.join() else {
            bail!("the census failed; this is a defect of ljscope")
        };
        self.arena = arena;
        for (number, found) in censuses {
            let anonymized = self.streams.pen.recording().anonymized();
            let names = found.names.map(|names| if anonymized { anonymize::names(names) } else { names });
            self.streams.census(number, census.time, &found.census, names.as_ref())?;
            self.censuses.code.extend(found.code.map(|code| (number, Arc::new(code))));
        }
        // Those of turns that are over can be told by it now.
        self.write_stacks()
    }
}
