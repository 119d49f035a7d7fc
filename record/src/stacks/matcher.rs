//! Which hit of a thread each stack belongs to. Both are written in the same trap, by two probes: the stack comes right behind
//! its hit or right before it, and has its arguments.

use std::collections::VecDeque;

/// A stack, its hit's time, and so a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched {
    /// `CLOCK_MONOTONIC` of its hit in nanoseconds.
    pub hit: u64,
    /// The number of the stack.
    pub stack: u32,
}

/// A stack that was taken, and of whom nothing but its number is left.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    time: u64,
    arguments: [u64; 4],
    stack: u32,
    /// When its hit was, once that is known.
    hit: Option<u64>,
}

/// A thread's stacks and hits, as they come.
#[derive(Debug, Default)]
pub struct Matcher {
    /// Stacks that can only belong to the hit before them, and to the one behind: the kernel serves the two probes one after
    /// the other, and which one first depends on which was opened first.
    votes: (u64, u64),
    waiting: VecDeque<Waiting>,
    /// The last hit.
    last: Option<(u64, [u64; 4])>,
    /// Stacks that are missing.
    pub lost: u64,
}

impl Matcher {
    /// Takes a stack by its number. It is younger than all before it; hits from before it may still come.
    pub fn stack(&mut self, time: u64, arguments: [u64; 4], stack: u32) {
        self.waiting.push_back(Waiting { time, arguments, stack, hit: None });
    }

    /// Takes the next hit, before it is passed on. What is known of hits before it goes to `each`.
    pub fn hit(&mut self, time: u64, arguments: [u64; 4], each: impl FnMut(Matched)) {
        let next = (time, arguments);
        let (last, votes) = (self.last.replace(next), &mut self.votes);
        let before = self.waiting.len();
        self.waiting.retain_mut(|waiting| {
            if waiting.hit.is_some() || waiting.time >= next.0 {
                return true;
            }
            let fits = |hit: &(u64, [u64; 4])| hit.1 == waiting.arguments;
            let found = match (last.filter(fits), Some(next).filter(fits)) {
                (Some(last), None) => {
                    votes.0 += 1;
                    Some(last)
                }
                (None, Some(next)) => {
                    votes.1 += 1;
                    Some(next)
                }
                (Some(last), Some(next)) => Some(if votes.0 >= votes.1 { last } else { next }),
                (None, None) => None,
            };
            waiting.hit = found.map(|(time, _)| time);
            found.is_some()
        });
        // What belongs to a hit before the first one that was seen is not wanted.
        if last.is_some() {
            self.lost += (before - self.waiting.len()) as u64;
        }
        self.give(next.0, each);
    }

    /// All hits so far were taken: what is known of them goes to `each`.
    pub fn rest(&mut self, each: impl FnMut(Matched)) {
        if self.votes.0 > self.votes.1 {
            let fresh = self.waiting.iter_mut().filter(|waiting| waiting.hit.is_none());
            for waiting in fresh {
                waiting.hit = self.last.filter(|last| last.1 == waiting.arguments).map(|(time, _)| time);
            }
        }
        self.give(u64::MAX, each);
    }

    /// Hands out those whose hits are older than `time`, and so passed on.
    fn give(&mut self, time: u64, mut each: impl FnMut(Matched)) {
        while let Some(Waiting { hit: Some(hit), stack, .. }) = self.waiting.front().filter(|at| at.hit < Some(time)) {
            each(Matched { hit: *hit, stack: *stack });
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Hits with few different arguments, some of which have stacks, in either order, emptied at any moment.
        #[test]
        fn each_stack_finds_its_hit(behind: bool, hits in proptest::collection::vec((0u64..3, 0u8..4, any::<bool>()), 1..200)) {
            let (mut matcher, mut found) = (Matcher::default(), Vec::new());
            let arguments = |at: usize, kind: u64| [7, at as u64 % 5, kind, 1];
            let mut taken = 0;
            let stack = |matcher: &mut Matcher, at: usize, kind: u64| {
                let time = 100 * at as u64 + if behind { 10 } else { 0 };
                matcher.stack(time, arguments(at, kind), at as u32);
            };
            for (at, (kind, often, emptied)) in hits.iter().enumerate() {
                let sampled = *often == 0;
                taken += usize::from(sampled);
                // The ring with the stacks is read first, so that a stack may be there before the hit.
                if sampled && (!behind || !emptied) {
                    stack(&mut matcher, at, *kind);
                }
                matcher.hit(100 * at as u64 + 5, arguments(at, *kind), |matched| found.push(matched));
                if sampled && behind && *emptied {
                    stack(&mut matcher, at, *kind);
                }
                if *emptied {
                    matcher.rest(|matched| found.push(matched));
                }
            }
            matcher.hit(1 << 40, [0; 4], |matched| found.push(matched));
            prop_assert_eq!(matcher.lost, 0);
            prop_assert_eq!(found.len(), taken);
            for matched in found {
                prop_assert_eq!(matched.hit, 100 * u64::from(matched.stack) + 5);
            }
        }
    }

    #[test]
    fn a_stack_that_fits_no_hit_is_lost() {
        let mut matcher = Matcher::default();
        matcher.stack(1, [9; 4], 0);
        matcher.hit(5, [1; 4], |matched| panic!("{matched:?}"));
        assert_eq!(matcher.lost, 0, "of before the first hit");
        matcher.stack(6, [9; 4], 1);
        matcher.rest(|matched| panic!("{matched:?}"));
        matcher.hit(10, [1; 4], |matched| panic!("{matched:?}"));
        assert_eq!(matcher.lost, 1);
    }
}
