//! Who makes the allocator's calls: of every so many the stack is taken, followed at once to places in code, and thrown
//! away.
//!
//! A second probe at the door costs a tenth of a hit, whether it writes or not. So it is there only in turns: in one of
//! some windows, or for a moment now and then, and there it samples as many times more often.

pub mod matcher;
pub mod modules;
pub mod probe;
pub mod record;
pub mod symbols;
mod turns;
mod unwind;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::trace::stacks::{About, Frame, Place, Sample, Stacks};
use shared::{Addr, Nanos};

use crate::anonymize;
use crate::census::Code;
use crate::target::Target;
use record::Sampled;
use symbols::Symbols;
pub use turns::{Pace, Rate, Sampling, StackPrice};
use unwind::{Interpreter, Raw, Unwinder};

/// Code that belongs nowhere may have been mapped since. It is looked for after this time, and after twice as long each time
/// that nothing new is found ...
const PATIENCE: Duration = Duration::from_millis(1);
/// ... up to this.
const MOST_PATIENCE: Duration = Duration::from_secs(1);

/// Stacks of one process's calls, each kind once, until they are written.
pub struct Collector {
    unwinder: Unwinder,
    numbers: HashMap<Vec<Raw>, u32>,
    stacks: Vec<Vec<Raw>>,
    looked: Instant,
    patience: Duration,
    code: Vec<Arc<Code>>,
    /// `lj_alloc_f`, and whether references have 64 bits.
    luajit: (Addr, bool),
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
    pub time: (Nanos, Nanos),
}

impl Collected {
    /// From a call on.
    pub fn from(first: u64, time: Nanos) -> Collected {
        Collected { first, time: (time, time), ..Collected::default() }
    }
}

impl Collector {
    /// For the process with LuaJIT's `lj_alloc_f` at an address, with references of 64 bits or not.
    pub fn new(allocf: Addr, gc64: bool) -> Collector {
        Collector {
            unwinder: Unwinder::new(),
            numbers: HashMap::new(),
            stacks: Vec::new(),
            looked: Instant::now(),
            patience: PATIENCE,
            code: Vec::new(),
            luajit: (allocf, gc64),
        }
    }

    /// Looks at what is mapped anew. `code` is that of the process's heaps, as far as it is known.
    pub fn begin(&mut self, target: &Target, code: Vec<Arc<Code>>) {
        self.code = code;
        (self.looked, self.patience) = (Instant::now(), PATIENCE);
        self.unwinder.modules.look(target);
    }

    /// Keeps the files that the stacks lead through. `root` is the process's root folder.
    pub fn keep_symbols(&self, symbols: &Symbols, root: &Path) {
        let files = self.stacks.iter().flatten().filter_map(|raw| match raw {
            Raw::File(file, _) => Some(*file),
            _ => None,
        });
        for file in files.collect::<BTreeSet<usize>>() {
            let known = self.unwinder.modules.known(file);
            symbols.keep(&known.module, &known.path, root);
        }
    }

    /// Forgets the stacks: all of them are told.
    pub fn forget(&mut self) {
        self.numbers.clear();
        self.stacks.clear();
    }

    /// Follows a stack, and gives its number.
    pub fn take(&mut self, target: &Target, sampled: &Sampled<'_>) -> u32 {
        let (allocf, gc64) = self.luajit;
        let interpreter = Interpreter { allocf, gc64, code: &self.code };
        let mut stack = self.unwinder.unwind(interpreter, sampled);
        if stack.contains(&Raw::Unknown) && self.looked.elapsed() >= self.patience {
            self.looked = Instant::now();
            if self.unwinder.modules.look(target) {
                self.patience = PATIENCE;
                stack = self.unwinder.unwind(interpreter, sampled);
            } else {
                self.patience = MOST_PATIENCE.min(self.patience * 2);
            }
        }
        let next = self.stacks.len() as u32;
        *self.numbers.entry(stack).or_insert_with_key(|stack| {
            self.stacks.push(stack.clone());
            next
        })
    }

    /// What the trace says of collected samples, of one hit of `every` on average. Where `code` is given, the Lua functions that were
    /// running are told by it.
    pub fn tell(&self, every: u64, collected: Collected, code: Option<&Code>, anonymized: bool) -> Stacks {
        let Collected { first, calls, mut samples, lost, .. } = collected;
        samples.sort_unstable_by_key(|sample| sample.call);
        let about = About { every, first, calls, lost, ..About::default() };
        let mut stacks = Stacks { about, stacks: Vec::new(), samples };
        let mut numbers = HashMap::new();
        let mut teller = Teller { collector: self, code, anonymized, files: HashMap::new(), places: HashMap::new() };
        for sample in &mut stacks.samples {
            let raw = sample.stack;
            sample.stack = *numbers.entry(raw).or_insert_with(|| {
                let mut frames = Vec::new();
                self.stacks[raw as usize].iter().for_each(|raw| teller.frame(raw, &mut stacks.about, &mut frames));
                stacks.stacks.push(frames);
                stacks.stacks.len() as u32 - 1
            });
        }
        stacks
    }
}

/// Makes frames of what was found, and the lists they lead into.
struct Teller<'a> {
    collector: &'a Collector,
    code: Option<&'a Code>,
    anonymized: bool,
    /// Numbers of modules by those of files.
    files: HashMap<usize, u32>,
    places: HashMap<Place, u32>,
}

impl Teller<'_> {
    fn frame(&mut self, raw: &Raw, about: &mut About, frames: &mut Vec<Frame>) {
        match *raw {
            Raw::Unknown => frames.push(Frame::Unknown),
            Raw::Cut => frames.push(Frame::Cut),
            Raw::Made(addr) => {
                frames.push(Frame::Jit);
                let trace = self.code.and_then(|code| code.trace(addr));
                frames.extend(trace.and_then(|trace| self.lua(trace.starts_at, about)));
            }
            Raw::Bytecode(pc) => frames.extend(self.lua(pc, about)),
            Raw::File(file, addr) => {
                let module = *self.files.entry(file).or_insert_with(|| {
                    let mut module = self.collector.unwinder.modules.known(file).module.clone();
                    if self.anonymized {
                        module.name = anonymize::file_name(module.name.as_ref());
                    }
                    about.modules.push(module);
                    about.modules.len() as u32 - 1
                });
                frames.push(Frame::Code { module, addr });
            }
        }
    }

    /// The Lua function that an instruction of bytecode is of, if it is known.
    fn lua(&mut self, pc: Addr, about: &mut About) -> Option<Frame> {
        let found = self.code?.place(pc)?;
        let chunk = if self.anonymized { anonymize::chunk(found.chunk) } else { found.chunk.to_owned() };
        let (first_line, line) = (u64::from(found.first_line), found.line.map_or(0, u64::from));
        let place = Place { chunk, first_line, line };
        let number = *self.places.entry(place).or_insert_with_key(|place| {
            about.places.push(place.clone());
            about.places.len() as u32 - 1
        });
        Some(Frame::Lua(number))
    }
}
