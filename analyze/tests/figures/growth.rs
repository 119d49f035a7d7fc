//! What grows.

use analyze::output::growth::words::{signed, signed_bytes};
use analyze::output::words;
use serde_json::Value;

use crate::json::{all, bytes, real, size_to, text as name_of, thousands, whole};
use crate::shown::{Said, said};
use crate::table::{Row, Table, row};
use crate::{Drawn, OF_A_PERIOD, Subject};

pub(crate) const SUBJECT: Subject = Subject { command: "growth", lines: OF_A_PERIOD, rows, text, drawn };

fn rows(found: &Table, json: &Value) {
    let mut rows: Vec<Row> = Vec::new();
    for vm in all(&json["vms"]) {
        let who = &vm["vm"];
        for class in all(&vm["classes"]) {
            let (trend, size) = (&class["trend"], &class["size_from"]);
            let mut row = row!({
                "trace": json["source"], "pid": who["pid"], "vm": who["number"], "label": who["label"],
                "from_ns": vm["from"]["time_ns"], "to_ns": vm["to"]["time_ns"], "population": class["population"],
                "count_first": class["from"]["count"], "count_last": class["to"]["count"],
                "net_count": class["net_count"], "bytes_first": class["from"]["bytes"],
                "bytes_last": class["to"]["bytes"], "net_bytes": class["net_bytes"],
                "net_bytes_per_second": trend["bytes_per_second"], "low": trend["low"], "high": trend["high"],
                "chance": trend["chance"], "points": vm["points"],
                "finding": name_of(&class["finding"]).replace('_', " "),
            });
            if whole(size) > 0 {
                row.extend(row!({"size_from": size, "size_to": size_to(size)}));
            }
            rows.push(row);
        }
    }
    found.assert_is(&rows);
}

fn net(of: &Value, key: &str) -> i64 {
    of[key].as_i64().unwrap_or_else(|| panic!("{of} has no {key}"))
}

/// Whether anything happened to a class.
fn changed(class: &Value) -> bool {
    let curve = all(&class["curve"]);
    let varies = curve.windows(2).any(|pair| pair[0]["bytes"] != pair[1]["bytes"]);
    (net(class, "net_count"), net(class, "net_bytes")) != (0, 0) || varies
}

/// `64 B`, `direct`
fn name(class: &Value) -> String {
    match whole(&class["size_from"]) {
        0 => "direct".to_owned(),
        size => words::size_class(size),
    }
}

/// Bytes a second, with their sign.
fn short(value: &Value) -> String {
    let rounded = real(value).round() as i64;
    let sign = ["-", "", "+"][(rounded.signum() + 1) as usize];
    format!("{sign}{}", words::short_bytes(rounded.unsigned_abs()))
}

/// The heap as a whole, before and after.
fn whole_heap(vm: &Value) -> Said {
    let sums = &vm["all"];
    let to = bytes(&sums["to"]["bytes"]);
    match net(sums, "net_bytes") {
        0 => said("as large as before,", [to]),
        change => {
            let by = words::bytes(change.unsigned_abs());
            said("direct blocks", [by, bytes(&sums["from"]["bytes"]), to])
        }
    }
}

/// How many points tell something, and how many suspects there are.
fn findings(vm: &Value) -> Said {
    let suspects = all(&vm["classes"]).iter().filter(|class| class["finding"] == "suspect").count();
    match whole(&vm["points"]) {
        0..8 => said("to tell whether something leaks:", [thousands(&vm["points"]), "8".to_owned()]),
        _ if whole(&vm["tested"]) == 0 => said("no suspect:", [""; 0]),
        _ if suspects == 0 => said("no suspect: of", [thousands(&vm["tested"])]),
        _ => said("", [suspects.to_string(), thousands(&vm["tested"])]),
    }
}

fn text(json: &Value) -> Vec<Said> {
    let mut told = Vec::new();
    for vm in all(&json["vms"]) {
        for moment in ["from", "to"] {
            told.push(said(&format!("{moment}: at"), [words::time(whole(&vm[moment]["time_ns"]))]));
        }
        told.extend([whole_heap(vm), findings(vm)]);
        let classes: Vec<&Value> = all(&vm["classes"]).iter().filter(|class| changed(class)).collect();
        let rows = classes.iter().map(|class| (name(class), *class));
        for (name, row) in rows.chain((!classes.is_empty()).then(|| ("all".to_owned(), &vm["all"]))) {
            let change =
                [signed(net(row, "net_count")), signed_bytes(net(row, "net_bytes")), bytes(&row["to"]["bytes"])];
            let trend = ["bytes_per_second", "low", "high"].map(|key| &row["trend"][key]);
            let trend = trend.into_iter().filter(|figure| !figure.is_null()).map(short);
            told.push(said(&name, change.into_iter().chain(trend)));
        }
    }
    told
}

fn drawn(json: &Value) -> Drawn {
    let mut drawn = Drawn::default();
    for vm in all(&json["vms"]) {
        drawn.everywhere(whole_heap(vm));
        drawn.everywhere(findings(vm));
        let classes = all(&vm["classes"]);
        for class in classes.iter().filter(|class| changed(class)) {
            let change = [signed_bytes(net(class, "net_bytes")), signed(net(class, "net_count"))];
            drawn.drawn.push(said("", change));
        }
        let time = words::duration(whole(&vm["to"]["time_ns"]) - whole(&vm["from"]["time_ns"]));
        let still = classes.iter().filter(|class| !changed(class)).count();
        drawn.derived.push(format!("{time}, {still}; tested at 5 %, 95 times of 100"));
    }
    drawn
}
