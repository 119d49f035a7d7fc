//! Turns: now and then, for a window or a moment, stacks are taken at the door.

use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::unistd::Pid;

use super::{Mode, Session};
use crate::clock::monotonic_ns;
use crate::privilege;
use crate::probes::{self, StackPlan};
use crate::stacks::probe::StackProbe;
use crate::stacks::{Collected, Collector, Pace, Sampling};

/// A turn where no windows are. The probe is there some 100 ms longer: it takes the kernel so long to open and close it.
const MOMENT: Duration = Duration::from_millis(500);
/// So long after a turn nothing of it is on its way any more.
const SETTLED: Duration = Duration::from_millis(500);

/// No longer is a turn's outcome kept back for a census.
const HELD: Duration = Duration::from_secs(30);

/// Each thread's probe, or why there is none.
pub(super) type Opened = Vec<(Pid, io::Result<StackProbe>)>;

/// Whether stacks are taken.
#[derive(Debug)]
enum State {
    /// No, and so since then; what was taken may not be written yet.
    Off(Instant),
    /// Probes are being opened.
    Opening(JoinHandle<Opened>),
    /// Yes, since then; by the clock of the hits, too.
    On(Instant, u64),
}

/// What is kept from one turn to the next.
#[derive(Debug)]
pub(super) struct Turns {
    sampling: Sampling,
    state: State,
    /// Windows so far.
    windows: u64,
    /// How often stacks are taken in this turn.
    pace: Pace,
    /// Stacks that are missing in it.
    lost: u64,
    seed: u64,
    pub(super) collector: Option<Collector>,
    /// What is still to be written: it waits for a census, which tells the Lua functions.
    held: Vec<Held>,
}

/// What was collected in a turn of a VM's calls, of one hit of so many.
#[derive(Debug)]
struct Held {
    number: u32,
    every: u64,
    since: Instant,
    collected: Collected,
}

impl Turns {
    pub(super) fn new(sampling: Sampling, seed: u64) -> Turns {
        let state = State::Off(Instant::now());
        let pace = sampling.pace(seed);
        Turns { sampling, state, windows: 0, pace, lost: 0, seed, collector: None, held: Vec::new() }
    }

    /// The next turn's pace.
    fn draw(&mut self) {
        self.seed = self.seed.wrapping_add(1);
        self.pace = self.sampling.pace(self.seed.wrapping_mul(SPREAD));
        self.lost = 0;
    }
}

/// An odd number with no pattern in its bits (2^64 by the golden ratio): neighbours become strangers.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

fn open(plan: &StackPlan, tids: &[Pid], pace: Pace) -> Opened {
    tids.iter().map(|tid| (*tid, plan.open(*tid, tids.len(), pace))).collect()
}

impl Session {
    /// Opens the door's probe for a window on the threads that are chosen; where it is the window's turn, also those that
    /// take stacks, for [`Session::turn_on`].
    pub(super) fn open_doors_in_turn(&mut self, chosen: &[Pid]) -> Result<Opened> {
        let in_turn = self.turns.as_mut().is_some_and(|turns| {
            turns.windows += 1;
            (turns.windows - 1).is_multiple_of(turns.sampling.turns)
        });
        let ready = in_turn && self.get_collector_ready();
        let (true, Some(plan), Some(turns)) = (ready, &self.plan, &mut self.turns) else {
            return self.open_doors(|tid| chosen.contains(&tid)).map(|()| Opened::new());
        };
        turns.draw();
        let (plan, pace) = (plan.stacks(), turns.pace);
        // Both take the kernel a while, in which the target pays.
        std::thread::scope(|scope| {
            let opening = scope.spawn(|| open(&plan, chosen, pace));
            self.open_doors(|tid| chosen.contains(&tid))?;
            opening.join().map_err(|_| anyhow::anyhow!("the opening of probes failed; this is a defect of ljscope"))
        })
    }

    /// Before a turn. `false` if no VM is known yet.
    fn get_collector_ready(&mut self) -> bool {
        let Some(turns) = &mut self.turns else { return false };
        let Some(global) = self.vms.first().map(|vm| vm.place.global) else { return false };
        let collector = turns.collector.get_or_insert_with(|| Collector::new(global.allocf, global.gc64));
        collector.begin(&self.target, self.censuses.code.values().cloned().collect());
        true
    }

    /// Has stacks taken from now on, if there is anything that takes them.
    pub(super) fn turn_on(&mut self, opened: Opened) -> Result<()> {
        if opened.is_empty() {
            return Ok(());
        }
        for (tid, probe) in opened {
            match probe.and_then(|probe| probe.start().map(|()| probe)) {
                Ok(probe) => {
                    if let Some(thread) = self.threads.iter_mut().find(|thread| thread.probes.tid == tid) {
                        thread.probes.set_stacks(probe);
                    }
                }
                Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => {}
                Err(error) => return Err(privilege::explain_perf(tid, &error)),
            }
        }
        if let Some(turns) = &mut self.turns {
            let from = monotonic_ns();
            turns.state = State::On(Instant::now(), from);
            self.streams.set_turn(Some(from..=u64::MAX));
        }
        Ok(())
    }

