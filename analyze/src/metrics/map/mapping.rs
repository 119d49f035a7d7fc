//! One mapping of a heap: a segment, or a direct block.

use schemars::JsonSchema;
use serde::Serialize;
use shared::Addr;
use shared::heap::layout::HEADER;
use shared::heap::{Chunk, Direct, Heap, Segment};
use shared::trace::census::ObjectKind;

use super::{Kind, Mix};
use crate::metrics::breakdown::heap::{keeps_for_good, within};
use crate::metrics::population::Tally;

/// A segment is pinned by little if its blocks are at most this part of it: an eighth.
const LITTLE: u64 = 8;

/// What a mapping is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// For chunks.
    Segment,
    /// For one large block.
    Direct,
}

/// How a mapping stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It does not.
    Ordinary,
    /// A segment without a block, not the first one: LuaJIT can return it.
    WhollyFree,
    /// A segment whose blocks are at most an eighth of it, with at least half of it free (`top` not counted): they keep all
    /// of that from being returned.
    PinnedByLittle,
}

/// Memory that was mapped, and is returned, as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Mapping {
    /// What it is for.
    #[serde(rename = "kind")]
    pub purpose: Purpose,
    /// Its first address.
    pub base: Addr,
    /// Its bytes.
    #[serde(rename = "bytes")]
    pub size: u64,
    /// The segment that grows: `top` is in it.
    pub first: bool,
    /// The allocator's state is in it, so it is never returned.
    pub mstate: bool,
    /// Its bytes by what they are.
    #[serde(flatten)]
    pub mix: Mix,
    /// The blocks in it: what pins it. A direct block is one.
    pub pinned_by: Tally,
    /// Its free chunks: none of them touch.
    pub free_runs: u64,
    /// The largest of them.
    #[serde(rename = "largest_free_bytes")]
    pub largest_free: u64,
    /// How it stands out.
    pub standing: Standing,
    /// Wholly free, but of the shape that builds before upstream's fix of 2024-04-19 never return.
    pub kept_for_good: bool,
}

impl Mapping {
    /// A direct block.
    pub(super) fn direct(direct: &Direct, object: Option<ObjectKind>) -> Mapping {
        let mut mix = Mix { direct: direct.size, ..Mix::default() };
        object.into_iter().for_each(|object| mix.kinds.count(object, direct.size));
        Mapping {
            purpose: Purpose::Direct,
            base: direct.base,
            size: direct.size,
            first: false,
            mstate: false,
            mix,
            pinned_by: Tally { count: 1, bytes: direct.size },
            free_runs: 0,
            largest_free: 0,
            standing: Standing::Ordinary,
            kept_for_good: false,
        }
    }

    /// A segment of which nothing is counted yet; the first one of the list grows.
    pub(super) fn segment(heap: &Heap, segment: &Segment, first: bool) -> Mapping {
        let Segment { base, size, .. } = *segment;
        let state = heap.mstate.wrapping_sub(HEADER);
        Mapping {
            purpose: Purpose::Segment,
            base,
            size,
            first,
            mstate: state >= base && state - base < size,
            mix: Mix::default(),
            pinned_by: Tally::default(),
            free_runs: 0,
            largest_free: 0,
            standing: Standing::Ordinary,
            kept_for_good: false,
        }
    }

    /// The first address behind it.
    pub fn end(&self) -> Addr {
        self.base.saturating_add(self.size)
    }

    /// Counts a piece of a segment.
    pub(super) fn count(&mut self, bytes: u64, kind: Kind, object: Option<ObjectKind>) {
        self.mix.count(kind, bytes);
        object.into_iter().for_each(|object| self.mix.kinds.count(object, bytes));
        match kind {
            Kind::Used => {
                self.pinned_by.count += 1;
                self.pinned_by.bytes = self.pinned_by.bytes.saturating_add(bytes);
            }
            Kind::Binned | Kind::Dv | Kind::Top => {
                self.free_runs += 1;
                self.largest_free = self.largest_free.max(bytes);
            }
            Kind::Own | Kind::Overhead | Kind::Direct => {}
        }
    }

    /// Says how a segment stands out, once all of it is counted.
    pub(super) fn judge(&mut self, chunks: &[Chunk], segment: &Segment) {
        let stuck = self.mix.binned.saturating_add(self.mix.dv);
        if self.pinned_by.count == 0 && !self.first && !self.mstate {
            self.standing = Standing::WhollyFree;
            self.kept_for_good = keeps_for_good(within(chunks, segment), segment);
        } else if self.mix.used <= self.size / LITTLE && stuck >= self.size / 2 {
            self.standing = Standing::PinnedByLittle;
        }
    }
}
