//! How long blocks live.

use analyze::output::rates::words::age;
use analyze::output::words;
use serde_json::Value;

use crate::json::{all, byte_rate, bytes, number, percent, real, short_bytes, size_to, thousands, whole};
use crate::rates::died;
use crate::shown::{Said, said};
use crate::table::{Row, Table, row};
use crate::{Drawn, OF_A_PERIOD, Subject};

pub(crate) const SUBJECT: Subject = Subject { command: "lifetimes", lines: OF_A_PERIOD, rows, text, drawn };

fn rows(found: &Table, json: &Value) {
    let mut rows: Vec<Row> = Vec::new();
    for vm in all(&json["vms"]) {
        let mut push = |quantity: &str, of: Row| {
            let who = &vm["vm"];
            let mut row = row!({
                "trace": json["source"], "pid": who["pid"], "vm": who["number"], "label": who["label"],
                "quantity": quantity,
            });
            row.extend(of);
            rows.push(row);
        };
        let tally = |of: &Value| row!({"count": of["count"], "bytes": of["bytes"]});
        let join = |one: &Row, other: Row| -> Row { one.clone().into_iter().chain(other).collect() };
        let turnover = &vm["turnover"];
        let born = &turnover["born"];
        push("born_bytes_per_second", row!({"value": born["per_second"], "low": born["low"], "high": born["high"]}));
        push("live_bytes", row!({"value": turnover["live_bytes"]}));
        let times = row!({"value": turnover["per_second"], "low": turnover["low"], "high": turnover["high"]});
        push("turnover_per_second", times);
        let share = |died: &Value, of: &str| {
            let of = &died[of];
            row!({"age_to_ns": died["age_ns"], "value": of["share"], "low": of["low"], "high": of["high"]})
        };
        for class in [&vm["all"]].into_iter().chain(all(&vm["classes"])) {
            let sizes = match whole(&class["size_from"]) {
                0 => Row::new(),
                size => row!({"size_from": size, "size_to": size_to(&class["size_from"])}),
            };
            for name in ["born", "alive", "older_died"] {
                push(name, join(&sizes, tally(&class[name])));
            }
            for died in all(&class["died"]).iter().filter(|died| whole(&died["count"]) > 0) {
                let ages = row!({"age_from_ns": died["age_from_ns"], "age_to_ns": died["age_to_ns"]});
                push("died", join(&join(&sizes, ages), tally(died)));
            }
            for died in all(&class["lifetimes"]["died"]) {
                push("died_of_blocks", join(&sizes, share(died, "of_blocks")));
                push("died_of_bytes", join(&sizes, share(died, "of_bytes")));
            }
        }
        for died in all(&vm["curve"]) {
            push("curve_of_blocks", share(died, "of_blocks"));
            push("curve_of_bytes", share(died, "of_bytes"));
        }
        let resizes = &vm["resizes"];
        let sums = [
            ("grew", &resizes["grew"], &resizes["grown_bytes"]),
            ("shrank", &resizes["shrank"], &resizes["shrunk_bytes"]),
            ("kept", &resizes["kept"], &Value::from(0)),
            ("failed", &resizes["failed"], &Value::from(0)),
            ("moved", &resizes["moved"], &resizes["copied_bytes"]),
            ("resized_older", &resizes["older_blocks"], &Value::from(0)),
        ];
        for (quantity, count, bytes) in sums {
            push(quantity, row!({"count": count, "bytes": bytes}));
        }
        for chain in all(&vm["chains"]) {
            let often = row!({
                "resizes_from": chain["resizes_from"], "resizes_to": chain["resizes_to"], "count": chain["blocks"],
            });
            push("chain_first", join(&often, row!({"bytes": chain["first_bytes"]})));
            push("chain_last", join(&often, row!({"bytes": chain["last_bytes"]})));
        }
    }
    found.assert_is(&rows);
}

/// Whether there is nothing to tell of a VM.
fn is_still(vm: &Value) -> bool {
    let resizes = &vm["resizes"];
    let resized = ["grew", "shrank", "kept", "failed"].iter().any(|key| whole(&resizes[key]) > 0);
    let of = |key: &str| whole(&vm["all"][key]["count"]) > 0;
    !(resized || of("born") || of("older_died"))
}

/// How many ages have a column: up to the oldest at which any block died.
fn ages(vm: &Value) -> usize {
    all(&vm["all"]["died"]).iter().rposition(|died| whole(&died["count"]) > 0).map_or(0, |at| at + 1)
}

