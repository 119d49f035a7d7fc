//! What lies where.

use analyze::output::words;
use serde_json::Value;
use shared::trace::census::ObjectKind;

use crate::json::{all, bytes, text as word, thousands, whole};
use crate::shown::{Said, said};
use crate::table::{Row, Table, row};
use crate::{Drawn, Subject};

pub(crate) const SUBJECT: Subject = Subject {
    command: "map",
    lines: &[
        "gc64.ljt",
        "gc64.ljt --at peak",
        "nginx.ljt --steps 3",
        "nogc64.ljt",
        "objects.ljt --by kind",
        "sampled.ljt",
        "snapshot.ljt",
        "threads.ljt",
    ],
    rows,
    text,
    drawn,
};

/// What bytes are. Those that are none of a thing are left out in JSON.
const KINDS: [&str; 7] =
    ["used_bytes", "own_bytes", "binned_bytes", "dv_bytes", "top_bytes", "overhead_bytes", "direct_bytes"];

/// Cells of a full row.
const CELLS: u64 = 320;

fn of(mix: &Value, kind: &str) -> u64 {
    mix[kind].as_u64().unwrap_or(0)
}

fn mapped(mix: &Value) -> u64 {
    KINDS.iter().map(|kind| of(mix, kind)).sum()
}

/// Each map, with its VM.
fn maps(json: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    all(&json["vms"]).iter().flat_map(|vm| all(&vm["maps"]).iter().map(move |map| (&vm["vm"], map)))
}

fn rows(found: &Table, json: &Value) {
    let mut rows: Vec<Row> = Vec::new();
    for (vm, map) in maps(json) {
        for mapping in all(&map["mappings"]) {
            let mut row = row!({
                "trace": json["source"], "pid": vm["pid"], "vm": vm["number"], "label": vm["label"],
                "time_ns": map["moment"]["time_ns"], "kind": mapping["kind"], "base": mapping["base"],
                "bytes": mapping["bytes"], "pinned_by_count": mapping["pinned_by"]["count"],
                "pinned_by_bytes": mapping["pinned_by"]["bytes"], "free_runs": mapping["free_runs"],
                "largest_free_bytes": mapping["largest_free_bytes"], "first": mapping["first"],
                "mstate": mapping["mstate"], "standing": mapping["standing"],
                "kept_for_good": mapping["kept_for_good"],
            });
            row.extend(KINDS.map(|kind| (kind.to_owned(), of(mapping, kind).into())));
            // Of maps by kind each mapping has some.
            if mapping["kinds"].is_object() {
                row.extend(ObjectKind::ALL.map(|kind| {
                    let bytes = mapping["kinds"][kind.name()].as_u64().unwrap_or(0);
                    (format!("{}_bytes", kind.name().replace(' ', "_")), bytes.into())
                }));
            }
            rows.push(row);
        }
    }
    found.assert_is(&rows);
}

/// What a heap consists of, in a line.
fn sums(map: &Value) -> Said {
    let sum = |kind: &str| words::thousands(of(&map["sum"], kind));
    let [segments, blocks] = ["segment", "direct"].map(|kind| {
        let mappings = all(&map["mappings"]).iter().filter(|mapping| mapping["kind"] == kind);
        words::thousands(mappings.count() as u64)
    });
    let parts = ["used", "own", "binned", "dv", "top", "overhead"].map(|kind| sum(&format!("{kind}_bytes")));
    let ends = [thousands(&map["segment_bytes"]), segments, sum("direct_bytes")];
    said("used", parts.into_iter().chain(ends).chain((blocks != "0").then_some(blocks)))
}

/// What its blocks are, the largest kinds first.
fn kinds(map: &Value) -> Option<Said> {
    let mut kinds: Vec<u64> = map["sum"]["kinds"].as_object()?.values().map(whole).collect();
    kinds.sort_unstable();
    let sum = kinds.iter().sum();
    Some(said("kind:", kinds.iter().rev().flat_map(|bytes| [words::bytes(*bytes), words::share(*bytes, sum)])))
}

