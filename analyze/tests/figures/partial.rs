//! Rows that add up, in each of their formats, and the page of a fleet that is drawn from them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::json::{bytes, thousands};
use crate::shown::{between, plain};
use crate::table::{Row, Table};
use crate::{parquet, printed, run, traces};

const TRACES: &str = "gc64.ljt nginx.ljt nogc64.ljt objects.ljt sampled.ljt snapshot.ljt threads.ljt";

/// The rows of a command line.
fn jsonl(line: &str) -> Vec<Row> {
    printed(line, "jsonl")
        .lines()
        .map(|line| match serde_json::from_str(line).expect("JSON") {
            Value::Object(row) => row,
            other => panic!("{other} is no row"),
        })
        .collect()
}

/// What a metric's rows come to, by what a column says.
fn sums(rows: &[Row], metric: &str, column: &str) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for row in rows.iter().filter(|row| row["metric"] == metric) {
        let of = row[column].as_str().map_or_else(|| row[column].to_string(), str::to_owned);
        *sums.entry(of).or_default() += row["value"].as_i64().expect("a value");
    }
    sums
}

#[test]
fn rows_are_the_same_in_each_format() {
    let line = format!("partial {TRACES} --service shop");
    let csv = Table::of_csv(&printed(&line, "csv"));
    csv.assert_is(&jsonl(&line));
    csv.assert_equals(&parquet(&line));
}

#[test]
fn lifetimes_rates_growth_and_memory_are_those_of_their_commands() {
    for trace in ["nginx.ljt", "sampled.ljt", "threads.ljt"] {
        let rows = jsonl(&format!("partial {trace}"));
        let csv = |command: &str| Table::of_csv(&printed(&format!("{command} {trace}"), "csv")).rows;
        let number = |row: &BTreeMap<String, String>, column: &str| row[column].parse::<i64>().unwrap_or_default();

        for quantity in ["born", "alive", "older_died"] {
            for figure in ["count", "bytes"] {
                let mut expected: BTreeMap<String, i64> = BTreeMap::new();
                for row in csv("lifetimes").iter().filter(|row| row["quantity"] == quantity) {
                    if !row["size_from"].is_empty() && number(row, figure) != 0 {
                        *expected.entry(row["size_from"].clone()).or_default() += number(row, figure);
                    }
                }
                assert_eq!(sums(&rows, &format!("{quantity}_{figure}"), "bucket"), expected, "{trace} {quantity}");
            }
        }
        let died = |row: &&BTreeMap<String, String>| row["quantity"] == "died" && row["size_from"].is_empty();
        let expected: i64 = csv("lifetimes").iter().filter(died).map(|row| number(row, "count")).sum();
        assert_eq!(sums(&rows, "died_count", "metric").values().sum::<i64>(), expected, "{trace}");

        let mut expected: BTreeMap<String, i64> = BTreeMap::new();
        for row in csv("growth") {
            if number(&row, "net_bytes") != 0 {
                *expected.entry(format!("{}", number(&row, "size_from"))).or_default() += number(&row, "net_bytes");
            }
        }
        assert_eq!(sums(&rows, "net_bytes", "bucket"), expected, "{trace}");

        let of_vms = |row: &&BTreeMap<String, String>| !row["vm"].is_empty();
        let observed = |quantity: &str| -> i64 {
            let ours = csv("rates");
            let ours =
                ours.iter().filter(of_vms).filter(|row| row["quantity"] == quantity && row["size_from"].is_empty());
            ours.map(|row| number(row, "observed")).sum()
        };
        for (metric, quantity) in [("asked_bytes", "allocated"), ("freed_bytes", "freed"), ("frees", "free")] {
            let sum: i64 = sums(&rows, metric, "bucket").values().sum();
            assert_eq!(sum, observed(quantity), "{trace} {metric}");
        }
    }
    let rows = jsonl("partial snapshot.ljt");
    let looks = Table::of_csv(&printed("breakdown snapshot.ljt", "csv")).rows;
    for (metric, column) in [("resident_bytes", "resident"), ("pss_bytes", "pss"), ("mapped_bytes", "mapped")] {
        let mut expected: BTreeMap<String, i64> = BTreeMap::new();
        for look in &looks {
            *expected.entry(look["kind"].clone()).or_default() += look[column].parse::<i64>().expect("bytes");
        }
        expected.retain(|_, sum| *sum != 0);
        assert_eq!(sums(&rows, metric, "name"), expected, "{metric}");
    }
}

/// The cells of the table in a section: what they sort by, or else say.
fn cells(html: &str, section: &str) -> Vec<BTreeMap<String, String>> {
    let section = between(html, &format!("<section id=\"{section}\">"), "</section>").expect("the section");
    let Some(head) = between(section, "<thead>", "</thead>") else { return Vec::new() };
    let columns: Vec<&str> =
        head.split("class=\"sort\">").skip(1).map(|rest| between(rest, "", "<").unwrap()).collect();
    let body = between(section, "<tbody>", "</tbody>").expect("a body");
    let cell = |cell: &str| {
        let raw = between(cell, "data-v=\"", "\"").map(str::to_owned);
        raw.unwrap_or_else(|| plain(between(cell, ">", "</td>").expect("a cell")))
    };
    let row =
        |row: &str| columns.iter().map(|name| (*name).to_owned()).zip(row.split("<td ").skip(1).map(cell)).collect();
    body.split("<tr>").skip(1).map(row).collect()
}

