//! Many traces as rows. Amounts are `i64`; what is not known is empty.

use anyhow::Result;
use polars::prelude::{Column, DataFrame, IntoColumn, NamedFrom, Series};

use crate::metrics::batch::{BatchReport, HeapResult, ProcessResult, TraceResult, VmResult};
use crate::output::rows::integer;
use crate::output::words;

/// A row of the summary: a VM, a process without one, or a trace without a process.
#[derive(Clone, Copy)]
struct Row<'a> {
    trace: &'a TraceResult,
    process: Option<&'a ProcessResult>,
    vm: Option<&'a VmResult>,
}

impl<'a> Row<'a> {
    fn heap(&self) -> Option<&'a HeapResult> {
        self.vm.and_then(|vm| vm.heap.as_ref())
    }
}

/// The rows of the traces, in their order.
fn rows(report: &BatchReport) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for trace in &report.traces {
        if trace.processes.is_empty() {
            rows.push(Row { trace, process: None, vm: None });
        }
        for process in &trace.processes {
            let row = Row { trace, process: Some(process), vm: None };
            if process.vms.is_empty() {
                rows.push(row);
            }
            rows.extend(process.vms.iter().map(|vm| Row { vm: Some(vm), ..row }));
        }
    }
    rows
}

/// One row for each trace, process and VM.
pub fn summary(report: &BatchReport) -> Result<DataFrame> {
    let rows = rows(report);
    let text = |name: &str, of: fn(&Row<'_>) -> Option<String>| {
        Series::new(name.into(), rows.iter().map(of).collect::<Vec<Option<String>>>()).into_column()
    };
    let amount = |name: &str, of: fn(&Row<'_>) -> Option<u64>| {
        let values: Vec<Option<i64>> = rows.iter().map(|row| of(row).map(integer)).collect();
        Series::new(name.into(), values).into_column()
    };
    let signed = |name: &str, of: fn(&Row<'_>) -> Option<i64>| {
        Series::new(name.into(), rows.iter().map(of).collect::<Vec<Option<i64>>>()).into_column()
    };
    let columns: Vec<Column> = vec![
        text("trace", |row| Some(row.trace.trace.clone())),
        amount("files", |row| Some(row.trace.files)),
        amount("file_bytes", |row| Some(row.trace.bytes)),
        text("host", |row| Some(row.trace.host.clone())),
        amount("started_unix_ns", |row| Some(row.trace.started_unix_ns)),
        text("mode", |row| Some(row.trace.mode.clone())),
        amount("pid", |row| row.process.map(|process| u64::from(process.pid))),
        text("program", |row| row.process.map(|process| process.program.clone())),
        amount("parent", |row| row.process.map(|process| u64::from(process.parent))),
        amount("children", |row| row.process.map(|process| process.children)),
        amount("vm", |row| row.vm.map(|vm| u64::from(vm.vm))),
        text("label", |row| row.vm.map(|vm| vm.label.clone())),
        text("build", |row| row.vm.map(|vm| vm.build.clone())),
        text("judgement", |row| Some(words::judgement(row.trace.judgement).to_owned())),
        text("reason", |row| row.trace.reason.clone()),
        amount("trace_calls", |row| Some(row.trace.counts.trace_calls)),
        amount("calls_replayed", |row| Some(row.trace.counts.calls_replayed)),
        amount("calls_not_replayed", |row| Some(row.trace.counts.calls_not_replayed)),
        amount("calls_lost", |row| Some(row.trace.counts.calls_lost)),
        amount("contradictions", |row| Some(row.trace.counts.contradictions)),
        amount("gaps", |row| Some(row.trace.counts.gaps)),
        amount("keyframes", |row| Some(row.trace.counts.keyframes)),
        amount("keyframes_compared", |row| Some(row.trace.counts.keyframes_compared)),
        amount("keyframes_missed", |row| Some(row.trace.counts.keyframes_missed)),
        amount("chunks_compared", |row| Some(row.trace.counts.chunks_compared)),
        amount("chunks_differing", |row| Some(row.trace.counts.chunks_differing)),
        amount("direct_compared", |row| Some(row.trace.counts.direct_compared)),
        amount("direct_differing", |row| Some(row.trace.counts.direct_differing)),
        amount("damaged", |row| Some(row.trace.counts.damaged)),
        amount("duration_ns", |row| Some(row.trace.duration_ns)),
        amount("longest_pause_ns", |row| row.process.and_then(|process| process.longest_pause_ns)),
        amount("cost_ppm", |row| row.process.and_then(|process| process.cost_ppm)),
        amount("worst_minute_ppm", |row| row.process.and_then(|process| process.worst_minute_ppm)),
        amount("calls", |row| row.vm.map(|vm| vm.calls)),
        amount("time_ns", |row| row.heap().map(|heap| heap.time_ns)),
        text("at", |row| row.heap().map(|heap| heap.at.clone())),
        text("short_of", |row| row.heap().and_then(|heap| heap.short_of.clone())),
        amount("used_count", |row| row.heap().map(|heap| heap.used.count)),
        amount("used_bytes", |row| row.heap().map(|heap| heap.used.bytes)),
        amount("free_count", |row| row.heap().map(|heap| heap.free.count)),
        amount("free_bytes", |row| row.heap().map(|heap| heap.free.bytes)),
        amount("segments_count", |row| row.heap().map(|heap| heap.segments.count)),
        amount("segments_bytes", |row| row.heap().map(|heap| heap.segments.bytes)),
        amount("direct_count", |row| row.heap().map(|heap| heap.direct.count)),
        amount("direct_bytes", |row| row.heap().map(|heap| heap.direct.bytes)),
        amount("overhead_bytes", |row| row.heap().map(|heap| heap.overhead_bytes)),
        amount("gc_total", |row| row.heap().map(|heap| heap.gc_total)),
        amount("peak_bytes", |row| row.vm.and_then(|vm| vm.peak_bytes)),
        amount("peak_ns", |row| row.vm.and_then(|vm| vm.peak_ns)),
        signed("growth_bytes", |row| row.vm.and_then(|vm| vm.growth_bytes)),
        text("heap_unknown", |row| row.vm.and_then(|vm| vm.heap_unknown.clone())),
    ];
    Ok(DataFrame::new_infer_height(columns)?)
}

