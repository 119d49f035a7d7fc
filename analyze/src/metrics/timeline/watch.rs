//! Looking on at a stretch: what it adds to each point of the scale.

use shared::Nanos;
use shared::call::Call;

use super::cycles::Turns;
use super::points::{Heaps, Levels, Point, Scale};
use crate::model::{Allocator, Outcome};
use crate::replay::observe::Observer;

/// From when to when a stretch speaks of its VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    /// Its keyframe.
    pub(super) start: Nanos,
    /// From here on calls are recorded; behind `end`, if none are.
    pub(super) calls_from: Nanos,
    /// Where it ends.
    pub(super) end: Nanos,
}

/// Looks on at one stretch. Memory for each point that it reaches.
#[derive(Debug)]
pub struct Watch {
    scale: Scale,
    reach: Reach,
    now: Nanos,
    /// The first moment behind the present point.
    edge: Nanos,
    levels: Levels,
    point: Point,
    /// The points behind it, and their numbers.
    points: Vec<(usize, Point)>,
    turns: Turns,
}

impl Watch {
    pub(super) fn new(scale: Scale, reach: Reach) -> Watch {
        let (now, edge) = (reach.start, scale.edge_behind(reach.start));
        let (levels, point) = (Levels::default(), Point::default());
        Watch { scale, reach, now, edge, levels, point, points: Vec::new(), turns: Turns::default() }
    }

    /// Up to a moment nothing more happens: the heap stays as it is, and no call is made.
    #[inline]
    fn pass(&mut self, time: Nanos) {
        while time >= self.edge {
            let edge = self.edge;
            self.spend(edge);
            self.put_down();
            self.edge = self.scale.edge_behind(edge);
            self.point = Point { heap: Some(Heaps::at(self.levels)), ..Point::default() };
        }
        self.spend(time);
    }

    fn spend(&mut self, time: Nanos) {
        let recorded = time.saturating_sub(self.now.max(self.reach.calls_from));
        self.point.recorded_ns += recorded;
        self.now = time;
    }

    /// The present point is over.
    #[cold]
    fn put_down(&mut self) {
        let point = std::mem::take(&mut self.point);
        self.points.extend(self.scale.at(self.edge.saturating_sub(1)).map(|at| (at, point)));
    }

    /// The stretch is over, at that moment: what was seen.
    pub(super) fn end(mut self, time: Nanos) -> (Vec<(usize, Point)>, Turns) {
        self.pass(time.min(self.reach.end).max(self.now));
        self.put_down();
        (self.points, self.turns)
    }
}

impl Observer for Watch {
    fn start(&mut self, _: Nanos, heap: &Allocator) {
        self.levels = Levels::of(heap);
        self.point.heap = Some(Heaps::at(self.levels));
        self.turns.see(self.now, self.levels.gc_total);
    }

    #[inline]
    fn call(&mut self, call: &Call, _: &Outcome, heap: &Allocator) {
        // Times are rounded down, and threads may be ahead of one another.
        let time = call.time.max(self.reach.calls_from).min(self.reach.end);
        if time > self.now {
            self.pass(time);
        }
        let before = std::mem::replace(&mut self.levels, Levels::of(heap));
        self.point.flow.count(call);
        if let Some(heap) = &mut self.point.heap {
            heap.see(self.levels);
        }
        self.turns.step(self.now, before.gc_total, self.levels.gc_total);
    }
}
