//! How often stacks are taken: so that a hit costs little more on average, whatever it costs where they are taken.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};

use crate::dice::Dice;

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Of one call of so many.
    One(u64),
    /// As many as cost little.
    Auto,
}

/// What taking stacks costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StackPrice {
    /// Nanoseconds that the second probe adds to every hit.
    pub probe_ns: u64,
    /// Nanoseconds that a stack takes.
    pub stack_ns: u64,
}

/// When stacks are taken, and of which calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Of one call of so many, on average.
    pub one: u64,
    /// There is a turn once in so many windows, or a moment in so many.
    pub turns: u64,
    /// What it costs.
    pub price: StackPrice,
}

/// What stacks may add to a hit in the mean, in percent of it: half of that for the probe, half for the stacks.
const ADDS: u64 = 3;
/// More turns than this are left out at most, or there would be hardly any.
const MOST_LEFT_OUT: u64 = 16;
/// No denser than this unless asked for.
const AUTO_LEAST: u64 = 100;

impl Sampling {
    /// For hits that take so long.
    pub fn new(rate: Rate, hit_ns: u64, price: StackPrice) -> Sampling {
        let half = (hit_ns * ADDS / 200).max(1);
        let turns = price.probe_ns.div_ceil(half).clamp(1, MOST_LEFT_OUT);
        let one = match rate {
            Rate::One(one) => one,
            Rate::Auto => price.stack_ns.div_ceil(half).max(AUTO_LEAST),
        };
        Sampling { one, turns: turns.min(one), price }
    }

    /// What it adds to a hit in the mean, in nanoseconds.
    pub fn adds_ns(&self) -> u64 {
        self.price.probe_ns.div_ceil(self.turns) + self.price.stack_ns.div_ceil(self.one)
    }

    /// What the stacks alone add to a hit in the mean: the probe shows in what hits are seen to take.
    pub fn stacks_ns(&self) -> u64 {
        self.price.stack_ns.div_ceil(self.one)
    }

    /// The pace of a turn, by any number.
    pub fn pace(&self, seed: u64) -> Pace {
        Pace { mean: (self.one / self.turns).max(1), dice: Some(Dice::new(seed)) }
    }
}

/// One hit of so many, on average: of each few samples another number, lest a loop of the program's keep step with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The average.
    pub mean: u64,
    /// None if it is to stay.
    dice: Option<Dice>,
}

impl Pace {
    /// Always the same number.
    pub fn steady(every: u64) -> Pace {
        Pace { mean: every, dice: None }
    }

    /// The next number: a prime, half as much or half as much again as the average at most, or a little more.
    pub fn draw(&mut self) -> u64 {
        let Some(dice) = &mut self.dice else { return self.mean };
        let drawn = self.mean - self.mean / 2 + dice.draw() % (self.mean / 2 * 2 + 1);
        if self.mean == 1 { 1 } else { (drawn..).find(|number| is_prime(*number)).unwrap_or(drawn) }
    }
}

fn is_prime(number: u64) -> bool {
    number > 1 && (2..).take_while(|by| by * by <= number).all(|by| !number.is_multiple_of(by))
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::One(one) => write!(f, "1/{one}"),
            Rate::Auto => f.write_str("auto"),
        }
    }
}

impl FromStr for Rate {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Rate> {
        if text == "auto" {
            return Ok(Rate::Auto);
        }
        match text.strip_prefix("1/").map(str::parse) {
            Some(Ok(one @ 1..=1_000_000_000)) => Ok(Rate::One(one)),
            _ => bail!("`{text}` is no rate: say auto, or 1/1000 for one call of 1000"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: StackPrice = StackPrice { probe_ns: 150, stack_ns: 4000 };

    #[test]
    fn stacks_add_three_percent_at_most() {
        for hit_ns in [600, 1000, 3000] {
            let auto = Sampling::new(Rate::Auto, hit_ns, PRICE);
            assert!(auto.adds_ns() * 100 <= hit_ns * ADDS + 200, "{auto:?}");
            assert!(Sampling::new(Rate::One(1000), hit_ns, PRICE).adds_ns() * 100 <= hit_ns * ADDS + 200);
        }
    }

    #[test]
    fn turns_sample_more_often_by_primes() {
        let sampling = Sampling { one: 1000, turns: 8, price: PRICE };
        let mut pace = sampling.pace(7);
        let drawn = [(); 1000].map(|()| pace.draw());
        assert!(drawn.iter().all(|every| (63..=191).contains(every) && is_prime(*every)), "{drawn:?}");
        let mean = drawn.iter().sum::<u64>() / 1000;
        assert!(mean.abs_diff(pace.mean) < 10, "{mean}");
        let all = Sampling::new(Rate::One(1), 1000, PRICE);
        assert_eq!((all.turns, all.pace(7).draw()), (1, 1));
    }

    #[test]
    fn rates() {
        assert_eq!("1/1000".parse::<Rate>().unwrap(), Rate::One(1000));
        assert_eq!("auto".parse::<Rate>().unwrap(), Rate::Auto);
        for wrong in ["", "1/0", "2/3", "1000", "1/", "0.1", "1/99999999999"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
