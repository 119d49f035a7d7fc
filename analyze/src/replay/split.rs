//! One VM's frames, cut into stretches, gaps and windows.

use std::io::{Read, Seek};

use shared::Nanos;
use shared::trace::TraceError;
use shared::trace::frame::Kind;
use shared::trace::meta::Window;
use shared::trace::reader::{Frame, Trace};

use super::{Plan, Stretch, StretchEnd, WindowAt};

/// A step along a VM's frames.
#[derive(Debug, Clone, Copy)]
enum Step {
    Frame(Frame),
    /// What follows is of another part and does not go on at a keyframe that stands in both. Of a recording in windows
    /// it may be the next part, and nothing be missing.
    Break {
        seamless: bool,
    },
}

/// What stands before the calls that no stretch takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// Nothing, or a keyframe.
    Start,
    /// A gap where something is missing.
    Loss,
    /// A window's end.
    Window,
}

/// Cuts one VM's frames.
pub(super) fn split<R: Read + Seek>(
    plan: &mut Plan,
    trace: &Trace<R>,
    vm: u32,
    frames: &[Frame],
) -> Result<(), TraceError> {
    let steps = join(trace, frames);
    let mut splitter = Splitter {
        plan,
        vm,
        open: None,
        last_block: None,
        behind: Behind::Start,
        loose: 0,
        before_keyframe: 0,
        blocks: Vec::new(),
        opened_at: 0,
        keyframes: 0,
        seen_keyframe: false,
        following: false,
        time: 0,
        sampled: trace.header.mode == "sample",
    };
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Break { seamless } => {
                let part = steps[at + 1..].iter().find_map(|step| match step {
                    Step::Frame(frame) => Some(trace.parts[frame.part].header.part),
                    Step::Break { .. } => None,
                });
                splitter.part_ends(part.unwrap_or_default(), *seamless);
            }
            Step::Frame(frame) => {
                match frame.head.kind {
                    Kind::Calls => splitter.calls(*frame),
                    Kind::Keyframe => splitter.keyframe(*frame, &steps[at + 1..]),
                    _ => {
                        let gap = trace.gap(frame)?;
                        match gap.window {
                            Some(window) => splitter.window(window),
                            None => {
                                splitter.plan.gaps.push((vm, frame.head.start, gap));
                                splitter.loss(StretchEnd::Gap(*frame));
                            }
                        }
                    }
                }
                splitter.time = frame.head.end;
            }
        }
    }
    splitter.finish();
    Ok(())
}

/// Joins the parts: a keyframe that stands at the end of one and at the start of the next is one.
fn join<R>(trace: &Trace<R>, frames: &[Frame]) -> Vec<Step> {
    let seamless = |before: usize, after: usize| {
        let number = |part: usize| trace.parts[part].header.part;
        before + 1 == after && number(before) + 1 == number(after) && trace.parts[before].trailer().is_some()
    };
    let mut steps: Vec<Step> = Vec::with_capacity(frames.len());
    let mut last: Option<Frame> = None;
    for frame in frames {
        match last {
            Some(last) if last.part != frame.part && frame.head.kind == Kind::Keyframe && frame.head == last.head => {}
            Some(last) if last.part != frame.part => {
                let seamless = seamless(last.part, frame.part);
                steps.extend([Step::Break { seamless }, Step::Frame(*frame)]);
            }
            _ => steps.push(Step::Frame(*frame)),
        }
        last = Some(*frame);
    }
    steps
}

struct Splitter<'a> {
    plan: &'a mut Plan,
    vm: u32,
    open: Option<Stretch>,
    /// The last block since a gap.
    last_block: Option<Frame>,
    behind: Behind,
    /// Calls since a gap or the start that no stretch has taken.
    loose: u64,
    /// Those of them that a keyframe came after: whether it begins their window or ends it, its end tells.
    before_keyframe: u64,
    /// All blocks since the last gap, and how many of them precede the first keyframe behind it.
    blocks: Vec<Frame>,
    opened_at: usize,
    /// Keyframes since a gap.
    keyframes: u32,
    seen_keyframe: bool,
    /// Nothing but mapping calls since the end of the VM's last stretch, which ended with its window.
    following: bool,
    /// The last moment a frame spoke of.
    time: Nanos,
    /// The recording is one in windows.
    sampled: bool,
}

