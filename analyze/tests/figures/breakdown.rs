//! Where memory goes.

use std::collections::BTreeMap;

use analyze::metrics::breakdown::owners::below;
use analyze::output::words;
use serde_json::Value;

use crate::json::{all, bytes, share, text as word, thousands, whole};
use crate::picture::Panel;
use crate::shown::{Said, said};
use crate::table::{Row, Table, row};
use crate::{Drawn, Subject};

pub(crate) const SUBJECT: Subject = Subject {
    command: "breakdown",
    lines: &["sampled.ljt", "sampled.ljt --at 1s", "sampled.ljt --pid 28901", "snapshot.ljt"],
    rows,
    text,
    drawn,
};

const AMOUNTS: [&str; 4] = ["mapped", "resident", "swapped", "pss"];

/// The rows of the look that JSON shows are its slices; those of each look sum to what its owners had.
fn rows(found: &Table, json: &Value) {
    let mut rest = found.clone();
    for process in all(&json["processes"]) {
        let pid = process["pid"].to_string();
        let is_of = |row: &BTreeMap<String, String>, time: &Value| {
            row["pid"] == pid && row["time_ns"].parse().ok() == time.as_u64()
        };
        let of_look = |table: &Table, time: &Value| {
            let rows = table.rows.iter().filter(|row| is_of(row, time)).cloned().collect();
            Table { columns: table.columns.clone(), rows }
        };
        let mut expected: Vec<Row> = Vec::new();
        for slice in all(&process["slices"]) {
            let vm = Some(&slice["vm"]).filter(|vm| vm.as_u64() != Some(0));
            let mut row = row!({
                "trace": json["source"], "pid": process["pid"], "time_ns": process["time_ns"], "kind": slice["kind"],
                "owner": slice["owner"], "name": slice["name"], "vm": vm,
            });
            row.extend(AMOUNTS.map(|amount| (amount.to_owned(), slice[amount].clone())));
            expected.push(row);
        }
        of_look(found, &process["time_ns"]).assert_is(&expected);
        let over_time = &process["over_time"];
        for look in all(&over_time["looks"]) {
            let rows = of_look(found, &look["time_ns"]).rows;
            if rows.is_empty() && !json["asked_time_ns"].is_null() {
                continue;
            }
            for (owner, memory) in all(&over_time["owners"]).iter().zip(all(&look["memory"])) {
                let ours = || rows.iter().filter(|row| row["owner"] == word(&owner["label"]));
                for amount in AMOUNTS {
                    let sum: u64 = ours().map(|row| row[amount].parse::<u64>().expect("an amount")).sum();
                    assert_eq!(sum, whole(&memory[amount]), "{amount} of {owner} at {}", look["time_ns"]);
                }
            }
            rest.rows.retain(|row| !is_of(row, &look["time_ns"]));
        }
    }
    assert!(rest.rows.is_empty(), "rows of looks that JSON has not: {:?}", rest.rows.first());
}

/// The kernel's totals.
fn checks(process: &Value) -> Option<Said> {
    let exact = all(&process["checks"]).iter().filter(|check| check["off"] == 0);
    let figures: Vec<String> = exact.map(|check| thousands(&check["kernel"])).collect();
    (!figures.is_empty()).then(|| said("the slices sum to", figures))
}

