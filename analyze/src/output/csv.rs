//! Heaps as rows: one for each VM, population and bucket.

use anyhow::Result;
use polars::prelude::DataFrame;

use super::rows::integer;
use super::words::last_of;
use crate::report::Report;

/// The columns, each as long as there are buckets. Figures are `i64`, as in Parquet.
#[derive(Default)]
struct Columns {
    trace: Vec<String>,
    pid: Vec<i64>,
    vm: Vec<i64>,
    label: Vec<String>,
    time_ns: Vec<i64>,
    population: Vec<&'static str>,
    size_from: Vec<i64>,
    size_to: Vec<i64>,
    count: Vec<i64>,
    bytes: Vec<i64>,
}

/// The rows: VMs in order, populations in order, buckets by size. `size_to` is the largest size a bucket counts.
pub fn frame(report: &Report) -> Result<DataFrame> {
    let mut columns = Columns::default();
    for vm in &report.vms {
        for (population, sizes) in vm.populations.named() {
            for (bucket, tally) in &sizes.buckets {
                columns.trace.push(report.source.clone());
                columns.pid.push(i64::from(vm.vm.pid));
                columns.vm.push(i64::from(vm.number));
                columns.label.push(vm.vm.label.clone());
                columns.time_ns.push(integer(vm.moment.time));
                columns.population.push(population);
                columns.size_from.push(integer(*bucket));
                columns.size_to.push(integer(last_of(*bucket)));
                columns.count.push(integer(tally.count));
                columns.bytes.push(integer(tally.bytes));
            }
        }
    }
    let Columns { trace, pid, vm, label, time_ns, population, size_from, size_to, count, bytes } = columns;
    Ok(polars::df!(
        "trace" => trace,
        "pid" => pid,
        "vm" => vm,
        "label" => label,
        "time_ns" => time_ns,
        "population" => population,
        "size_from" => size_from,
        "size_to" => size_to,
        "count" => count,
        "bytes" => bytes,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{rows, sample};

    #[test]
    fn names_with_commas_are_quoted_and_no_buckets_leave_the_header() {
        let mut report = sample::report();
        report.vms.truncate(1);
        report.vms[0].vm.label = "a,\"b".to_owned();
        let mut bytes = Vec::new();
        rows::csv(frame(&report).unwrap(), &mut bytes).unwrap();
        assert!(String::from_utf8(bytes).unwrap().contains("\"a,\"\"b\""));
        report.vms.clear();
        let mut bytes = Vec::new();
        rows::csv(frame(&report).unwrap(), &mut bytes).unwrap();
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
}
