//! Axes: how far they go, where their ticks are, and what stands there.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

use crate::output::words;

/// An axis from 0, with ticks where we want them.
pub(super) struct Axis {
    pub(super) end: f64,
    pub(super) ticks: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        start + (value / self.end * f64::from(end - start)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Light points are for lines between the ticks.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        0.0..self.end
    }
}

/// What an axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::output) enum Unit {
    /// Things.
    Count,
    /// Memory.
    Bytes,
}

/// Round numbers from 0 up to `max`, three to six of them.
pub(super) fn ticks(unit: Unit, max: u64) -> Vec<f64> {
    let one = match unit {
        Unit::Count => 1.0,
        Unit::Bytes => (1u64 << (10 * binary_order(max))) as f64,
    };
    let max = (max as f64 / one).max(1.0);
    // A tenth of a MiB is a tick, a tenth of a chunk or byte is not.
    let least = if one == 1.0 { 1.0 } else { 0.1 };
    let power = 10f64.powf((max / 5.0).log10().floor());
    let steps = [power, 2.0 * power, 5.0 * power, 10.0 * power];
    let step = steps.into_iter().find(|step| max / step <= 5.0 && *step >= least).unwrap_or(10.0 * power).max(least);
    let count = (max / step).floor() as u32;
    (0..=count).map(|tick| f64::from(tick) * step * one).collect()
}

/// What stands at a tick: `0`, `20k`, `1.5 MiB`.
pub(super) fn tick_label(unit: Unit, value: f64, max: u64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    match unit {
        Unit::Count => short(unit, value as u64),
        Unit::Bytes => {
            let order = binary_order(max);
            let number = value / (1u64 << (10 * order)) as f64;
            // Rounded: a sum of tenths is not exact.
            format!("{} {}", (number * 10.0).round() / 10.0, words::UNITS[order as usize])
        }
    }
}

/// A value in about three characters: `178`, `37k`, `1.2M`; bytes as `ls -h` shows them: `280`, `23K`, `1.5M`.
pub(in crate::output) fn short(unit: Unit, value: u64) -> String {
    let (base, suffixes): (f64, &[&str]) = match unit {
        Unit::Count => (1000.0, &["k", "M"]),
        Unit::Bytes => (1024.0, &["K", "M", "G", "T", "P", "E"]),
    };
    let mut number = value as f64;
    let mut suffix = "";
    for next in suffixes {
        if number < base - 0.5 {
            break;
        }
        number /= base;
        suffix = next;
    }
    if suffix.is_empty() {
        value.to_string()
    } else if number >= 9.95 || (number * 10.0).round() % 10.0 == 0.0 {
        format!("{}{suffix}", words::thousands(number.round() as u64))
    } else {
        format!("{number:.1}{suffix}")
    }
}

/// How often 1024 goes into a size.
fn binary_order(bytes: u64) -> u32 {
    bytes.checked_ilog2().unwrap_or(0) / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(Unit::Count, 1), [0.0, 1.0]);
        assert_eq!(ticks(Unit::Count, 7), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(ticks(Unit::Count, 32_435), [0.0, 10_000.0, 20_000.0, 30_000.0]);
        let labels = |max| {
            ticks(Unit::Bytes, max).into_iter().map(|tick| tick_label(Unit::Bytes, tick, max)).collect::<Vec<_>>()
        };
        assert_eq!(labels(15 << 20), ["0", "5 MiB", "10 MiB", "15 MiB"]);
        assert_eq!(labels((1 << 20) + 1), ["0", "0.5 MiB", "1 MiB"]);
        for max in (0..64).map(|exponent| u64::MAX >> exponent) {
            for unit in [Unit::Count, Unit::Bytes] {
                assert!((2..=6).contains(&ticks(unit, max).len()), "{unit:?} {max}");
            }
        }
    }

    #[test]
    fn values_are_short() {
        let counts = [0, 999, 1000, 1234, 37_270, 999_600, 1_000_000_007].map(|value| short(Unit::Count, value));
        assert_eq!(counts, ["0", "999", "1k", "1.2k", "37k", "1M", "1,000M"]);
        let sizes = [280, 1023, 1024, 23_504, 1_572_864, 1 << 40].map(|value| short(Unit::Bytes, value));
        assert_eq!(sizes, ["280", "1023", "1K", "23K", "1.5M", "1T"]);
    }
}
