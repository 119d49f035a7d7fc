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
/// So many places of functions are in the text, and in the picture.
const LISTED: usize = 10;
const DRAWN: usize = 12;

fn rows(found: &Table, json: &Value) {
    let mut rows: Vec<Row> = Vec::new();
    for vm in all(&json["vms"]) {
        for kind in all(&vm["kinds"]) {
            // Functions and their code stand under the places where they were written.
            let made = match word(&kind["kind"]) {
                "function" => Some("functions"),
                "proto" => Some("protos"),
                _ => None,
            };
            let of_places = made.filter(|_| !vm["places"].is_null()).map(|made| {
                let places = all(&vm["places"]).iter();
                places.map(|place| (name(place).unwrap_or_default(), &place[made]["classes"])).collect()
            });
            for (place, classes) in of_places.unwrap_or_else(|| vec![(String::new(), &kind["classes"])]) {
                for class in all(classes) {
                    let (all, garbage) = (&class["all"], &class["garbage"]);
                    rows.push(row!({
                        "trace": json["source"], "pid": vm["vm"]["pid"], "vm": vm["vm"]["number"],
                        "label": vm["vm"]["label"], "time_ns": vm["time_ns"], "kind": kind["kind"],
                        "size_from": class["size_from"], "size_to": size_to(&class["size_from"]), "count": all["count"],
                        "bytes": all["bytes"], "garbage_count": garbage["count"], "garbage_bytes": garbage["bytes"],
                        "place": place,
                    }));
                }
            }
        }
    }
    found.assert_is(&rows);
}

/// What a place is called.
fn name(place: &Value) -> Option<String> {
    let chunk = place["chunk"].as_str()?.trim_start_matches(['@', '=']);
    Some(if place["line"] == 0 { chunk.to_owned() } else { format!("{chunk}:{}", place["line"]) })
}

/// The closures and the code of a place.
fn closures_and_code(place: &Value) -> [&Value; 2] {
    [&place["functions"]["all"], &place["protos"]["all"]]
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
        for place in all(&vm["places"]).iter().take(LISTED) {
            let amounts = closures_and_code(place).into_iter().filter(|made| made["count"] != 0);
            let figures = amounts.flat_map(|made| [thousands(&made["count"]), bytes(&made["bytes"])]);
            told.push(said(&name(place).unwrap_or_else(|| "not known".to_owned()), figures));
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
        for place in all(&vm["places"]).iter().take(DRAWN) {
            let [closures, code] = closures_and_code(place);
            let sum = words::bytes(whole(&closures["bytes"]) + whole(&code["bytes"]));
            let told = said("", [sum, thousands(&closures["count"])]);
            drawn.derived.extend(told.figures.iter().cloned());
            drawn.everywhere(told);
        }
        for kind in kinds.iter().take(BY_SIZE) {
            let values = all(&kind["classes"]).iter().map(|class| whole(&class["all"]["bytes"])).collect();
            drawn.panels.push(Panel { axis: "bytes".to_owned(), values });
        }
    }
    drawn
}
