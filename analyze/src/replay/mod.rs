//! Re-executes the allocator over a trace, and says how far that can be trusted.
//!
//! A keyframe makes what follows it independent of what precedes it. So a trace falls into [`Stretch`]es, from a
//! keyframe to the next one of the same VM, a gap, or the end, and all of them replay side by side.

pub mod compare;
pub mod run;
pub mod state;
pub mod system;
pub mod verdict;

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use shared::Nanos;
use shared::trace::TraceError;
use shared::trace::frame::Kind;
use shared::trace::meta::{Gap, Process, Vm};
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
}

/// Why a stretch ends.
#[derive(Debug, Clone, Copy)]
pub enum StretchEnd {
    /// At the next keyframe; the block behind that, if any, starts with the call after.
    Keyframe(Frame, Option<Frame>),
    /// At a gap.
    Gap(Frame),
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

/// A trace's frames, put in order.
#[derive(Debug, Default)]
pub struct Plan {
    /// The processes, as they stand in the trace.
    pub processes: Vec<Process>,
    /// The VMs by number.
    pub vms: BTreeMap<u32, Vm>,
    /// The stretches, by VM, in order of time.
    pub stretches: Vec<Stretch>,
    /// The gaps, with their VM and time.
    pub gaps: Vec<(u32, Nanos, Gap)>,
    /// Calls before a VM's first keyframe.
    pub early: u64,
    /// Calls between a gap and the next keyframe.
    pub cut_off: u64,
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
                Kind::Process => plan.processes.push(trace.process(frame)?),
                Kind::Vm => {
                    plan.vms.insert(frame.head.vm, trace.vm(frame)?);
                }
                Kind::Calls | Kind::Keyframe | Kind::Gap => by_vm.entry(frame.head.vm).or_default().push(*frame),
                Kind::Header | Kind::Trailer | Kind::Unknown(_) => {}
            }
        }
        for (vm, frames) in by_vm {
            plan.split(trace, vm, &frames)?;
        }
        Ok(plan)
    }

    /// Cuts one VM's frames into stretches.
    fn split<R: Read + Seek>(&mut self, trace: &Trace<R>, vm: u32, frames: &[Frame]) -> Result<(), TraceError> {
        let mut open: Option<Stretch> = None;
        let (mut last_block, mut seen_keyframe) = (None, false);
        for (at, frame) in frames.iter().enumerate() {
            match frame.head.kind {
                Kind::Calls => {
                    self.calls += u64::from(frame.head.count);
                    match &mut open {
                        Some(stretch) => stretch.blocks.push(*frame),
                        None if seen_keyframe => self.cut_off += u64::from(frame.head.count),
                        None => self.early += u64::from(frame.head.count),
                    }
                    last_block = Some(*frame);
                }
                Kind::Keyframe => {
                    self.keyframes += 1;
                    seen_keyframe = true;
                    let after = frames[at + 1..].first().filter(|next| next.head.kind == Kind::Calls).copied();
                    let end = StretchEnd::Keyframe(*frame, after);
                    self.stretches.extend(open.take().map(|stretch| Stretch { end, ..stretch }));
                    open = Some(Stretch {
                        vm,
                        keyframe: *frame,
                        before: last_block,
                        blocks: Vec::new(),
                        end: StretchEnd::Trace,
                    });
                }
                _ => {
                    self.gaps.push((vm, frame.head.start, trace.gap(frame)?));
                    let end = StretchEnd::Gap(*frame);
                    self.stretches.extend(open.take().map(|stretch| Stretch { end, ..stretch }));
                    last_block = None;
                }
            }
        }
        self.stretches.extend(open);
        Ok(())
    }

    /// The stretches of one VM.
    pub fn of_vm(&self, vm: u32) -> impl DoubleEndedIterator<Item = &Stretch> {
        self.stretches.iter().filter(move |stretch| stretch.vm == vm)
    }
}
