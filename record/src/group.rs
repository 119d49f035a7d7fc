//! Which processes are recorded: those named, what they start, and what they start later; each in a session of its own.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use nix::unistd::Pid;

use crate::attach::{self, Found};
use crate::control::Stopped;
use crate::launch::{Birth, Launched};
use crate::progress::{Figures, Progress};
use crate::session::Mode;
use crate::target::Target;
use crate::worker::{self, Shared};

/// Which processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// These, and their descendants.
    Pids(Vec<Pid>),
    /// All whose program has this name.
    Name(String),
}

impl Who {
    /// The processes there are now.
    fn processes(&self) -> Vec<Pid> {
        let is_other = |pid: &Pid| *pid != Pid::this();
        match self {
            Who::Pids(pids) => {
                let roots = pids.iter().filter_map(|pid| Target::open(*pid).ok());
                let family = roots.flat_map(|root| std::iter::once(root.pid).chain(root.descendants()));
                family.filter(is_other).collect()
            }
            Who::Name(name) => {
                let all = procfs::process::all_processes().into_iter().flatten().flatten();
                let others = all.map(|process| Pid::from_raw(process.pid)).filter(is_other);
                let named = others.filter_map(|pid| Target::open(pid).ok());
                let named = named.filter(|target| target.name() == *name || attach::program(target) == *name);
                named.filter(Target::is_alive).map(|target| target.pid).collect()
            }
        }
    }
}

/// A process with no VM may get one: looked at again and again, ever more rarely.
const LOOK_AGAIN: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// What is known of a process.
#[derive(Debug)]
enum Known {
    /// It had no VM, so many times; when to look again.
    Without(usize, Instant),
    /// It has, or had, a session.
    Recorded,
}

/// What a session tells.
#[derive(Debug)]
pub enum Event {
    /// It records.
    Began {
        /// The process.
        pid: Pid,
        /// What to say of it.
        text: String,
    },
    /// It is over. What went wrong, if anything did, and whether the trace has something of it.
    Ended {
        /// The process.
        pid: Pid,
        /// What came of it.
        result: Result<()>,
        /// Whether it had begun.
        begun: bool,
    },
}

/// The sessions.
#[derive(Debug)]
pub struct Group {
    who: Who,
    shared: Arc<Shared>,
    known: BTreeMap<(i32, u64), Known>,
    /// Processes without a VM that were found and not looked at, in mode `snapshot`.
    plain: Vec<Target>,
    /// Why the first process that could not be looked into could not.
    refused: Option<anyhow::Error>,
    sessions: Vec<(Arc<Progress>, JoinHandle<()>)>,
    /// Figures of sessions that are over.
    over: Vec<Figures>,
    sender: Sender<Event>,
    /// What they tell.
    pub events: Receiver<Event>,
}

impl Group {
    /// No session yet.
    pub fn new(who: Who, shared: Arc<Shared>) -> Group {
        let (sender, events) = mpsc::channel();
        Group {
            who,
            shared,
            known: BTreeMap::new(),
            plain: Vec::new(),
            refused: None,
            sessions: Vec::new(),
            over: Vec::new(),
            sender,
            events,
        }
    }

    /// Starts sessions on all processes that have VMs now. Each process that was named must have one, itself or in a
    /// descendant; but for mode `snapshot`, which also looks at processes without.
    pub fn start(&mut self) -> Result<()> {
        let found = self.find();
        let plain = std::mem::take(&mut self.plain);
        match &self.who {
            Who::Pids(pids) => {
                for &pid in pids {
                    let root = attach::open(pid)?;
                    let mut family = std::iter::once(pid).chain(root.descendants());
                    let mut targets = found.iter().map(|found| &found.target).chain(&plain);
                    if !family.any(|pid| targets.any(|target| target.pid == pid)) {
                        // What a process is, cannot be said where one may not look.
                        self.refused.take().map_or_else(|| attach::explain_none(&root), Err)?;
                    }
                }
            }
            Who::Name(name) if found.is_empty() && plain.is_empty() => {
                if let Some(error) = self.refused.take() {
                    return Err(error);
                }
                bail!("no process called {name} has a Lua VM that can be recorded: is it running? (ps -C {name})")
            }
            Who::Name(_) => {}
        }
        found.into_iter().for_each(|found| self.attach(found));
        plain.into_iter().for_each(|target| self.look_at(target));
        Ok(())
    }

    /// Starts a session on the first process of a program of ours that has a VM, from its birth on.
    pub fn launch(&mut self, launched: Launched) {
        let shared = Arc::clone(&self.shared);
        let attach = move |shared: &Shared| match launched.wait_for_vm(&shared.control)? {
            Birth::Vm(pid, frozen) => Ok((attach::require(pid, shared.anonymized)?, Some(frozen))),
            Birth::Ended(status) => bail!("the program ended ({status}) before a LuaJIT VM was seen in it"),
            Birth::Asked => bail!("stopped before a LuaJIT VM was seen"),
        };
        self.spawn(Pid::from_raw(0), "", move |progress, sender, begun| {
            worker::record(&shared, progress, || attach(&shared), sender, begun)
        });
    }

