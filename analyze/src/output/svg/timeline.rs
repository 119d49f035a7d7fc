//! Heaps over time as a picture: for each process and VM a sheet.

use std::io::Write;

use anyhow::Result;
use plotters::style::RGBColor;
use shared::Nanos;

use super::palette::{self, INK};
use super::scale::Unit;
use super::series::{Layer, Series, Shade};
use super::sheet::{self, BOLDER, Item, lines};
use crate::metrics::timeline::{Flow, Lane, Levels, Point};
use crate::output::timeline::words as say;
use crate::output::{Output, words};
use crate::report::TimelineReport;

/// Where the process is more than so many times as large as the heap, it has a plot of its own: the heap would be flat.
const APART: u64 = 2;

/// Writes the picture, sheets one below the other.
pub fn write(report: &TimelineReport, out: &mut dyn Write) -> Result<()> {
    let titles: Vec<String> = report.lanes.iter().map(|lane| title(report, lane)).collect();
    let mut description = Vec::new();
    for (title, lane) in titles.iter().zip(&report.lanes) {
        description.push(format!("{title}: {}.", say::basis(lane, &report.scale)));
        description.extend(facts(lane).map(|fact| format!("{fact}.")));
    }
    description.push(format!("{}.", sheet::small_print(&report.verdict)));
    let sheets: Vec<Vec<Item>> = report.lanes.iter().map(|lane| items(report, lane)).collect();
    let title = format!("LuaJIT heaps over time: {}", titles.join(", "));
    super::document(&title, &description.join("\n"), &sheets, out)
}

fn title(report: &TimelineReport, lane: &Lane) -> String {
    words::name(&lane.title(&report.processes), 66)
}

/// The figures in words.
fn facts(lane: &Lane) -> impl Iterator<Item = String> {
    let gauge = |name: &str, of| Some(say::gauge(&name.replace('_', "."), &say::over_all(&lane.points, of)?));
    let gauges = Levels::FIGURES.into_iter().filter_map(move |(name, of)| gauge(name, of));
    gauges.chain(say::cycles(lane)).chain(say::gaps(lane))
}

fn items(report: &TimelineReport, lane: &Lane) -> Vec<Item> {
    let mut items = vec![Item::Gap(14), Item::Title(title(report, lane))];
    items.extend(lines(&say::basis(lane, &report.scale), 14.0).map(Item::Text));
    items.extend(say::cycles(lane).iter().flat_map(|said| lines(said, 14.0)).map(Item::Text));
    items.extend(say::gaps(lane).iter().flat_map(|gaps| lines(gaps, 14.0 * BOLDER)).map(Item::Warning));
    items.extend(sheet::warning(&report.verdict));
    items.push(Item::Gap(8));
    items.extend(plots(report, lane));
    items.extend(sheet::foot(report.origin(), [say::RATES.to_owned()]));
    items
}

/// Memory, calls and bytes, over the same time.
fn plots(report: &TimelineReport, lane: &Lane) -> Vec<Item> {
    let points = &lane.points;
    let spans: Vec<(Nanos, Nanos)> = (0..points.len()).map(|at| report.scale.span(at)).collect();
    let level = |of: fn(&Levels) -> u64| values(points, |point| Some(of(&point.heap?.last)));
    let resident = values(points, |point| Some(point.resident?.last));
    let most = |of: fn(&Levels) -> u64| say::over_all(points, of).map_or(0, |gauge| gauge.max);
    let mapped = most(|levels| levels.segments.saturating_add(levels.direct)).max(most(|levels| levels.gc_total));
    let apart = resident.iter().flatten().any(|resident| *resident / APART > mapped);
    let has_looks = resident.iter().any(Option::is_some);

    let cycles = points.iter().zip(&spans).filter(|(point, _)| point.cycles > 0);
    let marks = cycles.map(|(_, (from, to))| (palette::CYCLE, from.midpoint(*to))).collect();
    let shares = points.iter().zip(&spans).map(|(point, (from, to))| recorded(point, to - from)).collect();
    let chart = |axis, unit, plot| Series {
        axis,
        unit,
        plot,
        spans: spans.clone(),
        areas: Vec::new(),
        lines: Vec::new(),
        shades: shades(points, &spans),
        marks: Vec::new(),
        strip: None,
        labelled: false,
    };
    let line = |colour, values| Layer { colour, values, reach: Vec::new() };
    let looks = line(palette::RESIDENT, resident);
    let collector = Layer {
        reach: points.iter().map(|point| point.heap.map(|heap| (heap.min.gc_total, heap.max.gc_total))).collect(),
        ..line(INK, level(|levels| levels.gc_total))
    };
    let (with_heap, alone) = if apart { (vec![collector], Some(looks)) } else { (vec![collector, looks], None) };
    let memory = Series {
        areas: vec![
            line(palette::of("used"), level(|levels| levels.used)),
            line(palette::of("free"), level(|levels| levels.free)),
            line(palette::of("direct"), level(|levels| levels.direct)),
        ],
        lines: with_heap,
        marks,
        ..chart("bytes", Unit::Bytes, 190)
    };
    let kinds = [
        (palette::of("used"), "allocations"),
        (palette::of("free"), "frees"),
        (palette::of("segments"), "resizes: bytes grown or shrunk by"),
    ];
    let rates = |of: fn(&Flow) -> [u64; 3]| -> Vec<Layer> {
        let kind = |at: usize| values(points, |point| Some(point.per_second(of(&point.flow)[at])?.round() as u64));
        kinds.iter().enumerate().map(|(at, (colour, _))| line(*colour, kind(at))).collect()
    };
    let calls = rates(|flow| [flow.alloc, flow.free, flow.resize]);
    let bytes =
        rates(|flow| [flow.allocated_bytes, flow.freed_bytes, flow.grown_bytes.saturating_add(flow.shrunk_bytes)]);

    let mut items = vec![Item::Section("memory".to_owned()), Item::Names(memory_names(lane, has_looks && !apart))];
    items.push(Item::Series(memory));
    if let Some(looks) = alone {
        items.push(Item::Gap(10));
        items.push(Item::Names(vec![(palette::RESIDENT, "resident, of the whole process".to_owned())]));
        items.push(Item::Series(Series { lines: vec![looks], ..chart("resident", Unit::Bytes, 70) }));
    }
    items.extend([
        Item::Gap(10),
        Item::Section("calls and bytes a second".to_owned()),
        Item::Names(kinds.map(|(colour, name)| (colour, name.to_owned())).to_vec()),
        Item::Series(Series { lines: calls, ..chart("calls/s", Unit::Count, 90) }),
        Item::Series(Series {
            lines: bytes,
            strip: Some((palette::RESIDENT, shares)),
            labelled: true,
            ..chart("bytes/s", Unit::Bytes, 90)
        }),
        Item::Names(strip_names(lane)),
    ]);
    items
}

