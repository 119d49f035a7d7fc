//! Programs whose sites are known, sampled: the truth lies in the stated intervals as often as they say.

use super::{Share, Weighed};

/// A random sequence, the same for each seed (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }

    /// From 0 on, below 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of the exponential distribution with mean 1.
    fn wait(&mut self) -> f64 {
        -(1.0 - self.part()).ln()
    }
}

/// How a program allocates, and how it is sampled.
#[derive(Debug, Clone, Copy)]
struct World {
    /// One of so many calls is a sample.
    every: u64,
    /// So many calls in a row are of one site, on average.
    burst: f64,
    /// In so many turns samples are taken, at random moments.
    turns: u64,
    /// They take this part of all calls.
    covered: f64,
    /// Calls weigh bytes, of a distribution with a long tail; else each weighs 1.
    bytes: bool,
}

const CALLS: u64 = 150_000;
const SEEDS: u64 = 150;
/// The sites' parts of all calls.
const SITES: [f64; 6] = [0.45, 0.25, 0.15, 0.08, 0.05, 0.02];

/// The true share of each site that was seen, and what is said of it.
fn sampled(world: World, seed: u64) -> Vec<(f64, Share)> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let slot = CALLS / world.turns;
    let length = (slot as f64 * world.covered) as u64;
    let starts: Vec<u64> = (0..world.turns)
        .map(|turn| turn * slot + if slot > length { random.below(slot - length) } else { 0 })
        .collect();
    let mut turns = vec![Vec::new(); starts.len()];
    let (mut truth, mut keys) = ([0.0; SITES.len()], Vec::new());
    let (mut site, mut left, mut phase) = (0, 0, random.below(world.every));
    for call in 0..CALLS {
        if left == 0 {
            let mut at = random.part();
            let chosen = SITES.iter().position(|part| {
                at -= part;
                at < 0.0
            });
            site = chosen.unwrap_or(SITES.len() - 1);
            left = if world.burst <= 1.0 { 1 } else { (random.wait() * world.burst).ceil().max(1.0) as u64 };
        }
        left -= 1;
        let tail = (random.wait() * 1.2).exp().min(5000.0);
        let weight = if world.bytes { (24.0 + 16.0 * site as f64) * tail } else { 1.0 };
        truth[site] += weight;
        let turn = ((call / slot) as usize).min(starts.len() - 1);
        if (starts[turn]..starts[turn] + length).contains(&call) {
            if phase == 0 {
                phase = world.every;
                turns[turn].push(weight);
                keys.push(site);
            }
            phase -= 1;
        }
    }
    let all: f64 = truth.iter().sum();
    let shares = Weighed::new(&turns, all as u64).shares(&keys);
    shares.into_iter().map(|(site, share)| (truth[site] / all, share)).collect()
}

#[test]
fn the_truth_lies_in_the_intervals() {
    let evenly = World { every: 100, burst: 1.0, turns: 1, covered: 1.0, bytes: false };
    let worlds = [
        evenly,
        World { every: 1000, ..evenly },
        World { bytes: true, ..evenly },
        World { every: 500, bytes: true, ..evenly },
        // In bursts, longer than the way from a sample to the next one, and than turns.
        World { burst: 50.0, ..evenly },
        World { burst: 3000.0, bytes: true, ..evenly },
        World { burst: 1000.0, turns: 30, covered: 0.2, every: 50, ..evenly },
        World { burst: 1000.0, turns: 30, covered: 0.2, every: 50, bytes: true },
        World { burst: 300.0, turns: 8, covered: 0.2, every: 50, bytes: false },
        World { burst: 300.0, turns: 100, covered: 0.1, every: 50, bytes: true },
    ];
    for world in worlds {
        let said: Vec<(f64, Share)> = (1..=SEEDS).flat_map(|seed| sampled(world, seed)).collect();
        let right = said.iter().filter(|(truth, share)| (share.low..=share.high).contains(truth)).count();
        let part = right as f64 / said.len() as f64;
        assert!(part >= 0.93, "{world:?}: {part:.3} of {}", said.len());
        // Which would be no art if they said nothing.
        let width = said.iter().map(|(_, share)| share.high - share.low).sum::<f64>() / said.len() as f64;
        assert!(width < if world.bytes { 0.7 } else { 0.3 }, "{world:?}: {width:.3}");
    }
    let of_largest = |every| {
        let said = sampled(World { every, ..evenly }, 7);
        said[0].1.high - said[0].1.low
    };
    // 1500 samples tell a share near a half to some 5 %.
    assert!(of_largest(100) < 0.09 && of_largest(1000) > 2.0 * of_largest(100));
}
