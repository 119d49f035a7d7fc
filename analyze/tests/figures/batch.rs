//! Many traces at once: its tables and pictures are files.

use std::path::Path;

use serde_json::Value;

use crate::json::{all, bytes, share, sizes, thousands};
use crate::shown::{Said, Shown, said};
use crate::table::{Row, Table, row};
use crate::{json_of, printed, run, unsaid};

const TRACES: &str = "gc64.ljt nginx.ljt nogc64.ljt sampled.ljt snapshot.ljt threads.ljt";

const POPULATIONS: [&str; 4] = ["used", "free", "segments", "direct"];

/// What a row of the summary has of its trace, as JSON calls it too.
const OF_TRACE: [&str; 21] = [
    "trace",
    "files",
    "host",
    "started_unix_ns",
    "mode",
    "judgement",
    "reason",
    "trace_calls",
    "calls_replayed",
    "calls_not_replayed",
    "calls_lost",
    "contradictions",
    "gaps",
    "keyframes",
    "keyframes_compared",
    "keyframes_missed",
    "chunks_compared",
    "chunks_differing",
    "direct_compared",
    "direct_differing",
    "damaged",
];
const OF_PROCESS: [&str; 7] =
    ["pid", "program", "parent", "children", "longest_pause_ns", "cost_ppm", "worst_minute_ppm"];
const OF_VM: [&str; 8] = ["vm", "label", "build", "calls", "peak_bytes", "peak_ns", "growth_bytes", "heap_unknown"];
const OF_HEAP: [&str; 5] = ["time_ns", "at", "short_of", "overhead_bytes", "gc_total"];

fn summary(json: &Value) -> Vec<Row> {
    let mut rows = Vec::new();
    for trace in all(&json["traces"]) {
        for process in all(&trace["processes"]) {
            let nobody = [Value::Null];
            let vms = Some(all(&process["vms"])).filter(|vms| !vms.is_empty()).unwrap_or(&nobody);
            for vm in vms {
                let heap = &vm["heap"];
                let mut row = row!({"file_bytes": trace["bytes"], "duration_ns": trace["duration_ns"]});
                let mut take = |from: &Value, names: &[&str]| {
                    row.extend(names.iter().map(|name| ((*name).to_owned(), from[*name].clone())));
                };
                take(trace, &OF_TRACE);
                take(process, &OF_PROCESS);
                take(vm, &OF_VM);
                take(heap, &OF_HEAP);
                for population in POPULATIONS {
                    for figure in ["count", "bytes"] {
                        row.insert(format!("{population}_{figure}"), heap[population][figure].clone());
                    }
                }
                rows.push(row);
            }
        }
    }
    rows
}

fn histograms(json: &Value) -> Vec<Row> {
    let row = |name: &str, bucket: &Value| {
        let mut row = bucket.as_object().expect("a bucket").clone();
        row.insert("population".to_owned(), name.into());
        row
    };
    POPULATIONS
        .into_iter()
        .flat_map(|name| all(&json["populations"][name]["buckets"]).iter().map(move |bucket| row(name, bucket)))
        .collect()
}

fn text(json: &Value) -> Vec<Said> {
    let totals = &json["totals"];
    let counts = ["hosts", "processes", "vms", "calls_replayed", "calls"].map(|key| thousands(&totals[key]));
    let mut told = vec![said("", [thousands(&totals["files"]), bytes(&totals["bytes"])].into_iter().chain(counts))];
    for name in POPULATIONS {
        let population = &json["populations"][name];
        let (count, sum) = (&population["count"], &population["bytes"]);
        told.push(said(name, [thousands(count), thousands(sum), bytes(sum)]));
    }
    told.push(said("gc.total", [thousands(&json["gc_total"]), bytes(&json["gc_total"])]));
    let used = &json["populations"]["used"];
    told.extend(all(&used["buckets"]).iter().map(|bucket| {
        let part = share(&bucket["bytes"], &used["bytes"]);
        said(&sizes(&bucket["size_from"]), [thousands(&bucket["count"]), bytes(&bucket["bytes"]), part])
    }));
    told
}

fn table(out: &Path, name: &str) -> Table {
    Table::of_csv(&std::fs::read_to_string(out.join(name)).expect("a table"))
}

#[test]
fn tables_texts_and_pictures_of_a_batch_have_the_figures_of_its_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let line = format!("batch {TRACES} --pictures -o {}", out.display());
    let json = json_of(&line);
    assert_eq!(unsaid(&Shown::of(&printed(&line, "text")), &text(&json)), None);
    table(&out, "summary.csv").assert_is(&summary(&json));
    table(&out, "histograms.csv").assert_is(&histograms(&json));
    for name in ["summary", "histograms"] {
        let parquet = Table::of_parquet(&out.join(format!("{name}.parquet")));
        table(&out, &format!("{name}.csv")).assert_equals(&parquet);
    }
    let list = |name: &str| all(&json[name]).iter().map(|one| one.as_object().expect("an object").clone());
    for name in ["outliers", "failed", "duplicates"] {
        table(&out, &format!("{name}.csv")).assert_is(&list(name).collect::<Vec<Row>>());
    }
    let pictures = std::fs::read_dir(out.join("pictures")).expect("pictures");
    let pictures: Vec<String> = pictures
        .map(|picture| std::fs::read_to_string(picture.expect("a picture").path()).expect("a picture"))
        .collect();
    for trace in TRACES.split(' ') {
        assert!(pictures.contains(&printed(&format!("stats {trace}"), "svg")), "{trace} has no picture of its stats");
    }
    assert_eq!(pictures.len(), TRACES.split(' ').count());
}

#[test]
fn rows_of_a_batch_are_the_heaps_of_its_traces() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = format!("batch {TRACES} -o {}", folder.path().join("out").display());
    run(line.split(' '));
    let rows = table(&folder.path().join("out"), "summary.csv").rows;
    for trace in TRACES.split(' ') {
        let heaps = json_of(&format!("stats {trace}"));
        let heaps = heaps.as_array().cloned().unwrap_or_else(|| vec![heaps]);
        for heap in heaps.iter().map(|heap| &heap["ljscope"]) {
            let vm = heap["vm"]["number"].to_string();
            let row = rows.iter().find(|row| row["trace"] == trace && row["vm"] == vm).expect("a row");
            for population in POPULATIONS {
                for figure in ["count", "bytes"] {
                    let figures = (&row[&format!("{population}_{figure}")], &heap["populations"][population][figure]);
                    assert_eq!(*figures.0, figures.1.to_string(), "{trace}, VM {vm}: {population}_{figure}");
                }
            }
            assert_eq!(row["gc_total"], heap["gc_total"].to_string(), "{trace}, VM {vm}");
            assert_eq!(row["time_ns"], heap["moment"]["time_ns"].to_string(), "{trace}, VM {vm}");
        }
    }
}
