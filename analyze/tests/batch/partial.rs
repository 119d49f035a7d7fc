//! Rows that add up: merged, those of a directory's traces are its batch, figure by figure.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use analyze::metrics::partial::classes::class;
use serde_json::Value;
use shared::trace::meta::{Cost, Header, Process, Trailer};
use shared::trace::writer::Writer;

use crate::called::{batch, fixture, folders, make, trace};

/// What a figure is of: the trace, the process, the VM, the metric, what of it, and the class.
type Of = (String, u64, u64, String, String, i64);

/// Rows as they are read.
type Figures = BTreeMap<Of, i64>;

/// Runs `analyze partial`, and gives what it ends with and its rows.
fn partial(words: &[&str], input: Option<&[u8]>) -> (Option<i32>, Vec<Value>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_analyze"));
    command.arg("partial").args(words).args(["--format", "jsonl"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Closed in any case, so that the program sees its end.
    child.stdin.take().unwrap().write_all(input.unwrap_or_default()).unwrap();
    let output = child.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let rows = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code(), rows, String::from_utf8(output.stderr).unwrap())
}

/// Groups and sums, as an engine would.
fn merged<'a>(rows: impl IntoIterator<Item = &'a Value>) -> Figures {
    let mut figures = Figures::new();
    for row in rows {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let (pid, vm) = (row["pid"].as_u64().unwrap(), row["vm"].as_u64().unwrap());
        let of = (text("trace"), pid, vm, text("metric"), text("name"), row["bucket"].as_i64().unwrap());
        *figures.entry(of).or_default() += row["value"].as_i64().unwrap();
    }
    figures
}

/// All figures of a batch's JSON that partials have too, as rows.
fn of_batch(batch: &Value) -> Figures {
    let mut figures = Figures::new();
    let mut put = |of: (&str, u64, u64), metric: &str, name: &str, bucket: i64, value: i64| {
        if value != 0 {
            let of = (of.0.to_owned(), of.1, of.2, metric.to_owned(), name.to_owned(), bucket);
            assert_eq!(figures.insert(of.clone(), value), None, "{of:?}");
        }
    };
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    for trace in batch["traces"].as_array().unwrap() {
        let of = (trace["trace"].as_str().unwrap(), 0, 0);
        let outcome = format!("traces_{}", trace["judgement"].as_str().unwrap());
        put(of, &outcome, trace["reason"].as_str().unwrap_or_default(), -1, 1);
        put(of, "file_bytes", "", -1, number(&trace["bytes"]));
        put(of, "duration_us", "", -1, number(&trace["duration_ns"]) / 1000);
        for metric in OF_TRACE {
            put(of, metric, "", -1, number(&trace[metric]));
        }
        for process in trace["processes"].as_array().unwrap() {
            let of = (of.0, process["pid"].as_u64().unwrap(), 0);
            put(of, "processes", "", -1, 1);
            let mut by = |metric: &str, value: &Value, by: u64| {
                if let Some(value) = value.as_u64() {
                    put(of, metric, "", class(value / by) as i64, 1);
                }
            };
            by("processes_by_longest_pause_us", &process["longest_pause_ns"], 1000);
            by("processes_by_worst_minute_ppm", &process["worst_minute_ppm"], 1);
            for vm in process["vms"].as_array().unwrap() {
                let of = (of.0, of.1, vm["vm"].as_u64().unwrap());
                put(of, "vms", "", -1, 1);
                put(of, "calls", "", -1, number(&vm["calls"]));
                if let Some(why) = vm["heap_unknown"].as_str() {
                    put(of, "heaps_unknown", why, -1, 1);
                }
                let heap = &vm["heap"];
                if heap.is_null() {
                    continue;
                }
                put(of, "heaps", "", -1, 1);
                for metric in ["peak_bytes", "growth_bytes"] {
                    put(of, metric, "", -1, number(&vm[metric]));
                }
                for metric in ["overhead_bytes", "gc_total"] {
                    put(of, metric, "", -1, number(&heap[metric]));
                }
                let mut by = |metric: &str, value: &Value| {
                    put(of, &format!("vms_by_{metric}"), "", class(value.as_u64().unwrap()) as i64, 1);
                };
                for population in POPULATIONS {
                    by(&format!("{population}_bytes"), &heap[population]["bytes"]);
                }
                by("gc_total", &heap["gc_total"]);
                by("peak_bytes", &vm["peak_bytes"]);
            }
        }
    }
    for failed in batch["failed"].as_array().unwrap() {
        let text = |name: &str| failed[name].as_str().unwrap();
        put((text("path"), 0, 0), "traces_failed", text("reason"), -1, 1);
    }
    figures
}

