//! The objects of heaps as rows: one for each kind and size class of each VM; of functions and protos, where the trace has
//! names, one for each place where they were written.

use anyhow::Result;
use polars::prelude::DataFrame;

use shared::trace::census::ObjectKind;

use crate::metrics::objects::{Class, Kind, Made, ObjectsReport, Place, VmObjects};
use crate::output::rows::integer;
use crate::output::words::last_of;

/// The columns. `count` and `bytes` include the garbage.
#[derive(Default)]
struct Columns {
    trace: Vec<String>,
    pid: Vec<i64>,
    vm: Vec<i64>,
    label: Vec<String>,
    time_ns: Vec<i64>,
    kind: Vec<&'static str>,
    size_from: Vec<i64>,
    size_to: Vec<i64>,
    count: Vec<i64>,
    bytes: Vec<i64>,
    garbage_count: Vec<i64>,
    garbage_bytes: Vec<i64>,
    /// Empty where there is none.
    place: Vec<String>,
}

/// The rows: VMs in order, kinds by their bytes, classes by size.
pub(super) fn frame(report: &ObjectsReport) -> Result<DataFrame> {
    let mut columns = Columns::default();
    for vm in &report.vms {
        for kind in &vm.objects.kinds {
            for (place, classes) in by_place(vm, kind) {
                classes.iter().for_each(|class| columns.push(report, vm, kind, (&place, class)));
            }
        }
    }
    let Columns { trace, pid, vm, label, time_ns, kind, size_from, size_to, .. } = columns;
    let Columns { count, bytes, garbage_count, garbage_bytes, place, .. } = columns;
    Ok(polars::df!(
        "trace" => trace,
        "pid" => pid,
        "vm" => vm,
        "label" => label,
        "time_ns" => time_ns,
        "kind" => kind,
        "size_from" => size_from,
        "size_to" => size_to,
        "count" => count,
        "bytes" => bytes,
        "garbage_count" => garbage_count,
        "garbage_bytes" => garbage_bytes,
        "place" => place,
    )?)
}

/// The classes of a kind, taken apart by place where that is known.
fn by_place<'a>(vm: &'a VmObjects, kind: &'a Kind) -> Vec<(String, &'a Vec<Class>)> {
    let of_places = |made: fn(&Place) -> &Made| {
        let places = vm.objects.places.as_ref()?.iter();
        Some(places.map(|place| (place.name().unwrap_or_default(), &made(place).classes)).collect())
    };
    let places = match kind.kind {
        kind if kind == ObjectKind::Function.name() => of_places(|place| &place.functions),
        kind if kind == ObjectKind::Proto.name() => of_places(|place| &place.protos),
        _ => None,
    };
    places.unwrap_or_else(|| vec![(String::new(), &kind.classes)])
}

impl Columns {
    fn push(&mut self, report: &ObjectsReport, vm: &VmObjects, kind: &Kind, (place, class): (&str, &Class)) {
        self.trace.push(report.source.clone());
        self.pid.push(i64::from(vm.vm.pid));
        self.vm.push(i64::from(vm.number));
        self.label.push(vm.vm.label.clone());
        self.time_ns.push(integer(vm.time));
        self.kind.push(kind.kind);
        self.size_from.push(integer(class.size_from));
        self.size_to.push(integer(last_of(class.size_from)));
        self.count.push(integer(class.all.count));
        self.bytes.push(integer(class.all.bytes));
        self.garbage_count.push(integer(class.garbage.count));
        self.garbage_bytes.push(integer(class.garbage.bytes));
        self.place.push(place.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{objects::sample, rows};

    #[test]
    fn rows_sum_to_all() {
        let report = sample::report();
        let mut bytes = Vec::new();
        rows::csv(frame(&report).unwrap(), &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
        let sum = |column: usize| rows.iter().map(|row| row[column].parse::<u64>().unwrap()).sum::<u64>();
        let objects = &report.vms[0].objects;
        assert_eq!((sum(8), sum(9)), (objects.all.count, objects.all.bytes));
        assert_eq!((sum(10), sum(11)), (objects.garbage.count, objects.garbage.bytes));
    }
}
