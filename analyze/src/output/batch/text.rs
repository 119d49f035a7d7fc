//! Many traces as text, in 80 columns: first how far they can be trusted, then what they come to, then who stands out.

use std::io::{self, Write};

use crate::metrics::batch::outliers::{Measure, Outlier};
use crate::metrics::batch::{BatchReport, Judgements, Totals, TraceResult};
use crate::output::text::{facts, histogram, judged, paragraph, plain_table, right_but_first};
use crate::output::{Options, words};
use crate::replay::verdict::Judgement;

/// How many traces of a kind are named.
const NAMED: usize = 10;
/// How many outliers are named.
const OUTLIERS: usize = 10;
/// The longest that a path is shown.
const PATH: usize = 120;

/// Writes the verdict over all traces and what speaks against it, the sums, and the outliers.
pub fn write(report: &BatchReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    judged(report.judgement(), &counts(report), options, out)?;
    facts(&findings(report), options, out)?;
    writeln!(out)?;
    totals(report, options, out)?;
    outliers(report, options, out)?;
    writeln!(out)?;
    let folder = words::name(&report.folder, PATH);
    paragraph(
        out,
        options,
        &format!(
            "{folder}: one row for each trace, process and VM in summary.csv and .parquet; all sizes in histograms.csv and .parquet; also outliers.csv, failed.csv and duplicates.csv"
        ),
    )
}

/// `of 12 traces 10 verified, 1 incomplete, 1 failed`
fn counts(report: &BatchReport) -> String {
    let Judgements { verified, consistent, incomplete, contradicted, failed, left } = report.judgements();
    let all = verified + consistent + incomplete + contradicted + failed + left;
    let kinds = [
        (verified, "verified"),
        (consistent, "consistent"),
        (incomplete, "incomplete"),
        (contradicted, "contradicted"),
        (failed, "failed"),
        (left, "not looked at"),
    ];
    let there = kinds.into_iter().filter(|(number, _)| *number > 0);
    let kinds: Vec<String> = there.map(|(number, kind)| format!("{} {kind}", words::thousands(number))).collect();
    format!("of {} {}", words::count(all, "trace"), kinds.join(", "))
}

/// Which traces are not good, and why; what was left out.
fn findings(report: &BatchReport) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    let bad = |judgement: Judgement| report.traces.iter().filter(move |trace| trace.judgement == judgement);
    let why = |trace: &TraceResult| {
        format!("{}: {}", words::name(&trace.trace, PATH), words::name(trace.reason.as_deref().unwrap_or("?"), 300))
    };
    list(&mut rows, "contradicted", bad(Judgement::Contradicted).map(why), "summary.csv");
    list(&mut rows, "incomplete", bad(Judgement::Incomplete).map(why), "summary.csv");
    let failed = report.failed.iter().map(|one| (words::name(&one.path, PATH), words::name(&one.reason, 300)));
    list(&mut rows, "failed", failed.map(|(path, reason)| format!("{path}: {reason}")), "failed.csv");
    let copies = report.duplicates.iter().map(|one| {
        format!("{} is {} again, and counts once", words::name(&one.path, PATH), words::name(&one.of, PATH))
    });
    list(&mut rows, "duplicate", copies, "duplicates.csv");
    if report.kept > 0 {
        let traces = words::count(report.kept, "trace");
        rows.push(("kept", format!("{traces} had not changed since an earlier batch: --again replays all")));
    }
    if report.left > 0 {
        let traces = words::count(report.left, "trace");
        rows.push(("stopped", format!("{traces} not looked at: run it again to go on")));
    }
    rows
}

