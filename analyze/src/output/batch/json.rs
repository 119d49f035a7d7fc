//! Many traces as JSON: one object, the verdict over all of them first.

use std::collections::BTreeMap;
use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use crate::metrics::batch::outliers::Outlier;
use crate::metrics::batch::{BatchReport, Duplicate, Failed, Judgements, Totals, TraceResult};
use crate::output::json::{PopulationFacts, document};
use crate::replay::verdict::Judgement;

/// Many traces at once. All amounts are bytes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Document<'a> {
    /// How far the rest can be trusted.
    verdict: VerdictOfAll,
    /// The directory with the tables.
    folder: &'a str,
    /// Sums over all traces.
    totals: Totals,
    /// All heaps as if they were one, by population: `used`, `free`, `segments`, `direct`.
    populations: BTreeMap<&'static str, PopulationFacts>,
    /// What lies in segments outside of chunks, in all heaps.
    overhead_bytes: u64,
    /// What the collectors count, in all heaps.
    gc_total: u64,
    /// VMs that differ from their peers, most first.
    outliers: &'a [Outlier],
    /// What could not be read.
    failed: &'a [Failed],
    /// Files left out, because another one is the same recording.
    duplicates: &'a [Duplicate],
    /// The traces.
    traces: &'a [TraceResult],
}

/// The verdict over all traces.
#[derive(Debug, Serialize, JsonSchema)]
struct VerdictOfAll {
    /// The worst of all; what failed or was left makes the whole incomplete.
    judgement: Judgement,
    #[serde(flatten)]
    judgements: Judgements,
    /// Files left out, because another one is the same recording.
    duplicates: u64,
    /// Traces that had not changed since an earlier batch and were not replayed again.
    kept: u64,
}

/// Writes the document.
pub fn write(report: &BatchReport, out: &mut dyn Write) -> io::Result<()> {
    let verdict = VerdictOfAll {
        judgement: report.judgement(),
        judgements: report.judgements(),
        duplicates: report.duplicates.len() as u64,
        kept: report.kept,
    };
    let populations = report.heaps.named().map(|(name, population)| (name, PopulationFacts::of(population)));
    let facts = Document {
        verdict,
        folder: &report.folder,
        totals: report.totals(),
        populations: populations.into(),
        overhead_bytes: report.heaps.overhead,
        gc_total: report.heaps.gc_total,
        outliers: &report.outliers,
        failed: &report.failed,
        duplicates: &report.duplicates,
        traces: &report.traces,
    };
    document(&facts, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::batch::sample;
    use serde_json::Value;

    #[test]
    fn has_the_figures_of_the_rows() {
        let report = sample::report();
        let mut bytes = Vec::new();
        write(&report, &mut bytes).unwrap();
        assert!(bytes.starts_with(b"{\n  \"verdict\": {"));
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["verdict"]["judgement"], "incomplete");
        assert_eq!(value["verdict"]["failed"], 1);
        let used = |vm: &Value| vm["heap"]["used"]["bytes"].as_u64().unwrap();
        let traces = value["traces"].as_array().unwrap();
        let sum: u64 = traces.iter().map(|trace| used(&trace["processes"][0]["vms"][0])).sum();
        assert_eq!(value["populations"]["used"]["bytes"], sum);
        assert_eq!(value["outliers"].as_array().unwrap().len(), report.outliers.len());
    }
}
