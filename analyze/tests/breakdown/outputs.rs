//! Text, JSON, CSV and pictures of one report have the same figures. `BLESS=1 cargo test --release -p analyze --test
//! breakdown` writes the golden files anew.

use std::collections::BTreeMap;
use std::path::Path;

use analyze::output::{self, Format, Options};
use analyze::report::{Asked, BreakdownReport};
use serde_json::Value;

use crate::made::{END, FIRST, made, report};

fn write(report: &BreakdownReport, format: Format) -> String {
    let mut bytes = Vec::new();
    output::write(report, format, &Options::default(), &mut bytes).expect("it is written");
    String::from_utf8(bytes).expect("text")
}

fn end() -> BreakdownReport {
    report(&made().bytes(END), None, None).expect("a report")
}

#[test]
fn outputs_are_as_they_were() {
    let whole = end();
    let one = report(&made().bytes(END), None, Some(FIRST)).expect("a report");
    let outputs = [
        ("instance.txt", write(&whole, Format::Text)),
        ("worker.json", write(&one, Format::Json)),
        ("instance.csv", write(&whole, Format::Csv)),
        ("instance.svg", write(&whole, Format::Svg)),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/breakdown/golden");
    for (name, output) in outputs {
        let path = folder.join(name);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &output).expect("a golden file");
        }
        let golden = std::fs::read_to_string(&path).expect("a golden file");
        assert!(golden == output, "{name} differs: look at it, then BLESS=1 writes it anew");
    }
}

#[test]
fn text_begins_with_the_verdict_and_fits_80_columns() {
    let text = write(&end(), Format::Text);
    assert!(text.starts_with("consistent: "), "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line:?}");
    }
    let parts = [
        "the slices sum to VmSize",
        "/usr/lib/locale/locale-archive",
        "thread 1",
        "keyframe at 1.000 s: used 41,944,152 + free",
        "* VM 3: at 1.000 s gc.total was",
    ];
    assert!(!text.contains("at the keyframe at"), "the free pages are of the keyframe that is shown");
    // Small ones keep their names in the table.
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn colours_change_nothing_but_colours() {
    let report = end();
    let mut bytes = Vec::new();
    output::write(&report, Format::Text, &Options { color: true, ..Options::default() }, &mut bytes).expect("text");
    let mut text = String::from_utf8(bytes).expect("text");
    for code in ["\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[0m"] {
        assert!(text.contains(code));
        text = text.replace(code, "");
    }
    assert_eq!(text, write(&report, Format::Text));
}

#[test]
fn json_and_csv_have_the_same_figures() {
    let report = end();
    let json: Value = serde_json::from_str(&write(&report, Format::Json)).expect("JSON");
    assert_eq!(json["verdict"]["judgement"], "consistent");
    let number = |value: &Value| value.as_u64().expect("a whole number");
    // By process, time and owner.
    let mut ours: BTreeMap<(u64, u64, String), [u64; 4]> = BTreeMap::new();
    for process in json["processes"].as_array().expect("processes") {
        let over_time = &process["over_time"];
        let owners = over_time["owners"].as_array().expect("owners");
        for look in over_time["looks"].as_array().expect("looks") {
            for (owner, memory) in owners.iter().zip(look["memory"].as_array().expect("memory")) {
                let key = (number(&process["pid"]), number(&look["time_ns"]), owner["label"].to_string());
                let amounts = ["mapped", "resident", "swapped", "pss"].map(|field| number(&memory[field]));
                assert_eq!(ours.insert(key, amounts), None);
            }
        }
        // The look that is shown is one of them, and its slices sum to it.
        for share in process["application"].as_array().expect("owners") {
            let key = (number(&process["pid"]), number(&process["time_ns"]), share["label"].to_string());
            assert_eq!(ours[&key][1], number(&share["resident"]));
            let slices = process["slices"].as_array().expect("slices").iter();
            let slices = slices.filter(|slice| slice["owner"] == share["label"]);
            assert_eq!(slices.map(|slice| number(&slice["mapped"])).sum::<u64>(), number(&share["mapped"]));
        }
    }
    let csv = write(&report, Format::Csv);
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("trace,pid,time_ns,kind,owner,name,vm,mapped,resident,swapped,pss"));
    let mut theirs: BTreeMap<(u64, u64, String), [u64; 4]> = BTreeMap::new();
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |at: usize| cells[at].parse::<u64>().expect("a number");
        let sums = theirs.entry((number(1), number(2), format!("\"{}\"", cells[4]))).or_default();
        for (sum, at) in sums.iter_mut().zip(7..) {
            *sum += number(at);
        }
    }
    assert_eq!(ours, theirs);
    let text = write(&report, Format::Text);
    for process in json["processes"].as_array().expect("processes") {
        for check in process["checks"].as_array().expect("checks") {
            let kernel = number(&check["kernel"]);
            assert_eq!((kernel, &check["off"]), (number(&check["slices"]), &Value::from(0)));
            let shown = format!("{} {}", check["name"].as_str().expect("a name"), thousands(kernel));
            let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(joined.contains(&shown), "{shown}");
        }
    }
}

fn thousands(number: u64) -> String {
    analyze::output::words::thousands(number)
}

#[test]
fn with_a_moment_csv_has_its_looks_only() {
    let bytes = made().bytes(END);
    let lines = |at| write(&report(&bytes, at, Some(FIRST)).expect("a report"), Format::Csv).lines().count();
    assert_eq!((lines(None) - 1, lines(Some(Asked::End)) - 1), (3 * 17, 17));
}

#[test]
fn pictures_keep_their_colours_and_small_slices_their_names() {
    let svg = write(&end(), Format::Svg);
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    assert_eq!(svg, write(&end(), Format::Svg), "the same bytes each time");
    // LuaJIT's HTTP VM, its darker stream VM, glibc, zones.
    for colour in ["#0072B2", "#004B75", "#E69F00", "#009E73"] {
        assert!(svg.contains(&format!("fill=\"{colour}\"")), "{colour}");
    }
    assert!(
        svg.contains(" small ones")
            && svg.contains("small: LuaJIT JIT code")
            && svg.contains("Nginx Shm Loaded")
            && svg.contains("generation 2, started")
    );
    let one = report(&made().bytes(END), None, Some(FIRST)).expect("a report");
    let alone = write(&one, Format::Svg);
    assert!(alone.contains("fill=\"#0072B2\"") && !alone.contains("generation"));
    assert!(alone.matches("<polygon").count() > 10 && alone.contains("resident over time, 3 looks"));
}
