//! Good traces: the tables are those of `stats`, of any number of threads, and whoever differs is found.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use polars::prelude::{ChunkAgg, DataFrame};
use polars_io::SerReader;
use polars_io::parquet::read::ParquetReader;
use serde_json::Value;

use crate::called::{batch, cell, command, fixture, folders, make, trace};
use crate::write::Shape;

fn stats(path: &Path) -> Vec<Value> {
    let words = ["stats", "--format", "json"];
    let output = Command::new(env!("CARGO_BIN_EXE_analyze")).args(words).arg(path).output().unwrap();
    match serde_json::from_slice(&output.stdout).unwrap() {
        Value::Array(all) => all,
        one => vec![one],
    }
}

#[test]
fn one_trace_has_the_figures_of_stats() {
    for name in ["gc64", "nogc64", "nginx", "threads"] {
        let (_guard, _, out) = folders();
        let batch = batch(&[&fixture(name)], &out, &["--pictures"]);
        assert_eq!(batch.code, Some(0), "{}", batch.said);
        let stats = stats(&fixture(name));
        let rows = batch.rows("summary");
        assert_eq!(rows.len(), stats.len());
        let mut sums: BTreeMap<(String, u64), (u64, u64)> = BTreeMap::new();
        for (row, stats) in rows.iter().zip(&stats) {
            let ours = &stats["ljscope"];
            let same =
                |column: &str, value: &Value| assert_eq!(cell(row, column), value.to_string(), "{name} {column}");
            for population in ["used", "free", "segments", "direct"] {
                let facts = &ours["populations"][population];
                same(&format!("{population}_count"), &facts["count"]);
                same(&format!("{population}_bytes"), &facts["bytes"]);
                for bucket in facts["buckets"].as_array().unwrap() {
                    let key = (population.to_owned(), bucket["size_from"].as_u64().unwrap());
                    let sum = sums.entry(key).or_default();
                    sum.0 += bucket["count"].as_u64().unwrap();
                    sum.1 += bucket["bytes"].as_u64().unwrap();
                }
            }
            same("vm", &ours["vm"]["number"]);
            same("pid", &ours["vm"]["pid"]);
            same("gc_total", &ours["gc_total"]);
            same("overhead_bytes", &ours["overhead_bytes"]);
            same("time_ns", &ours["moment"]["time_ns"]);
            same("calls_replayed", &ours["verdict"]["calls_replayed"]);
            same("chunks_compared", &ours["verdict"]["chunks_compared"]);
            same("longest_pause_ns", &ours["verdict"]["cost"]["longest_pause_ns"]);
            assert_eq!(cell(row, "judgement"), ours["verdict"]["judgement"]);
            let number = |column: &str| cell(row, column).parse::<i64>().unwrap();
            // The peak counts blocks alone, a heap the allocator's own as well.
            assert!(
                number("peak_bytes") > 0
                    && number("growth_bytes").abs() <= number("segments_bytes") + number("direct_bytes")
            );
        }
        let histograms = batch.rows("histograms").into_iter().map(|row| {
            let number = |column: &str| cell(&row, column).parse::<u64>().unwrap();
            ((cell(&row, "population").to_owned(), number("size_from")), (number("count"), number("bytes")))
        });
        assert_eq!(histograms.collect::<BTreeMap<_, _>>(), sums);
        let calls: u64 = rows.iter().map(|row| cell(row, "calls").parse::<u64>().unwrap()).sum();
        assert_eq!(calls.to_string(), cell(&rows[0], "trace_calls"));
        let pictures = fs::read_dir(out.join("pictures")).unwrap().map(|entry| entry.unwrap().path());
        let [picture] = &*pictures.collect::<Vec<_>>() else { panic!("one picture") };
        let drawn = ["stats", "--format", "svg"];
        let output = Command::new(env!("CARGO_BIN_EXE_analyze")).args(drawn).arg(fixture(name)).output().unwrap();
        assert_eq!(fs::read(picture).unwrap(), output.stdout);
    }
}

