//! Who allocates as JSON: one object, the verdict first.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;
use shared::Nanos;

use crate::metrics::sites::{Basis, By, Caller, Named, Row, SitesReport, Stack};
use crate::output::Output;
use crate::output::json::{self, Head, VmFacts};
use crate::symbols::ModuleFacts;

/// Who allocates. Shares among sampled calls, times the sum over all recorded calls, which is exact, are estimates; their
/// 95 % confidence intervals come from how far groups of consecutive samples differ, and are never narrower than so few
/// samples allow: below some ten they say little.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Document<'a> {
    #[serde(flatten)]
    head: Head,
    /// What a call weighs.
    by: By,
    /// Each VM asked for that has stacks.
    vms: Vec<VmSection<'a>>,
    /// The numbers of those that have none.
    without_stacks: &'a [u32],
    /// The files that stacks lead through, and where their functions' names come from.
    modules: &'a [ModuleFacts],
}

/// Who allocates in a VM.
#[derive(Debug, Serialize, JsonSchema)]
struct VmSection<'a> {
    /// The VM.
    vm: VmFacts,
    /// Calls from this time on count.
    from_ns: Nanos,
    /// Calls until this time.
    to_ns: Nanos,
    #[serde(flatten)]
    basis: &'a Basis,
    /// What LuaJIT was doing, the largest share first.
    operations: &'a [Row],
    /// For whom: the first frame of a stack that is not LuaJIT's own, the largest share first.
    sites: &'a [Row],
    /// Both, the largest share first.
    callers: &'a [Caller],
    /// Different frames of the stacks.
    frames: &'a [Named],
    /// The stacks, the largest share first.
    stacks: &'a [Stack],
}

/// Writes the document.
pub(super) fn write(report: &SitesReport, out: &mut dyn Write) -> io::Result<()> {
    let vms = report.vms.iter().map(|vm| VmSection {
        vm: VmFacts::of(vm.number, &vm.vm, &report.processes),
        from_ns: vm.period.from,
        to_ns: vm.period.to,
        basis: &vm.basis,
        operations: &vm.operations,
        sites: &vm.sites,
        callers: &vm.callers,
        frames: &vm.frames,
        stacks: &vm.stacks,
    });
    let document = Document {
        head: Head::of(report.origin()),
        by: report.by,
        vms: vms.collect(),
        without_stacks: &report.without,
        modules: &report.modules,
    };
    json::document(&document, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sites::sample;
    use serde_json::Value;

    #[test]
    fn shares_sum_to_one_and_stacks_name_frames_that_are_there() {
        let mut bytes = Vec::new();
        write(&sample::report(), &mut bytes).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["verdict"]["judgement"], "verified");
        let vm = &value["vms"][0];
        for table in ["operations", "sites", "callers", "stacks"] {
            let sum =
                |key: &str| vm[table].as_array().unwrap().iter().map(|row| row[key].as_f64().unwrap()).sum::<f64>();
            assert!((sum("share") - 1.0).abs() < 1e-9, "{table}");
            assert!((sum("amount") - vm["total"].as_f64().unwrap()).abs() < 1.0, "{table}");
        }
        let frames = vm["frames"].as_array().unwrap().len() as u64;
        let stacks = vm["stacks"].as_array().unwrap();
        assert!(
            stacks.iter().flat_map(|stack| stack["frames"].as_array().unwrap()).all(|at| at.as_u64() < Some(frames))
        );
    }
}
