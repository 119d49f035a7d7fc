//! Re-executes the allocator over a trace, and says how far that can be trusted.
//!
//! A keyframe makes what follows it independent of what precedes it. So a trace falls into [`Stretch`]es, from a
//! keyframe to the next one of the same VM, a gap, the end of a window, or the end, and all of them replay side by side.

pub mod compare;
pub mod costs;
pub mod follow;
pub mod observe;
pub mod period;
pub mod run;
pub mod spans;
mod split;
pub mod state;
pub mod system;
pub mod verdict;

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use shared::Nanos;
use shared::trace::TraceError;
use shared::trace::breakdown::Breakdown;
use shared::trace::frame::Kind;
use shared::trace::meta::{Gap, Missed, Process, Vm, Window};
use shared::trace::reader::{Frame, Trace};

/// What follows a keyframe of a VM, up to where the replay must stop.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// The VM.
    pub vm: u32,
    /// Where it starts.
    pub keyframe: Frame,
    /// The last block before the keyframe: it ends with the call before.
    pub before: Option<Frame>,
    /// The calls.
    pub blocks: Vec<Frame>,
    /// What it ends with.
    pub end: StretchEnd,
    /// The call before its keyframe or the one behind its end is not in the trace: it belongs to no window, or is lost.
    pub unseen: bool,
    /// The mapping calls behind a window's end.
    pub trailing: Vec<Frame>,
    /// Those lead to the next keyframe of the VM, which the next stretch starts at.
    pub followed: bool,
}

/// Why a stretch ends.
#[derive(Debug, Clone, Copy)]
pub enum StretchEnd {
    /// At the next keyframe; the block behind that, if any, starts with the call after.
    Keyframe(Frame, Option<Frame>),
    /// At a gap.
    Gap(Frame),
    /// With its window, as planned, at that time.
    Window(Nanos),
    /// With its part, which ends at that time: the next one does not go on from there.
    Part(Nanos),
    /// With the trace, or its last whole frame.
    Trace,
}

impl Stretch {
    /// When it starts: the keyframe's stop.
    pub fn start(&self) -> Nanos {
        self.keyframe.head.start
    }

    /// Calls in it.
    pub fn calls(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.head.count)).sum()
    }
}

/// A window as one VM has it.
#[derive(Debug, Clone)]
pub struct WindowAt {
    /// The VM.
    pub vm: u32,
    /// The window, as the trace tells.
    pub window: Window,
    /// The VM's calls in it: of those before its keyframe, if it has one, nobody speaks.
    pub blocks: Vec<Frame>,
    /// It starts at a keyframe, so that it can be replayed.
    pub keyframe: bool,
    /// It ends with a keyframe, too.
    pub proven: bool,
}

/// Where a process's memory went, at a moment: enough to choose among such looks.
#[derive(Debug, Clone, Copy)]
pub struct BreakdownAt {
    /// Its frame, which holds the rest.
    pub frame: Frame,
    /// The process.
    pub pid: u32,
    /// When that was started: tells two users of a pid apart.
    pub started_ticks: u64,
    /// Its resident bytes.
    pub resident: u64,
}

/// When a process was recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Life {
    /// When it was found.
    pub found: Nanos,
    /// When its part of the recording ended, if the trace tells.
    pub ended: Option<Nanos>,
}

/// A trace's frames, put in order.
#[derive(Debug, Default)]
pub struct Plan {
    /// The processes, as they stand in the trace.
    pub processes: Vec<Process>,
    /// When each of them was recorded.
    pub lives: Vec<Life>,
    /// The VMs by number.
    pub vms: BTreeMap<u32, Vm>,
    /// Which of the processes a VM lives in.
    pub process_of: BTreeMap<u32, usize>,
    /// The stretches, by VM, in order of time.
    pub stretches: Vec<Stretch>,
    /// The gaps where something is missing, with their VM and time.
    pub gaps: Vec<(u32, Nanos, Gap)>,
    /// The windows, by VM, in order of time.
    pub windows: Vec<WindowAt>,
    /// VMs that a part does not go on with where the part before ended, with the part's number.
    pub apart: Vec<(u32, u64)>,
    /// The keyframes that were to be taken and were not, with their time.
    pub missed: Vec<(Nanos, Missed)>,
    /// The breakdowns, in order of time; each once, though it may stand in two parts.
    pub breakdowns: Vec<BreakdownAt>,
    /// The censuses, in order of time.
    pub censuses: Vec<Frame>,
    /// The stacks, as they stand in the trace.
    pub stacks: Vec<Frame>,
    /// Frames beside the heaps' that could not be read.
    pub damage: Vec<String>,
    /// Calls before a VM's first keyframe.
    pub early: u64,
    /// Calls between a gap and the next keyframe.
    pub cut_off: u64,
    /// Calls in windows without a keyframe.
    pub counted: u64,
    /// Calls in the trace.
    pub calls: u64,
    /// Keyframes in the trace.
    pub keyframes: u64,
    /// The last moment any frame speaks of.
    pub end: Nanos,
}

