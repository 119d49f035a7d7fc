//! The figures that are compared.

use schemars::JsonSchema;
use serde::Serialize;
use shared::trace::breakdown::Memory;

use crate::metrics::population::Populations;
use crate::metrics::rates::{Rate, Rates};

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Things.
    Count,
    /// Memory.
    Bytes,
    /// A part of a whole, from 0 to 1.
    Share,
    /// Things a second.
    PerSecond,
    /// Memory a second.
    BytesPerSecond,
}

/// A figure's value: a whole number of a count or of bytes, else one with a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Amount {
    /// A count, or bytes.
    Whole(i64),
    /// A rate, or a share.
    Real(f64),
}

impl Amount {
    /// The number.
    pub fn value(self) -> f64 {
        match self {
            Amount::Whole(number) => number as f64,
            Amount::Real(number) => number,
        }
    }

    fn plus(self, other: Amount) -> Amount {
        match (self, other) {
            (Amount::Whole(a), Amount::Whole(b)) => Amount::Whole(a.saturating_add(b)),
            (a, b) => Amount::Real(a.value() + b.value()),
        }
    }

    fn minus(self, other: Amount) -> Amount {
        match (self, other) {
            (Amount::Whole(a), Amount::Whole(b)) => Amount::Whole(a.saturating_sub(b)),
            (a, b) => Amount::Real(a.value() - b.value()),
        }
    }
}

/// A figure of both sides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// One of [`KNOWN`].
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// In A.
    pub a: Amount,
    /// In B.
    pub b: Amount,
    /// Of estimates, whether their 95 % confidence intervals lie apart: if not, the change may be none.
    pub apart: Option<bool>,
}

impl Figure {
    /// B less A.
    pub fn change(&self) -> Amount {
        self.b.minus(self.a)
    }

    /// The change as a part of A; nothing if that is 0 and B is not.
    pub fn relative(&self) -> Option<f64> {
        let (a, change) = (self.a.value(), self.change().value());
        if change == 0.0 { Some(0.0) } else { (a != 0.0).then(|| change / a) }
    }
}

/// Every figure there may be, with what it counts, in the order of every output.
pub const KNOWN: [(&str, Unit); 22] = [
    ("used_count", Unit::Count),
    ("used_bytes", Unit::Bytes),
    ("used_share", Unit::Share),
    ("free_count", Unit::Count),
    ("free_bytes", Unit::Bytes),
    ("free_share", Unit::Share),
    ("segments_count", Unit::Count),
    ("segments_bytes", Unit::Bytes),
    ("direct_count", Unit::Count),
    ("direct_bytes", Unit::Bytes),
    ("overhead_bytes", Unit::Bytes),
    ("gc_total", Unit::Bytes),
    ("calls_per_s", Unit::PerSecond),
    ("allocs_per_s", Unit::PerSecond),
    ("resizes_per_s", Unit::PerSecond),
    ("frees_per_s", Unit::PerSecond),
    ("allocated_per_s", Unit::BytesPerSecond),
    ("freed_per_s", Unit::BytesPerSecond),
    ("mapped_bytes", Unit::Bytes),
    ("resident_bytes", Unit::Bytes),
    ("swapped_bytes", Unit::Bytes),
    ("pss_bytes", Unit::Bytes),
];

/// Where in [`KNOWN`] those of heaps, of rates and of processes are.
const HEAPS: std::ops::Range<usize> = 0..12;
const RATES: std::ops::Range<usize> = 12..18;
const MEMORY: std::ops::Range<usize> = 18..22;

/// A heap's figures.
pub(super) fn of_heaps(a: &Populations, b: &Populations) -> Vec<Figure> {
    let amounts = |heap: &Populations| -> [Amount; 12] {
        let Populations { used, free, segments, direct, overhead, gc_total } = heap;
        let whole = |number: u64| Amount::Whole(i64::try_from(number).unwrap_or(i64::MAX));
        let share = |part: u64| Amount::Real(part as f64 / segments.all.bytes.max(1) as f64);
        [
            whole(used.all.count),
            whole(used.all.bytes),
            share(used.all.bytes),
            whole(free.all.count),
            whole(free.all.bytes),
            share(free.all.bytes),
            whole(segments.all.count),
            whole(segments.all.bytes),
            whole(direct.all.count),
            whole(direct.all.bytes),
            whole(*overhead),
            whole(*gc_total),
        ]
    };
    figures(&KNOWN[HEAPS], &amounts(a), &amounts(b))
}

