//! Goes through traces, as many at a time as there are threads, and stops when it is told to.

use std::cmp::Reverse;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::find::Recording;
use super::one::{Done, one};
use super::place::Place;
use crate::output::Output;

/// How long to wait for a trace before looking whether to stop.
const LOOK: Duration = Duration::from_millis(50);

/// A trace of so many bytes is replayed by all threads together; a smaller one by one thread alone, which wastes nothing.
const LARGE: u64 = 16 << 20;

/// What is to be done.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) recordings: Vec<Recording>,
    pub(super) place: Place,
    /// Draw each trace.
    pub(super) pictures: bool,
    /// Do again what is done.
    pub(super) again: bool,
    /// The number of the signal that came, 0 before.
    pub(super) stop: Arc<AtomicUsize>,
}

/// What became of a trace.
pub(super) enum Became {
    /// It was replayed.
    Done(Done),
    /// It had been before.
    Kept(Done),
    /// It cannot be.
    Failed(anyhow::Error),
}

/// Goes through all of it, and hands over what became of each recording, in any order. On a signal it returns at once:
/// traces at work are given up.
pub(super) fn all(work: Arc<Work>, mut became: impl FnMut(usize, Became)) -> Result<()> {
    // The largest first, so that none of them is left for one thread at the end.
    let mut order: Vec<usize> = (0..work.recordings.len()).collect();
    order.sort_by_key(|at| Reverse(work.recordings[*at].bytes()));
    let order = Arc::new((order, AtomicUsize::new(0)));
    let threads = rayon::current_num_threads().min(work.recordings.len());
    let (sender, receiver) = sync_channel(threads);
    for _ in 0..threads {
        let (work, order, sender) = (Arc::clone(&work), Arc::clone(&order), sender.clone());
        let alone = ThreadPoolBuilder::new().num_threads(1).build().context("cannot start the threads")?;
        std::thread::spawn(move || worker(&work, &order, &alone, &sender));
    }
    drop(sender);
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok((at, what)) => became(at, what),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if work.stopped() {
            receiver.try_iter().for_each(|(at, what)| became(at, what));
            return Ok(());
        }
    }
}

/// One trace after the other.
fn worker(
    work: &Work,
    (order, next): &(Vec<usize>, AtomicUsize),
    alone: &ThreadPool,
    sender: &SyncSender<(usize, Became)>,
) {
    while let Some(at) = order.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| !work.stopped()) {
        let recording = &work.recordings[*at];
        let replay = || {
            if recording.bytes() < LARGE {
                alone.install(|| work.one(recording))
            } else {
                rayon::scope(|_| work.one(recording))
            }
        };
        // A mistake of ours in one must not cost the others.
        let caught = catch_unwind(AssertUnwindSafe(replay));
        let what = caught
            .unwrap_or_else(|_| Err(anyhow!("analyze panicked over it: this is a bug of ljscope")))
            .unwrap_or_else(Became::Failed);
        if sender.send((*at, what)).is_err() {
            return;
        }
    }
}

impl Work {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) != 0
    }

    fn one(&self, recording: &Recording) -> Result<Became> {
        if let Some(done) = self.place.kept(recording, self.pictures).filter(|_| !self.again) {
            return Ok(Became::Kept(done));
        }
        let (done, report) = one(recording)?;
        if self.pictures && !report.vms.is_empty() {
            self.place.draw(recording, |out| report.svg(out))?;
        }
        self.place.keep(recording, &done)?;
        Ok(Became::Done(done))
    }
}
