//! Heaps over time.

use analyze::output::words;
use serde_json::Value;

use crate::json::{all, bytes, percent, real, short_bytes, thousands, whole};
use crate::picture::{Curve, short_count};
use crate::shown::{Said, said};
use crate::table::{Row, Table, row};
use crate::{Drawn, Subject};

pub(crate) const SUBJECT: Subject = Subject {
    command: "timeline",
    lines: &[
        "gc64.ljt",
        "nginx.ljt",
        "nginx.ljt --from 100ms --to 400ms --points 30",
        "nogc64.ljt",
        "sampled.ljt",
        "snapshot.ljt",
        "threads.ljt --points 50",
    ],
    rows,
    text,
    drawn,
};

/// Levels in their order: in rows and pictures, and in JSON.
const LEVELS: [(&str, &str); 5] = [
    ("used", "used_bytes"),
    ("free", "free_bytes"),
    ("segments", "segment_bytes"),
    ("direct", "direct_bytes"),
    ("gc_total", "gc_total"),
];

/// What calls do: in rows, and in JSON.
const FLOWS: [(&str, &str); 7] = [
    ("alloc_calls", "alloc"),
    ("resize_calls", "resize"),
    ("free_calls", "free"),
    ("allocated_bytes", "allocated_bytes"),
    ("grown_bytes", "grown_bytes"),
    ("shrunk_bytes", "shrunk_bytes"),
    ("freed_bytes", "freed_bytes"),
];

fn rows(found: &Table, json: &Value) {
    let mut rows: Vec<Row> = Vec::new();
    for lane in all(&json["timelines"]) {
        for point in all(&lane["points"]) {
            let mut row = row!({
                "trace": json["source"], "pid": lane["pid"], "vm": lane["vm"], "label": lane["label"],
                "from_ns": point["from_ns"], "to_ns": point["to_ns"], "recorded_ns": point["recorded_ns"],
                "fragmentation": point["heap"]["fragmentation"], "gc_cycles": point["gc_cycles"],
                "gaps": point["gaps"], "windows": point["windows"],
            });
            for seen in ["first", "min", "max", "last"] {
                for (name, key) in LEVELS {
                    row.insert(format!("{name}_{seen}"), point["heap"][key][seen].clone());
                }
                row.insert(format!("resident_{seen}"), point["resident_bytes"][seen].clone());
            }
            for (name, key) in FLOWS {
                row.insert(name.to_owned(), point["calls"][key].clone());
                row.insert(format!("{name}_per_second"), point["per_second"][key].clone());
            }
            rows.push(row);
        }
    }
    found.assert_is(&rows);
}

/// The points at which a heap is known.
fn known(lane: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    all(&lane["points"]).iter().map(|point| &point["heap"]).filter(|heap| !heap.is_null())
}

/// A level at first, at last, the least and the most.
fn over_all(lane: &Value, key: &str) -> Option<[u64; 4]> {
    let seen = |heap: &Value, seen: &str| whole(&heap[key][seen]);
    let least = known(lane).map(|heap| seen(heap, "min")).min()?;
    let most = known(lane).map(|heap| seen(heap, "max")).max()?;
    Some([seen(known(lane).next()?, "first"), seen(known(lane).next_back()?, "last"), least, most])
}

/// The collector's cycles.
fn cycles(lane: &Value) -> Option<Said> {
    let cycles = &lane["gc_cycles"];
    let live = Some(&cycles["live_bytes"]).filter(|live| !live.is_null())?;
    let span = |value: &Value| words::duration(whole(value));
    let periods = &cycles["periods"];
    let mut figures = vec![thousands(&cycles["count"])];
    if whole(&periods["count"]) > 0 {
        figures.push(span(&cycles["mean_period_ns"]));
    }
    if whole(&periods["count"]) > 1 {
        figures.extend([span(&periods["min_ns"]), span(&periods["max_ns"])]);
    }
    figures.push(bytes(&live["min"]));
    if live["min"] != live["max"] {
        figures.push(bytes(&live["max"]));
    }
    Some(said("", figures))
}

/// From when to when, in how many points, and how much of it was recorded.
fn basis(json: &Value, lane: &Value) -> Said {
    let points = all(&lane["points"]);
    let [from, to] = ["from_ns", "to_ns"].map(|end| whole(&json[end]));
    let each = points.first().map_or(0, |point| whole(&point["to_ns"]) - whole(&point["from_ns"]));
    let recorded: u64 = points.iter().map(|point| whole(&point["recorded_ns"])).sum();
    let share = recorded as f64 * 100.0 / (to - from).max(1) as f64;
    let share = if share < 1.0 { format!("{share:.2} %") } else { format!("{:.1} %", share.min(100.0)) };
    let count = words::thousands(points.len() as u64);
    let [each, recorded] = [each, recorded].map(words::duration);
    let windows: u64 = points.iter().map(|point| whole(&point["windows"])).sum();
    let windows = (windows > 0).then(|| words::thousands(windows));
    said("", [words::time(from), words::time(to), count, each, recorded, share].into_iter().chain(windows))
}