/// One row for each population and size class of all heaps together.
pub fn histograms(report: &BatchReport) -> Result<DataFrame> {
    let named = report.heaps.named();
    let buckets = || named.iter().flat_map(|(name, sizes)| sizes.buckets.iter().map(move |bucket| (*name, bucket)));
    let amount = |of: fn(u64, u64, u64) -> u64| -> Vec<i64> {
        buckets().map(|(_, (size, tally))| integer(of(*size, tally.count, tally.bytes))).collect()
    };
    Ok(polars::df!(
        "population" => buckets().map(|(name, _)| name).collect::<Vec<&str>>(),
        "size_from" => amount(|size, _, _| size),
        "size_to" => amount(|size, _, _| words::last_of(size)),
        "count" => amount(|_, count, _| count),
        "bytes" => amount(|_, _, bytes| bytes),
    )?)
}

/// One row for each VM and figure that differs from its peers, most first.
pub fn outliers(report: &BatchReport) -> Result<DataFrame> {
    let all = &report.outliers;
    Ok(polars::df!(
        "trace" => all.iter().map(|one| one.trace.as_str()).collect::<Vec<_>>(),
        "host" => all.iter().map(|one| one.host.as_str()).collect::<Vec<_>>(),
        "pid" => all.iter().map(|one| i64::from(one.pid)).collect::<Vec<_>>(),
        "program" => all.iter().map(|one| one.program.as_str()).collect::<Vec<_>>(),
        "vm" => all.iter().map(|one| i64::from(one.vm)).collect::<Vec<_>>(),
        "label" => all.iter().map(|one| one.label.as_str()).collect::<Vec<_>>(),
        "build" => all.iter().map(|one| one.build.as_str()).collect::<Vec<_>>(),
        "measure" => all.iter().map(|one| one.measure.name()).collect::<Vec<_>>(),
        "value" => all.iter().map(|one| one.value).collect::<Vec<_>>(),
        "median" => all.iter().map(|one| one.median).collect::<Vec<_>>(),
        "deviation" => all.iter().map(|one| one.deviation).collect::<Vec<_>>(),
        "peers" => all.iter().map(|one| integer(one.peers)).collect::<Vec<_>>(),
        "deviations" => all.iter().map(|one| one.deviations).collect::<Vec<_>>(),
    )?)
}

/// One row for each trace or directory that could not be read.
pub fn failed(report: &BatchReport) -> Result<DataFrame> {
    Ok(polars::df!(
        "path" => report.failed.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(),
        "reason" => report.failed.iter().map(|one| one.reason.as_str()).collect::<Vec<_>>(),
    )?)
}

/// One row for each file that was left out, because another one is the same.
pub fn duplicates(report: &BatchReport) -> Result<DataFrame> {
    Ok(polars::df!(
        "path" => report.duplicates.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(),
        "of" => report.duplicates.iter().map(|one| one.of.as_str()).collect::<Vec<_>>(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::batch::sample;

    fn csv(frame: DataFrame) -> Vec<Vec<String>> {
        let mut bytes = Vec::new();
        crate::output::rows::csv(frame, &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
    }

    #[test]
    fn every_trace_process_and_vm_has_its_row() {
        let mut report = sample::report();
        let rows = csv(summary(&report).unwrap());
        let vms: usize = report.traces.iter().flat_map(|trace| &trace.processes).map(|one| one.vms.len()).sum();
        assert_eq!(rows.len(), 1 + vms);
        assert!(rows.iter().all(|row| row.len() == rows[0].len()));
        let used = rows[0].iter().position(|name| name == "used_bytes").unwrap();
        let sum: u64 = rows[1..].iter().map(|row| row[used].parse::<u64>().unwrap()).sum();
        assert_eq!(sum, report.heaps.used.all.bytes);
        // Neither a process without a VM nor a trace without a process is left out.
        report.traces[0].processes[0].vms.clear();
        report.traces[1].processes.clear();
        assert_eq!(csv(summary(&report).unwrap()).len(), 1 + vms);
    }

    #[test]
    fn tables_without_rows_have_their_header() {
        let empty = BatchReport::default();
        for frame in [summary(&empty), histograms(&empty), outliers(&empty), failed(&empty), duplicates(&empty)] {
            assert_eq!(csv(frame.unwrap()).len(), 1);
        }
    }

    #[test]
    fn histograms_sum_to_the_heaps() {
        let report = sample::report();
        let rows = csv(histograms(&report).unwrap());
        let sum: u64 = rows.iter().filter(|row| row[0] == "used").map(|row| row[4].parse::<u64>().unwrap()).sum();
        assert_eq!(sum, report.heaps.used.all.bytes);
    }
}