    /// Looks for processes that are to be recorded and are not, and starts their sessions.
    pub fn look(&mut self) {
        self.find().into_iter().for_each(|found| self.attach(found));
    }

    fn attach(&mut self, found: Found) {
        let (pid, program, shared) = (found.target.pid, found.about.program.clone(), Arc::clone(&self.shared));
        self.spawn(pid, &program, move |progress, sender, begun| {
            worker::record(&shared, progress, || Ok((found, None)), sender, begun)
        });
    }

    /// Looks at a process without a VM.
    fn look_at(&mut self, target: Target) {
        let (pid, program, shared) = (target.pid, attach::program(&target), Arc::clone(&self.shared));
        self.spawn(pid, &program, move |progress, sender, begun| {
            worker::look(&shared, progress, &target, sender, begun)
        });
    }

    /// Processes that are to be recorded and are not; they count as recorded from now on.
    fn find(&mut self) -> Vec<Found> {
        let mut all = Vec::new();
        for pid in self.who.processes() {
            let key = key(pid);
            let tries = match self.known.get(&key) {
                Some(Known::Recorded) => continue,
                Some(Known::Without(_, when)) if Instant::now() < *when => continue,
                Some(Known::Without(tries, _)) => tries + 1,
                None => 0,
            };
            let found = attach::open(pid).and_then(|target| attach::find(target, self.shared.anonymized));
            if self.shared.settings.mode == Mode::Snapshot && matches!(found, Ok(None)) {
                self.plain.extend(attach::open(pid));
            }
            let found = found.unwrap_or_else(|error| {
                // One that is gone says nothing about the others.
                if self.refused.is_none() && Target::open(pid).is_ok_and(|target| target.is_alive()) {
                    self.refused = Some(error);
                }
                None
            });
            if let Some(found) = found {
                self.known.insert(key, Known::Recorded);
                all.push(found);
            } else {
                let again = LOOK_AGAIN[tries.min(LOOK_AGAIN.len() - 1)];
                self.known.insert(key, Known::Without(tries, Instant::now() + again));
            }
        }
        all
    }

    /// Marks a process as recorded by a session that found it itself.
    pub fn adopt(&mut self, pid: Pid) {
        self.known.insert(key(pid), Known::Recorded);
    }

    fn spawn(
        &mut self,
        pid: Pid,
        program: &str,
        work: impl FnOnce(&Arc<Progress>, &Sender<Event>, &mut bool) -> Result<Stopped> + Send + 'static,
    ) {
        let progress = Arc::new(Progress::new(pid.as_raw() as u32, program));
        let (sender, own) = (self.sender.clone(), Arc::clone(&progress));
        let thread = std::thread::spawn(move || {
            let mut begun = false;
            let work = AssertUnwindSafe(|| work(&own, &sender, &mut begun));
            // A session that fails so must not keep the others waiting for its end: it has let its process go by now.
            let result = catch_unwind(work).unwrap_or_else(|_| Err(anyhow!("a defect of ljscope, told above")));
            let ended = result.as_ref().map_or_else(|error| format!("{error:#}"), |why| why.reason().to_owned());
            own.update(|figures| figures.ended = Some(ended));
            let _ = sender.send(Event::Ended { pid, result: result.map(drop), begun });
        });
        self.sessions.push((progress, thread));
    }

    /// How many sessions were started, those that are over included.
    pub fn started(&self) -> usize {
        self.over.len() + self.sessions.len()
    }

    /// How many sessions go on.
    pub fn running(&mut self) -> usize {
        for (progress, thread) in self.sessions.extract_if(.., |(_, thread)| thread.is_finished()) {
            self.over.push(progress.figures());
            let _ = thread.join();
        }
        self.sessions.len()
    }

    /// Whether nothing more can come: nothing is recorded, and what was named is no more, or not what it was.
    pub fn is_over(&mut self) -> bool {
        let is_over = |pid: &Pid| matches!(self.known.get(&key(*pid)), Some(Known::Recorded));
        let may_come = |pid: &Pid| !is_over(pid) && Target::open(*pid).is_ok_and(|target| target.is_alive());
        !self.who.processes().iter().any(may_come) && self.running() == 0
    }

    /// Each session's figures, those that are over included.
    pub fn figures(&self) -> Vec<Figures> {
        self.over.iter().cloned().chain(self.sessions.iter().map(|(progress, _)| progress.figures())).collect()
    }
}

/// What tells a process from a later one with the same id.
fn key(pid: Pid) -> (i32, u64) {
    (pid.as_raw(), Target::open(pid).map_or(0, |target| target.facts().started_ticks))
}
