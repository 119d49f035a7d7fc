//! Who allocates as rows: one for each operation and each site of each VM.

use anyhow::Result;
use polars::prelude::DataFrame;

use super::words as say;
use crate::metrics::sites::{Row, SitesReport, VmSites};
use crate::output::rows::integer;

/// The columns.
#[derive(Default)]
struct Columns {
    trace: Vec<String>,
    pid: Vec<i64>,
    vm: Vec<i64>,
    label: Vec<String>,
    from_ns: Vec<i64>,
    to_ns: Vec<i64>,
    by: Vec<&'static str>,
    of: Vec<&'static str>,
    name: Vec<String>,
    samples: Vec<i64>,
    share: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
    amount: Vec<f64>,
    amount_low: Vec<f64>,
    amount_high: Vec<f64>,
}

/// The rows: VMs in order, of each its operations, then its sites, by their shares.
pub(super) fn frame(report: &SitesReport) -> Result<DataFrame> {
    let mut columns = Columns::default();
    for vm in &report.vms {
        vm.operations.iter().for_each(|row| columns.push(report, vm, "operation", row));
        vm.sites.iter().for_each(|row| columns.push(report, vm, "site", row));
    }
    let Columns { trace, pid, vm, label, from_ns, to_ns, by, of, name, .. } = columns;
    let Columns { samples, share, low, high, amount, amount_low, amount_high, .. } = columns;
    Ok(polars::df!(
        "trace" => trace,
        "pid" => pid,
        "vm" => vm,
        "label" => label,
        "from_ns" => from_ns,
        "to_ns" => to_ns,
        "by" => by,
        "of" => of,
        "name" => name,
        "samples" => samples,
        "share" => share,
        "low" => low,
        "high" => high,
        "amount" => amount,
        "amount_low" => amount_low,
        "amount_high" => amount_high,
    )?)
}

impl Columns {
    fn push(&mut self, report: &SitesReport, vm: &VmSites, of: &'static str, row: &Row) {
        self.trace.push(report.source.clone());
        self.pid.push(i64::from(vm.vm.pid));
        self.vm.push(i64::from(vm.number));
        self.label.push(vm.vm.label.clone());
        self.from_ns.push(integer(vm.period.from));
        self.to_ns.push(integer(vm.period.to));
        self.by.push(say::by(report.by));
        self.of.push(of);
        self.name.push(row.name.clone());
        self.samples.push(integer(row.share.samples));
        self.share.push(row.share.share);
        self.low.push(row.share.low);
        self.high.push(row.share.high);
        self.amount.push(row.share.amount);
        self.amount_low.push(row.share.amount_low);
        self.amount_high.push(row.share.amount_high);
    }
}
