//! Stretches of time of equal length, and what happened in each.

use std::ops::Range;

use schemars::JsonSchema;
use serde::Serialize;
use shared::Nanos;
use shared::call::{Call, CallKind};

use crate::metrics::population::overhead;
use crate::model::Allocator;

/// How a time is cut: from its start on, each point as long as the others; the last one may end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Where the first one begins.
    pub from: Nanos,
    /// Where the last one ends; that moment belongs to it.
    pub to: Nanos,
    width: Nanos,
}

impl Scale {
    /// At most so many points.
    pub fn new(from: Nanos, to: Nanos, points: u64) -> Scale {
        // So that one point is enough for the longest time.
        let to = to.max(from).min(from.saturating_add(Nanos::MAX - 1));
        Scale { from, to, width: ((to - from) / points.max(1)).saturating_add(1) }
    }

    /// How many points there are.
    pub fn count(&self) -> usize {
        ((self.to - self.from) / self.width) as usize + 1
    }

    /// Which of them a moment belongs to.
    pub fn at(&self, time: Nanos) -> Option<usize> {
        (self.from..=self.to).contains(&time).then(|| ((time - self.from) / self.width) as usize)
    }

    /// From when to when one of them is.
    pub fn span(&self, point: usize) -> (Nanos, Nanos) {
        let edge = |point: u64| self.from.saturating_add(self.width.saturating_mul(point)).min(self.to);
        (edge(point as u64), edge(point as u64 + 1))
    }

    /// The points that a time has a part in.
    pub(super) fn within(&self, start: Nanos, end: Nanos) -> Range<usize> {
        let (first, last) = (start.max(self.from), end.min(self.to));
        match (self.at(first), self.at(last)) {
            (Some(first), Some(last)) if first <= last => first..last + 1,
            _ => 0..0,
        }
    }

    /// The first moment behind the point that a moment belongs to, or the first of all.
    pub(super) fn edge_behind(&self, time: Nanos) -> Nanos {
        match self.at(time) {
            Some(point) if point + 1 < self.count() => self.span(point).1,
            Some(_) => self.to.saturating_add(1),
            None if time < self.from => self.from,
            None => Nanos::MAX,
        }
    }
}

/// A figure, and its name.
pub type Figure<T> = (&'static str, fn(&T) -> u64);

/// What a heap holds at a moment, in bytes: figures as `Populations` (`analyze stats`) has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Levels {
    /// Chunks in use.
    pub used: u64,
    /// Free chunks.
    pub free: u64,
    /// Mapped for chunks.
    pub segments: u64,
    /// Blocks mapped on their own.
    pub direct: u64,
    /// What the collector counts.
    pub gc_total: u64,
}

impl Levels {
    /// All of them, in the order of every output.
    pub const FIGURES: [Figure<Levels>; 5] = [
        ("used", |levels| levels.used),
        ("free", |levels| levels.free),
        ("segments", |levels| levels.segments),
        ("direct", |levels| levels.direct),
        ("gc_total", |levels| levels.gc_total),
    ];

    /// Of a heap.
    #[inline]
    pub fn of(heap: &Allocator) -> Levels {
        let totals = heap.totals();
        // The model counts chunks of its own as overhead: fenceposts, records, the mstate.
        let own = totals.overhead_bytes.wrapping_sub(overhead(totals.segments));
        Levels {
            used: totals.used_bytes.wrapping_add(own),
            free: totals.free_bytes,
            segments: totals.segment_bytes,
            direct: totals.direct_bytes,
            gc_total: heap.gc_total(),
        }
    }

    fn zip(self, other: Levels, with: impl Fn(u64, u64) -> u64) -> Levels {
        Levels {
            used: with(self.used, other.used),
            free: with(self.free, other.free),
            segments: with(self.segments, other.segments),
            direct: with(self.direct, other.direct),
            gc_total: with(self.gc_total, other.gc_total),
        }
    }
}

/// A figure over a time in which it was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Gauge {
    /// When it was first seen.
    pub first: u64,
    /// At its lowest.
    pub min: u64,
    /// At its highest.
    pub max: u64,
    /// When it was last seen.
    pub last: u64,
}

impl Gauge {
    /// All that is known of it, in the order of every output.
    pub const FIGURES: [Figure<Gauge>; 4] = [
        ("first", |gauge| gauge.first),
        ("min", |gauge| gauge.min),
        ("max", |gauge| gauge.max),
        ("last", |gauge| gauge.last),
    ];

    /// Seen once.
    pub fn at(value: u64) -> Gauge {
        Gauge { first: value, min: value, max: value, last: value }
    }

