//! The lives of blocks as rows: one for each figure of each VM.

use anyhow::Result;
use polars::prelude::DataFrame;

use crate::metrics::lifetimes::{DiedBy, Share};
use crate::metrics::lives::{ClassLives, LifetimesReport, VmLifetimes};
use crate::metrics::population::Tally;
use crate::output::rows::integer;
use crate::output::words::last_of;

/// The columns. Sizes are those of a size class; without one, a figure is of all sizes. Of a share that died by an age,
/// that is `age_to_ns`. `low` and `high` are the ends of 95 % confidence intervals.
#[derive(Default)]
struct Columns {
    trace: Vec<String>,
    pid: Vec<i64>,
    vm: Vec<i64>,
    label: Vec<String>,
    quantity: Vec<&'static str>,
    size_from: Vec<Option<i64>>,
    size_to: Vec<Option<i64>>,
    age_from_ns: Vec<Option<i64>>,
    age_to_ns: Vec<Option<i64>>,
    resizes_from: Vec<Option<i64>>,
    resizes_to: Vec<Option<i64>>,
    count: Vec<Option<i64>>,
    bytes: Vec<Option<i64>>,
    value: Vec<Option<f64>>,
    low: Vec<Option<f64>>,
    high: Vec<Option<f64>>,
}

/// A row but for what all rows of a VM have.
#[derive(Default)]
struct Row {
    size: Option<u64>,
    ages: (Option<u64>, Option<u64>),
    resizes: Option<(u64, u64)>,
    tally: Option<Tally>,
    value: (Option<f64>, Option<f64>, Option<f64>),
}

/// The rows.
pub(super) fn frame(report: &LifetimesReport) -> Result<DataFrame> {
    let mut columns = Columns::default();
    for vm in &report.vms {
        columns.vm(report, vm);
    }
    let Columns { trace, pid, vm, label, quantity, size_from, size_to, age_from_ns, age_to_ns, .. } = columns;
    let Columns { resizes_from, resizes_to, count, bytes, value, low, high, .. } = columns;
    Ok(polars::df!(
        "trace" => trace,
        "pid" => pid,
        "vm" => vm,
        "label" => label,
        "quantity" => quantity,
        "size_from" => size_from,
        "size_to" => size_to,
        "age_from_ns" => age_from_ns,
        "age_to_ns" => age_to_ns,
        "resizes_from" => resizes_from,
        "resizes_to" => resizes_to,
        "count" => count,
        "bytes" => bytes,
        "value" => value,
        "low" => low,
        "high" => high,
    )?)
}

impl Columns {
    fn vm(&mut self, report: &LifetimesReport, vm: &VmLifetimes) {
        let figures = &vm.figures;
        let mut push = |quantity, row| self.push(report, vm, quantity, row);
        let turnover = &figures.turnover;
        let born = (Some(turnover.born.per_second), turnover.born.low, turnover.born.high);
        push("born_bytes_per_second", Row { value: born, ..Row::default() });
        push("live_bytes", Row { value: (turnover.live_bytes, None, None), ..Row::default() });
        let times = (turnover.per_second, turnover.low, turnover.high);
        push("turnover_per_second", Row { value: times, ..Row::default() });
        for class in [&figures.all].into_iter().chain(&figures.classes) {
            class_rows(class, &mut push);
        }
        for died in &figures.curve {
            shares(died, None, ["curve_of_blocks", "curve_of_bytes"], &mut push);
        }
        let sums = &figures.resizes;
        let resizes = [
            ("grew", sums.grew, sums.grown_bytes),
            ("shrank", sums.shrank, sums.shrunk_bytes),
            ("kept", sums.kept, 0),
            ("failed", sums.failed, 0),
            ("moved", sums.moved, sums.copied_bytes),
            ("resized_older", sums.older_blocks, 0),
        ];
        for (quantity, count, bytes) in resizes {
            push(quantity, Row { tally: Some(Tally { count, bytes }), ..Row::default() });
        }
        for chain in &figures.chains {
            let row = |count, bytes| Row {
                resizes: Some((chain.resizes_from, chain.resizes_to)),
                tally: Some(Tally { count, bytes }),
                ..Row::default()
            };
            push("chain_first", row(chain.blocks, chain.first_bytes));
            push("chain_last", row(chain.blocks, chain.last_bytes));
        }
    }

    fn push(&mut self, report: &LifetimesReport, vm: &VmLifetimes, quantity: &'static str, row: Row) {
        self.trace.push(report.source.clone());
        self.pid.push(i64::from(vm.vm.pid));
        self.vm.push(i64::from(vm.number));
        self.label.push(vm.vm.label.clone());
        self.quantity.push(quantity);
        self.size_from.push(row.size.map(integer));
        self.size_to.push(row.size.map(|size| integer(last_of(size))));
        self.age_from_ns.push(row.ages.0.map(integer));
        self.age_to_ns.push(row.ages.1.map(integer));
        self.resizes_from.push(row.resizes.map(|(from, _)| integer(from)));
        self.resizes_to.push(row.resizes.map(|(_, to)| integer(to)));
        self.count.push(row.tally.map(|tally| integer(tally.count)));
        self.bytes.push(row.tally.map(|tally| integer(tally.bytes)));
        self.value.push(row.value.0);
        self.low.push(row.value.1);
        self.high.push(row.value.2);
    }
}

fn class_rows(class: &ClassLives, push: &mut impl FnMut(&'static str, Row)) {
    let size = (class.size_from > 0).then_some(class.size_from);
    let tallies = [("born", class.born), ("alive", class.alive), ("older_died", class.older_died)];
    for (quantity, tally) in tallies {
        push(quantity, Row { size, tally: Some(tally), ..Row::default() });
    }
    for died in class.died.iter().filter(|died| died.count > 0) {
        let tally = Some(Tally { count: died.count, bytes: died.bytes });
        push("died", Row { size, ages: (Some(died.age_from_ns), died.age_to_ns), tally, ..Row::default() });
    }
    for died in &class.lifetimes.died {
        shares(died, size, ["died_of_blocks", "died_of_bytes"], push);
    }
}

fn shares(
    died: &DiedBy,
    size: Option<u64>,
    [of_blocks, of_bytes]: [&'static str; 2],
    push: &mut impl FnMut(&'static str, Row),
) {
    for (quantity, Share { share, low, high }) in [(of_blocks, died.of_blocks), (of_bytes, died.of_bytes)] {
        let value = (Some(share), Some(low), Some(high));
        push(quantity, Row { size, ages: (None, Some(died.age_ns)), value, ..Row::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::lifetimes::sample;

    #[test]
    fn classes_sum_to_the_whole() {
        let report = sample::report();
        let mut bytes = Vec::new();
        crate::output::rows::csv(frame(&report).unwrap(), &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
        let sum = |quantity: &str, all: bool, column: usize| -> u64 {
            let ours = rows.iter().filter(|row| row[4] == quantity && row[5].is_empty() == all);
            ours.map(|row| row[column].parse::<u64>().unwrap()).sum()
        };
        for quantity in ["born", "died", "alive", "older_died"] {
            assert!(sum(quantity, true, 12) > 0, "{quantity}");
            assert_eq!(sum(quantity, true, 11), sum(quantity, false, 11), "{quantity}");
            assert_eq!(sum(quantity, true, 12), sum(quantity, false, 12), "{quantity}");
        }
        assert_eq!(sum("born", true, 11), report.vms[0].figures.all.born.count);
        let turnover = rows.iter().find(|row| row[4] == "turnover_per_second").unwrap();
        assert_eq!(turnover[13].parse().ok(), report.vms[0].figures.turnover.per_second);
    }
}
