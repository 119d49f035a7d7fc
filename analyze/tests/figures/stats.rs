//! Heaps by size.

use serde_json::Value;

use crate::json::{all, bytes, share, sizes, thousands, whole};
use crate::picture::Panel;
use crate::shown::{Said, said};
use crate::table::{Row, Table, row};
use crate::{Drawn, Subject};

pub(crate) const SUBJECT: Subject = Subject {
    command: "stats",
    lines: &[
        "gc64.ljt",
        "gc64.ljt --at peak",
        "gc64.ljt --at 20ms",
        "nginx.ljt --at 300ms",
        "nogc64.ljt",
        "sampled.ljt",
        "snapshot.ljt",
        "threads.ljt",
    ],
    rows,
    text,
    drawn,
};

const POPULATIONS: [&str; 4] = ["used", "free", "segments", "direct"];

/// The VMs: one is alone, several are a list.
fn vms(json: &Value) -> Vec<&Value> {
    let vms = json.as_array().map_or(vec![json], |vms| vms.iter().collect());
    vms.into_iter().map(|vm| &vm["ljscope"]).collect()
}

fn rows(found: &Table, json: &Value) {
    let mut rows: Vec<Row> = Vec::new();
    for vm in vms(json) {
        for name in POPULATIONS {
            for bucket in all(&vm["populations"][name]["buckets"]) {
                rows.push(row!({
                    "trace": vm["source"], "pid": vm["vm"]["pid"], "vm": vm["vm"]["number"], "label": vm["vm"]["label"],
                    "time_ns": vm["moment"]["time_ns"], "population": name, "size_from": bucket["size_from"],
                    "size_to": bucket["size_to"], "count": bucket["count"], "bytes": bucket["bytes"],
                }));
            }
        }
    }
    found.assert_is(&rows);
}

fn text(json: &Value) -> Vec<Said> {
    let mut told = Vec::new();
    for vm in vms(json) {
        let of = |name: &str| &vm["populations"][name];
        for name in POPULATIONS {
            let population = of(name);
            let (count, sum) = (&population["count"], &population["bytes"]);
            if name == "direct" && whole(count) == 0 {
                continue;
            }
            let ends = [&population["min"], &population["max"]].map(bytes);
            let part = (name != "direct").then(|| share(sum, &of("segments")["bytes"]));
            let figures = [thousands(count), thousands(sum), bytes(sum)].into_iter().chain(ends).chain(part);
            told.push(said(name, figures));
            let buckets = all(&population["buckets"]);
            let few = if matches!(name, "used" | "free") { 1 } else { 2 };
            for bucket in buckets.iter().filter(|_| buckets.len() >= few) {
                let part = share(&bucket["bytes"], sum);
                let figures = [thousands(&bucket["count"]), bytes(&bucket["bytes"]), part];
                told.push(said(&sizes(&bucket["size_from"]), figures));
            }
        }
        let sums = [&of("used")["bytes"], &of("free")["bytes"], &vm["overhead_bytes"], &of("segments")["bytes"]];
        told.push(said("used", sums.map(thousands)));
        told.push(said("gc.total", [thousands(&vm["gc_total"])]));
    }
    told
}

fn drawn(json: &Value) -> Drawn {
    let mut drawn = Drawn::default();
    for vm in vms(json) {
        let of = |name: &str| &vm["populations"][name];
        let whole_bytes = &of("segments")["bytes"];
        for name in POPULATIONS {
            let population = of(name);
            let (count, sum) = (&population["count"], &population["bytes"]);
            if whole(count) == 0 {
                continue;
            }
            let part = matches!(name, "used" | "free").then(|| share(sum, whole_bytes));
            let (min, max) = (bytes(&population["min"]), bytes(&population["max"]));
            let ends = match whole(count) {
                1 => vec![],
                _ if population["min"] == population["max"] => vec![min],
                _ => vec![min, max],
            };
            let figures = [thousands(count), bytes(sum)].into_iter().chain(part).chain(ends);
            drawn.everywhere(said(&format!("{name}:"), figures));
            let axis = match name {
                "segments" => "segments",
                "direct" => "blocks",
                _ => "chunks",
            };
            let of_buckets = |figure: &str| all(&population["buckets"]).iter().map(|one| whole(&one[figure])).collect();
            drawn.panels.push(Panel { axis: axis.to_owned(), values: of_buckets("count") });
            drawn.panels.push(Panel { axis: "bytes".to_owned(), values: of_buckets("bytes") });
        }
        let sums = [&of("used")["bytes"], &of("free")["bytes"], &vm["overhead_bytes"], whole_bytes];
        let apart = [&of("direct")["bytes"], &vm["gc_total"]];
        drawn.everywhere(said("used", sums.into_iter().chain(apart).map(bytes)));
    }
    drawn
}
