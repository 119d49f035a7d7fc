//! Chance, for what must not follow any beat of a process's.

/// A sequence of numbers without a pattern: George Marsaglia's xorshift with 13, 7, 17.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dice(u64);

impl Dice {
    /// The same sequence for the same seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed | 1)
    }

    /// The next number, of 53 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }
}