    /// Mode `full`: stacks are taken for a moment now and then.
    pub(super) fn mind_turns(&mut self) -> Result<()> {
        let Some(turns) = &mut self.turns else { return Ok(()) };
        let cycle = MOMENT * u32::try_from(turns.sampling.turns).unwrap_or(u32::MAX);
        match &turns.state {
            State::Off(since) if turns.windows == 0 || since.elapsed() >= cycle - MOMENT => {
                self.settle_turn()?;
                self.begin_moment();
            }
            State::Off(_) => self.settle_turn()?,
            State::Opening(opening) if opening.is_finished() => {
                let State::Opening(opening) = std::mem::replace(&mut turns.state, State::Off(Instant::now())) else {
                    return Ok(());
                };
                let Ok(opened) = opening.join() else {
                    bail!("the opening of probes failed; this is a defect of ljscope")
                };
                self.turn_on(opened)?;
            }
            State::Opening(_) => {}
            State::On(since, from) if since.elapsed() >= MOMENT => {
                let from = *from;
                self.streams.set_turn(Some(from..=monotonic_ns()));
                self.drain()?;
                self.turn_off();
            }
            State::On(..) => {}
        }
        Ok(())
    }

    fn begin_moment(&mut self) {
        if !self.get_collector_ready() {
            return;
        }
        let (Some(plan), Some(turns)) = (&self.plan, &mut self.turns) else { return };
        turns.windows += 1;
        turns.draw();
        let tids: Vec<Pid> =
            self.threads.iter().filter(|thread| thread.probes.has_door()).map(|thread| thread.probes.tid).collect();
        let (plan, pace) = (plan.stacks(), turns.pace);
        turns.state = State::Opening(std::thread::spawn(move || open(&plan, &tids, pace)));
    }

    /// Closes the probes that take stacks, beside the recording. What they have written must have been read.
    pub(super) fn turn_off(&mut self) {
        let Some(turns) = &mut self.turns else { return };
        if let State::On(..) = turns.state {
            turns.lost += self.threads.iter_mut().map(|thread| thread.probes.stacks_lost()).sum::<u64>();
            let events: Vec<_> = self.threads.iter_mut().filter_map(|thread| thread.probes.take_stacks()).collect();
            std::thread::spawn(move || probes::close(events));
            turns.state = State::Off(Instant::now());
        }
    }

    /// Takes over what came of a turn, once nothing of it is on its way any more; writes it if it need not wait.
    pub(super) fn settle_turn(&mut self) -> Result<()> {
        let settled = matches!(&self.turns, Some(Turns { state: State::Off(since), .. }) if since.elapsed() >= SETTLED);
        if !settled || self.walk.is_some() {
            return Ok(());
        }
        self.hold_stacks();
        let waits = self.settings.names
            && !self.turns.as_ref().is_some_and(|turns| turns.held.iter().any(|held| held.since.elapsed() >= HELD));
        if waits { Ok(()) } else { self.write_stacks() }
    }

    /// Takes over what was collected of the calls that have been passed on so far.
    pub(super) fn hold_stacks(&mut self) {
        let Some(turns) = &mut self.turns else { return };
        let taken = self.streams.take_collected();
        if taken.is_empty() {
            return;
        }
        for (number, mut collected) in taken {
            collected.lost += std::mem::take(&mut turns.lost);
            turns.held.push(Held { number, every: turns.pace.mean, since: Instant::now(), collected });
        }
        // Now, because the process may not be there later.
        if let (Some(symbols), Some(collector)) = (self.streams.pen.recording().symbols(), &turns.collector) {
            collector.keep_symbols(symbols, format!("/proc/{}/root", self.target.pid).as_ref());
        }
    }

    /// Writes what is held back.
    pub(super) fn write_stacks(&mut self) -> Result<()> {
        let anonymized = self.streams.pen.recording().anonymized();
        let Some(Turns { collector: Some(collector), held, state, .. }) = &mut self.turns else { return Ok(()) };
        for Held { number, every, collected, .. } in std::mem::take(held) {
            let code = self.censuses.code.get(&number).filter(|_| self.settings.names);
            let time = collected.time;
            self.streams.stacks(
                number,
                time,
                &collector.tell(every, collected, code.map(|code| &**code), anonymized),
            )?;
        }
        if matches!(state, State::Off(_) | State::Opening(_)) && !self.streams.has_collected() {
            collector.forget();
        }
        Ok(())
    }

    /// Ends a turn that a window had.
    pub(super) fn end_turn_with_window(&mut self) {
        if self.settings.mode == Mode::Sample {
            self.streams.set_turn(None);
            self.hold_stacks();
        }
    }
}
