//! How outputs say rates.

use shared::Nanos;

use crate::metrics::lifetimes::Share;
use crate::metrics::rates::{Basis, Rates};
use crate::output::words;
use crate::report::Section;

/// What rates rest on: `estimate from 120 windows, 2.40 s of 60.00 s (4.0 %); each with its 95 % confidence interval`.
pub fn basis(rates: &Rates) -> String {
    let recorded = words::duration(rates.recorded_ns);
    match rates.basis {
        Basis::Exact => format!("exact: every call of {recorded} was recorded"),
        Basis::Estimate => {
            let left_out = match rates.windows_left_out {
                0 => String::new(),
                windows => format!("; {} with losses left out", words::count(windows, "window")),
            };
            let interval = match rates.calls.low {
                Some(_) => "95 % confidence intervals",
                None => "too few windows for a confidence interval",
            };
            format!(
                "estimate from {}, {} of {recorded} ({}){left_out}; {interval}",
                words::count(rates.windows, "window"),
                words::duration(rates.observed_ns),
                duty(rates),
            )
        }
    }
}

/// What speaks against an estimate.
pub fn drowned(rates: &Rates) -> Option<String> {
    let windows = words::count(rates.windows_drowned, "window");
    (rates.windows_drowned > 0).then(|| {
        format!(
            "in {windows} the hits, at the calibrated cost, would have taken all processor time: they cost less, and \
             how much less the intervals leave open"
        )
    })
}

/// The share of the time that was observed: `4.0 %`, `0.13 %`.
fn duty(rates: &Rates) -> String {
    let share = rates.observed_ns as f64 * 100.0 / rates.recorded_ns.max(1) as f64;
    if share < 1.0 { format!("{share:.2} %") } else { format!("{share:.1} %") }
}

/// `1,234,567`, `3.2`, `0.004`: whole numbers where that is enough.
pub fn number(value: f64) -> String {
    match value {
        value if value <= 0.0 => "0".to_owned(),
        0.0..0.1 => format!("{value:.3}"),
        0.1..10.0 => format!("{value:.1}"),
        _ => words::thousands(value.round() as u64),
    }
}

/// `12.3 MiB`
pub fn bytes(value: f64) -> String {
    words::bytes(value.round().max(0.0) as u64)
}

/// An age: `64 us`, `10 ms`, `1 s`.
pub fn age(age: Nanos) -> String {
    match age {
        0..1_000_000 => format!("{} us", age / 1000),
        1_000_000..1_000_000_000 => format!("{} ms", age / 1_000_000),
        _ => format!("{} s", age / 1_000_000_000),
    }
}

/// `12.3 %`
pub fn share(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `12.0 - 12.6 %`
pub fn interval(share: &Share) -> String {
    format!("{:.1} - {:.1} %", share.low * 100.0, share.high * 100.0)
}

/// How long blocks live, in a sentence.
pub fn lifetimes(section: &Section) -> String {
    let lifetimes = &section.lifetimes;
    if lifetimes.died.is_empty() {
        return "lifetimes: not known, no block was followed for long enough".to_owned();
    }
    let died = lifetimes.died.iter().map(|died| format!("{} within {}", share(died.of_blocks.share), age(died.age_ns)));
    let died = died.collect::<Vec<_>>().join(", ");
    format!("of {} whose birth was seen, died {died}", words::count(lifetimes.births, "block"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_fine_as_needed() {
        assert_eq!([0.0, 0.0042, 3.25, 1_234_567.4].map(number), ["0", "0.004", "3.2", "1,234,567"]);
        assert_eq!([64_000, 10_000_000, 1_000_000_000].map(age), ["64 us", "10 ms", "1 s"]);
        assert_eq!(interval(&Share { share: 0.5, low: 0.449, high: 0.551 }), "44.9 - 55.1 %");
    }
}