/// So many points have a row of the text together, to make at most twenty.
fn rows_of_text(lane: &Value) -> Vec<Said> {
    let points = all(&lane["points"]);
    let has_looks = points.iter().any(|point| !point["resident_bytes"].is_null());
    let row = |some: &[Value]| {
        // Of a heap only known before, nothing is said.
        let heap = some.iter().rev().map(|point| &point["heap"]).find(|heap| !heap.is_null())?;
        let last = |key: &str| short_bytes(&heap[key]["last"]);
        let mut figures = vec![last("used_bytes"), last("free_bytes")];
        figures.extend(Some(&heap["fragmentation"]).filter(|share| !share.is_null()).map(percent));
        figures.extend([last("direct_bytes"), last("gc_total")]);
        if has_looks {
            let resident = some.iter().rev().map(|point| &point["resident_bytes"]).find(|seen| !seen.is_null());
            figures.extend(resident.map(|seen| short_bytes(&seen["last"])));
        }
        let sum = |of: &dyn Fn(&Value) -> u64| some.iter().map(of).sum::<u64>() as f64;
        let recorded = sum(&|point| whole(&point["recorded_ns"]));
        if recorded > 0.0 {
            let calls = sum(&|point| ["alloc", "resize", "free"].iter().map(|key| whole(&point["calls"][key])).sum());
            let allocated = sum(&|point| whole(&point["calls"]["allocated_bytes"]));
            let rate = |amount: f64| (amount * 1e9 / recorded).round() as u64;
            figures.extend([short_count(rate(calls)), words::short_bytes(rate(allocated))]);
        }
        let end = words::time(whole(&some.last()?["to_ns"]));
        Some(said("", [end].into_iter().chain(figures)))
    };
    points.chunks(points.len().div_ceil(20).max(1)).filter_map(row).collect()
}

fn text(json: &Value) -> Vec<Said> {
    let mut told = Vec::new();
    for lane in all(&json["timelines"]) {
        told.push(basis(json, lane));
        told.extend(cycles(lane));
        for (name, key) in [("used", "used_bytes"), ("free", "free_bytes"), ("gc.total", "gc_total")] {
            told.extend(over_all(lane, key).map(|[.., most]| said(name, [words::bytes(most)])));
        }
        told.extend(rows_of_text(lane));
    }
    told
}

/// Used memory and what the collector counts, then calls and bytes a second.
fn curves(lane: &Value) -> Vec<Curve> {
    let level = |key: &str| known(lane).map(|heap| whole(&heap[key]["last"])).collect();
    let rates = || all(&lane["points"]).iter().map(|point| &point["per_second"]).filter(|rates| !rates.is_null());
    let rate = |keys: &[&str]| {
        rates().map(|rates| keys.iter().map(|key| real(&rates[*key])).sum::<f64>().round() as u64).collect()
    };
    let curve = |axis, colour, values| Curve { axis, colour, is_area: false, values };
    vec![
        Curve { is_area: true, ..curve("bytes", "#0072B2", level("used_bytes")) },
        curve("bytes", "#1A1A1A", level("gc_total")),
        curve("calls/s", "#0072B2", rate(&["alloc"])),
        curve("calls/s", "#E69F00", rate(&["free"])),
        curve("calls/s", "#009E73", rate(&["resize"])),
        curve("bytes/s", "#0072B2", rate(&["allocated_bytes"])),
        curve("bytes/s", "#E69F00", rate(&["freed_bytes"])),
        curve("bytes/s", "#009E73", rate(&["grown_bytes", "shrunk_bytes"])),
    ]
}

fn drawn(json: &Value) -> Drawn {
    let mut drawn = Drawn::default();
    for lane in all(&json["timelines"]) {
        drawn.everywhere(basis(json, lane));
        if let Some(cycles) = cycles(lane) {
            drawn.everywhere(cycles);
        }
        for (name, key) in LEVELS {
            let Some([first, last, least, most]) = over_all(lane, key) else { continue };
            let figures = if least == most { vec![least] } else { vec![first, last, least, most] };
            drawn.described.push(said(&name.replace('_', "."), figures.into_iter().map(words::bytes)));
        }
        drawn.curves.extend(curves(lane));
    }
    drawn
}