impl Plan {
    /// Sorts a trace's frames. Reads only the small ones.
    pub fn new<R: Read + Seek>(trace: &Trace<R>) -> Result<Plan, TraceError> {
        let mut plan = Plan::default();
        let mut by_vm: BTreeMap<u32, Vec<Frame>> = BTreeMap::new();
        for frame in &trace.frames {
            plan.end = plan.end.max(frame.head.end);
            match frame.head.kind {
                Kind::Process => plan.add_process(frame.head.start, trace.process(frame)?),
                Kind::Vm => {
                    let vm = trace.vm(frame)?;
                    if let Some(process) = plan.processes.iter().rposition(|process| process.pid == vm.pid) {
                        plan.process_of.entry(frame.head.vm).or_insert(process);
                    }
                    plan.vms.insert(frame.head.vm, vm);
                }
                Kind::Calls | Kind::Keyframe | Kind::Gap => by_vm.entry(frame.head.vm).or_default().push(*frame),
                Kind::Missed => plan.missed.push((frame.head.start, trace.missed(frame)?)),
                // Nothing else hangs on one: without it the rest can be read.
                Kind::Breakdown => match trace.breakdown(frame) {
                    Ok(breakdown) => plan.add_breakdown(*frame, &breakdown),
                    Err(TraceError::Io(error)) => return Err(error.into()),
                    Err(error) => plan.damage.push(error.to_string()),
                },
                Kind::Census => plan.censuses.push(*frame),
                Kind::Stacks => plan.stacks.push(*frame),
                Kind::Header | Kind::Trailer | Kind::Names | Kind::Unknown(_) => {}
            }
        }
        let key = |at: &BreakdownAt| (at.frame.head.start, at.pid, at.started_ticks);
        plan.breakdowns.sort_by_key(key);
        plan.breakdowns.dedup_by_key(|at| key(at));
        plan.censuses.sort_by_key(|frame| frame.head.start);
        for (vm, frames) in by_vm {
            split::split(&mut plan, trace, vm, &frames)?;
        }
        Ok(plan)
    }

    /// Takes a process, or the newer word on one.
    fn add_process(&mut self, time: Nanos, process: Process) {
        let key = |process: &Process| (process.pid, process.started_ticks);
        let ended = (!process.ended.is_empty()).then_some(time);
        match self.processes.iter().position(|known| key(known) == key(&process)) {
            Some(at) => {
                self.lives[at].ended = ended.or(self.lives[at].ended);
                self.processes[at] = process;
            }
            None => {
                self.lives.push(Life { found: time, ended });
                self.processes.push(process);
            }
        }
    }

    fn add_breakdown(&mut self, frame: Frame, breakdown: &Breakdown) {
        let at = BreakdownAt {
            frame,
            pid: breakdown.pid,
            started_ticks: breakdown.started_ticks,
            resident: breakdown.total.resident,
        };
        self.breakdowns.push(at);
    }

    /// The stretches of one VM.
    pub fn of_vm(&self, vm: u32) -> impl DoubleEndedIterator<Item = &Stretch> {
        self.stretches.iter().filter(move |stretch| stretch.vm == vm)
    }

    /// VMs that should have a keyframe and never got one: they were recorded in windows, or one of their process's was
    /// missed.
    pub fn without_keyframe(&self) -> Vec<u32> {
        let missed = |pid| self.missed.iter().any(|(_, missed)| missed.pid == pid);
        let in_windows = |vm| self.windows.iter().any(|at| at.vm == vm);
        let without = |(number, vm): &(&u32, &Vm)| {
            self.of_vm(**number).next().is_none() && (missed(vm.pid) || in_windows(**number))
        };
        self.vms.iter().filter(without).map(|(number, _)| *number).collect()
    }
}