/// Writes the rows of a trace into a data set, under its service and build.
fn put(folder: &Path, trace: &str, [service, build, node]: [&str; 3]) {
    let folder = folder.join(format!("service={service}"));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join(format!("{build}-{node}-{}.parquet", trace.replace(['/', '.'], "-")));
    let words = ["partial", trace, "--service", service, "--build", build, "--node", node, "--format", "parquet", "-o"];
    run(words.iter().map(std::ffi::OsStr::new).chain([file.as_os_str()]));
}

#[test]
fn the_page_of_a_fleet_has_the_figures_of_its_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let set = folder.path().join("set");
    for trace in TRACES.split(' ') {
        put(&set, trace, ["shop", "r1", "web-1"]);
    }
    let bad = folder.path().join("<bad>.ljt");
    std::fs::write(&bad, "This is no trace, but a text.").expect("room");
    put(&set, bad.to_str().expect("text"), ["shop", "r1", "web-2"]);
    // A later build whose heaps are larger; peers enough of both, by their labels.
    for node in ["a", "b", "c", "d"] {
        put(&set, "nogc64.ljt", ["api", "old", node]);
        put(&set, "objects.ljt", ["api", "new", node]);
    }
    let mut rows = Vec::new();
    rows.extend(jsonl(&format!("partial {TRACES}")));
    for _ in 0..4 {
        rows.extend(jsonl("partial nogc64.ljt objects.ljt"));
    }
    let sum = |metric: &str| Value::from(sums(&rows, metric, "metric").values().sum::<i64>());

    let page = folder.path().join("fleet.html");
    let output = run(["report", "--from-partials", set.to_str().expect("text"), "-o", page.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(2), "a trace has failed");
    let html = std::fs::read_to_string(&page).expect("the page");
    assert!(!html.contains("http://") || html.matches("http://").count() == html.matches("http://www.w3.org/").count());
    let verdict = plain(between(&html, "<div class=\"verdict ", "</div>").expect("a verdict"));
    assert!(
        verdict.contains("16 traces: 14 verified, 1 consistent, 0 incomplete, 0 contradicted, 1 failed"),
        "{verdict}"
    );
    let replayed = format!("{} of {} calls", thousands(&sum("calls_replayed")), thousands(&sum("trace_calls")));
    assert!(verdict.contains(&replayed), "{verdict}");
    // The same traces on several nodes: copies, and it is told.
    assert!(verdict.contains("the rows of 2 traces are there more than once"), "{verdict}");
    for metric in ["used", "free", "segments", "direct"] {
        let all = sum(&format!("{metric}_bytes"));
        let card = format!("<dd data-v=\"{all}\">{}<small>{} bytes", bytes(&all), thousands(&all));
        assert!(html.contains(&card), "{metric}: {card}");
    }

    let services = cells(&html, "services");
    let of = |column: &str| -> i64 { services.iter().map(|row| row[column].parse::<i64>().unwrap_or_default()).sum() };
    assert_eq!((of("traces"), of("not_whole"), of("used_bytes")), (16, 1, sum("used_bytes").as_i64().unwrap()));
    assert_eq!(Value::from(of("growth_bytes")), sum("growth_bytes"));
    let failed = cells(&html, "failed");
    let [failed] = &failed[..] else { panic!("{failed:?}") };
    assert!(failed["trace"].ends_with("<bad>.ljt") && !failed["reason"].is_empty(), "{failed:?}");
    assert_eq!((failed["outcome"].as_str(), failed["node"].as_str()), ("failed", "web-2"));

    // Four workers of each build, alike: nobody differs, and the later build takes more.
    let used = |trace: &str| {
        let rows = jsonl(&format!("partial {trace}"));
        sums(&rows, "used_bytes", "metric").values().sum::<i64>().to_string()
    };
    let steps = cells(&html, "builds");
    let step = steps.iter().find(|step| step["measure"] == "used_bytes").expect("a step");
    assert_eq!((&step["median_before"], &step["median"]), (&used("nogc64.ljt"), &used("objects.ljt")));
    assert_eq!(step["regresses"], "yes");
    assert_eq!(html.matches("None stands out.").count(), 2, "neither a worker nor a node");
    let owners: i64 = cells(&html, "memory").iter().map(|row| row["pss"].parse::<i64>().unwrap_or_default()).sum();
    assert_eq!(Value::from(owners), sum("pss_bytes"));
}

#[test]
fn a_fleet_that_is_whole_is_verified_and_one_of_nothing_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    put(folder.path(), "gc64.ljt", ["shop", "r1", "web-1"]);
    let set = folder.path().to_str().expect("text");
    let output = run(["report", "--from-partials", set]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).expect("text").contains("<strong>verified</strong>: 1 trace: 1 verified"));
    let empty = folder.path().join("_empty");
    std::fs::create_dir(&empty).expect("room");
    for (words, why) in [
        (vec!["report", "--from-partials", empty.to_str().expect("text")], "has no Parquet file in it"),
        (vec!["report", "--from-partials", "gc64.ljt"], "is no table of `analyze partial`"),
        (vec!["report", "--from-partials", set, "gc64.ljt"], "cannot be used with"),
    ] {
        let command =
            std::process::Command::new(env!("CARGO_BIN_EXE_analyze")).args(&words).current_dir(traces()).output();
        let output = command.expect("analyze runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(why), "{words:?}: {said}");
    }
}
