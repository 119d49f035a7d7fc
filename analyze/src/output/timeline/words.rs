//! How outputs say what heaps do over time.

use crate::metrics::timeline::{Cycles, Gauge, Lane, Levels, Point, Scale};
use crate::output::words;

/// What `calls/s` and the like are.
pub const RATES: &str = "calls and bytes a second are those of the time in which calls were recorded";
/// What fragmentation is.
pub const FRAGMENTATION: &str = "fragmented: the share of the segments that is free chunks";

/// `0.000 s to 14.700 s in 240 points of 61.3 ms; every call of 14.32 s recorded (97.4 %)`
pub fn basis(lane: &Lane, scale: &Scale) -> String {
    let (from, to) = scale.span(0);
    let recorded: u64 = lane.points.iter().map(|point| point.recorded_ns).sum();
    let windows: u64 = lane.points.iter().map(|point| point.windows).sum();
    let within = match windows {
        0 => String::new(),
        windows => format!(" in {}; between them nothing is known", words::count(windows, "window")),
    };
    format!(
        "{} to {} in {} of {}; each call of {} recorded ({}){within}",
        words::time(scale.from),
        words::time(scale.to),
        words::count(lane.points.len() as u64, "point"),
        words::duration(to - from),
        words::duration(recorded),
        share(recorded, scale.to - scale.from),
    )
}

/// A share of the time: `97.4 %`, `0.13 %`.
fn share(part: u64, whole: u64) -> String {
    let share = part as f64 * 100.0 / whole.max(1) as f64;
    if share < 1.0 { format!("{share:.2} %") } else { format!("{:.1} %", share.min(100.0)) }
}

/// A figure over all points in which it is known.
pub fn over_all(points: &[Point], of: impl Fn(&Levels) -> u64) -> Option<Gauge> {
    let known = points.iter().filter_map(|point| Some(point.heap?.gauge(&of)));
    known.reduce(|one, other| one.then(&other))
}

/// `segments 9.6 MiB at first, 4.0 MiB to 9.6 MiB, 9.6 MiB at last`
pub fn gauge(name: &str, gauge: &Gauge) -> String {
    let Gauge { first, min, max, last } = *gauge;
    if min == max {
        return format!("{name} {} all the time", words::bytes(min));
    }
    let [first, min, max, last] = [first, min, max, last].map(words::bytes);
    format!("{name} {first} at first, {last} at last, between {min} and {max}")
}

/// What is known of the collector, in a sentence; nothing for a process as a whole.
pub fn cycles(lane: &Lane) -> Option<String> {
    let Cycles { count, periods, live, .. } = lane.cycles.as_ref()?;
    let Some(live) = live else { return Some("no collector cycle was seen to its end".to_owned()) };
    let period = periods.mean_ns().map(|mean| match periods.count {
        1 => format!(", {} from one's end to the next one's", words::duration(mean)),
        _ => format!(
            ", one each {} ({} to {})",
            words::duration(mean),
            words::duration(periods.min_ns),
            words::duration(periods.max_ns)
        ),
    });
    let spread = match (live.min, live.max) {
        (min, max) if min == max => format!("{} live", words::bytes(min)),
        (min, max) => format!("{} to {} live", words::bytes(min), words::bytes(max)),
    };
    let ends = if *count == 1 { "its end" } else { "their ends" };
    Some(format!("{}{}; {spread} at {ends}", words::count(*count, "collector cycle"), period.unwrap_or_default()))
}

/// `2 gaps: calls are lost there`
pub fn gaps(lane: &Lane) -> Option<String> {
    let gaps: u64 = lane.points.iter().map(|point| point.gaps).sum();
    (gaps > 0).then(|| format!("{}: calls are lost there", words::count(gaps, "gap")))
}

/// `12.3 %`, of a share between 0 and 1.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
