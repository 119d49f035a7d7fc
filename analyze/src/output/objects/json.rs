//! The objects of heaps as JSON: one object, the verdict first.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;
use shared::Nanos;

use crate::metrics::objects::{Growth, Objects, ObjectsReport};
use crate::output::Output;
use crate::output::json::{self, Head, VmFacts};

/// What kind of objects fill the heaps. All amounts are bytes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Document<'a> {
    #[serde(flatten)]
    head: Head,
    /// Each VM asked for that has a census.
    vms: Vec<VmSection<'a>>,
    /// The numbers of those that have none.
    without_census: &'a [u32],
}

/// The objects of a VM.
#[derive(Debug, Serialize, JsonSchema)]
struct VmSection<'a> {
    /// The VM.
    vm: VmFacts,
    /// The time of the keyframe whose objects these are.
    time_ns: Nanos,
    /// Censuses of this VM in the trace.
    censuses: u64,
    #[serde(flatten)]
    objects: &'a Objects,
    /// What has changed since an earlier one; none if there is none.
    growth: Option<&'a Growth>,
}

/// Writes the document.
pub(super) fn write(report: &ObjectsReport, out: &mut dyn Write) -> io::Result<()> {
    let vms = report.vms.iter().map(|vm| VmSection {
        vm: VmFacts::of(vm.number, &vm.vm, &report.processes),
        time_ns: vm.time,
        censuses: vm.censuses,
        objects: &vm.objects,
        growth: vm.growth.as_ref(),
    });
    let document = Document { head: Head::of(report.origin()), vms: vms.collect(), without_census: &report.without };
    json::document(&document, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::objects::sample;
    use serde_json::Value;

    #[test]
    fn kinds_and_classes_sum_to_all() {
        let mut bytes = Vec::new();
        write(&sample::report(), &mut bytes).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["verdict"]["judgement"], "verified");
        let vm = &value["vms"][0];
        let kinds = vm["kinds"].as_array().unwrap();
        for (part, amount) in [("all", "count"), ("all", "bytes"), ("garbage", "bytes")] {
            let pointer = format!("/{part}/{amount}");
            let of = |value: &Value| value.pointer(&pointer).and_then(Value::as_u64).unwrap();
            assert_eq!(kinds.iter().map(of).sum::<u64>(), of(vm), "{pointer}");
            let classes = kinds.iter().flat_map(|kind| kind["classes"].as_array().unwrap());
            assert_eq!(classes.map(of).sum::<u64>(), of(vm), "{pointer} of classes");
        }
        assert!(vm["growth"]["kinds"].as_array().is_some_and(|kinds| !kinds.is_empty()));
    }
}
