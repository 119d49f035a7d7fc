//! What is different.

use analyze::output::{rates, words};
use serde_json::Value;

use crate::json::{all, bytes, real, size_to, text as word, thousands, whole};
use crate::picture::Panel;
use crate::shown::{Said, said};
use crate::table::{Row, Table, row};
use crate::{Drawn, Subject};

pub(crate) const SUBJECT: Subject = Subject {
    command: "diff",
    lines: &[
        "gc64.ljt@20ms gc64.ljt@peak",
        "gc64.ljt nogc64.ljt",
        "nginx.ljt@300ms nginx.ljt",
        "objects.ljt@40ms objects.ljt",
        "snapshot.ljt sampled.ljt",
        "threads.ljt@50ms threads.ljt",
    ],
    rows,
    text,
    drawn,
};

/// Both figures of a class or an owner, as a row has them.
fn both(a: &Value, b: &Value) -> Row {
    let (a, b) = (real(a), real(b));
    let relative = if a == b { Some(0.0) } else { (a != 0.0).then(|| (b - a) / a) };
    row!({"a": a, "b": b, "change": b - a, "relative": relative})
}

fn rows(found: &Table, json: &Value) {
    let mut rows: Vec<Row> = Vec::new();
    let mut push = |scope: &Row, figure: &str, of: Row| {
        let mut row = row!({"trace_a": json["a"]["source"], "trace_b": json["b"]["source"], "figure": figure});
        row.extend(scope.clone());
        row.extend(of);
        rows.push(row);
    };
    let figures = |scope: &Row, list: &Value, push: &mut dyn FnMut(&Row, &str, Row)| {
        for figure in all(list) {
            let of = row!({
                "a": figure["a"], "b": figure["b"], "change": figure["change"], "relative": figure["relative"],
            });
            push(scope, word(&figure["name"]), of);
        }
    };
    figures(&row!({"scope": "total"}), &json["totals"], &mut push);
    for pair in all(&json["vms"]) {
        let (a, b) = (&pair["a"]["vm"], &pair["b"]["vm"]);
        let scope = row!({
            "scope": "vm", "pid_a": a["pid"], "pid_b": b["pid"], "vm_a": a["number"], "vm_b": b["number"],
        });
        figures(&scope, &pair["figures"], &mut push);
        for class in all(&pair["classes"]) {
            for what in ["count", "bytes"] {
                let mut row = both(&class[format!("{what}_a")], &class[format!("{what}_b")]);
                row.extend(row!({"size_from": class["size_from"], "size_to": size_to(&class["size_from"])}));
                push(&scope, &format!("{}_{what}", word(&class["population"])), row);
            }
        }
        for kind in all(&pair["kinds"]["kinds"]) {
            for what in ["count", "bytes"] {
                let mut row = both(&kind["before"][what], &kind["after"][what]);
                row.extend(row!({"kind": kind["kind"]}));
                push(&scope, &format!("objects_{what}"), row);
            }
        }
    }
    for pair in all(&json["processes"]) {
        let scope = row!({"scope": "process", "pid_a": pair["pid_a"], "pid_b": pair["pid_b"]});
        figures(&scope, &pair["figures"], &mut push);
        for owner in all(&pair["owners"]) {
            for what in ["mapped", "resident"] {
                let mut row = both(&owner[format!("{what}_a")], &owner[format!("{what}_b")]);
                row.extend(row!({"owner": owner["owner"]}));
                push(&scope, &format!("{what}_bytes"), row);
            }
        }
    }
    found.assert_is(&rows);
}

/// A figure of one side, or the size of a change.
fn amount(unit: &str, value: &Value) -> String {
    match (unit, value.as_i64()) {
        ("count" | "bytes", Some(whole)) => words::thousands(whole.unsigned_abs()),
        ("share", _) => format!("{:.1} %", real(value) * 100.0),
        ("bytes" | "bytes_per_second", _) => rates::words::bytes(real(value).abs()),
        _ => rates::words::number(real(value).abs()),
    }
}

/// `+4.4 %`
fn percent(part: f64) -> String {
    let percent = part * 100.0;
    if percent.abs() < 1000.0 {
        return format!("{percent:+.1} %");
    }
    format!("{}{} %", if percent < 0.0 { "-" } else { "+" }, words::thousands(percent.abs().round() as u64))
}

