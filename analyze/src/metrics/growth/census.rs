//! Live blocks by size class, while a stretch is replayed; kept where the collector has just swept.

use std::sync::Arc;

use shared::Nanos;
use shared::call::Call;
use shared::trace::calls::TICK;

use crate::metrics::timeline::Turns;
use crate::model::{Allocator, Block, Outcome};
use crate::replay::observe::Observer;

/// The class of blocks that are mapped on their own; those before are powers of two.
pub const DIRECT: usize = 64;

/// Bytes of live blocks by size class, as chunks or mappings; those of class `n` take from 2 to the power of `n` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes(pub [u64; DIRECT + 1]);

/// The blocks at a moment, if somebody kept them.
pub type Mark = Option<Arc<Sizes>>;

/// Looks on at one stretch.
#[derive(Debug)]
pub struct Census {
    sizes: Sizes,
    /// The stretch's keyframe, if it could be read.
    keyframe: Option<(Nanos, Arc<Sizes>)>,
    now: Nanos,
    gc_total: u64,
    turns: Turns<Mark>,
    /// The last call may be a turn.
    turned: bool,
}

/// The blocks at a stretch's keyframe, and where `gc.total` turned.
pub type Seen = (Option<(Nanos, Arc<Sizes>)>, Turns<Mark>);

impl Default for Census {
    fn default() -> Self {
        let sizes = Sizes([0; DIRECT + 1]);
        Census { sizes, keyframe: None, now: 0, gc_total: 0, turns: Turns::default(), turned: false }
    }
}

impl Census {
    /// The stretch is over.
    pub(super) fn end(mut self) -> Seen {
        self.keep();
        (self.keyframe, self.turns)
    }

    /// Keeps the blocks as they are, if a cycle may end here.
    fn keep(&mut self) {
        if self.turned && self.turns.may_end() {
            self.turns.mark(Some(Arc::new(self.sizes.clone())));
        }
    }
}

impl Sizes {
    fn of(&mut self, block: Block) -> &mut u64 {
        &mut self.0[if block.direct { DIRECT } else { block.size.max(1).ilog2() as usize }]
    }

    /// Bytes of all classes.
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }
}

// Wrapping: a contradiction in the middle of a call may leave anything.
impl Observer for Census {
    fn start(&mut self, time: Nanos, heap: &Allocator) {
        heap.each_block(|block| {
            let bytes = self.sizes.of(block);
            *bytes = bytes.wrapping_add(block.size);
        });
        // As times of calls are, so that it is not behind the next one's.
        self.now = time / TICK * TICK;
        (self.gc_total, self.turned) = (heap.gc_total(), true);
        self.keyframe = Some((time, Arc::new(self.sizes.clone())));
        self.turns.see(self.now, self.gc_total);
    }

    #[inline]
    fn call(&mut self, call: &Call, outcome: &Outcome, heap: &Allocator) {
        // A block whose resize failed stays as it was.
        if call.nsize > 0 && outcome.after.is_none() {
            return;
        }
        let before = std::mem::replace(&mut self.gc_total, heap.gc_total());
        if self.gc_total > before {
            self.keep();
        }
        if let Some(block) = outcome.before {
            let bytes = self.sizes.of(block);
            *bytes = bytes.wrapping_sub(block.size);
        }
        if let Some(block) = outcome.after {
            let bytes = self.sizes.of(block);
            *bytes = bytes.wrapping_add(block.size);
        }
        // Times are rounded down, and threads may be ahead of one another.
        self.now = self.now.max(call.time);
        if self.gc_total != before {
            self.turned = self.turns.step(self.now, before, self.gc_total);
        }
    }
}
