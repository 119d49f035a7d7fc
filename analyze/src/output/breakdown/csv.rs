//! Where memory goes as rows: one for each process, look and slice. With a moment asked for, its look only.

use anyhow::Result;
use polars::prelude::DataFrame;
use shared::trace::breakdown::{Memory, Slice};

use crate::metrics::breakdown::owners::owner;
use crate::metrics::breakdown::{ProcessMemory, kind_name};
use crate::output::rows::integer;
use crate::report::BreakdownReport;

/// The columns. Figures are `i64`, as in Parquet.
#[derive(Default)]
struct Columns {
    trace: Vec<String>,
    pid: Vec<i64>,
    time_ns: Vec<i64>,
    kind: Vec<&'static str>,
    owner: Vec<String>,
    name: Vec<String>,
    vm: Vec<Option<i64>>,
    mapped: Vec<i64>,
    resident: Vec<i64>,
    swapped: Vec<i64>,
    pss: Vec<i64>,
}

/// The rows.
pub(super) fn frame(report: &BreakdownReport) -> Result<DataFrame> {
    let mut columns = Columns::default();
    for process in &report.processes {
        columns.process(report, process);
    }
    let Columns { trace, pid, time_ns, kind, owner, name, vm, mapped, resident, swapped, pss } = columns;
    Ok(polars::df!(
        "trace" => trace,
        "pid" => pid,
        "time_ns" => time_ns,
        "kind" => kind,
        "owner" => owner,
        "name" => name,
        "vm" => vm,
        "mapped" => mapped,
        "resident" => resident,
        "swapped" => swapped,
        "pss" => pss,
    )?)
}

impl Columns {
    fn process(&mut self, report: &BreakdownReport, process: &ProcessMemory) {
        let history = &process.history;
        let slice = |at: usize| {
            let (kind, name, vm) = &history.names[at];
            Slice { kind: *kind, name: name.clone(), vm: *vm, memory: Memory::default() }
        };
        let owners: Vec<String> = (0..history.names.len()).map(|at| owner(&slice(at), &report.vms).label).collect();
        for look in history.looks.iter().filter(|look| !report.only_moment || look.time == process.time) {
            for (at, memory) in &look.slices {
                let (kind, name, vm) = &history.names[*at];
                self.trace.push(report.source.clone());
                self.pid.push(i64::from(process.pid()));
                self.time_ns.push(integer(look.time));
                self.kind.push(kind_name(*kind));
                self.owner.push(owners[*at].clone());
                self.name.push(name.clone());
                self.vm.push((*vm > 0).then_some(i64::from(*vm)));
                self.mapped.push(integer(memory.mapped));
                self.resident.push(integer(memory.resident));
                self.swapped.push(integer(memory.swapped));
                self.pss.push(integer(memory.pss));
            }
        }
    }
}