/// Both sides of a figure, and the change if there is one; in text a change of nothing is said too.
fn figure(figure: &Value, end: &str) -> Said {
    let unit = word(&figure["unit"]);
    let name = word(&figure["name"]);
    let name = if name == "gc_total" { "gc.total".to_owned() } else { name.replace("_per_s", "/s").replace('_', " ") };
    let mut figures = vec![amount(unit, &figure["a"]), amount(unit, &figure["b"])];
    let change = real(&figure["change"]);
    if unit == "share" {
        figures.push(format!("{:+.1}", change * 100.0));
    } else if change != 0.0 {
        let sign = if change < 0.0 { "-" } else { "+" };
        figures.push(format!("{sign}{}", amount(unit, &figure["change"])));
        figures.extend(figure["relative"].as_f64().map(percent));
    }
    said(&format!("{name}{end}"), figures)
}

fn text(json: &Value) -> Vec<Said> {
    let shown = |one: &&Value| real(&one["a"]) != 0.0 || real(&one["b"]) != 0.0;
    let mut told: Vec<Said> = all(&json["totals"]).iter().filter(shown).map(|one| figure(one, "")).collect();
    let parts = all(&json["vms"]).iter().chain(all(&json["processes"]));
    told.extend(parts.flat_map(|pair| all(&pair["figures"])).filter(shown).map(|one| figure(one, "")));
    for class in all(&json["vms"]).iter().flat_map(|pair| all(&pair["classes"])) {
        let [count_a, count_b, bytes_a, bytes_b] = ["count_a", "count_b", "bytes_a", "bytes_b"].map(|key| &class[key]);
        if (count_a, bytes_a) != (count_b, bytes_b) {
            let figures = [thousands(count_a), thousands(count_b), bytes(bytes_a), bytes(bytes_b)];
            told.push(said(&words::size_class(whole(&class["size_from"])), figures));
        }
    }
    for kind in kinds(json).filter(|kind| kind["before"] != kind["after"]) {
        let [a, b] = [&kind["before"], &kind["after"]];
        let figures = [thousands(&a["count"]), thousands(&b["count"]), bytes(&a["bytes"]), bytes(&b["bytes"])];
        told.push(said(word(&kind["kind"]), figures));
    }
    told.extend(owners(json));
    told
}

/// The kinds of objects of both sides.
fn kinds(json: &Value) -> impl Iterator<Item = &Value> {
    all(&json["vms"]).iter().flat_map(|pair| all(&pair["kinds"]["kinds"]))
}

/// What owners had resident on both sides.
fn owners(json: &Value) -> impl Iterator<Item = Said> {
    let owners = all(&json["processes"]).iter().flat_map(|pair| all(&pair["owners"]));
    let there = owners.filter(|owner| whole(&owner["resident_a"]) + whole(&owner["resident_b"]) > 0);
    there.map(|owner| said(word(&owner["owner"]), ["resident_a", "resident_b"].map(|key| bytes(&owner[key]))))
}

fn drawn(json: &Value) -> Drawn {
    let mut drawn = Drawn::default();
    for pair in all(&json["vms"]) {
        let figures = || all(&pair["figures"]).iter();
        drawn.described.extend(figures().map(|one| figure(one, ":")));
        let classes = |population: &str| {
            let classes = all(&pair["classes"]).iter();
            classes.filter(|class| class["population"] == population).collect::<Vec<_>>()
        };
        for (population, axis) in
            [("used", "chunks"), ("free", "chunks"), ("segments", "segments"), ("direct", "blocks")]
        {
            let classes = classes(population);
            if classes.is_empty() {
                continue;
            }
            let names = ["count", "bytes"].map(|what| format!("{population}_{what}"));
            let ours = figures().filter(|one| names.iter().any(|name| one["name"] == name.as_str()));
            drawn.drawn.extend(ours.map(|one| figure(one, ":")));
            // The bars are those of B.
            let values =
                |key: &str| classes.iter().map(|class| whole(&class[key])).filter(|value| *value > 0).collect();
            drawn.panels.push(Panel { axis: axis.to_owned(), values: values("count_b") });
            drawn.panels.push(Panel { axis: "bytes".to_owned(), values: values("bytes_b") });
        }
        let of =
            |name: &str| figures().filter(|one| one["name"] == name).map(|one| figure(one, ":")).collect::<Vec<_>>();
        drawn.drawn.extend(["gc_total", "calls_per_s", "allocated_per_s"].into_iter().flat_map(of));
    }
    for pair in all(&json["processes"]) {
        all(&pair["figures"]).iter().for_each(|one| drawn.everywhere(figure(one, ":")));
    }
    drawn.drawn.extend(owners(json));
    let kinds =
        kinds(json).map(|kind| said(word(&kind["kind"]), ["before", "after"].map(|side| bytes(&kind[side]["bytes"]))));
    drawn.drawn.extend(kinds);
    drawn
}
