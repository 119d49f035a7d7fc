//! What is asked for a second.

use analyze::output::rates::words::age;
use analyze::output::words;
use serde_json::Value;

use crate::json::{all, byte_rate, bytes, number, percent, real, size_to, sizes, thousands, whole};
use crate::picture::Panel;
use crate::shown::{Said, said};
use crate::table::{Row, Table, row};
use crate::{Drawn, Subject};

pub(crate) const SUBJECT: Subject = Subject {
    command: "rates",
    lines: &["gc64.ljt", "nginx.ljt", "nogc64.ljt", "sampled.ljt", "sampled.ljt --vm 2", "threads.ljt"],
    rows,
    text,
    drawn,
};

/// Rates in their order: in rows, in JSON, and whether they are of bytes.
const RATES: [(&str, &str, bool); 6] = [
    ("calls", "calls", false),
    ("alloc", "allocs", false),
    ("resize", "resizes", false),
    ("free", "frees", false),
    ("allocated", "allocated", true),
    ("freed", "freed", true),
];

fn rows(found: &Table, json: &Value) {
    let mut rows: Vec<Row> = Vec::new();
    for section in all(&json["rates"]) {
        let mut push = |quantity: &str, of: Row| {
            let mut row = row!({
                "trace": json["source"], "pid": section["pid"], "vm": section["vm"], "basis": section["basis"],
                "quantity": quantity,
            });
            row.extend(of);
            rows.push(row);
        };
        let rate = |rate: &Value| row!({"observed": rate["observed"], "value": rate["per_second"], "low": rate["low"], "high": rate["high"]});
        for (name, key, _) in RATES {
            push(name, rate(&section[key]));
        }
        for class in all(&section["classes"]) {
            let sizes = row!({"size_from": class["size_from"], "size_to": size_to(&class["size_from"])});
            for (name, key) in [("alloc", "allocs"), ("allocated", "allocated"), ("freed", "freed")] {
                push(name, sizes.clone().into_iter().chain(rate(&class[key])).collect());
            }
        }
        for died in all(&section["lifetimes"]["died"]) {
            for (name, key) in [("died_of_blocks", "of_blocks"), ("died_of_bytes", "of_bytes")] {
                let of = &died[key];
                push(
                    name,
                    row!({
                        "age_ns": died["age_ns"], "value": of["share"], "low": of["low"], "high": of["high"],
                    }),
                );
            }
        }
    }
    found.assert_is(&rows);
}

/// How a figure is said.
type Words = fn(&Value) -> String;

/// A rate, and the ends of its interval if it has one.
fn with_ends(rate: &Value, shown: Words) -> Vec<String> {
    let ends = [&rate["low"], &rate["high"]].into_iter().filter(|end| !end.is_null());
    [&rate["per_second"]].into_iter().chain(ends).map(shown).collect()
}

/// The share that died by an age, of blocks and of bytes.
pub(crate) fn died(died: &Value) -> Said {
    let percents = ["of_blocks", "of_bytes"].into_iter().flat_map(|key| {
        let of = &died[key];
        [percent(&of["share"]), format!("{:.1}", real(&of["low"]) * 100.0), percent(&of["high"])]
    });
    said(&age(whole(&died["age_ns"])), percents)
}

fn text(json: &Value) -> Vec<Said> {
    let mut told = Vec::new();
    for section in all(&json["rates"]) {
        for (name, key, are_bytes) in RATES {
            let (shown, observed): (Words, Words) = if are_bytes { (byte_rate, bytes) } else { (number, thousands) };
            let rate = &section[key];
            told.push(said(name, with_ends(rate, shown).into_iter().chain([observed(&rate["observed"])])));
        }
        for class in all(&section["classes"]) {
            let (allocs, allocated) = (&class["allocs"], &class["allocated"]);
            if whole(&allocs["observed"]) + whole(&allocated["observed"]) > 0 {
                let figures = [number(&allocs["per_second"])].into_iter().chain(with_ends(allocated, byte_rate));
                told.push(said(&sizes(&class["size_from"]), figures));
            }
        }
        told.extend(all(&section["lifetimes"]["died"]).iter().map(died));
    }
    told
}

fn drawn(json: &Value) -> Drawn {
    let mut drawn = Drawn::default();
    for section in all(&json["rates"]) {
        let per_second = |key: &str| &section[key]["per_second"];
        let calls = ["calls", "allocs", "resizes", "frees"].map(|key| number(per_second(key)));
        drawn.drawn.push(said("", calls.into_iter().chain([byte_rate(per_second("freed"))])));
        drawn.everywhere(said("allocated:", with_ends(&section["allocated"], byte_rate)));
        let lifetimes = &section["lifetimes"];
        if !all(&lifetimes["died"]).is_empty() {
            let died = all(&lifetimes["died"]).iter();
            let died = died.flat_map(|died| [percent(&died["of_blocks"]["share"]), age(whole(&died["age_ns"]))]);
            drawn.everywhere(said("of ", [thousands(&lifetimes["births"])].into_iter().chain(died)));
        }
        let recorded = words::duration(whole(&section["recorded_ns"]));
        if section["basis"] == "exact" {
            drawn.everywhere(said("every call of", [recorded]));
        } else {
            let observed = words::duration(whole(&section["observed_ns"]));
            let duty = whole(&section["observed_ns"]) as f64 * 100.0 / real(&section["recorded_ns"]).max(1.0);
            let duty = if duty < 1.0 { format!("{duty:.2} %") } else { format!("{duty:.1} %") };
            drawn.everywhere(said("estimate from", [thousands(&section["windows"]), observed, recorded, duty]));
        }
        for (axis, key) in [("allocations/s", "allocs"), ("bytes/s", "allocated")] {
            let rates = all(&section["classes"]).iter().map(|class| real(&class[key]["per_second"]));
            let values: Vec<u64> = rates.filter(|rate| *rate > 0.0).map(|rate| rate.round() as u64).collect();
            if !all(&section["classes"]).is_empty() {
                drawn.panels.push(Panel { axis: axis.to_owned(), values });
            }
        }
    }
    drawn
}
