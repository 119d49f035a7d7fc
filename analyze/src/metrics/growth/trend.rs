//! Whether a curve of some points rises, though each point remembers the one before.
//!
//! What is left of a heap at the end of a collector cycle is much of what was left at the end before: its swings are
//! correlated, and a straight line through correlated swings looks surer than it is. How correlated they are cannot be told
//! from a dozen points: an estimate of it, corrected for its bias and put into the error of the slope, accuses a third to a
//! half of all steady programs of twenty size classes (measured at 30 and 13 points that remember 70 %). So nothing is
//! assumed: the slope is estimated for every correlation from 0 to 1, and each of these estimates counts as much as it
//! explains the points. That is the regression with autocorrelated errors of Zellner and Tiao (Journal of the American
//! Statistical Association 59, 1964), with nothing known beforehand.

use schemars::JsonSchema;
use serde::Serialize;
use shared::Nanos;

use crate::metrics::student;

/// With fewer points nothing is said.
pub const FEWEST: usize = 8;

/// As many correlations are looked at, evenly from 0 to 1.
const CORRELATIONS: usize = 32;

/// Chunks come in steps of so many bytes: points are not known finer than that.
const GRAIN: f64 = 16.0;

/// How fast something grows, or shrinks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Trend {
    /// Bytes a second.
    pub bytes_per_second: f64,
    /// The lower end of the 95 % interval.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// How likely it is, between 0 and 1, that it does not grow at all, and what is seen are swings.
    pub chance: f64,
    /// Bytes a second in the later half of the points.
    pub later: f64,
}

/// The slope, were the correlation known.
#[derive(Debug, Clone, Copy)]
struct Slope {
    value: f64,
    error: f64,
    /// How well it explains the points: the logarithm of its marginal likelihood.
    weight: f64,
}

impl Trend {
    /// The trend of points in order of time; none of fewer than [`FEWEST`], or if half of them are of the same moment.
    pub fn of(points: &[(Nanos, u64)]) -> Option<Trend> {
        let (first, middle, last) = (points.first()?.0, points[points.len() / 2].0, points.last()?.0);
        if points.len() < FEWEST || last <= middle {
            return None;
        }
        if points.iter().all(|(_, bytes)| *bytes == points[0].1) {
            return Some(Trend { bytes_per_second: 0.0, low: 0.0, high: 0.0, chance: 1.0, later: 0.0 });
        }
        // From 0 to 1, so that the sums are well-behaved.
        let span = (last - first) as f64;
        let scaled = |(time, bytes): &(Nanos, u64)| (time.saturating_sub(first) as f64 / span, *bytes as f64);
        let points: Vec<(f64, f64)> = points.iter().map(scaled).collect();
        let correlations = (0..CORRELATIONS).map(|at| (at as f64 + 0.5) / CORRELATIONS as f64);
        let mut slopes: Vec<Slope> = correlations.map(|correlation| Slope::of(&points, correlation)).collect();
        let best = slopes.iter().map(|slope| slope.weight).fold(f64::MIN, f64::max);
        slopes.iter_mut().for_each(|slope| slope.weight = (slope.weight - best).exp());
        let all: f64 = slopes.iter().map(|slope| slope.weight).sum();
        slopes.iter_mut().for_each(|slope| slope.weight /= all);

        let freedom = points.len() - 2;
        let below = |value: f64| -> f64 {
            slopes.iter().map(|one| one.weight * student::above((one.value - value) / one.error, freedom)).sum()
        };
        let a_second = 1e9 / span;
        let mean: f64 = slopes.iter().map(|slope| slope.weight * slope.value).sum();
        Some(Trend {
            bytes_per_second: mean * a_second,
            low: quantile(&slopes, below, 0.025) * a_second,
            high: quantile(&slopes, below, 0.975) * a_second,
            chance: below(0.0),
            later: Slope::of(&points[points.len() / 2..], 0.0).value * a_second,
        })
    }
}

impl Slope {
    /// Least squares, after each point has been freed of its share of the one before (Prais and Winsten).
    fn of(points: &[(f64, f64)], correlation: f64) -> Slope {
        let count = points.len() as f64;
        let scale = (1.0 - correlation * correlation).sqrt();
        let (mut ones, mut cross, mut times) = (0.0, 0.0, 0.0);
        let (mut sum, mut moment, mut squares) = (0.0, 0.0, 0.0);
        // Heights from the first one on, for the same reason as times.
        let base = points.first().map_or(0.0, |(_, bytes)| *bytes);
        let mut before = None;
        for (time, bytes) in points.iter().map(|(time, bytes)| (*time, bytes - base)) {
            let (one, time_left, bytes_left) = match before {
                None => (scale, scale * time, scale * bytes),
                Some((time_before, bytes_before)) => {
                    (1.0 - correlation, time - correlation * time_before, bytes - correlation * bytes_before)
                }
            };
            before = Some((time, bytes));
            ones += one * one;
            cross += one * time_left;
            times += time_left * time_left;
            sum += one * bytes_left;
            moment += time_left * bytes_left;
            squares += bytes_left * bytes_left;
        }
        let determinant = ones * times - cross * cross;
        let start = (times * sum - cross * moment) / determinant;
        let value = (ones * moment - cross * sum) / determinant;
        let grain = count * GRAIN * GRAIN / 12.0;
        let residual = (squares - start * sum - value * moment).max(grain);
        let freedom = count - 2.0;
        let weight = scale.ln() - determinant.ln() / 2.0 - residual.ln() * freedom / 2.0;
        Slope { value, error: (residual / freedom * ones / determinant).sqrt(), weight }
    }
}

/// Where a share of the distribution lies below.
fn quantile(slopes: &[Slope], below: impl Fn(f64) -> f64, share: f64) -> f64 {
    // Not one in ten million lies further out.
    let reach = |side: f64| slopes.iter().map(move |slope| slope.value + side * 60.0 * slope.error);
    let (mut low, mut high) = (reach(-1.0).fold(f64::MAX, f64::min), reach(1.0).fold(f64::MIN, f64::max));
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if below(middle) < share { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}