/// What programs ask of their allocators.
pub(super) fn of_rates(a: &Rates, b: &Rates) -> Vec<Figure> {
    let amounts = |rates: &Rates| rates.named().map(|(_, rate)| Amount::Real(rate.per_second));
    let mut figures = figures(&KNOWN[RATES], &amounts(a), &amounts(b));
    for ((figure, (_, a)), (_, b)) in figures.iter_mut().zip(a.named()).zip(b.named()) {
        figure.apart = apart(a, b);
    }
    figures
}

/// Whether two intervals lie apart; nothing if both are points.
fn apart(a: &Rate, b: &Rate) -> Option<bool> {
    let interval = |rate: &Rate| rate.low.zip(rate.high);
    let ends = |rate: &Rate| interval(rate).unwrap_or((rate.per_second, rate.per_second));
    interval(a).or(interval(b))?;
    let ((low_a, high_a), (low_b, high_b)) = (ends(a), ends(b));
    Some(high_a < low_b || high_b < low_a)
}

/// A process's memory.
pub(super) fn of_memory(a: &Memory, b: &Memory) -> Vec<Figure> {
    let amounts = |memory: &Memory| {
        let Memory { mapped, resident, swapped, pss } = *memory;
        [mapped, resident, swapped, pss].map(|bytes| Amount::Whole(i64::try_from(bytes).unwrap_or(i64::MAX)))
    };
    figures(&KNOWN[MEMORY], &amounts(a), &amounts(b))
}

fn figures(known: &[(&'static str, Unit)], a: &[Amount], b: &[Amount]) -> Vec<Figure> {
    let both = known.iter().zip(a.iter().zip(b));
    both.map(|((name, unit), (a, b))| Figure { name, unit: *unit, a: *a, b: *b, apart: None }).collect()
}

/// The sum of several rows of the same figures; a sum's intervals lie apart if those of each of its parts do.
pub(super) fn sums(rows: impl IntoIterator<Item = Vec<Figure>>) -> Vec<Figure> {
    let add = |mut sums: Vec<Figure>, row: Vec<Figure>| {
        for (sum, figure) in sums.iter_mut().zip(row) {
            (sum.a, sum.b) = (sum.a.plus(figure.a), sum.b.plus(figure.b));
            sum.apart = sum.apart.zip(figure.apart).map(|(one, other)| one && other).or(sum.apart).or(figure.apart);
        }
        sums
    };
    rows.into_iter().reduce(add).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(a: i64, b: i64) -> Figure {
        Figure { name: "used_bytes", unit: Unit::Bytes, a: Amount::Whole(a), b: Amount::Whole(b), apart: None }
    }

    #[test]
    fn a_change_from_nothing_is_no_part_of_it() {
        assert_eq!(figure(200, 150).relative(), Some(-0.25));
        assert_eq!((figure(0, 5).change(), figure(0, 5).relative()), (Amount::Whole(5), None));
        assert_eq!(figure(0, 0).relative(), Some(0.0));
    }

    #[test]
    fn intervals_that_touch_are_not_apart() {
        let rate = |low: Option<f64>, at: f64, high| Rate { observed: 0, per_second: at, low, high };
        let estimate = |at| rate(Some(at - 10.0), at, Some(at + 10.0));
        assert_eq!(apart(&rate(None, 1.0, None), &rate(None, 2.0, None)), None);
        assert_eq!(apart(&estimate(100.0), &estimate(120.0)), Some(false));
        assert_eq!(apart(&estimate(100.0), &rate(None, 111.0, None)), Some(true));
    }

    #[test]
    fn sums_are_those_of_the_parts() {
        let sum = sums([vec![figure(1, 2)], vec![figure(10, 30)]]);
        assert_eq!(sum, [figure(11, 32)]);
        assert_eq!(sums([]), []);
    }
}
