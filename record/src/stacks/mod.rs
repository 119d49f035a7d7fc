//! Who makes the allocator's calls: of every so many the stack is taken, followed at once to places in code, and thrown
//! away.
//!
//! A second probe at the door costs a tenth of a hit, whether it writes or not. So it is there only in turns: in one of
//! some windows, or for a moment now and then, and there it samples as many times more often.

pub mod modules;
pub mod probe;
pub mod record;
mod turns;
mod unwind;

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use shared::trace::stacks::{About, Frame, Sample, Stacks};

use crate::anonymize;
use crate::target::Target;
use record::Sampled;
pub use turns::{Rate, Sampling, StackPrice};
use unwind::{Interpreter, Raw, Unwinder};

/// Code that belongs nowhere may be a file mapped since; so often it is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Stacks of one process's calls, each kind once, until they are written.
pub struct Collector {
    unwinder: Unwinder,
    numbers: HashMap<Vec<Raw>, u32>,
    stacks: Vec<Vec<Raw>>,
    looked: Option<Instant>,
    /// `lj_alloc_f`, and whether references have 64 bits.
    luajit: (shared::Addr, bool),
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("stacks", &self.stacks.len()).finish_non_exhaustive()
    }
}

/// Samples of a stretch of a VM's calls, by the collector's numbers of stacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// The first call that could be sampled.
    pub first: u64,
    /// So many could.
    pub calls: u64,
    /// The samples.
    pub samples: Vec<Sample>,
    /// Samples that are missing.
    pub lost: u64,
    /// When its first and its last call were.
    pub time: (shared::Nanos, shared::Nanos),
}

impl Collected {
    /// From a call on.
    pub fn from(first: u64, time: shared::Nanos) -> Collected {
        Collected { first, time: (time, time), ..Collected::default() }
    }
}

impl Collector {
    /// For the process with LuaJIT's `lj_alloc_f` at an address, with references of 64 bits or not.
    pub fn new(allocf: shared::Addr, gc64: bool) -> Collector {
        Collector {
            unwinder: Unwinder::new(),
            numbers: HashMap::new(),
            stacks: Vec::new(),
            looked: None,
            luajit: (allocf, gc64),
        }
    }

    /// Forgets the stacks, and looks at what is mapped anew.
    pub fn begin(&mut self, target: &Target) {
        self.numbers.clear();
        self.stacks.clear();
        self.look(target);
    }

    fn look(&mut self, target: &Target) -> bool {
        self.looked = Some(Instant::now());
        self.unwinder.modules.look(target)
    }

    /// Follows a stack, and gives its number.
    pub fn take(&mut self, target: &Target, sampled: &Sampled<'_>) -> u32 {
        let (allocf, gc64) = self.luajit;
        let interpreter = Interpreter { allocf, gc64, spill: &|_| None };
        let mut stack = self.unwinder.unwind(target, interpreter, sampled);
        let is_old = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY);
        if stack.contains(&Raw::Unknown) && is_old && self.look(target) {
            stack = self.unwinder.unwind(target, interpreter, sampled);
        }
        let next = self.stacks.len() as u32;
        *self.numbers.entry(stack).or_insert_with_key(|stack| {
            self.stacks.push(stack.clone());
            next
        })
    }

    /// What the trace says of collected samples.
    pub fn tell(&self, every: u64, collected: Collected, anonymized: bool) -> Stacks {
        let Collected { first, calls, mut samples, lost, .. } = collected;
        samples.sort_unstable_by_key(|sample| sample.call);
        let about = About { every, first, calls, lost, ..About::default() };
        let mut stacks = Stacks { about, stacks: Vec::new(), samples };
        let (mut numbers, mut files) = (HashMap::new(), HashMap::new());
        for sample in &mut stacks.samples {
            let raw = sample.stack;
            sample.stack = *numbers.entry(raw).or_insert_with(|| {
                let frames = self.stacks[raw as usize].iter();
                let frames =
                    frames.filter_map(|raw| self.frame(raw, &mut files, &mut stacks.about, anonymized)).collect();
                stacks.stacks.push(frames);
                stacks.stacks.len() as u32 - 1
            });
        }
        stacks
    }

    fn frame(&self, raw: &Raw, files: &mut HashMap<usize, u32>, about: &mut About, anonymized: bool) -> Option<Frame> {
        Some(match *raw {
            Raw::Unknown => Frame::Unknown,
            Raw::Made(_) => Frame::Jit,
            Raw::Cut => Frame::Cut,
            Raw::Bytecode(_) => return None,
            Raw::File(file, addr) => {
                let module = *files.entry(file).or_insert_with(|| {
                    let mut module = self.unwinder.modules.known(file).module.clone();
                    if anonymized {
                        module.name = anonymize::file_name(module.name.as_ref());
                    }
                    about.modules.push(module);
                    about.modules.len() as u32 - 1
                });
                Frame::Code { module, addr }
            }
        })
    }
}
