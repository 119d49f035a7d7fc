//! What kind of objects fill the heap.

use analyze::output::words;
use serde_json::Value;

use crate::json::{all, bytes, share, size_to, text as word, thousands, whole};
use crate::picture::Panel;
use crate::shown::{Said, said};
use crate::table::{Row, Table, row};
use crate::{Drawn, Subject};

pub(crate) const SUBJECT: Subject = Subject {
    command: "objects",
    lines: &["objects.ljt", "objects.ljt --at 200ms", "objects.ljt --at peak --vm 1"],
    rows,
    text,
    drawn,
};

/// So many kinds are drawn by size, and so many of the largest objects are named.
const BY_SIZE: usize = 4;
const LARGEST: usize = 5;

fn rows(found: &Table, json: &Value) {
    let mut rows: Vec<Row> = Vec::new();
    for vm in all(&json["vms"]) {
        for kind in all(&vm["kinds"]) {
            for class in all(&kind["classes"]) {
                let (all, garbage) = (&class["all"], &class["garbage"]);
                rows.push(row!({
                    "trace": json["source"], "pid": vm["vm"]["pid"], "vm": vm["vm"]["number"], "label": vm["vm"]["label"],
                    "time_ns": vm["time_ns"], "kind": kind["kind"], "size_from": class["size_from"],
                    "size_to": size_to(&class["size_from"]), "count": all["count"], "bytes": all["bytes"],
                    "garbage_count": garbage["count"], "garbage_bytes": garbage["bytes"],
                }));
            }
        }
    }
    found.assert_is(&rows);
}

/// What text and picture say of a heap as a whole.
fn whole_heap(vm: &Value) -> Vec<Said> {
    let (sum, direct) = (&vm["all"], &vm["direct"]);
    let apart = (whole(&direct["count"]) > 0).then(|| bytes(&direct["bytes"]));
    let unknown = share(&vm["unknown"]["bytes"], &sum["bytes"]);
    let figures = [thousands(&sum["count"]), bytes(&sum["bytes"])].into_iter().chain(apart).chain([unknown]);
    let mut told = vec![said("", figures)];
    let garbage = &vm["garbage"];
    if whole(&garbage["count"]) > 0 {
        let figures = [thousands(&garbage["count"]), bytes(&garbage["bytes"]), share(&garbage["bytes"], &sum["bytes"])];
        told.push(said("garbage not yet collected:", figures));
    }
    for slots in [&vm["tables"]["array"], &vm["tables"]["hash"]] {
        if whole(&slots["slots"]) > 0 {
            let looked = whole(&slots["slots"]) - whole(&slots["not_looked_at"]);
            let used = words::share(whole(&slots["used"]), looked);
            told.push(said("of", [thousands(&slots["slots"]), used, bytes(&slots["unused_bytes"])]));
        }
    }
    told
}

/// `+1,234`, `-5`, `0`
fn change(number: &Value, say: fn(u64) -> String) -> String {
    let number = number.as_i64().expect("a change");
    let sign = if number > 0 { "+" } else { "" };
    format!("{}{}", if number < 0 { "-" } else { sign }, say(number.unsigned_abs()))
}

fn text(json: &Value) -> Vec<Said> {
    let mut told = Vec::new();
    for vm in all(&json["vms"]) {
        told.extend(whole_heap(vm));
        let sum = &vm["all"]["bytes"];
        for kind in all(&vm["kinds"]) {
            let (of_all, garbage) = (&kind["all"], &kind["garbage"]["bytes"]);
            let part = share(&of_all["bytes"], sum);
            let garbage = (whole(garbage) > 0).then(|| bytes(garbage));
            let figures = [thousands(&of_all["count"]), thousands(&of_all["bytes"]), bytes(&of_all["bytes"]), part];
            told.push(said(word(&kind["kind"]), figures.into_iter().chain(garbage)));
        }
        let strings = &vm["strings"];
        told.push(said("strings:", [bytes(&strings["text_bytes"]), bytes(&strings["overhead_bytes"])]));
        told.push(said("longest strings:", all(&vm["longest_strings"]).iter().take(LARGEST).map(bytes)));
        for table in all(&vm["largest_tables"]).iter().take(LARGEST) {
            let part = |name: &str| {
                let (slots, used) = (&table[format!("{name}_slots")], &table[format!("{name}_used")]);
                let figures = if whole(slots) > 0 { vec![thousands(used), thousands(slots)] } else { Vec::new() };
                figures.into_iter()
            };
            told.push(said("", [bytes(&table["bytes"])].into_iter().chain(part("array")).chain(part("hash"))));
        }
        for kind in all(&vm["growth"]["kinds"]) {
            let figures = [
                change(&kind["count"], words::thousands),
                bytes(&kind["before"]["bytes"]),
                bytes(&kind["after"]["bytes"]),
                change(&kind["bytes"], words::bytes),
            ];
            let is_shown = kind["count"] != 0 || kind["bytes"] != 0;
            told.extend(is_shown.then(|| said(word(&kind["kind"]), figures)));
        }
    }
    told
}

fn drawn(json: &Value) -> Drawn {
    let mut drawn = Drawn::default();
    for vm in all(&json["vms"]) {
        let [heap, more @ ..] = &whole_heap(vm)[..] else { panic!("nothing is said of a heap") };
        drawn.everywhere(heap.clone());
        drawn.drawn.extend(more.iter().cloned());
        let kinds = all(&vm["kinds"]);
        for kind in kinds {
            let of_all = &kind["all"];
            let figures =
                [bytes(&of_all["bytes"]), share(&of_all["bytes"], &vm["all"]["bytes"]), thousands(&of_all["count"])];
            drawn.everywhere(said(word(&kind["kind"]), figures));
        }
        for kind in kinds.iter().take(BY_SIZE) {
            let values = all(&kind["classes"]).iter().map(|class| whole(&class["all"]["bytes"])).collect();
            drawn.panels.push(Panel { axis: "bytes".to_owned(), values });
        }
    }
    drawn
}
