//! Rates as JSON: one object, the verdict first.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use crate::metrics::lifetimes::Lifetimes;
use crate::metrics::rates::Rates;
use crate::output::Output;
use crate::output::json::{self, Head};
use crate::report::{RatesReport, Section};

/// What programs ask of their allocators a second, and how long their blocks live.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Document<'a> {
    /// What every document begins with.
    #[serde(flatten)]
    head: Head,
    /// Processes of several VMs as a whole, and each VM.
    rates: Vec<SectionFacts<'a>>,
}

/// A process of several VMs as a whole, or a VM.
#[derive(Debug, Serialize, JsonSchema)]
struct SectionFacts<'a> {
    /// The process.
    pid: u32,
    /// Its program, if the trace tells.
    program: Option<&'a str>,
    /// The VM's number; null of a process as a whole.
    vm: Option<u32>,
    /// `http`, `stream`, or the program's name; null of a process as a whole.
    label: Option<&'a str>,
    /// What a hit costs; 0 if the trace does not say. Estimates rest on it.
    hit_ns: u64,
    /// The rates.
    #[serde(flatten)]
    rates: &'a Rates,
    /// How long blocks live.
    lifetimes: LifetimeFacts<'a>,
}

/// How long blocks live.
#[derive(Debug, Serialize, JsonSchema)]
struct LifetimeFacts<'a> {
    /// Of those whose birth was seen.
    #[serde(flatten)]
    lifetimes: &'a Lifetimes,
    /// Windows without a keyframe: no block's birth is known in them.
    windows_left_out: u64,
}

/// Writes the document.
pub(super) fn write(report: &RatesReport, out: &mut dyn Write) -> io::Result<()> {
    let document = Document {
        head: Head::of(report.origin()),
        rates: report.sections.iter().map(|section| facts(report, section)).collect(),
    };
    json::document(&document, out)
}

fn facts<'a>(report: &'a RatesReport, section: &'a Section) -> SectionFacts<'a> {
    let process = report.processes.iter().find(|process| process.pid == section.pid);
    SectionFacts {
        pid: section.pid,
        program: process.map(|process| process.program.as_str()),
        vm: section.vm.as_ref().map(|(number, _)| *number),
        label: section.vm.as_ref().map(|(_, vm)| vm.label.as_str()),
        hit_ns: section.hit_ns,
        rates: &section.rates,
        lifetimes: LifetimeFacts { lifetimes: &section.lifetimes, windows_left_out: section.windows_without_lifetimes },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::rates::sample;
    use serde_json::Value;

    #[test]
    fn figures_carry_their_intervals() {
        let mut bytes = Vec::new();
        write(&sample::report(true), &mut bytes).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["verdict"]["judgement"], "verified");
        let rates = &value["rates"][0];
        assert_eq!((&rates["basis"], &rates["vm"], &rates["pid"]), (&"estimate".into(), &1.into(), &4711.into()));
        let of = |key: &str| rates["allocated"][key].as_f64().unwrap();
        assert!(of("low") <= of("per_second") && of("per_second") <= of("high"));
        assert!(rates["lifetimes"]["died"][0]["of_blocks"]["share"].is_number());
    }
}