fn parquet(path: &Path) -> DataFrame {
    ParquetReader::new(File::open(path).unwrap()).finish().unwrap()
}

#[test]
fn any_number_of_threads_writes_the_same_and_who_differs_is_found() {
    let (guard, traces, out) = folders();
    for seed in 0..12 {
        let live = if seed == 7 { 3_000 } else { 300 };
        make(&Shape { live, ..trace(seed) }, &traces.join(format!("{seed:02}.ljt")));
    }
    let one = batch(&[&traces], &out, &["-j", "1"]);
    assert_eq!((one.code, one.judgements("verified"), one.rows("summary").len()), (Some(0), 12, 12), "{}", one.said);
    let other = batch(&[&traces], &guard.path().join("other"), &["-j", "3"]);
    for table in ["summary", "histograms", "outliers"] {
        assert_eq!(one.rows(table), other.rows(table));
    }
    let outliers = one.rows("outliers");
    let of = |measure: &str| -> Vec<&str> {
        let rows = outliers.iter().filter(|row| cell(row, "measure") == measure && cell(row, "peers") == "12");
        rows.map(|row| cell(row, "trace").rsplit('/').next().unwrap()).collect()
    };
    assert_eq!((of("used_bytes"), of("segments_bytes")), (vec!["07.ljt"], vec!["07.ljt"]), "{outliers:?}");
    assert_eq!(one.value["outliers"].as_array().unwrap().len(), outliers.len());
    let text = command(&[&traces], &out, &[]).output().unwrap().stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("verified: of 12 traces 12 verified\n") && text.contains("07.ljt"), "{text}");

    let frame = parquet(&out.join("summary.parquet"));
    let sum = |column: &str| frame.column(column).unwrap().i64().unwrap().sum().unwrap();
    let rows = one.rows("summary");
    for column in ["used_bytes", "free_count", "calls", "started_unix_ns", "growth_bytes"] {
        let ours: i64 = rows.iter().map(|row| cell(row, column).parse::<i64>().unwrap()).sum();
        assert_eq!(sum(column), ours, "{column}");
    }
    assert_eq!(parquet(&out.join("histograms.parquet")).height(), one.rows("histograms").len());
}

#[test]
fn what_has_not_changed_is_not_replayed_again() {
    let (_guard, traces, out) = folders();
    for seed in 0..4 {
        make(&trace(seed), &traces.join(format!("{seed}.ljt")));
    }
    let first = batch(&[&traces], &out, &[]);
    assert_eq!((first.code, first.judgements("kept")), (Some(0), 0), "{}", first.said);
    let second = batch(&[&traces], &out, &[]);
    assert_eq!((second.code, second.judgements("kept")), (Some(0), 4));
    assert_eq!((second.traces(), second.rows("summary")), (first.traces(), first.rows("summary")));
    // Another size, and one more.
    make(&Shape { calls: 2_000, ..trace(1) }, &traces.join("1.ljt"));
    make(&trace(9), &traces.join("9.ljt"));
    let third = batch(&[&traces], &out, &[]);
    assert_eq!((third.judgements("kept"), third.rows("summary").len()), (3, 5));
    assert_eq!(cell(&third.rows("summary")[1], "calls"), "2000");
    // Pictures were not drawn yet; then they are.
    assert_eq!(batch(&[&traces], &out, &["--pictures"]).judgements("kept"), 0);
    assert_eq!(batch(&[&traces], &out, &["--pictures"]).judgements("kept"), 5);
    assert_eq!(batch(&[&traces], &out, &["--again"]).judgements("kept"), 0);
    // What was kept and cannot be read is no harm.
    for entry in fs::read_dir(out.join("parts")).unwrap() {
        fs::write(entry.unwrap().path(), "{").unwrap();
    }
    let last = batch(&[&traces], &out, &[]);
    assert_eq!((last.code, last.judgements("kept"), last.rows("summary")), (Some(0), 0, third.rows("summary")));
}
