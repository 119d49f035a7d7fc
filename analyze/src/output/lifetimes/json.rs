//! The lives of blocks as JSON: one object, the verdict first.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;
use shared::Nanos;

use crate::metrics::lives::{Figures, LifetimesReport};
use crate::output::Output;
use crate::output::json::{self, Head, VmFacts};

/// How long blocks live, how often the heap is turned over, how blocks grow.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Document<'a> {
    #[serde(flatten)]
    head: Head,
    /// Each VM of which a heap is known.
    vms: Vec<VmSection<'a>>,
}

/// The blocks of a VM.
#[derive(Debug, Serialize, JsonSchema)]
struct VmSection<'a> {
    /// The VM.
    vm: VmFacts,
    /// The start of the period asked for.
    from_ns: Nanos,
    /// Its end.
    to_ns: Nanos,
    #[serde(flatten)]
    figures: &'a Figures,
}

/// Writes the document.
pub(super) fn write(report: &LifetimesReport, out: &mut dyn Write) -> io::Result<()> {
    let vms = report.vms.iter().map(|vm| VmSection {
        vm: VmFacts::of(vm.number, &vm.vm, &report.processes),
        from_ns: vm.period.from,
        to_ns: vm.period.to,
        figures: &vm.figures,
    });
    json::document(&Document { head: Head::of(report.origin()), vms: vms.collect() }, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::lifetimes::sample;
    use serde_json::Value;

    #[test]
    fn nobody_is_counted_twice() {
        let mut bytes = Vec::new();
        write(&sample::report(), &mut bytes).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["verdict"]["judgement"], "verified");
        let vm = &value["vms"][0];
        let counts = |of: &Value| -> u64 {
            let died = of["died"].as_array().unwrap().iter().map(|died| died["count"].as_u64().unwrap());
            died.sum::<u64>() + of["alive"]["count"].as_u64().unwrap()
        };
        assert_eq!(vm["all"]["born"]["count"], counts(&vm["all"]));
        let classes = vm["classes"].as_array().unwrap();
        assert_eq!(classes.iter().map(counts).sum::<u64>(), counts(&vm["all"]));
        assert!(vm["turnover"]["per_second"].as_f64() > Some(0.0) && vm["chains"][0]["blocks"].is_number());
    }
}