const POPULATIONS: [&str; 4] = ["used", "free", "segments", "direct"];

const RECORDED: [&str; 7] = ["gc64", "nogc64", "nginx", "sampled", "snapshot", "threads", "objects"];

const OF_TRACE: [&str; 15] = [
    "files",
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

/// A folder of good traces of all kinds, with some that are cut, damaged, or none at all.
fn mixed(traces: &Path) -> Vec<PathBuf> {
    for seed in 0..6 {
        make(&trace(seed), &traces.join(format!("{seed}.ljt")));
    }
    for name in RECORDED {
        fs::copy(fixture(name), traces.join(format!("{name}.ljt"))).unwrap();
    }
    make(&trace(20), &traces.join("cut.ljt"));
    let whole = fs::read(traces.join("cut.ljt")).unwrap();
    fs::write(traces.join("cut.ljt"), &whole[..whole.len() / 2]).unwrap();
    make(&trace(21), &traces.join("flipped.ljt"));
    let mut bytes = fs::read(traces.join("flipped.ljt")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(traces.join("flipped.ljt"), bytes).unwrap();
    fs::write(traces.join("empty.ljt"), "").unwrap();
    fs::write(traces.join("text.ljt"), "this is no trace at all, but long enough to be one").unwrap();
    let mut paths: Vec<PathBuf> = fs::read_dir(traces).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn is_whole(path: &Path) -> bool {
    !["cut.ljt", "flipped.ljt", "empty.ljt", "text.ljt"].iter().any(|name| path.ends_with(name))
}

#[test]
fn merged_partials_of_a_directory_are_its_batch() {
    let (_guard, traces, out) = folders();
    let paths = mixed(&traces);
    let batch = batch(&[&traces], &out, &[]);
    assert_eq!((batch.code, batch.judgements("failed")), (Some(2), 2), "{}", batch.said);

    let mut rows = Vec::new();
    for path in &paths {
        let (code, some, said) = partial(&[path.to_str().unwrap()], None);
        assert_eq!(code, Some(if is_whole(path) { 0 } else { 2 }), "{}: {said}", path.display());
        rows.extend(some);
    }
    let all = merged(&rows);
    let expected = of_batch(&batch.value);
    let wrong: Vec<_> = expected.iter().filter(|(of, value)| all.get(*of) != Some(*value)).collect();
    assert!(wrong.is_empty(), "not the batch's: {wrong:?}");
    // And no others of those metrics.
    let metrics: Vec<&str> = expected.keys().map(|of| of.3.as_str()).collect();
    let more: Vec<_> =
        all.keys().filter(|of| metrics.contains(&of.3.as_str()) && !expected.contains_key(*of)).collect();
    assert!(more.is_empty(), "not in the batch: {more:?}");

    // All heaps as if they were one, by size class.
    let sum = |metric: &str, bucket: Option<i64>| -> i64 {
        let ours = all.iter().filter(|(of, _)| of.3 == metric && bucket.is_none_or(|bucket| of.5 == bucket));
        ours.map(|(_, value)| *value).sum()
    };
    for population in POPULATIONS {
        let facts = &batch.value["populations"][population];
        for figure in ["count", "bytes"] {
            let metric = format!("{population}_{figure}");
            assert_eq!(sum(&metric, None), facts[figure].as_i64().unwrap(), "{metric}");
            for bucket in facts["buckets"].as_array().unwrap() {
                let lower = bucket["size_from"].as_i64().unwrap();
                assert_eq!(sum(&metric, Some(lower)), bucket[figure].as_i64().unwrap(), "{metric} from {lower}");
            }
        }
    }
    let totals = &batch.value["totals"];
    let names =
        [("files", "files"), ("vms", "vms"), ("heaps", "heaps"), ("calls", "trace_calls"), ("bytes", "file_bytes")];
    for (name, metric) in names {
        assert_eq!(sum(metric, None), totals[name].as_i64().unwrap(), "{name}");
    }
    // What grew, class by class, is what the heaps grew by, in recorded traces: those that are made have calls in the very
    // tick of their first keyframe, which `growth` takes for the heap at that time.
    for path in RECORDED.map(|name| traces.join(format!("{name}.ljt"))) {
        let sum = |metric: &str| -> i64 {
            let ours = all.iter().filter(|(of, _)| of.3 == metric && Path::new(&of.0) == path);
            ours.map(|(_, value)| *value).sum()
        };
        assert_eq!(sum("net_bytes"), sum("growth_bytes"), "{}", path.display());
    }

    // However they are put together: all at once, and the other way round.
    let (code, together, _) = partial(&[traces.to_str().unwrap()], None);
    assert_eq!((code, &merged(&together)), (Some(2), &all));
    assert_eq!(merged(rows.iter().rev()), all);
}

#[test]
fn costs_are_those_of_the_batch() {
    let (_guard, _, out) = folders();
    let batch = batch(&[&fixture("sampled")], &out, &[]);
    let (_, rows, _) = partial(&[fixture("sampled").to_str().unwrap()], None);
    let figures = merged(&rows);
    for process in batch.traces()[0]["processes"].as_array().unwrap() {
        let sum = |metric: &str| -> i64 {
            let ours = figures.iter().filter(|(of, _)| of.1 == process["pid"] && of.3 == metric);
            ours.map(|(_, value)| *value).sum()
        };
        // In whole microseconds.
        let share = sum("cost_us") * 1_000_000 / sum("elapsed_us");
        assert!((share - process["cost_ppm"].as_i64().unwrap()).abs() <= 1, "{share} {process}");
    }
}

#[test]
fn a_trace_from_standard_input_has_the_rows_of_its_file() {
    let path = fixture("sampled");
    let (_, expected, _) = partial(&[path.to_str().unwrap()], None);
    let bytes = fs::read(&path).unwrap();
    let words = ["-", "--input-name", path.to_str().unwrap()];
    let (code, rows, said) = partial(&words, Some(&bytes));
    assert_eq!((code, rows == expected), (Some(0), true), "{said}");
    let labels = ["--service", "shop", "--node", "web-1", "--build", "r7"];
    let (_, rows, _) = partial(&[&words[..], &labels].concat(), Some(&bytes));
    let labelled = |row: &Value| row["service"] == "shop" && row["node"] == "web-1" && row["build"] == "r7";
    assert!(rows.len() == expected.len() && rows.iter().all(labelled));
    // What is none has a row that says so, under its name.
    let (code, rows, _) = partial(&["-", "--input-name", "s3://bucket/a.ljt", "--node", "web-1"], Some(b"nothing"));
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((code, &row["trace"], &row["metric"]), (Some(2), &"s3://bucket/a.ljt".into(), &"traces_failed".into()));
    assert_eq!((&row["value"], &row["node"], &row["service"]), (&1.into(), &"web-1".into(), &"unknown".into()));
    assert!(row["name"].as_str().is_some_and(|reason| !reason.is_empty()));
}

#[test]
fn a_trace_that_claims_the_impossible_fails_alone() {
    let (_guard, traces, _) = folders();
    make(&trace(1), &traces.join("good.ljt"));
    let header = Header { mode: "full".to_owned(), ..Header::default() };
    let mut writer = Writer::new(File::create(traces.join("liar.ljt")).unwrap(), &header).unwrap();
    writer.process(0, &Process { pid: 7, program: "p".to_owned(), ..Process::default() }).unwrap();
    let cost = Cost { elapsed_ns: 1, hits: u64::MAX, ..Cost::default() };
    writer.finish(0, Trailer { cost, ..Trailer::default() }).unwrap();
    let (code, rows, _) = partial(&[traces.to_str().unwrap()], None);
    let figures = merged(&rows);
    let outcomes: Vec<_> = figures.keys().filter(|of| of.3.starts_with("traces_")).collect();
    let [good, liar] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!((code, good.3.as_str(), liar.3.as_str()), (Some(2), "traces_verified", "traces_failed"));
    assert!(liar.4.contains("it claims hits of 18446744073709551615, which no machine has"), "{}", liar.4);
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let (_guard, traces, _) = folders();
    let path = fixture("gc64");
    let path = path.to_str().unwrap();
    for (words, why) in [
        (&["-", path][..], "name it alone"),
        (&[path, "--input-name", "x"], "--input-name is for a trace from standard input"),
        (&[traces.to_str().unwrap()], "there is no .ljt file"),
    ] {
        let (code, rows, said) = partial(words, None);
        assert!((code, rows.len()) == (Some(1), 0) && said.contains(why), "{words:?}: {said}");
    }
}

#[test]
fn a_copy_is_left_out_and_has_the_key_of_the_first() {
    let (_guard, traces, _) = folders();
    make(&trace(1), &traces.join("one.ljt"));
    fs::copy(traces.join("one.ljt"), traces.join("other.ljt")).unwrap();
    let rows = |name: &str| partial(&[traces.join(name).to_str().unwrap()], None).1;
    let (code, together, said) = partial(&[traces.to_str().unwrap()], None);
    assert!(code == Some(0) && said.contains("other.ljt is left out"), "{said}");
    assert_eq!(together, rows("one.ljt"));
    assert_eq!(rows("one.ljt")[0]["recording"], rows("other.ljt")[0]["recording"]);
}
