//! Heaps over time as rows: one for each point of each process and VM.

use anyhow::Result;
use polars::prelude::{Column, DataFrame, NamedFrom, Series};

use crate::metrics::timeline::{Flow, Gauge, Heaps, Lane, Levels, Point};
use crate::output::rows::integer;
use crate::report::TimelineReport;

/// The rows: processes and VMs in order, points by time. `vm` is empty for a process as a whole; what is not known is
/// empty; counts and bytes are those recorded in the point, and `.._per_second` those a second of what was recorded.
pub(super) fn frame(report: &TimelineReport) -> Result<DataFrame> {
    let rows = || report.lanes.iter().flat_map(|lane| lane.points.iter().enumerate().map(move |row| (lane, row)));
    let points = || rows().map(|(_, (_, point))| point);
    let text = |name: &str, of: &dyn Fn(&Lane) -> String| {
        Series::new(name.into(), rows().map(|(lane, _)| of(lane)).collect::<Vec<_>>())
    };
    let number = |name: &str, of: &dyn Fn(&Lane, usize) -> u64| {
        Series::new(name.into(), rows().map(|(lane, (at, _))| integer(of(lane, at))).collect::<Vec<_>>())
    };
    let known = |name: String, of: &dyn Fn(&Point) -> Option<u64>| {
        Series::new(name.into(), points().map(|point| of(point).map(integer)).collect::<Vec<_>>())
    };
    let share = |name: String, of: &dyn Fn(&Point) -> Option<f64>| {
        Series::new(name.into(), points().map(of).collect::<Vec<_>>())
    };
    let vms: Vec<Option<i64>> =
        rows().map(|(lane, _)| lane.vm.as_ref().map(|(number, _)| i64::from(*number))).collect();
    let mut columns = vec![
        text("trace", &|_| report.source.clone()),
        number("pid", &|lane, _| u64::from(lane.pid)),
        Series::new("vm".into(), vms),
        text("label", &|lane| lane.vm.as_ref().map_or(String::new(), |(_, vm)| vm.label.clone())),
        number("from_ns", &|_, at| report.scale.span(at).0),
        number("to_ns", &|_, at| report.scale.span(at).1),
        number("recorded_ns", &|lane, at| lane.points[at].recorded_ns),
    ];
    let gauge = |name: &str, seen: &str| format!("{name}_{seen}");
    for (name, level) in Levels::FIGURES {
        for (seen, of) in Gauge::FIGURES {
            columns.push(known(gauge(name, seen), &|point| point.heap.map(|heap| of(&heap.gauge(level)))));
        }
    }
    columns.push(share("fragmentation".into(), &|point| point.heap.as_ref().and_then(Heaps::fragmentation)));
    for (seen, of) in Gauge::FIGURES {
        columns.push(known(gauge("resident", seen), &|point| point.resident.as_ref().map(of)));
    }
    for (name, of) in Flow::FIGURES {
        columns.push(number(name, &|lane, at| of(&lane.points[at].flow)));
    }
    for (name, of) in Flow::FIGURES {
        columns.push(share(format!("{name}_per_second"), &|point| point.per_second(of(&point.flow))));
    }
    columns.extend([
        number("gc_cycles", &|lane, at| lane.points[at].cycles),
        number("gaps", &|lane, at| lane.points[at].gaps),
        number("windows", &|lane, at| lane.points[at].windows),
    ]);
    Ok(DataFrame::new(rows().count(), columns.into_iter().map(Column::from).collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::timeline::{json, sample};
    use serde_json::Value;

    #[test]
    fn each_point_is_a_row_with_the_figures_of_the_json() {
        let report = sample::report();
        let mut bytes = Vec::new();
        crate::output::rows::csv(frame(&report).unwrap(), &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let head = lines.next().unwrap();
        let rows: Vec<Vec<&str>> = lines.collect();
        let mut bytes = Vec::new();
        json::write(&report, &mut bytes).unwrap();
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(document["verdict"]["judgement"], "verified");
        let lanes = document["timelines"].as_array().unwrap();
        let points = lanes.iter().flat_map(|lane| lane["points"].as_array().unwrap());
        let points: Vec<&Value> = points.collect();
        assert_eq!((rows.len(), points.len()), (3 * report.scale.count(), 3 * report.scale.count()));
        let same = [
            ("from_ns", "/from_ns"),
            ("to_ns", "/to_ns"),
            ("recorded_ns", "/recorded_ns"),
            ("used_max", "/heap/used_bytes/max"),
            ("free_last", "/heap/free_bytes/last"),
            ("segments_first", "/heap/segment_bytes/first"),
            ("direct_min", "/heap/direct_bytes/min"),
            ("gc_total_min", "/heap/gc_total/min"),
            ("fragmentation", "/heap/fragmentation"),
            ("resident_last", "/resident_bytes/last"),
            ("alloc_calls", "/calls/alloc"),
            ("freed_bytes", "/calls/freed_bytes"),
            ("alloc_calls_per_second", "/per_second/alloc"),
            ("grown_bytes_per_second", "/per_second/grown_bytes"),
            ("shrunk_bytes_per_second", "/per_second/shrunk_bytes"),
            ("gc_cycles", "/gc_cycles"),
            ("gaps", "/gaps"),
            ("windows", "/windows"),
        ];
        let mut holes = 0;
        for (name, pointer) in same {
            let column = head.iter().position(|other| *other == name).expect(name);
            for (row, point) in rows.iter().zip(&points) {
                let (ours, theirs) = (row[column].parse::<f64>().ok(), point.pointer(pointer).and_then(Value::as_f64));
                assert_eq!(ours, theirs, "{name}");
                holes += usize::from(ours.is_none());
            }
        }
        assert!(holes > 0);
    }
}