    /// This one and a later one.
    pub fn then(&self, later: &Gauge) -> Gauge {
        let (min, max) = (self.min.min(later.min), self.max.max(later.max));
        Gauge { first: self.first, min, max, last: later.last }
    }
}

/// A heap over a time in which it was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heaps {
    /// When it was first seen.
    pub first: Levels,
    /// Each figure at its lowest, of all moments.
    pub min: Levels,
    /// Each figure at its highest.
    pub max: Levels,
    /// When it was last seen.
    pub last: Levels,
}

impl Heaps {
    /// Seen once.
    pub fn at(levels: Levels) -> Heaps {
        Heaps { first: levels, min: levels, max: levels, last: levels }
    }

    /// Seen again.
    #[inline]
    pub fn see(&mut self, levels: Levels) {
        self.min = self.min.zip(levels, u64::min);
        self.max = self.max.zip(levels, u64::max);
        self.last = levels;
    }

    /// This one and a later one.
    pub fn then(&self, later: &Heaps) -> Heaps {
        let (min, max) = (self.min.zip(later.min, u64::min), self.max.zip(later.max, u64::max));
        Heaps { first: self.first, min, max, last: later.last }
    }

    /// Two heaps together. Their highest and lowest moments need not be the same, so `min` and `max` are bounds.
    pub fn beside(&self, other: &Heaps) -> Heaps {
        let sum = |one: Levels, two: Levels| one.zip(two, u64::saturating_add);
        Heaps {
            first: sum(self.first, other.first),
            min: sum(self.min, other.min),
            max: sum(self.max, other.max),
            last: sum(self.last, other.last),
        }
    }

    /// One figure of it.
    pub fn gauge(&self, of: impl Fn(&Levels) -> u64) -> Gauge {
        Gauge { first: of(&self.first), min: of(&self.min), max: of(&self.max), last: of(&self.last) }
    }

    /// The share of the segments that is free chunks, between 0 and 1, when it was last seen; none without segments.
    pub fn fragmentation(&self) -> Option<f64> {
        let Levels { free, segments, .. } = self.last;
        (segments > 0).then(|| free as f64 / segments as f64)
    }
}

/// Calls, and the bytes they ask for or give back, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Flow {
    /// Allocations.
    pub alloc: u64,
    /// Resizes.
    pub resize: u64,
    /// Frees; of a null pointer, too.
    pub free: u64,
    /// Bytes that allocations ask for.
    pub allocated_bytes: u64,
    /// Bytes by which resizes grow.
    pub grown_bytes: u64,
    /// Bytes by which resizes shrink.
    pub shrunk_bytes: u64,
    /// Bytes that frees give back.
    pub freed_bytes: u64,
}

impl Flow {
    /// All of it, in the order of every output.
    pub const FIGURES: [Figure<Flow>; 7] = [
        ("alloc_calls", |flow| flow.alloc),
        ("resize_calls", |flow| flow.resize),
        ("free_calls", |flow| flow.free),
        ("allocated_bytes", |flow| flow.allocated_bytes),
        ("grown_bytes", |flow| flow.grown_bytes),
        ("shrunk_bytes", |flow| flow.shrunk_bytes),
        ("freed_bytes", |flow| flow.freed_bytes),
    ];

    /// Counts a call.
    #[inline]
    pub fn count(&mut self, call: &Call) {
        // Saturating: a register may hold anything.
        let add = |sum: &mut u64, bytes: u64| *sum = sum.saturating_add(bytes);
        match call.kind() {
            CallKind::Alloc => {
                self.alloc += 1;
                add(&mut self.allocated_bytes, call.nsize);
            }
            CallKind::Resize => {
                self.resize += 1;
                add(&mut self.grown_bytes, call.nsize.saturating_sub(call.osize));
                add(&mut self.shrunk_bytes, call.osize.saturating_sub(call.nsize));
            }
            CallKind::Free => {
                self.free += 1;
                add(&mut self.freed_bytes, call.osize);
            }
        }
    }

    /// Adds other calls; the order does not matter.
    pub fn merge(&mut self, other: &Flow) {
        self.alloc += other.alloc;
        self.resize += other.resize;
        self.free += other.free;
        self.allocated_bytes = self.allocated_bytes.saturating_add(other.allocated_bytes);
        self.grown_bytes = self.grown_bytes.saturating_add(other.grown_bytes);
        self.shrunk_bytes = self.shrunk_bytes.saturating_add(other.shrunk_bytes);
        self.freed_bytes = self.freed_bytes.saturating_add(other.freed_bytes);
    }

    /// Calls of every kind.
    pub fn calls(&self) -> u64 {
        self.alloc + self.resize + self.free
    }
}

