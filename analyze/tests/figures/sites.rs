//! Who allocates.

use analyze::output::words;
use serde_json::Value;

use crate::json::{all, real, share, text as word, thousands, whole};
use crate::shown::{Said, said};
use crate::table::{Row, Table, row};
use crate::{Drawn, Subject};

pub(crate) const SUBJECT: Subject = Subject {
    command: "sites",
    lines: &[
        "sites.ljt",
        "sites.ljt --by calls",
        "sites.ljt --by live --vm 1",
        "sites.ljt --from 50ms --to 150ms",
        "sites.ljt --by calls --to 60ms",
    ],
    rows,
    text,
    drawn,
};

/// So many callers are said in a text, and in a picture; so many operations and sites are described.
const CALLERS: usize = 3;
const DRAWN: usize = 5;
const DESCRIBED: usize = 10;

fn rows(found: &Table, json: &Value) {
    let mut rows: Vec<Row> = Vec::new();
    for vm in all(&json["vms"]) {
        for (of, table) in [("operation", "operations"), ("site", "sites")] {
            for share in all(&vm[table]) {
                rows.push(row!({
                    "trace": json["source"], "pid": vm["vm"]["pid"], "vm": vm["vm"]["number"], "label": vm["vm"]["label"],
                    "from_ns": vm["from_ns"], "to_ns": vm["to_ns"], "by": json["by"], "of": of, "name": share["name"],
                    "samples": share["samples"], "share": share["share"], "low": share["low"], "high": share["high"],
                    "amount": share["amount"], "amount_low": share["amount_low"], "amount_high": share["amount_high"],
                }));
            }
        }
    }
    found.assert_is(&rows);
}

/// `47.1 %`, and its interval.
fn shares(row: &Value) -> [String; 3] {
    let percent = |key: &str| format!("{:.1} %", real(&row[key]) * 100.0);
    let low = percent("low");
    [percent("share"), low.trim_end_matches(" %").to_owned(), percent("high")]
}

/// What all shares rest on.
fn basis(json: &Value, vm: &Value) -> Said {
    let lost = (whole(&vm["lost"]) > 0).then(|| thousands(&vm["lost"]));
    let total = (json["by"] != "calls").then(|| words::bytes(whole(&vm["total"])));
    let sampled = [thousands(&vm["samples"]), thousands(&vm["every"][0])];
    let of = [share(&vm["covered"], &vm["calls"]), thousands(&vm["calls"])];
    said("", sampled.into_iter().chain(lost).chain(of).chain(total))
}

fn text(json: &Value) -> Vec<Said> {
    let mut told = Vec::new();
    for vm in all(&json["vms"]) {
        told.push(basis(json, vm));
        told.extend(all(&vm["callers"]).iter().take(CALLERS).map(|caller| said("", shares(caller))));
        for row in all(&vm["operations"]).iter().chain(all(&vm["sites"])) {
            let amount = real(&row["amount"]).round() as u64;
            let amount = if json["by"] == "calls" { words::thousands(amount) } else { words::bytes(amount) };
            told.push(said("", shares(row).into_iter().chain([amount, thousands(&row["samples"])])));
        }
        told.extend(all(&vm["operations"]).iter().map(|row| said(word(&row["name"]), [""; 0])));
    }
    for module in all(&json["modules"]) {
        told.push(said("", [thousands(&module["unnamed"]), thousands(&module["places"])]));
    }
    told
}

fn drawn(json: &Value) -> Drawn {
    let mut drawn = Drawn::default();
    for vm in all(&json["vms"]) {
        drawn.everywhere(basis(json, vm));
        drawn.drawn.extend(all(&vm["callers"]).iter().take(DRAWN).map(|caller| said("", shares(caller))));
        for table in ["operations", "sites"] {
            let rows = all(&vm[table]).iter().take(DESCRIBED);
            drawn.described.extend(rows.map(|row| said(word(&row["name"]), shares(row))));
        }
    }
    drawn
}
