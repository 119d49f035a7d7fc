//! Makes a process stand still for a bounded, measured time. The stops end with us, however we end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::unistd::Pid;
use rustix::process::{WaitOptions, WaitStatus, waitpid};

use crate::sys;
use crate::target::{Memory, Target};

/// `__WALL` of `<linux/wait.h>`: threads of any kind.
const WALL: u32 = 0x4000_0000;
const WAIT: WaitOptions = WaitOptions::NOHANG.union(WaitOptions::from_bits_retain(WALL));

/// Why a process cannot be stopped.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// It is gone.
    #[error("the process has ended")]
    Ended,
    /// The kernel refuses.
    #[error("cannot stop thread {tid}: {error}")]
    Refused {
        /// The thread.
        tid: Pid,
        /// Why.
        error: io::Error,
    },
    /// A thread did not stop in time: it hangs in the kernel.
    #[error("thread {tid} did not stop within {patience:?}")]
    Stuck {
        /// The thread.
        tid: Pid,
        /// How long was waited for it.
        patience: Duration,
    },
}

thread_local! {
    /// Threads that were asked to stop and had not when we gave up: nobody but their tracer, which is this thread of
    /// ours, can let them go once they do.
    static LATE: RefCell<BTreeSet<i32>> = const { RefCell::new(BTreeSet::new()) };
}

/// Lets go what has stopped since a [`Frozen::stop`] gave up on it. To be called often: until then it stands still.
/// Returns a thread that has not stopped yet, if there is one.
pub fn release_late() -> Option<Pid> {
    LATE.with_borrow_mut(|late| {
        late.retain(|&tid| match waitpid(rustix::process::Pid::from_raw(tid), WAIT) {
            Ok(Some((_, status))) if status.stopped() => {
                // As in `Drop`.
                let _ = sys::detach(tid, stop_signal(status));
                false
            }
            Ok(None) => true,
            // It has ended.
            Ok(Some(_)) | Err(_) => false,
        });
        late.first().map(|&tid| Pid::from_raw(tid))
    })
}

/// The signal on its way to a thread that has stopped, to be handed on when it is let go; 0 if none. A stop with an event
/// number is our interrupt or a job-control stop.
fn stop_signal(status: WaitStatus) -> i32 {
    if status.as_raw() >> 16 == 0 { status.stopping_signal().unwrap_or(0) } else { 0 }
}

/// A process all of whose threads stand still, until dropped.
#[derive(Debug)]
pub struct Frozen {
    target: Target,
    /// Each thread, and once it has stopped the signal that was being delivered to it, 0 if none.
    threads: BTreeMap<i32, Option<i32>>,
    since: Instant,
    patience: Duration,
}

impl Frozen {
    /// Stops every thread, those started meanwhile included; lets all go again if that takes longer than `patience`.
    pub fn stop(pid: Pid, patience: Duration) -> Result<Frozen, FreezeError> {
        if let Some(tid) = release_late() {
            return Err(FreezeError::Stuck { tid, patience });
        }
        let target = Target::open(pid).map_err(|_| FreezeError::Ended)?;
        let mut frozen = Frozen { target, threads: BTreeMap::new(), since: Instant::now(), patience };
        loop {
            let listed = frozen.target.threads().map_err(|_| FreezeError::Ended)?;
            let fresh: Vec<Pid> =
                listed.into_iter().filter(|tid| !frozen.threads.contains_key(&tid.as_raw())).collect();
            if fresh.is_empty() {
                return if frozen.threads.is_empty() { Err(FreezeError::Ended) } else { Ok(frozen) };
            }
            for &tid in &fresh {
                frozen.interrupt(tid)?;
            }
            for tid in fresh {
                frozen.wait(tid)?;
            }
        }
    }

    fn interrupt(&mut self, tid: Pid) -> Result<(), FreezeError> {
        let interrupted = ptrace::seize(tid, ptrace::Options::empty()).and_then(|()| {
            self.threads.insert(tid.as_raw(), None);
            ptrace::interrupt(tid)
        });
        match interrupted {
            Ok(()) => Ok(()),
            // It ended since it was listed; if it was the last one, the next listing says so.
            Err(nix::errno::Errno::ESRCH) => {
                self.threads.remove(&tid.as_raw());
                Ok(())
            }
            // A zombie cannot be seized either.
            Err(nix::errno::Errno::EPERM) if !self.target.is_alive() => Err(FreezeError::Ended),
            Err(error) => Err(FreezeError::Refused { tid, error: error.into() }),
        }
    }

    /// Waits until the thread has stopped, for whatever reason, or ended.
    fn wait(&mut self, tid: Pid) -> Result<(), FreezeError> {
        let Some(signal) = self.threads.get_mut(&tid.as_raw()) else { return Ok(()) };
        let mut nap = Duration::from_micros(5);
        loop {
            match waitpid(rustix::process::Pid::from_raw(tid.as_raw()), WAIT) {
                Ok(Some((_, status))) if status.stopped() => {
                    *signal = Some(stop_signal(status));
                    return Ok(());
                }
                Ok(Some(_)) | Err(_) => {
                    self.threads.remove(&tid.as_raw());
                    return Ok(());
                }
                Ok(None) if self.since.elapsed() > self.patience => {
                    return Err(FreezeError::Stuck { tid, patience: self.patience });
                }
                Ok(None) => {
                    std::thread::sleep(nap);
                    nap = (nap * 2).min(Duration::from_millis(1));
                }
            }
        }
    }

    /// Each thread, its instruction pointer, and the word on top of its stack. None if a thread does not tell: it was
    /// killed in the stop, and where it stood is not known.
    pub fn positions(&self) -> Option<Vec<(Pid, u64, u64)>> {
        let threads = self.threads.keys().map(|&tid| Pid::from_raw(tid));
        let registers = threads.map(|tid| Some((tid, ptrace::getregs(tid).ok()?)));
        registers.map(|one| one.map(|(tid, regs)| (tid, regs.rip, self.target.word(regs.rsp).unwrap_or(0)))).collect()
    }

    /// Each thread and its stack pointer.
    pub fn stack_pointers(&self) -> Vec<(Pid, u64)> {
        let threads = self.threads.keys().map(|&tid| Pid::from_raw(tid));
        threads.filter_map(|tid| Some((tid, ptrace::getregs(tid).ok()?.rsp))).collect()
    }

    /// Lets the process go on; returns how long it stood still.
    pub fn release(self) -> Duration {
        let since = self.since;
        drop(self);
        since.elapsed()
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for (&tid, &signal) in &self.threads {
            // The kernel lets go only what has stopped. One that had may have been killed since, which needs no letting go,
            // or another thread may have taken its number by exec, with our wish to stop still upon it.
            let is_free = signal.is_some_and(|signal| sys::detach(tid, signal).is_ok());
            if !is_free {
                LATE.with_borrow_mut(|late| late.insert(tid));
            }
        }
        release_late();
    }
}
