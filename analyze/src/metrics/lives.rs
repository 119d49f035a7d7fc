//! What `analyze lifetimes` finds.

use schemars::JsonSchema;
use serde::Serialize;
use shared::Nanos;
use shared::trace::meta::{Header, Process, Vm};

use super::fates::ClassFates;
use super::lifetimes::{DiedBy, EDGES, Lifetimes};
use super::population::Tally;
use super::rates::{Basis, Rate};
use super::resizes::{Chain, ResizeSums};
use crate::replay::period::Period;
use crate::replay::verdict::Verdict;

/// The lives of blocks.
#[derive(Debug, Clone)]
pub struct LifetimesReport {
    /// The trace's name.
    pub source: String,
    /// What the trace says of itself.
    pub header: Header,
    /// The recorded processes.
    pub processes: Vec<Process>,
    /// How far the rest can be trusted.
    pub verdict: Verdict,
    /// The VMs asked for of which a heap is known.
    pub vms: Vec<VmLifetimes>,
}

/// The lives of a VM's blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct VmLifetimes {
    /// The VM's number in the trace.
    pub number: u32,
    /// What it is.
    pub vm: Vm,
    /// The period asked for.
    pub period: Period,
    /// The figures.
    pub figures: Figures,
}

/// What became of blocks. Sizes are those of chunks, or of mappings, at a block's birth.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Figures {
    /// What the turnover rests on: all else is of what was recorded.
    pub basis: Basis,
    /// Windows in which blocks were followed; stretches without a loss, if every call was recorded.
    pub windows: u64,
    /// Windows that are left out: without a keyframe no block is known, and some are cut off by the period.
    pub windows_left_out: u64,
    /// How long those that count were together.
    pub observed_ns: u64,
    /// Blocks alive when windows began.
    pub blocks_at_start: u64,
    /// Blocks alive when they ended.
    pub blocks_at_end: u64,
    /// How often the heap is turned over.
    pub turnover: Turnover,
    /// Blocks of all sizes.
    pub all: ClassLives,
    /// By size, ascending.
    pub classes: Vec<ClassLives>,
    /// The share that dies by an age, of all sizes, finely.
    pub curve: Vec<DiedBy>,
    /// What resizes did.
    pub resizes: ResizeSums,
    /// What they made of blocks, by how often one was resized.
    pub chains: Vec<Chain>,
}

/// What becomes of the blocks of one size class, or of all.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ClassLives {
    /// The smallest size that is counted here, a power of two; 0 of all blocks.
    pub size_from: u64,
    /// Blocks whose birth was seen.
    pub born: Tally,
    /// Those of them that were seen to die, by their age.
    pub died: Vec<DiedAt>,
    /// Those of them that lived on when their window ended: how old they become is not known.
    pub alive: Tally,
    /// Blocks that died, but were there before their window: how old they became is not known.
    pub older_died: Tally,
    /// The share that dies by an age, both kinds of not knowing taken into account.
    pub lifetimes: Lifetimes,
}

/// Blocks that died at about the same age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DiedAt {
    /// They were older than this, in nanoseconds.
    pub age_from_ns: Nanos,
    /// And not older than this; nothing of the oldest.
    pub age_to_ns: Option<Nanos>,
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How often a heap is turned over: bytes that come to life against bytes that live.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Turnover {
    /// Bytes of chunks that come to life: new blocks, and what blocks grow by.
    pub born: Rate,
    /// Live bytes on average over the windows; nothing if they have no length.
    pub live_bytes: Option<f64>,
    /// Times a second that as many bytes are born as live.
    pub per_second: Option<f64>,
    /// The lower end of the 95 % confidence interval, as far as that of the births goes; none of an exact figure.
    pub low: Option<f64>,
    /// Its upper end.
    pub high: Option<f64>,
}

impl Figures {
    /// Whether nothing happened.
    pub fn is_still(&self) -> bool {
        self.all.born.count + self.all.older_died.count + self.resizes.all() + self.resizes.failed == 0
    }
}

impl ClassLives {
    /// What became of the blocks of a class.
    pub fn of(size_from: u64, class: &ClassFates) -> ClassLives {
        let ends = EDGES.map(Some).into_iter().chain([None]);
        let starts = [0].into_iter().chain(EDGES);
        let died = starts.zip(ends).zip(class.ages.deaths()).map(|((age_from_ns, age_to_ns), tally)| DiedAt {
            age_from_ns,
            age_to_ns,
            count: tally.count,
            bytes: tally.bytes,
        });
        ClassLives {
            size_from,
            born: class.ages.born(),
            died: died.collect(),
            alive: class.ages.alive(),
            older_died: class.older_died,
            lifetimes: class.ages.finish(),
        }
    }
}