fn list(rows: &mut Vec<(&'static str, String)>, name: &'static str, items: impl Iterator<Item = String>, file: &str) {
    let mut items = items.peekable();
    rows.extend(items.by_ref().take(NAMED).map(|item| (name, item)));
    if items.peek().is_some() {
        let more = items.count() as u64;
        rows.push((name, format!("and {} more: {file} has all", words::thousands(more))));
    }
}

/// What all traces come to.
fn totals(report: &BatchReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let Totals { files, bytes, hosts, processes, vms, heaps, calls, calls_replayed, .. } = report.totals();
    let unknown = match vms - heaps {
        0 => String::new(),
        some => format!(" ({} of unknown heap)", words::thousands(some)),
    };
    let text = format!(
        "{} of {} on {}: {}, {}{unknown}; {} of {} replayed",
        words::count(files, "file"),
        words::bytes(bytes),
        words::count(hosts, "host"),
        words::count(processes, "process").replace("processs", "processes"),
        words::count(vms, "VM"),
        words::thousands(calls_replayed),
        words::count(calls, "call"),
    );
    paragraph(out, options, &text)?;
    if heaps == 0 {
        return Ok(());
    }
    paragraph(out, options, "all heaps, each at the end of its trace (at its peak, where the program had ended):")?;
    let mut table = plain_table();
    table.set_header(["", "count", "bytes", ""]);
    for (name, population) in report.heaps.named() {
        let all = population.all;
        table.add_row([
            name.to_owned(),
            words::thousands(all.count),
            words::thousands(all.bytes),
            words::bytes(all.bytes),
        ]);
    }
    let gc_total = report.heaps.gc_total;
    table.add_row(["gc.total".to_owned(), String::new(), words::thousands(gc_total), words::bytes(gc_total)]);
    right_but_first(&mut table);
    writeln!(out, "\n{}", table.trim_fmt())?;
    histogram("used", &report.heaps.used, options, out)
}

/// Which VMs differ from their peers.
fn outliers(report: &BatchReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    if report.outliers.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let text = format!(
        "{} of VMs that differ from their peers, those of the same program, label and build:",
        words::count(report.outliers.len() as u64, "figure")
    );
    paragraph(out, options, &text)?;
    let shown = report.outliers.iter().take(OUTLIERS);
    let mut rows: Vec<(&str, String)> = shown.map(|one| (short(one.measure), outlier(one))).collect();
    if report.outliers.len() > OUTLIERS {
        let more = words::thousands((report.outliers.len() - OUTLIERS) as u64);
        rows.push(("", format!("and {more} more: outliers.csv has all")));
    }
    facts(&rows, options, out)
}

fn short(measure: Measure) -> &'static str {
    match measure {
        Measure::UsedBytes => "used",
        Measure::FreePpm => "free",
        Measure::SegmentsBytes => "segments",
        Measure::DirectBytes => "direct",
        Measure::GcTotal => "gc.total",
    }
}

/// `412.3 MiB, the median of 8 is 98.2 MiB; 12.3 deviations: nginx (pid 12), VM 2, on web-3, in node3.ljt`
fn outlier(one: &Outlier) -> String {
    let amount = |value: i64| match one.measure {
        Measure::FreePpm => format!("{:.1} % of segments", value as f64 / 1e4),
        _ => words::bytes(value.unsigned_abs()),
    };
    format!(
        "{}, the median of {} is {}; {:.1} deviations: {} (pid {}), VM {}, on {}, in {}",
        amount(one.value),
        words::thousands(one.peers),
        amount(one.median),
        one.deviations.abs(),
        words::name(&one.program, 40),
        one.pid,
        one.vm,
        words::name(&one.host, 40),
        words::name(&one.trace, PATH),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::batch::sample;

    fn text(report: &BatchReport) -> String {
        let mut bytes = Vec::new();
        write(report, &Options::default(), &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn starts_with_the_verdict_names_what_is_bad_and_fits_80_columns() {
        let text = text(&sample::report());
        assert!(text.starts_with("incomplete: of 7 traces 5 verified, 1 incomplete, 1 failed\n"), "{text}");
        for part in ["bad.ljt: not a trace", "cut.ljt: truncated: ", "copy.ljt is 0.ljt again", "3 traces had not"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("deviations: nginx (pid 4711), VM 1"), "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line:?}");
        }
    }

    #[test]
    fn many_bad_ones_are_counted_and_some_named() {
        let mut report = sample::report();
        report.failed = vec![report.failed[0].clone(); 25];
        let text = text(&report);
        assert_eq!(text.matches("not a trace").count(), NAMED);
        assert!(text.contains("and 15 more: failed.csv has all"), "{text}");
    }
}
