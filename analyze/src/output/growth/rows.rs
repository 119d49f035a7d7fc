//! What grows as rows: one for each size class of each VM.

use anyhow::Result;
use polars::prelude::{Column, DataFrame, NamedFrom, Series};

use super::words as say;
use crate::metrics::growth::trend::Trend;
use crate::metrics::growth::{ClassGrowth, GrowthReport, VmGrowth};
use crate::output::rows::integer;
use crate::output::words::last_of;

/// A class, and the VM it is of.
type Row<'a> = (&'a VmGrowth, &'a ClassGrowth);

/// The rows: VMs in order, classes from the one that grew most on. Of direct blocks, of all sizes together, `size_from` and
/// `size_to` are empty. `low` and `high` are the ends of the 95 % interval of `net_bytes_per_second`.
pub(super) fn frame(report: &GrowthReport) -> Result<DataFrame> {
    let rows: Vec<Row> =
        report.vms.iter().flat_map(|vm| vm.figures.classes.iter().map(move |class| (vm, class))).collect();
    let text = |name: &str, of: &dyn Fn(Row) -> String| {
        Series::new(name.into(), rows.iter().map(|row| of(*row)).collect::<Vec<String>>())
    };
    let number = |name: &str, of: &dyn Fn(Row) -> i64| {
        Series::new(name.into(), rows.iter().map(|row| of(*row)).collect::<Vec<i64>>())
    };
    let size = |name: &str, of: &dyn Fn(u64) -> u64| {
        let sizes = rows.iter().map(|(_, class)| (class.size_from > 0).then(|| integer(of(class.size_from))));
        Series::new(name.into(), sizes.collect::<Vec<Option<i64>>>())
    };
    let trend = |name: &str, of: &dyn Fn(Trend) -> f64| {
        let trends = rows.iter().map(|(_, class)| class.change.trend.map(of));
        Series::new(name.into(), trends.collect::<Vec<Option<f64>>>())
    };
    let columns = vec![
        text("trace", &|_| report.source.clone()),
        number("pid", &|(vm, _)| i64::from(vm.vm.pid)),
        number("vm", &|(vm, _)| i64::from(vm.number)),
        text("label", &|(vm, _)| vm.vm.label.clone()),
        number("from_ns", &|(vm, _)| integer(vm.from.time)),
        number("to_ns", &|(vm, _)| integer(vm.to.time)),
        text("population", &|(_, class)| class.population.to_owned()),
        size("size_from", &|size| size),
        size("size_to", &last_of),
        number("count_first", &|(_, class)| integer(class.change.from.count)),
        number("count_last", &|(_, class)| integer(class.change.to.count)),
        number("net_count", &|(_, class)| class.change.net_count),
        number("bytes_first", &|(_, class)| integer(class.change.from.bytes)),
        number("bytes_last", &|(_, class)| integer(class.change.to.bytes)),
        number("net_bytes", &|(_, class)| class.change.net_bytes),
        trend("net_bytes_per_second", &|trend| trend.bytes_per_second),
        trend("low", &|trend| trend.low),
        trend("high", &|trend| trend.high),
        trend("chance", &|trend| trend.chance),
        number("points", &|(vm, _)| integer(vm.figures.points)),
        text("finding", &|(_, class)| say::finding(class.finding).to_owned()),
    ];
    Ok(DataFrame::new(rows.len(), columns.into_iter().map(Column::from).collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::growth::sample;

    #[test]
    fn rows_sum_to_the_heap() {
        let report = sample::report();
        let mut bytes = Vec::new();
        crate::output::rows::csv(frame(&report).unwrap(), &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<&str>>());
        let head = lines.next().unwrap();
        let rows: Vec<Vec<&str>> = lines.collect();
        let column = |name: &str| head.iter().position(|other| *other == name).unwrap();
        let sum = |name: &str| -> i64 { rows.iter().map(|row| row[column(name)].parse::<i64>().unwrap()).sum() };
        let all = &report.vms[0].figures.all;
        assert_eq!((sum("net_bytes"), sum("net_count")), (all.net_bytes, all.net_count));
        assert_eq!(sum("bytes_last") - sum("bytes_first"), all.net_bytes);
        assert_eq!(rows[0][column("finding")], "suspect");
        assert!(rows.iter().any(|row| row[column("population")] == "direct" && row[column("size_from")].is_empty()));
    }
}
