//! A comparison as rows: one for each figure of the sum, of each VM and of each process, and one for the count and the
//! bytes of each size class and each kind of object, and for what each owner has.

use anyhow::Result;
use polars::prelude::DataFrame;

use crate::metrics::diff::{Amount, DiffReport, Figure, ProcessPair, VmPair};
use crate::output::rows::integer;
use crate::output::words::last_of;

/// The columns. `scope` is `total`, `vm` or `process`; values are `f64`, because rates and shares are among them.
#[derive(Default)]
struct Columns {
    trace_a: Vec<String>,
    trace_b: Vec<String>,
    scope: Vec<&'static str>,
    pid_a: Vec<Option<i64>>,
    pid_b: Vec<Option<i64>>,
    vm_a: Vec<Option<i64>>,
    vm_b: Vec<Option<i64>>,
    figure: Vec<String>,
    owner: Vec<Option<String>>,
    kind: Vec<Option<String>>,
    size_from: Vec<Option<i64>>,
    size_to: Vec<Option<i64>>,
    a: Vec<f64>,
    b: Vec<f64>,
    change: Vec<f64>,
    relative: Vec<Option<f64>>,
}

/// What a row is of.
#[derive(Clone, Copy)]
struct Scope<'a> {
    report: &'a DiffReport,
    name: &'static str,
    pids: Option<(u32, u32)>,
    vms: Option<(u32, u32)>,
}

/// What of it.
#[derive(Clone, Copy)]
enum Part<'a> {
    Whole,
    Owner(&'a str),
    /// A kind of object.
    Kind(&'a str),
    /// The smallest size in a class.
    Class(u64),
}

/// The rows.
pub(super) fn frame(report: &DiffReport) -> Result<DataFrame> {
    let mut columns = Columns::default();
    let scope = |name| Scope { report, name, pids: None, vms: None };
    columns.figures(scope("total"), &report.totals());
    for pair in &report.vms {
        let pids = Some((pair.a.vm.pid, pair.b.vm.pid));
        columns.vm(Scope { pids, vms: Some((pair.a.number, pair.b.number)), ..scope("vm") }, pair);
    }
    for pair in &report.processes {
        columns.process(Scope { pids: Some((pair.a.pid(), pair.b.pid())), ..scope("process") }, pair);
    }
    let Columns { trace_a, trace_b, scope, pid_a, pid_b, vm_a, vm_b, .. } = columns;
    let Columns { figure, owner, kind, size_from, size_to, a, b, change, relative, .. } = columns;
    Ok(polars::df!(
        "trace_a" => trace_a,
        "trace_b" => trace_b,
        "scope" => scope,
        "pid_a" => pid_a,
        "pid_b" => pid_b,
        "vm_a" => vm_a,
        "vm_b" => vm_b,
        "figure" => figure,
        "owner" => owner,
        "size_from" => size_from,
        "size_to" => size_to,
        "a" => a,
        "b" => b,
        "change" => change,
        "relative" => relative,
        "kind" => kind,
    )?)
}

impl Columns {
    fn figures(&mut self, scope: Scope<'_>, figures: &[Figure]) {
        for figure in figures {
            self.row(scope, figure.name.to_owned(), Part::Whole, figure);
        }
    }

    fn vm(&mut self, scope: Scope<'_>, pair: &VmPair) {
        self.figures(scope, &pair.figures());
        for (population, classes) in pair.classes() {
            for class in classes {
                let counts = [("count", class.a.count, class.b.count), ("bytes", class.a.bytes, class.b.bytes)];
                for (what, a, b) in counts {
                    self.row(scope, format!("{population}_{what}"), Part::Class(class.size_from), &whole(a, b));
                }
            }
        }
        for kind in pair.kinds.iter().flat_map(|kinds| &kinds.kinds) {
            let (a, b) = (kind.before, kind.after);
            for (what, a, b) in [("objects_count", a.count, b.count), ("objects_bytes", a.bytes, b.bytes)] {
                self.row(scope, what.to_owned(), Part::Kind(kind.kind), &whole(a, b));
            }
        }
    }

    fn process(&mut self, scope: Scope<'_>, pair: &ProcessPair) {
        self.figures(scope, &pair.figures());
        for (owner, a, b) in pair.owners() {
            for (what, a, b) in [("mapped_bytes", a.mapped, b.mapped), ("resident_bytes", a.resident, b.resident)] {
                self.row(scope, what.to_owned(), Part::Owner(&owner.label), &whole(a, b));
            }
        }
    }

    fn row(&mut self, scope: Scope<'_>, name: String, part: Part<'_>, figure: &Figure) {
        let (owner, kind, size) = match part {
            Part::Whole => (None, None, None),
            Part::Owner(owner) => (Some(owner), None, None),
            Part::Kind(kind) => (None, Some(kind), None),
            Part::Class(size) => (None, None, Some(size)),
        };
        self.trace_a.push(scope.report.a.source.clone());
        self.trace_b.push(scope.report.b.source.clone());
        self.scope.push(scope.name);
        self.pid_a.push(scope.pids.map(|(pid, _)| i64::from(pid)));
        self.pid_b.push(scope.pids.map(|(_, pid)| i64::from(pid)));
        self.vm_a.push(scope.vms.map(|(vm, _)| i64::from(vm)));
        self.vm_b.push(scope.vms.map(|(_, vm)| i64::from(vm)));
        self.figure.push(name);
        self.owner.push(owner.map(str::to_owned));
        self.kind.push(kind.map(str::to_owned));
        self.size_from.push(size.map(integer));
        self.size_to.push(size.map(|size| integer(last_of(size))));
        self.a.push(figure.a.value());
        self.b.push(figure.b.value());
        self.change.push(figure.change().value());
        self.relative.push(figure.relative());
    }
}

/// A count, or bytes, of both.
fn whole(a: u64, b: u64) -> Figure {
    let whole = |number| Amount::Whole(integer(number));
    Figure { name: "", unit: crate::metrics::diff::Unit::Bytes, a: whole(a), b: whole(b), apart: None }
}