/// What each colour of the memory stands for.
fn memory_names(lane: &Lane, looks: bool) -> Vec<(RGBColor, String)> {
    let direct = say::over_all(&lane.points, |levels| levels.direct).is_some_and(|direct| direct.max > 0);
    let mut names = vec![(palette::of("used"), "used".to_owned())];
    names.push((palette::of("free"), "free (with used: segments)".to_owned()));
    names.extend(direct.then(|| (palette::of("direct"), "direct".to_owned())));
    names.push((INK, "gc.total, and its range".to_owned()));
    names.extend(looks.then(|| (palette::RESIDENT, "resident".to_owned())));
    let cycles = lane.points.iter().any(|point| point.cycles > 0);
    names.extend(cycles.then(|| (palette::CYCLE, "a cycle ends".to_owned())));
    names
}

/// What is below the last plot, and behind all of them.
fn strip_names(lane: &Lane) -> Vec<(RGBColor, String)> {
    let mut names = vec![(palette::RESIDENT, "recorded: the stronger, the more of the time".to_owned())];
    let holes = lane.points.iter().any(|point| point.heap.is_none());
    names.extend(holes.then(|| (palette::GRID, "nothing is known of the heap".to_owned())));
    let gaps = lane.points.iter().any(|point| point.gaps > 0);
    names.extend(gaps.then(|| (palette::LOST, "calls are lost".to_owned())));
    names
}

fn values(points: &[Point], of: impl Fn(&Point) -> Option<u64>) -> Vec<Option<u64>> {
    points.iter().map(of).collect()
}

/// How much of a point is recorded, between 0 and 1.
fn recorded(point: &Point, span: Nanos) -> f64 {
    point.recorded_ns as f64 / span.max(1) as f64
}

/// Where the heap is not known, and where calls are lost.
fn shades(points: &[Point], spans: &[(Nanos, Nanos)]) -> Vec<Shade> {
    let mut shades: Vec<Shade> = Vec::new();
    for (point, span) in points.iter().zip(spans) {
        if point.heap.is_none() {
            match shades.last_mut().filter(|shade| shade.colour == palette::GRID && shade.span.1 == span.0) {
                Some(shade) => shade.span.1 = span.1,
                None => shades.push(Shade { colour: palette::GRID, opacity: 0.55, span: *span }),
            }
        }
    }
    let lost = points.iter().zip(spans).filter(|(point, _)| point.gaps > 0);
    shades.extend(lost.map(|(_, span)| Shade { colour: palette::LOST, opacity: 0.45, span: *span }));
    shades
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::timeline::Scale;
    use crate::output::timeline::sample;

    fn svg(report: &TimelineReport) -> String {
        let mut bytes = Vec::new();
        write(report, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_is_known_is_drawn_and_nothing_between() {
        let report = sample::report();
        let svg = svg(&report);
        super::super::tests::assert_well_formed(&svg);
        // Two stretches are known of each: an outline of each area for each.
        let outlines = svg.lines().filter(|line| line.starts_with("<polygon") && line.contains("\"#0072B2\"")).count();
        assert_eq!(outlines, 2 * report.lanes.len());
        let marks = svg.lines().filter(|line| line.starts_with("<polyline") && line.contains("#882255")).count();
        let cycles = report.lanes[0].points.iter().filter(|point| point.cycles > 0).count();
        assert_eq!(marks, cycles * report.lanes.len());
        assert!(svg.contains("4 collector cycles") && svg.contains("calls are lost"));
    }

    #[test]
    fn strange_timelines_are_drawn() {
        let mut report = sample::report();
        report.lanes[0].points.iter_mut().for_each(|point| *point = Point::default());
        report.lanes[1].points.iter_mut().filter_map(|point| point.heap.as_mut()).for_each(|heap| {
            heap.last.used = u64::MAX;
            heap.max.gc_total = u64::MAX;
        });
        super::super::tests::assert_well_formed(&svg(&report));
        report.scale = Scale::new(u64::MAX, u64::MAX, 1);
        report.lanes.iter_mut().for_each(|lane| lane.points.truncate(1));
        super::super::tests::assert_well_formed(&svg(&report));
        report.lanes.clear();
        super::super::tests::assert_well_formed(&svg(&report));
    }
}
