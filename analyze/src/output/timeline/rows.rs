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
