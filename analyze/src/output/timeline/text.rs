//! Heaps over time as text, in 80 columns: first how far they can be trusted.

use std::io::{self, Write};

use super::words as say;
use crate::metrics::timeline::{Lane, Levels, Point, Scale};
use crate::output::svg::scale::{self, Unit};
use crate::output::text::{brief, paragraph, plain_table, right_but_first};
use crate::output::{Options, Output, words};
use crate::report::TimelineReport;

/// At most so many rows, each of several points.
const ROWS: usize = 20;
/// Columns of what stands before a line of bars.
const NAME: usize = 18;
/// From an eighth to all of a line's height.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Writes the verdict in brief, then each process and VM.
pub(super) fn write(report: &TimelineReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    brief(report.origin(), options, out)?;
    for lane in &report.lanes {
        writeln!(out)?;
        let title = words::name(&lane.title(&report.processes), options.width);
        paragraph(out, options, &options.bold(&title))?;
        paragraph(out, options, &say::basis(lane, &report.scale))?;
        for said in say::cycles(lane).into_iter().chain(say::gaps(lane)) {
            paragraph(out, options, &said)?;
        }
        writeln!(out)?;
        bars(lane, options, out)?;
        writeln!(out)?;
        table(lane, &report.scale, out)?;
    }
    if report.lanes.is_empty() {
        writeln!(out, "\nNo VM has a heap to show.")?;
    } else {
        writeln!(out)?;
        paragraph(out, options, &format!("bars: the most in each; {}; {}", say::FRAGMENTATION, say::RATES))?;
    }
    Ok(())
}

/// The points, so many at a time, with the place of the first and of the last.
fn grouped(points: &[Point], most: usize) -> impl Iterator<Item = ((usize, usize), Point)> {
    let each = points.len().div_ceil(most.max(1)).max(1);
    points.chunks(each).enumerate().map(move |(at, some)| {
        let mut all = Point::default();
        some.iter().for_each(|point| all.then(point));
        ((at * each, at * each + some.len() - 1), all)
    })
}

/// A line of bars for each of the most telling figures.
fn bars(lane: &Lane, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let room = options.width.saturating_sub(NAME + 2).max(8);
    let points: Vec<Point> = grouped(&lane.points, room).map(|(_, point)| point).collect();
    let heap = |of: fn(&Point) -> Option<u64>| points.iter().map(of).collect::<Vec<_>>();
    let lines = [
        ("used", heap(|point| Some(point.heap?.max.used)), true),
        ("free", heap(|point| Some(point.heap?.max.free)), true),
        ("gc.total", heap(|point| Some(point.heap?.max.gc_total)), true),
        ("calls/s", heap(|point| Some(point.per_second(point.flow.calls())?.round() as u64)), false),
    ];
    for (name, values, are_bytes) in lines {
        let Some(most) = values.iter().copied().flatten().max() else { continue };
        let top = if are_bytes { words::bytes(most) } else { words::thousands(most) };
        let bar = |value: &Option<u64>| value.map_or(' ', |value| bar(value, most));
        let line: String = values.iter().map(bar).collect();
        let name = format!("{name:<8} {top:>9}");
        writeln!(out, "{name:<NAME$}  {}", options.paint("2", line.trim_end()))?;
    }
    Ok(())
}

/// A bar as high as a value is against the highest.
fn bar(value: u64, most: u64) -> char {
    let eighths = (value as f64 * 8.0 / most.max(1) as f64).ceil() as usize;
    BARS[eighths.clamp(1, 8) - 1]
}

/// A row for some points at a time: figures as they were last in it, and rates over all of it.
fn table(lane: &Lane, points: &Scale, out: &mut dyn Write) -> io::Result<()> {
    let mut table = plain_table();
    let has_looks = lane.points.iter().any(|point| point.resident.is_some());
    let resident: &[&str] = if has_looks { &["resident"] } else { &[] };
    let head = ["until", "used", "free", "fragm.", "direct", "gc.total"];
    table.set_header(head.iter().chain(resident).chain(&["calls/s", "alloc/s"]));
    for ((_, last), point) in grouped(&lane.points, ROWS) {
        let short = |unit, value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| scale::short(unit, value));
        let bytes = |of: fn(&Levels) -> u64| short(Unit::Bytes, point.heap.map(|heap| of(&heap.last)));
        let rate = |amount| point.per_second(amount).map(|rate| rate.round() as u64);
        let fragmentation = point.heap.and_then(|heap| heap.fragmentation());
        let cells = [
            words::time(points.span(last).1),
            bytes(|levels| levels.used),
            bytes(|levels| levels.free),
            fragmentation.map_or_else(|| "-".to_owned(), say::percent),
            bytes(|levels| levels.direct),
            bytes(|levels| levels.gc_total),
        ];
        let looks = has_looks.then(|| short(Unit::Bytes, point.resident.map(|seen| seen.last)));
        let rates =
            [short(Unit::Count, rate(point.flow.calls())), short(Unit::Bytes, rate(point.flow.allocated_bytes))];
        table.add_row(cells.into_iter().chain(looks).chain(rates));
    }
    right_but_first(&mut table);
    writeln!(out, "{}", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::timeline::sample;

    fn text(report: &TimelineReport) -> String {
        let mut bytes = Vec::new();
        write(report, &Options::default(), &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn starts_with_the_verdict_and_fits_80_columns() {
        let text = text(&sample::report());
        assert!(text.starts_with("verified: "));
        for line in text.lines() {
            assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line:?}");
        }
        assert!(text.contains("4 collector cycles, one each 4.00 s (3.00 s to 5.00 s)"), "{text}");
        assert!(text.contains("1 gap: calls are lost there"));
    }

    #[test]
    fn rows_are_few_and_holes_stay_holes() {
        let report = sample::report();
        let all: Vec<_> = grouped(&report.lanes[0].points, ROWS).collect();
        assert!(all.len() <= ROWS);
        assert_eq!(all.last().map(|((_, last), _)| *last), Some(report.scale.count() - 1));
        let sum: u64 = all.iter().map(|(_, point)| point.flow.calls()).sum();
        assert_eq!(sum, report.lanes[0].points.iter().map(|point| point.flow.calls()).sum::<u64>());
        assert_eq!([0, 1, 5, 8].map(|value| bar(value, 8)), ['▁', '▁', '▅', '█']);
        let mut empty = report.clone();
        empty.lanes.iter_mut().for_each(|lane| lane.points.fill(Point::default()));
        assert!(!text(&empty).contains('█'));
        empty.lanes.clear();
        assert!(text(&empty).contains("No VM has a heap to show."));
    }
}