/// Bytes of a class by age at death, then those alive and those of unknown age.
fn cells(class: &Value, ages: usize) -> impl Iterator<Item = &Value> {
    let died = all(&class["died"])[..ages].iter().map(|died| &died["bytes"]);
    died.chain([&class["alive"]["bytes"], &class["older_died"]["bytes"]])
}

fn turnover(vm: &Value) -> Said {
    let turnover = &vm["turnover"];
    let born = byte_rate(&turnover["born"]["per_second"]);
    let live = Some(&turnover["live_bytes"]).filter(|live| !live.is_null()).map(byte_rate);
    let times = ["per_second", "low", "high"].map(|key| &turnover[key]);
    let times = times.into_iter().filter(|times| live.is_some() && !times.is_null()).map(number);
    said("turnover:", [born].into_iter().chain(live.clone()).chain(times))
}

fn young(vm: &Value) -> Option<Said> {
    let died = all(&vm["all"]["lifetimes"]["died"]);
    let figures = died.iter().flat_map(|died| [percent(&died["of_bytes"]["share"]), age(whole(&died["age_ns"]))]);
    (!died.is_empty()).then(|| said("die ", figures))
}

fn resizes(vm: &Value) -> Option<Said> {
    let sums = &vm["resizes"];
    let of = |key: &str| whole(&sums[key]);
    let resized = of("grew") + of("shrank") + of("kept");
    if resized + of("failed") == 0 {
        return None;
    }
    let failed = (of("failed") > 0).then(|| thousands(&sums["failed"]));
    let figures = [thousands(&sums["grew"]), bytes(&sums["grown_bytes"]), thousands(&sums["shrank"])];
    let figures = figures.into_iter().chain([bytes(&sums["shrunk_bytes"]), thousands(&sums["kept"])]).chain(failed);
    let moved = words::share(of("moved"), resized);
    Some(said("resizes:", figures.chain([thousands(&sums["moved"]), moved, bytes(&sums["copied_bytes"])])))
}

/// How much larger a chain's blocks are in the end.
fn ratio(chain: &Value) -> String {
    format!("{:.1}", real(&chain["last_bytes"]) / real(&chain["first_bytes"]).max(1.0))
}

fn text(json: &Value) -> Vec<Said> {
    let mut told = Vec::new();
    for vm in all(&json["vms"]) {
        told.push(turnover(vm));
        if is_still(vm) {
            continue;
        }
        let sums = &vm["all"];
        for (name, key) in [("born", "born"), ("alive", "alive"), ("older, died", "older_died")] {
            told.push(said(name, [thousands(&sums[key]["count"]), bytes(&sums[key]["bytes"])]));
        }
        let dead = |key: &str| all(&sums["died"]).iter().map(|died| whole(&died[key])).sum();
        told.push(said("died", [words::thousands(dead("count")), words::bytes(dead("bytes"))]));
        told.extend(all(&sums["lifetimes"]["died"]).iter().map(died));
        for class in all(&vm["classes"]) {
            let size = words::size_class(whole(&class["size_from"]));
            let shares = all(&class["lifetimes"]["died"]).iter();
            let shares = shares.map(|died| format!("{:.1}", real(&died["of_bytes"]["share"]) * 100.0));
            if whole(&class["born"]["count"]) > 0 {
                told.push(said(&size, [bytes(&class["born"]["bytes"])].into_iter().chain(shares)));
            }
            told.push(said(&size, cells(class, ages(vm)).map(short_bytes)));
        }
        told.extend(resizes(vm));
        for chain in all(&vm["chains"]) {
            let figures = [thousands(&chain["blocks"]), thousands(&chain["alive"])];
            let bytes = [&chain["first_bytes"], &chain["last_bytes"]].map(bytes);
            told.push(said("", figures.into_iter().chain(bytes).chain([ratio(chain)])));
        }
    }
    told
}

fn drawn(json: &Value) -> Drawn {
    let mut drawn = Drawn::default();
    for vm in all(&json["vms"]) {
        drawn.everywhere(turnover(vm));
        drawn.described.extend(young(vm).into_iter().chain(resizes(vm)));
        if is_still(vm) {
            continue;
        }
        drawn.drawn.extend(young(vm).into_iter().chain(resizes(vm)));
        for class in all(&vm["classes"]) {
            let bytes = cells(class, ages(vm)).filter(|bytes| whole(bytes) > 0);
            drawn.drawn.push(said(&words::size_class(whole(&class["size_from"])), bytes.map(short_bytes)));
        }
        for chain in all(&vm["chains"]) {
            drawn.drawn.push(said("", [thousands(&chain["blocks"]), ratio(chain)]));
        }
    }
    drawn
}
