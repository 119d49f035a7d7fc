//! Numbers by chance that can be had again.

use std::time::Duration;

/// The same seed throws the same numbers: splitmix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Turn number `turn` of a test, whichever turns came before it.
    pub fn new(seed: u64, turn: u64) -> Dice {
        let mut dice = Dice(seed ^ turn.wrapping_mul(0xd134_2543_de82_ef95));
        dice.below(1);
        dice
    }

    /// A number below `most`, which is not 0.
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % most
    }

    /// Sleeps for less than so many milliseconds.
    pub fn nap(&mut self, most_ms: u64) {
        std::thread::sleep(Duration::from_micros(self.below(most_ms * 1000)));
    }
}
