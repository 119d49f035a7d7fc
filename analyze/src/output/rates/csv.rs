//! Rates as rows: one for each figure of each process and VM.

use anyhow::Result;
use polars::prelude::DataFrame;

use crate::metrics::lifetimes::Share;
use crate::metrics::rates::{Basis, Rate};
use crate::output::rows::integer;
use crate::output::words::last_of;
use crate::report::{RatesReport, Section};

/// The columns. Of a rate, `value` is a second, and `observed` what was recorded; of a lifetime, `value` is the share
/// that died by `age_ns`. Sizes are those of a size class; without one, a figure is of all sizes.
#[derive(Default)]
struct Columns {
    trace: Vec<String>,
    pid: Vec<i64>,
    vm: Vec<Option<i64>>,
    basis: Vec<&'static str>,
    quantity: Vec<&'static str>,
    size_from: Vec<Option<i64>>,
    size_to: Vec<Option<i64>>,
    age_ns: Vec<Option<i64>>,
    observed: Vec<Option<i64>>,
    value: Vec<f64>,
    low: Vec<Option<f64>>,
    high: Vec<Option<f64>>,
}

/// The rows.
pub(super) fn frame(report: &RatesReport) -> Result<DataFrame> {
    let mut columns = Columns::default();
    for section in &report.sections {
        for (name, rate) in section.rates.named() {
            columns.rate(report, section, name, None, rate);
        }
        for class in &section.rates.classes {
            let figures = [("alloc", class.allocs), ("allocated", class.allocated), ("freed", class.freed)];
            for (name, rate) in figures {
                columns.rate(report, section, name, Some(class.size_from), &rate);
            }
        }
        for died in &section.lifetimes.died {
            columns.died(report, section, "died_of_blocks", died.age_ns, &died.of_blocks);
            columns.died(report, section, "died_of_bytes", died.age_ns, &died.of_bytes);
        }
    }
    let Columns { trace, pid, vm, basis, quantity, size_from, size_to, age_ns, observed, value, low, high } = columns;
    Ok(polars::df!(
        "trace" => trace,
        "pid" => pid,
        "vm" => vm,
        "basis" => basis,
        "quantity" => quantity,
        "size_from" => size_from,
        "size_to" => size_to,
        "age_ns" => age_ns,
        "observed" => observed,
        "value" => value,
        "low" => low,
        "high" => high,
    )?)
}

impl Columns {
    fn section(&mut self, report: &RatesReport, section: &Section, quantity: &'static str) {
        self.trace.push(report.source.clone());
        self.pid.push(i64::from(section.pid));
        self.vm.push(section.vm.as_ref().map(|(number, _)| i64::from(*number)));
        self.basis.push(match section.rates.basis {
            Basis::Exact => "exact",
            Basis::Estimate => "estimate",
        });
        self.quantity.push(quantity);
    }

    fn rate(&mut self, report: &RatesReport, section: &Section, name: &'static str, size: Option<u64>, rate: &Rate) {
        self.section(report, section, name);
        self.size_from.push(size.map(integer));
        self.size_to.push(size.map(|size| integer(last_of(size))));
        self.age_ns.push(None);
        self.observed.push(Some(integer(rate.observed)));
        self.value.push(rate.per_second);
        self.low.push(rate.low);
        self.high.push(rate.high);
    }

    fn died(&mut self, report: &RatesReport, section: &Section, name: &'static str, age: u64, share: &Share) {
        self.section(report, section, name);
        self.size_from.push(None);
        self.size_to.push(None);
        self.age_ns.push(Some(integer(age)));
        self.observed.push(None);
        self.value.push(share.share);
        self.low.push(Some(share.low));
        self.high.push(Some(share.high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::rates::sample;

    #[test]
    fn classes_sum_to_the_whole() {
        let mut bytes = Vec::new();
        crate::output::rows::csv(frame(&sample::report(true)).unwrap(), &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let mut lines = text.lines();
        let head = "trace,pid,vm,basis,quantity,size_from,size_to,age_ns,observed,value,low,high";
        assert_eq!(lines.next(), Some(head));
        let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
        let observed = |all: bool| -> u64 {
            let ours = rows.iter().filter(|row| row[4] == "allocated" && row[5].is_empty() == all);
            ours.map(|row| row[8].parse::<u64>().unwrap()).sum()
        };
        assert!(observed(true) > 0);
        assert_eq!(observed(true), observed(false));
        assert!(rows.iter().any(|row| row[4] == "died_of_bytes" && !row[7].is_empty()));
    }
}
