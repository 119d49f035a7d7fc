//! Looking on while a stretch is replayed.

use shared::Nanos;
use shared::call::Call;

use super::Stretch;
use super::run::Replayed;
use crate::model::{Allocator, Outcome};

/// Sees each call with what the allocator did. Nobody looking, `()`, costs nothing; a pair looks on together.
pub trait Observer: Send {
    /// The heap at the stretch's keyframe, before any call.
    #[inline]
    fn start(&mut self, time: Nanos, heap: &Allocator) {
        let _ = (time, heap);
    }

    /// A call that the model took, and the heap after it.
    fn call(&mut self, call: &Call, outcome: &Outcome, heap: &Allocator);
}

impl Observer for () {
    #[inline]
    fn call(&mut self, _: &Call, _: &Outcome, _: &Allocator) {}
}

impl<A: Observer, B: Observer> Observer for (A, B) {
    #[inline]
    fn start(&mut self, time: Nanos, heap: &Allocator) {
        self.0.start(time, heap);
        self.1.start(time, heap);
    }

    #[inline]
    fn call(&mut self, call: &Call, outcome: &Outcome, heap: &Allocator) {
        self.0.call(call, outcome, heap);
        self.1.call(call, outcome, heap);
    }
}

/// Somebody who may not be there.
impl<A: Observer> Observer for Option<A> {
    #[inline]
    fn start(&mut self, time: Nanos, heap: &Allocator) {
        if let Some(observer) = self {
            observer.start(time, heap);
        }
    }

    #[inline]
    fn call(&mut self, call: &Call, outcome: &Outcome, heap: &Allocator) {
        if let Some(observer) = self {
            observer.call(call, outcome, heap);
        }
    }
}

/// What is found out in one pass over a trace: each stretch is looked on by an observer of its own, side by side, and they
/// come back in the plan's order. A pair of studies shares the pass.
pub trait Study: Sync {
    /// Looks on at one stretch.
    type Observer: Observer;
    /// Somebody to look on at a stretch.
    fn observer(&self, stretch: &Stretch) -> Self::Observer;
    /// Takes in what was seen of it.
    fn seen(&mut self, stretch: &Stretch, replayed: &Replayed, observer: Self::Observer);
}

impl Study for () {
    type Observer = ();
    fn observer(&self, _: &Stretch) {}
    fn seen(&mut self, _: &Stretch, _: &Replayed, (): ()) {}
}

impl<A: Study, B: Study> Study for (A, B) {
    type Observer = (A::Observer, B::Observer);

    fn observer(&self, stretch: &Stretch) -> Self::Observer {
        (self.0.observer(stretch), self.1.observer(stretch))
    }

    fn seen(&mut self, stretch: &Stretch, replayed: &Replayed, (a, b): Self::Observer) {
        self.0.seen(stretch, replayed, a);
        self.1.seen(stretch, replayed, b);
    }
}
