//! What grows as JSON: one object, the verdict first.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use crate::metrics::growth::{Figures, GrowthReport};
use crate::output::Output;
use crate::output::json::{self, Head, MomentFacts, VmFacts};

/// Which size classes grow between two times, and which of them may leak. All sizes are in bytes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Document<'a> {
    #[serde(flatten)]
    head: Head,
    /// Each VM of which two heaps are known.
    vms: Vec<VmSection<'a>>,
}

/// A VM's heap at two times.
#[derive(Debug, Serialize, JsonSchema)]
struct VmSection<'a> {
    /// The VM.
    vm: VmFacts,
    /// The moment of the first heap.
    from: MomentFacts,
    /// The moment of the second one.
    to: MomentFacts,
    #[serde(flatten)]
    figures: &'a Figures,
}

/// Writes the document.
pub(super) fn write(report: &GrowthReport, out: &mut dyn Write) -> io::Result<()> {
    let vms = report.vms.iter().map(|vm| VmSection {
        vm: VmFacts::of(vm.number, &vm.vm, &report.processes),
        from: MomentFacts::of(&vm.from),
        to: MomentFacts::of(&vm.to),
        figures: &vm.figures,
    });
    json::document(&Document { head: Head::of(report.origin()), vms: vms.collect() }, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::growth::sample;
    use serde_json::Value;

    #[test]
    fn classes_sum_to_the_heap() {
        let mut bytes = Vec::new();
        write(&sample::report(), &mut bytes).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["verdict"]["judgement"], "verified");
        let vm = &value["vms"][0];
        let classes = vm["classes"].as_array().unwrap();
        for figure in ["net_bytes", "net_count"] {
            let sum: i64 = classes.iter().map(|class| class[figure].as_i64().unwrap()).sum();
            assert_eq!(vm["all"][figure].as_i64(), Some(sum), "{figure}");
        }
        assert_eq!(classes[0]["finding"], "suspect");
        assert!(classes[0]["trend"]["low"].as_f64() > Some(0.0) && vm["to"]["time_ns"].is_u64());
    }
}