fn system(process: &Value) -> [(&'static str, &Value); 3] {
    ["resident", "swapped", "untouched"].map(|name| (name, &process["system"][name]))
}

/// The bytes of each size class of glibc's chunks, used or free, over all arenas.
fn glibc(process: &Value, key: &str) -> BTreeMap<u64, (u64, u64)> {
    let mut classes: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let arenas = all(&process["glibc"]["arenas"]).iter();
    for class in arenas.flat_map(|arena| all(&arena[key])) {
        let sum = classes.entry(whole(&class["from"])).or_default();
        *sum = (sum.0 + whole(&class["count"]), sum.1 + whole(&class["bytes"]));
    }
    classes
}

const GLIBC: [(&str, &str); 2] = [("glibc used", "used_classes"), ("glibc free", "free_classes")];

fn instances(json: &Value) -> impl Iterator<Item = Said> {
    let all = all(&json["instances"]).iter();
    all.map(|one| {
        let [pss, rss] = ["pss", "resident"].map(|key| whole(&one["memory"][key]));
        said("together", [pss, rss, rss - pss].map(words::bytes))
    })
}

fn text(json: &Value) -> Vec<Said> {
    let mut told: Vec<Said> = instances(json).collect();
    for process in all(&json["processes"]) {
        told.extend(checks(process));
        let mapped = &process["total"]["mapped"];
        for (name, part) in system(process) {
            told.push(said(name, [thousands(part), bytes(part), share(part, mapped)]));
        }
        let resident: u64 = all(&process["application"]).iter().map(|owner| whole(&owner["resident"])).sum();
        for owner in all(&process["application"]) {
            let part = words::share(whole(&owner["resident"]), resident);
            let label = words::name(word(&owner["label"]), 34);
            told.push(said(&label, [bytes(&owner["mapped"]), bytes(&owner["resident"]), part]));
            told.push(said(&label, AMOUNTS.map(|amount| bytes(&owner[amount]))));
        }
        for slice in all(&process["slices"]) {
            told.push(said("", AMOUNTS.map(|amount| bytes(&slice[amount]))));
        }
        for (_, key) in GLIBC {
            let classes = glibc(process, key);
            let sum = classes.values().map(|(_, bytes)| bytes).sum();
            told.extend(classes.into_iter().map(|(from, (count, bytes))| {
                let figures = [words::thousands(count), words::bytes(bytes), words::share(bytes, sum)];
                said(&words::size_range(from), figures)
            }));
        }
        for heap in all(&process["vms"]).iter().map(|vm| &vm["heap"]).filter(|heap| !heap.is_null()) {
            let figures =
                [&heap["used"]["bytes"], &heap["free"]["bytes"], &heap["overhead"], &heap["segments"]["bytes"]];
            told.push(said("used", figures.map(thousands)));
        }
    }
    told
}

/// What stands beside the pies: each owner's resident memory, and what it has mapped by convention. If several are small
/// in both pies, they have one row.
fn legend(process: &Value) -> Vec<Said> {
    let pies = ["resident", "by_convention"];
    let owners = || all(&process["application"]).iter().filter(|owner| pies.iter().any(|pie| whole(&owner[*pie]) > 0));
    let small = pies.map(|pie| below(&owners().map(|owner| whole(&owner[pie])).collect::<Vec<u64>>()));
    let small: Vec<bool> = small[0].iter().zip(&small[1]).map(|(one, other)| *one && *other).collect();
    let count = small.iter().filter(|small| **small).count();
    let figures = |ours: &[&Value]| {
        pies.map(|pie| {
            let sum = |owners: &mut dyn Iterator<Item = &Value>| owners.map(|owner| whole(&owner[pie])).sum::<u64>();
            let part = sum(&mut ours.iter().copied());
            [words::share(part, sum(&mut owners())), words::bytes(part)]
        })
        .concat()
    };
    let (few, many): (Vec<_>, Vec<_>) = owners().zip(small).partition(|(_, small)| *small && count > 1);
    let few: Vec<&Value> = few.into_iter().map(|(owner, _)| owner).collect();
    let mut rows: Vec<Said> = many.iter().map(|(owner, _)| said(word(&owner["label"]), figures(&[*owner]))).collect();
    rows.extend((count > 1).then(|| said("small ones", figures(&few))));
    rows
}

fn drawn(json: &Value) -> Drawn {
    let mut drawn = Drawn::default();
    instances(json).for_each(|one| drawn.everywhere(one));
    for member in all(&json["instances"]).iter().flat_map(|one| all(&one["members"])) {
        let memory = &member["memory"];
        drawn.drawn.push(said("", [&memory["pss"], &memory["resident"]].map(bytes)));
    }
    for process in all(&json["processes"]) {
        checks(process).into_iter().for_each(|one| drawn.everywhere(one));
        let mapped = &process["total"]["mapped"];
        for (name, part) in system(process) {
            drawn.drawn.push(said(name, [share(part, mapped), bytes(part)]));
        }
        for owner in all(&process["application"]) {
            let label = format!("{}:", word(&owner["label"]));
            drawn.described.push(said(&label, [&owner["resident"], &owner["mapped"]].map(bytes)));
        }
        drawn.drawn.extend(legend(process));
        let mut slices: Vec<&Value> =
            all(&process["slices"]).iter().filter(|slice| slice["kind"] != "reserved").collect();
        slices.sort_by_key(|slice| std::cmp::Reverse((whole(&slice["mapped"]), whole(&slice["resident"]))));
        let largest = slices.iter().take(14).flat_map(|slice| [&slice["resident"], &slice["mapped"]]);
        drawn.drawn.push(said("", largest.map(bytes)));
        for (axis, key) in GLIBC {
            let values: Vec<u64> = glibc(process, key).into_values().map(|(_, bytes)| bytes).collect();
            if !values.is_empty() {
                drawn.panels.push(Panel { axis: axis.to_owned(), values });
            }
        }
        drawn.derived.extend(advice(process));
    }
    drawn.derived.extend(all(&json["instances"]).iter().flat_map(advice));
    drawn
}

/// What is said in the findings, which are text in JSON.
fn advice(of: &Value) -> Vec<String> {
    all(&of["advice"]).iter().flat_map(|one| ["finding", "action"].map(|key| word(&one[key]).to_owned())).collect()
}