impl Splitter<'_> {
    fn calls(&mut self, frame: Frame) {
        let count = u64::from(frame.head.count);
        self.plan.calls += count;
        self.blocks.push(frame);
        match &mut self.open {
            Some(stretch) => stretch.blocks.push(frame),
            None if count == 0 && self.following => {
                self.plan.stretches.last_mut().into_iter().for_each(|stretch| stretch.trailing.push(frame));
            }
            None => {
                self.loose += count;
                self.following &= count == 0;
            }
        }
        // A block of mapping calls alone ends with no call.
        if count > 0 {
            self.last_block = Some(frame);
        }
    }

    fn keyframe(&mut self, frame: Frame, later: &[Step]) {
        self.plan.keyframes += 1;
        match self.behind {
            Behind::Loss if self.seen_keyframe => self.plan.cut_off += self.loose,
            _ => self.before_keyframe += self.loose,
        }
        self.loose = 0;
        // Mapping calls alone may stand between a keyframe and what follows it.
        let is_mapping = |frame: &Frame| frame.head.kind == Kind::Calls && frame.head.count == 0;
        let next = later.iter().find(|step| !matches!(step, Step::Frame(frame) if is_mapping(frame)));
        let next = next.and_then(|step| match step {
            Step::Frame(frame) => Some(frame),
            Step::Break { .. } => None,
        });
        let after = next.filter(|next| next.head.kind == Kind::Calls).copied();
        let ends_window = next.is_some_and(|next| next.head.kind == Kind::Gap);
        if self.sampled && !ends_window {
            self.leave_alone();
        }
        if let Some(stretch) = self.open.take() {
            // The call that was on its way may be behind a gap, or behind the end of a trace that was cut off.
            let unseen = stretch.unseen || next.is_none_or(|next| next.head.kind == Kind::Gap);
            self.plan.stretches.push(Stretch { end: StretchEnd::Keyframe(frame, after), unseen, ..stretch });
        } else if self.following {
            self.plan.stretches.last_mut().into_iter().for_each(|stretch| stretch.followed = true);
        }
        self.following = false;
        if self.keyframes == 0 {
            self.opened_at = self.blocks.len();
        }
        self.keyframes += 1;
        self.seen_keyframe = true;
        self.open = Some(Stretch {
            vm: self.vm,
            keyframe: frame,
            before: self.last_block,
            blocks: Vec::new(),
            end: StretchEnd::Trace,
            // The call before a first keyframe was made before calls were recorded.
            unseen: self.keyframes == 1 && (self.behind != Behind::Start || self.last_block.is_none()),
            trailing: Vec::new(),
            followed: false,
        });
    }

    /// In a recording in windows, a keyframe that no window follows: what lies behind it is left out.
    fn leave_alone(&mut self) {
        if let Some(stretch) = self.open.take_if(|stretch| stretch.calls() == 0) {
            let end = StretchEnd::Window(stretch.keyframe.head.end);
            let trailing = stretch.blocks.clone();
            self.plan.stretches.push(Stretch { end, trailing, blocks: Vec::new(), ..stretch });
            self.following = true;
        }
    }

    /// A window ends as planned.
    fn window(&mut self, window: Window) {
        let lost = self.behind == Behind::Loss;
        match lost {
            true if self.seen_keyframe => self.plan.cut_off += self.loose,
            _ => self.plan.counted += self.loose,
        }
        self.loose = 0;
        let mut blocks = std::mem::take(&mut self.blocks);
        if window.keyframe {
            self.settle();
            blocks.drain(..self.opened_at);
        } else {
            self.plan.counted += std::mem::take(&mut self.before_keyframe);
        }
        self.opened_at = 0;
        let open = self.open.take();
        let behind_keyframe = open.as_ref().is_some_and(|stretch| stretch.calls() == 0);
        self.plan.windows.push(WindowAt {
            vm: self.vm,
            window,
            blocks,
            // What was lost in it may have cut it off from its keyframe.
            keyframe: window.keyframe && (self.keyframes > 0 || window.lossy),
            proven: self.keyframes > 1 && behind_keyframe && !window.lossy,
        });
        self.following = open.is_some();
        self.plan.stretches.extend(open.map(|stretch| Stretch { end: StretchEnd::Window(window.end), ..stretch }));
        self.last_block = None;
        self.keyframes = 0;
        self.behind = Behind::Window;
    }

    /// Calls before a window's keyframe, as those before the first one: nothing is missing because of them.
    fn settle(&mut self) {
        self.plan.early += std::mem::take(&mut self.before_keyframe);
    }

    /// Calls are missing here.
    fn loss(&mut self, end: StretchEnd) {
        self.settle();
        match self.behind {
            Behind::Window => self.plan.counted += self.loose,
            Behind::Loss if self.seen_keyframe => self.plan.cut_off += self.loose,
            _ => self.plan.early += self.loose,
        }
        self.loose = 0;
        self.plan.stretches.extend(self.open.take().map(|stretch| Stretch { end, ..stretch }));
        self.last_block = None;
        self.following = false;
        self.keyframes = 0;
        self.behind = Behind::Loss;
    }

    /// The next part does not go on where the one before ended.
    fn part_ends(&mut self, next: u64, seamless: bool) {
        if self.sampled {
            self.leave_alone();
        }
        // Between two windows nothing is missing because of that.
        if self.open.is_some() || self.loose > 0 {
            self.plan.apart.push((self.vm, next));
            self.loss(StretchEnd::Part(self.time));
        }
        self.following &= seamless;
        self.last_block = None;
        self.blocks.clear();
        self.opened_at = 0;
        self.keyframes = 0;
    }

    fn finish(mut self) {
        self.settle();
        match self.behind {
            Behind::Window => self.plan.counted += self.loose,
            Behind::Loss if self.seen_keyframe => self.plan.cut_off += self.loose,
            _ => self.plan.early += self.loose,
        }
        if self.sampled {
            self.leave_alone();
        }
        self.plan.stretches.extend(self.open.take());
    }
}