/// Segments that stand out in the same way, in sum.
fn standing(map: &Value, standing: &str) -> Option<Said> {
    let ours = || all(&map["mappings"]).iter().filter(|mapping| mapping["standing"] == standing);
    let sum = |figure: &dyn Fn(&Value) -> u64| words::bytes(ours().map(figure).sum());
    let mut figures = vec![words::thousands(ours().count() as u64), sum(&|mapping| whole(&mapping["bytes"]))];
    if standing == "pinned_by_little" {
        figures.push(sum(&|mapping| whole(&mapping["pinned_by"]["bytes"])));
    }
    (ours().count() > 0).then(|| said("", figures))
}

fn remarkable(map: &Value) -> impl Iterator<Item = Said> {
    ["wholly_free", "pinned_by_little"].into_iter().filter_map(|kind| standing(map, kind))
}

/// A segment that stands out.
fn remarks(map: &Value) -> impl Iterator<Item = (&Value, u64)> {
    let ours = all(&map["mappings"]).iter().filter(|mapping| word(&mapping["standing"]) != "ordinary");
    ours.map(|mapping| (mapping, ["binned_bytes", "dv_bytes", "top_bytes"].iter().map(|kind| of(mapping, kind)).sum()))
}

/// The same in a picture, in a line.
fn remark(mapping: &Value, free: u64) -> Said {
    let pinned = &mapping["pinned_by"];
    let pinned = [bytes(&pinned["bytes"]), thousands(&pinned["count"])].into_iter();
    let pinned = pinned.filter(|_| mapping["standing"] == "pinned_by_little");
    let runs = [thousands(&mapping["free_runs"]), bytes(&mapping["largest_free_bytes"])].into_iter();
    let runs = runs.filter(|_| whole(&mapping["free_runs"]) > 1);
    let free = [words::bytes(free), words::share(free, whole(&mapping["bytes"]))];
    let figures = [bytes(&mapping["bytes"])].into_iter().chain(pinned).chain(free).chain(runs);
    said(&address(&mapping["base"]), figures)
}

fn address(base: &Value) -> String {
    format!("{:#014x}", whole(base))
}

fn text(json: &Value) -> Vec<Said> {
    let mut told = Vec::new();
    for (_, map) in maps(json) {
        told.push(sums(map));
        told.extend(kinds(map));
        told.extend(remarkable(map));
        // Of very many only some are told.
        if remarks(map).count() < 3 {
            told.extend(remarks(map).map(|(mapping, free)| {
                let figures = [bytes(&mapping["bytes"]), words::bytes(free), thousands(&mapping["free_runs"])];
                said(&address(&mapping["base"]), figures.into_iter().chain([bytes(&mapping["largest_free_bytes"])]))
            }));
        }
    }
    told
}

fn drawn(json: &Value) -> Drawn {
    let mut drawn = Drawn::default();
    for (_, map) in maps(json) {
        drawn.everywhere(sums(map));
        kinds(map).into_iter().for_each(|kinds| drawn.everywhere(kinds));
        remarkable(map).for_each(|one| drawn.everywhere(one));
        // What is used of each stretch of addresses, down the side.
        let used = all(&map["rows"]).iter().map(|row| {
            let sum = |of: &dyn Fn(&Value) -> u64| all(&row["cells"]).iter().map(of).sum();
            words::share(sum(&|cell| of(cell, "used_bytes") + of(cell, "direct_bytes")), sum(&mapped))
        });
        drawn.drawn.push(said("", used.filter(|share| share != "-")));
        if remarks(map).count() < 3 {
            drawn.drawn.extend(remarks(map).map(|(mapping, free)| remark(mapping, free)));
        }
    }
    for vm in all(&json["vms"]) {
        let cell = whole(&vm["cell_bytes"]);
        let row = [CELLS.to_string(), words::bytes(cell)];
        drawn.everywhere(said("a full row is", [words::bytes(cell * CELLS)].into_iter().chain(row)));
    }
    drawn
}
