//! What `analyze` makes of the recorded traces in `traces/`: the same figures in every form, at any time, on any number
//! of threads. Nothing here records, so it runs without privilege.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testdata::{analyze, fixture, info, stats, sums, verify};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const FIXTURES: [&str; 4] = ["gc64", "nogc64", "threads", "nginx"];

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// What a successful command writes to standard output.
fn output(words: &[&str], name: &str) -> Result<Vec<u8>> {
    let trace = fixture(name).display().to_string();
    let output = analyze([words, &[&trace]].concat())?;
    assert!(output.status.success(), "{words:?} of {name}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stderr, b"", "{words:?} of {name}");
    Ok(output.stdout)
}

/// The rows of a CSV without quoted commas, by column name.
fn rows(csv: &[u8]) -> Result<Vec<BTreeMap<String, String>>> {
    let text = std::str::from_utf8(csv)?;
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_string).collect::<Vec<_>>());
    let names = lines.next().ok_or("no header")?;
    Ok(lines.map(|fields| names.iter().cloned().zip(fields).collect()).collect())
}

#[test]
fn every_fixture_is_verified_and_adds_up_to_the_byte() -> Result<()> {
    for name in FIXTURES {
        let trace = fixture(name);
        assert!(std::fs::metadata(&trace)?.len() < 100_000, "{name} is too large for a fixture");
        let verified = verify(&trace, name)?;
        assert!(verified.keyframes > 1 && verified.chunks > 2000 && verified.calls > 5000, "{name}: {verified:?}");
        for at in ["end", "peak"] {
            sums(&trace, &["--at", at], name)?;
        }
    }
    assert!(verify(&fixture("gc64"), "gc64")?.direct > 0 && verify(&fixture("threads"), "threads")?.direct > 0);
    Ok(())
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() -> Result<()> {
    for name in FIXTURES {
        for command in [
            "verify --format text",
            "verify --format json",
            "stats --format text",
            "stats --format json",
            "stats --format csv",
            "stats --format svg",
            "stats --at peak --format json",
            "info --format json",
            "events --format csv",
        ] {
            let words: Vec<&str> = command.split(' ').collect();
            let one = output(&[&words[..], &["-j", "1"]].concat(), name)?;
            assert!(one.len() > 100, "{command} of {name}");
            for threads in ["2", "7"] {
                let many = output(&[&words[..], &["-j", threads]].concat(), name)?;
                assert!(one == many, "{command} of {name} differs with {threads} threads");
            }
        }
    }
    Ok(())
}

#[test]
fn all_formats_carry_the_same_figures() -> Result<()> {
    for name in FIXTURES {
        let vms = stats(&fixture(name), &[])?.1;
        let mut of_json = BTreeSet::new();
        for vm in &vms {
            let ours = &vm["ljscope"];
            for (population, facts) in ours["populations"].as_object().ok_or("no populations")? {
                for bucket in facts["buckets"].as_array().into_iter().flatten() {
                    let words = ["size_from", "size_to", "count", "bytes"].map(|key| number(&bucket[key]).to_string());
                    of_json.insert((ours["vm"]["number"].to_string(), population.clone(), words));
                }
            }
        }
        let csv = rows(&output(&["stats", "--format", "csv"], name)?)?;
        let of_csv: BTreeSet<_> = csv
            .iter()
            .map(|row| {
                let words = ["size_from", "size_to", "count", "bytes"].map(|key| row[key].clone());
                (row["vm"].clone(), row["population"].clone(), words)
            })
            .collect();
        assert_eq!(of_json, of_csv, "{name}");
        assert_eq!(csv.len(), of_csv.len(), "{name}: rows come twice");

        let (text, svg) = (output(&["stats"], name)?, output(&["stats", "--format", "svg"], name)?);
        let (text, svg) = (String::from_utf8(text)?, String::from_utf8(svg)?);
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{name}");
        for vm in &vms {
            for figure in [&vm["used"]["count"], &vm["free"]["count"], &vm["ljscope"]["populations"]["direct"]["count"]]
            {
                let figure = thousands(number(figure));
                assert!(
                    figure == "0" || text.contains(&figure) && svg.contains(&figure),
                    "{name}: {figure} is missing"
                );
            }
            for figure in [&vm["used"]["sum"], &vm["free"]["sum"], &vm["segments"]["sum"], &vm["luajit_GC_managed"]] {
                let figure = thousands(number(figure));
                assert!(text.contains(&figure), "{name}: {figure} is missing: {text}");
            }
        }
    }
    Ok(())
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

#[test]
fn the_compatible_form_has_exactly_the_published_keys() -> Result<()> {
    let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    for name in FIXTURES {
        let (_, vms) = stats(&fixture(name), &["--compat"])?;
        let (_, ours) = stats(&fixture(name), &[])?;
        for (vm, ours) in vms.iter().zip(&ours) {
            let top = ["distributions", "free", "luajit_GC_managed", "luajit_big_chunks", "segments", "used"];
            assert_eq!(keys(vm), top, "{name}");
            assert_eq!(keys(&vm["distributions"]), ["free", "segments", "used"], "{name}");
            for population in ["free", "segments", "used"] {
                assert_eq!(keys(&vm[population]), ["count", "max", "min", "sum"], "{name}");
                for bar in vm["distributions"][population].as_array().ok_or("no bars")? {
                    assert_eq!(keys(bar), ["count", "key"], "{name}");
                    let bucket: u64 = bar["key"].as_str().ok_or("a key is a string")?.parse()?;
                    assert!(bucket.is_power_of_two() && number(&bar["count"]) > 0, "{name}: {bar}");
                }
            }
            for key in top {
                assert_eq!(vm[key], ours[key], "{name}: our own form says the same");
            }
        }
        assert_eq!(vms.len(), ours.len());
    }
    Ok(())
}

#[test]
fn one_vm_is_what_it_is_among_all() -> Result<()> {
    let all = stats(&fixture("threads"), &[])?.1;
    assert_eq!(all.len(), 3);
    for (vm, number) in all.iter().zip(["1", "2", "3"]) {
        assert_eq!(stats(&fixture("threads"), &["--vm", number])?.1, std::slice::from_ref(vm));
        let rows = rows(&output(&["stats", "--vm", number, "--format", "csv"], "threads")?)?;
        assert!(!rows.is_empty() && rows.iter().all(|row| row["vm"] == number));
    }
    let nginx = stats(&fixture("nginx"), &[])?.1;
    assert_eq!(nginx[0]["ljscope"]["vm"]["label"], "http");
    for (name, gc64) in [("gc64", true), ("nogc64", false)] {
        assert_eq!(stats(&fixture(name), &[])?.1[0]["ljscope"]["vm"]["gc64"], gc64, "{name}");
    }
    Ok(())
}

#[test]
fn events_have_a_row_for_each_call_and_mapping_call() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for name in FIXTURES {
        let (_, document) = info(&fixture(name))?;
        let trailer = &document["end"]["trailer"];
        let (calls, maps) = (number(&trailer["calls"]), number(&trailer["maps"]));
        let csv = rows(&output(&["events"], name)?)?;
        let is_map = |event: &str| ["mmap", "munmap", "mremap", "map", "unmap", "remap"].contains(&event);
        let mapped = csv.iter().filter(|row| is_map(&row["event"])).count() as u64;
        assert_eq!((csv.len() as u64 - mapped, mapped), (calls, maps), "{name}");

        let jsonl = output(&["events", "--format", "jsonl"], name)?;
        let mut count = 0;
        for (line, row) in std::str::from_utf8(&jsonl)?.lines().zip(&csv) {
            let event: Value = serde_json::from_str(line)?;
            for (key, value) in row {
                let other = &event[key];
                let other = other.as_str().map_or_else(|| other.to_string(), str::to_string);
                assert!(
                    *value == other || value.is_empty() && event[key].is_null(),
                    "{name}: {key} of {line}: {value}"
                );
            }
            count += 1;
        }
        assert_eq!((count, std::str::from_utf8(&jsonl)?.lines().count()), (csv.len(), csv.len()), "{name}");

        let parquet = folder.path().join(format!("{name}.parquet"));
        output(&["events", "--format", "parquet", "-o", &parquet.display().to_string()], name)?;
        let bytes = std::fs::read(&parquet)?;
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{name}");
    }
    let one = rows(&output(&["events", "--vm", "2"], "threads")?)?;
    let all = rows(&output(&["events"], "threads")?)?;
    assert!(!one.is_empty() && one.len() < all.len());
    assert_eq!(one.len(), all.iter().filter(|row| row["vm"] == "2").count());
    Ok(())
}
