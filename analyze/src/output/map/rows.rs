//! Maps as rows: one for each VM, moment, and segment or direct block.

use anyhow::Result;
use polars::prelude::DataFrame;

use shared::trace::census::ObjectKind;

use crate::metrics::map::{By, KINDS, Kind, Purpose, Standing};
use crate::output::rows::integer;
use crate::report::MapReport;

/// The columns that are no amounts.
#[derive(Default)]
struct Columns {
    trace: Vec<String>,
    pid: Vec<i64>,
    vm: Vec<i64>,
    label: Vec<String>,
    time_ns: Vec<i64>,
    kind: Vec<&'static str>,
    base: Vec<i64>,
    bytes: Vec<i64>,
    /// As many as there are [`KINDS`], in their order.
    mixes: [Vec<i64>; KINDS.len()],
    /// As many as there are kinds of objects, if they are told apart.
    objects: Vec<Vec<i64>>,
    pinned_by_count: Vec<i64>,
    pinned_by_bytes: Vec<i64>,
    free_runs: Vec<i64>,
    largest_free_bytes: Vec<i64>,
    first: Vec<bool>,
    mstate: Vec<bool>,
    standing: Vec<&'static str>,
    kept_for_good: Vec<bool>,
}

/// The rows: VMs in order, moments as they were asked for, mappings by address.
pub(super) fn frame(report: &MapReport) -> Result<DataFrame> {
    let mut columns = Columns::default();
    if report.by == By::Kind {
        columns.objects.resize(ObjectKind::ALL.len(), Vec::new());
    }
    for vm in &report.vms {
        for (moment, map) in &vm.maps {
            for mapping in &map.mappings {
                columns.trace.push(report.source.clone());
                columns.pid.push(i64::from(vm.vm.pid));
                columns.vm.push(i64::from(vm.number));
                columns.label.push(vm.vm.label.clone());
                columns.time_ns.push(integer(moment.time));
                columns.kind.push(match mapping.purpose {
                    Purpose::Segment => "segment",
                    Purpose::Direct => "direct",
                });
                columns.base.push(integer(mapping.base));
                columns.bytes.push(integer(mapping.size));
                for (kind, column) in KINDS.into_iter().zip(&mut columns.mixes) {
                    column.push(integer(mapping.mix.of(kind)));
                }
                for (kind, column) in ObjectKind::ALL.into_iter().zip(&mut columns.objects) {
                    column.push(integer(mapping.mix.kinds.of(kind)));
                }
                columns.pinned_by_count.push(integer(mapping.pinned_by.count));
                columns.pinned_by_bytes.push(integer(mapping.pinned_by.bytes));
                columns.free_runs.push(integer(mapping.free_runs));
                columns.largest_free_bytes.push(integer(mapping.largest_free));
                columns.first.push(mapping.first);
                columns.mstate.push(mapping.mstate);
                columns.standing.push(match mapping.standing {
                    Standing::Ordinary => "ordinary",
                    Standing::WhollyFree => "wholly_free",
                    Standing::PinnedByLittle => "pinned_by_little",
                });
                columns.kept_for_good.push(mapping.kept_for_good);
            }
        }
    }
    columns.frame()
}

impl Columns {
    fn frame(self) -> Result<DataFrame> {
        let mut frame = polars::df!(
            "trace" => self.trace,
            "pid" => self.pid,
            "vm" => self.vm,
            "label" => self.label,
            "time_ns" => self.time_ns,
            "kind" => self.kind,
            "base" => self.base,
            "bytes" => self.bytes,
        )?;
        for (kind, column) in KINDS.into_iter().zip(self.mixes) {
            frame.with_column(polars::prelude::Column::new(name(kind).into(), column))?;
        }
        let rest = polars::df!(
            "pinned_by_count" => self.pinned_by_count,
            "pinned_by_bytes" => self.pinned_by_bytes,
            "free_runs" => self.free_runs,
            "largest_free_bytes" => self.largest_free_bytes,
            "first" => self.first,
            "mstate" => self.mstate,
            "standing" => self.standing,
            "kept_for_good" => self.kept_for_good,
        )?;
        let mut frame = frame.hstack(rest.columns())?;
        for (kind, column) in ObjectKind::ALL.into_iter().zip(self.objects) {
            let name = format!("{}_bytes", kind.name().replace(' ', "_"));
            frame.with_column(polars::prelude::Column::new(name.into(), column))?;
        }
        Ok(frame)
    }
}

/// A kind's column, as it is called in JSON.
fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Used => "used_bytes",
        Kind::Binned => "binned_bytes",
        Kind::Dv => "dv_bytes",
        Kind::Top => "top_bytes",
        Kind::Own => "own_bytes",
        Kind::Overhead => "overhead_bytes",
        Kind::Direct => "direct_bytes",
    }
}
