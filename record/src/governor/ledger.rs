//! What a recording has cost its target, second by second, and what any 60 seconds of it came to.

use std::collections::VecDeque;

use shared::Nanos;

/// The budget holds over any stretch of this length.
pub const MINUTE: Nanos = 60_000_000_000;
/// Entries closer to each other than this are one: a ledger of a minute has at most 6,000.
const GRAIN: Nanos = 10_000_000;

/// Spendings of the last minute, and the worst minute so far.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// When the first nanosecond of an entry was spent, and how much.
    entries: VecDeque<(Nanos, u64)>,
    last_minute: u64,
    worst_minute: u64,
    total: u64,
}

impl Ledger {
    /// Notes that the target lost `ns` at `now`, which never steps back.
    pub fn spend(&mut self, now: Nanos, ns: u64) {
        if ns == 0 {
            return;
        }
        self.forget(now);
        match self.entries.back_mut() {
            Some((start, entry)) if now < *start + GRAIN => *entry += ns,
            _ => self.entries.push_back((now, ns)),
        }
        self.last_minute += ns;
        self.total += ns;
        self.worst_minute = self.worst_minute.max(self.last_minute);
    }

    /// Drops what was spent a minute ago or earlier. An entry stays until all of it is that old.
    fn forget(&mut self, now: Nanos) {
        while let Some(&(start, ns)) = self.entries.front()
            && start + GRAIN + MINUTE <= now
        {
            self.entries.pop_front();
            self.last_minute -= ns;
        }
    }

    /// What was spent in the minute before `now`.
    pub fn last_minute(&mut self, now: Nanos) -> u64 {
        self.forget(now);
        self.last_minute
    }

    /// When the last minute's spending will have sunk to `most`, if nothing is added.
    pub fn falls_to(&mut self, now: Nanos, most: u64) -> Nanos {
        let mut left = self.last_minute(now);
        for &(start, ns) in &self.entries {
            if left <= most {
                break;
            }
            left -= ns;
            if left <= most {
                return start + GRAIN + MINUTE;
            }
        }
        now
    }

    /// All that was spent.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The largest share of any minute, in millionths; of `elapsed`, if that is shorter.
    pub fn worst_minute_ppm(&self, elapsed: Nanos) -> u64 {
        let span = elapsed.clamp(1, MINUTE);
        (u128::from(self.worst_minute) * 1_000_000 / u128::from(span)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the plain definition: the sum over every minute that ends at a spending. The ledger may see up to
        /// a grain more, never less.
        #[test]
        fn the_worst_minute_is_never_underrated(steps in proptest::collection::vec((0..5_000_000_000u64, 0..1_000_000u64), 1..200)) {
            let (mut ledger, mut now, mut all) = (Ledger::default(), 0, Vec::new());
            for (step, ns) in steps {
                now += step;
                ledger.spend(now, ns);
                all.push((now, ns));
            }
            let sum = |end: Nanos, reach: Nanos| {
                all.iter().filter(|(t, _)| *t <= end && *t + reach > end).map(|(_, ns)| ns).sum::<u64>()
            };
            let (least, most) = all.iter().fold((0, 0), |(least, most), (end, _)| {
                (least.max(sum(*end, MINUTE)), most.max(sum(*end, MINUTE + 2 * GRAIN)))
            });
            prop_assert!((least..=most).contains(&ledger.worst_minute));
            let when = ledger.falls_to(now, 1000);
            prop_assert!(ledger.last_minute(when) <= 1000);
        }
    }
}