/// What happened in a stretch of time, as far as it was recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Point {
    /// How much of the time each call was recorded, in nanoseconds; of a process, the most of its VMs.
    pub recorded_ns: u64,
    /// The calls recorded.
    pub flow: Flow,
    /// The heap while it was known: while calls were recorded from a keyframe on, or at a keyframe alone.
    pub heap: Option<Heaps>,
    /// What the process had resident when it was looked at.
    pub resident: Option<Gauge>,
    /// Collector cycles that ended.
    pub cycles: u64,
    /// Places where calls are lost.
    pub gaps: u64,
    /// Windows that begin.
    pub windows: u64,
}

impl Point {
    /// This one and a later one, or later parts of the same one.
    pub fn then(&mut self, later: &Point) {
        let joined =
            |one: Option<Heaps>, two: Option<Heaps>| one.zip(two).map(|(one, two)| one.then(&two)).or(one).or(two);
        self.recorded_ns = self.recorded_ns.saturating_add(later.recorded_ns);
        self.flow.merge(&later.flow);
        self.heap = joined(self.heap, later.heap);
        self.resident = match (self.resident, later.resident) {
            (Some(one), Some(two)) => Some(one.then(&two)),
            (one, two) => one.or(two),
        };
        self.cycles += later.cycles;
        self.gaps += later.gaps;
        self.windows += later.windows;
    }

    /// Two VMs of one process in the same time: their heaps together are known only where both are.
    pub fn beside(&mut self, other: &Point) {
        self.recorded_ns = self.recorded_ns.max(other.recorded_ns);
        self.flow.merge(&other.flow);
        self.heap = self.heap.zip(other.heap).map(|(one, two)| one.beside(&two));
        self.cycles += other.cycles;
        self.gaps = self.gaps.max(other.gaps);
        self.windows = self.windows.max(other.windows);
    }

    /// How much a second, of what was recorded; none where nothing was.
    pub fn per_second(&self, amount: u64) -> Option<f64> {
        (self.recorded_ns > 0).then(|| amount as f64 * 1e9 / self.recorded_ns as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn points_lie_side_by_side_and_cover_the_time() {
        for (from, to, points) in [(0, 0, 240), (5, 5, 1), (0, 1000, 7), (3, 17, 240), (0, Nanos::MAX, 1), (9, 4, 3)] {
            let scale = Scale::new(from, to, points);
            assert!(scale.count() as u64 <= points.max(1));
            assert_eq!((scale.span(0).0, scale.span(scale.count() - 1).1), (scale.from, scale.to));
            for at in 0..scale.count() {
                let (start, end) = scale.span(at);
                assert_eq!(scale.at(start), Some(at));
                assert!(at + 1 == scale.count() || scale.at(end) == Some(at + 1));
            }
            assert_eq!(scale.at(scale.to), Some(scale.count() - 1));
            assert_eq!(scale.within(scale.from, scale.to), 0..scale.count());
        }
        let scale = Scale::new(10, 30, 2);
        assert_eq!((scale.at(9), scale.at(31), scale.within(0, 9), scale.within(31, 40)), (None, None, 0..0, 0..0));
    }

    /// A point that saw one moment.
    fn moment((ns, known, used, size, kind): (u64, bool, u64, u64, u8)) -> Point {
        let levels = Levels { used, free: size, segments: used + size, direct: used / 2, gc_total: used / 3 };
        let (ptr, osize, nsize) = [(0, 0, size), (8, size, used), (8, size, 0)][usize::from(kind)];
        let mut point = Point { recorded_ns: ns, heap: known.then(|| Heaps::at(levels)), ..Point::default() };
        point.flow.count(&Call { time: 0, ptr, osize, nsize });
        point.resident = (kind == 1).then(|| Gauge::at(size));
        point
    }

    fn joined(points: &[Point]) -> Point {
        let mut all = Point::default();
        points.iter().for_each(|point| all.then(point));
        all
    }

    proptest! {
        #[test]
        fn any_split_gives_the_whole(
            moments in vec((0..100u64, any::<bool>(), 0..1000u64, 0..1000u64, 0..3u8), 1..40),
            cuts in (0..40usize, 0..40usize),
        ) {
            let points: Vec<Point> = moments.into_iter().map(moment).collect();
            let (one, two) = (cuts.0.min(cuts.1).min(points.len()), cuts.0.max(cuts.1).min(points.len()));
            let parts = [&points[..one], &points[one..two], &points[two..]].map(joined);
            let (mut left, mut right) = (parts[0], parts[1]);
            left.then(&parts[1]);
            left.then(&parts[2]);
            right.then(&parts[2]);
            let mut other = parts[0];
            other.then(&right);
            prop_assert_eq!(left, joined(&points));
            prop_assert_eq!(other, joined(&points));
        }
    }
}
