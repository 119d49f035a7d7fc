//! How long a stop will take: learned from the stops so far.

use shared::Nanos;

/// How many stops are remembered.
const REMEMBERED: usize = 8;
/// Until a stop was seen: threads take 0.04 to 6 ms to stop.
const FIRST_STOP: Nanos = 2_000_000;
/// Until a copy was seen: 2.6 GB/s. Machines seen make 1 to 3; a copy that turns out slower is broken off in time.
const FIRST_NS_PER_MIB: u64 = 400_000;
/// After so many predictions that were too long to try, the worst experience is forgotten: it may have been bad luck.
const PATIENCE: u32 = 16;
/// Smaller copies say more of the stop than of the copy.
const MIN_COPY: u64 = 1 << 20;

/// The last few stops.
#[derive(Debug, Clone, Default)]
pub struct Pauses {
    stops: Vec<Nanos>,
    ns_per_mib: Vec<u64>,
    refused: u32,
}

impl Pauses {
    /// Learns from a stop in which `bytes` took `copy_ns` to copy, and all the rest `stop_ns`.
    pub fn learn(&mut self, stop_ns: Nanos, copy_ns: Nanos, bytes: u64) {
        remember(&mut self.stops, stop_ns);
        if bytes >= MIN_COPY {
            remember(&mut self.ns_per_mib, (u128::from(copy_ns) * (1 << 20) / u128::from(bytes)) as u64);
        }
    }

    /// How long a stop with a copy of so many bytes will take: the copy as the slowest of the last ones; the stop as they
    /// mostly are, for one that takes too long is broken off anyway, and a busy machine makes any first one slow.
    pub fn predict(&self, bytes: u64) -> Nanos {
        let per_mib = self.ns_per_mib.iter().copied().max().unwrap_or(FIRST_NS_PER_MIB);
        let copy = (u128::from(bytes) * u128::from(per_mib)) >> 20;
        let mut stops = [&[FIRST_STOP], &self.stops[..]].concat();
        stops.sort_unstable();
        stops[(stops.len() - 1) / 2].saturating_add(u64::try_from(copy).unwrap_or(u64::MAX))
    }
}

impl Pauses {
    /// Whether a copy of so many bytes can be tried within `most`.
    pub fn fits(&mut self, bytes: u64, most: Nanos) -> bool {
        let fits = self.predict(bytes) <= most;
        self.refused = if fits { 0 } else { self.refused + 1 };
        if self.refused >= PATIENCE {
            self.refused = 0;
            for all in [&mut self.stops, &mut self.ns_per_mib] {
                let slowest = all.iter().copied().max();
                all.retain(|one| Some(*one) != slowest);
            }
        }
        fits
    }
}

fn remember(all: &mut Vec<u64>, value: u64) {
    if all.len() == REMEMBERED {
        all.remove(0);
    }
    all.push(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_the_last_stops_counts_and_is_forgotten_in_time() {
        let mut pauses = Pauses::default();
        assert_eq!(pauses.predict(10 << 20), FIRST_STOP + 10 * FIRST_NS_PER_MIB);
        pauses.learn(100, 3_000, 10 << 20);
        assert_eq!(pauses.predict(10 << 20), 3_100);
        pauses.learn(5_000, 1_000, 10 << 20);
        assert_eq!(pauses.predict(10 << 20), 8_000);
        for _ in 0..REMEMBERED {
            pauses.learn(100, 1_000, 10 << 20);
        }
        assert_eq!(pauses.predict(20 << 20), 2_100);
        assert!(pauses.predict(u64::MAX) > 1 << 40);
    }

    #[test]
    fn one_slow_stop_is_bad_luck_and_two_are_not() {
        let mut pauses = Pauses::default();
        pauses.learn(51_000_000, 1_000_000, 4 << 20);
        assert!(pauses.fits(4 << 20, 50_000_000));
        pauses.learn(51_000_000, 1_000_000, 4 << 20);
        assert!(!pauses.fits(4 << 20, 50_000_000));
    }

    #[test]
    fn a_bad_experience_is_not_held_against_a_heap_for_ever() {
        let mut pauses = Pauses::default();
        assert!(pauses.fits(50 << 20, 50_000_000));
        pauses.learn(1_000_000, 90_000_000, 50 << 20);
        let tries = (0..200).take_while(|_| !pauses.fits(50 << 20, 50_000_000)).count();
        assert_eq!(tries, PATIENCE as usize);
        assert!(
            (0..200).all(|_| !pauses.fits(500 << 20, 50_000_000)),
            "what is too large by any measure is never tried"
        );
    }
}
