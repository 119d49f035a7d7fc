//! What a hit costs the target itself, seen from its own hits.
//!
//! The collector sweeps: it frees one dead block after the other with hardly any work in between. So the time from one
//! free to the next of the same thread is little more than what a hit takes, there and then, with the target's caches on
//! the target's processor. The median of many is not moved by the few that were interrupted.

/// Nanoseconds in a bucket.
const WIDTH: u64 = 16;
/// Longer times are no sweep: up to 16 microseconds.
const BUCKETS: usize = 1024;
/// Fewer pairs say little.
const ENOUGH: u64 = 2000;
/// What a sweep itself does between two frees.
const SWEEP_NS: u64 = 60;

/// Times from one free to the next.
#[derive(Debug, Clone)]
pub struct Price {
    buckets: Vec<u32>,
    pairs: u64,
    /// When each thread's last call was, if that was a free.
    last_free: Vec<Option<u64>>,
}

impl Default for Price {
    fn default() -> Self {
        Price { buckets: vec![0; BUCKETS], pairs: 0, last_free: Vec::new() }
    }
}

impl Price {
    /// Takes a call of a thread, at a time in nanoseconds.
    #[inline]
    pub fn call(&mut self, thread: usize, time: u64, is_free: bool) {
        if self.last_free.len() <= thread {
            self.last_free.resize(thread + 1, None);
        }
        let before = std::mem::replace(&mut self.last_free[thread], is_free.then_some(time));
        if let (true, Some(before)) = (is_free, before) {
            let bucket = (time.saturating_sub(before) / WIDTH) as usize;
            if let Some(count) = self.buckets.get_mut(bucket) {
                *count = count.saturating_add(1);
                self.pairs += 1;
            }
        }
    }

    /// What a hit costs, and how far the middle half of the measurements lies apart; nothing as long as there are few.
    pub fn measured(&self) -> Option<(u64, u64)> {
        if self.pairs < ENOUGH {
            return None;
        }
        let at = |share: u64| {
            let mut left = self.pairs * share / 4;
            let bucket = self.buckets.iter().position(|count| {
                let found = left < u64::from(*count);
                left = left.saturating_sub(u64::from(*count));
                found
            });
            (bucket.unwrap_or(BUCKETS) as u64 * WIDTH + WIDTH / 2).saturating_sub(SWEEP_NS)
        };
        Some((at(2).max(1), at(3) - at(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_frees_in_a_row() {
        let mut price = Price::default();
        let mut time = 0;
        for n in 0..10_000u64 {
            // Every tenth time something else comes between, every hundredth time the processor is taken away.
            time += 1700 + SWEEP_NS + n % 3 * 40 + if n % 100 == 0 { 1_000_000 } else { 0 };
            price.call(1, time, n % 10 != 0);
        }
        let (middle, spread) = price.measured().unwrap();
        assert!((1700..1800).contains(&middle) && spread < 100, "{middle} {spread}");
        let mut few = Price::default();
        (0..1000).for_each(|n| few.call(0, n * 1000, true));
        assert_eq!(few.measured(), None);
    }
}
