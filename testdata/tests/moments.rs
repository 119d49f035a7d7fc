//! `analyze stats --at`: the heap at any time is the keyframe before and the calls since, counted here independently.

use std::path::Path;

use serde_json::Value;
use testdata::{analyze, fixture, info, stats, sums};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const FIXTURES: [&str; 4] = ["gc64", "nogc64", "threads", "nginx"];

/// A call: when, and what it adds to `gc.total` and to the number of blocks.
struct Call {
    time: u64,
    bytes: i64,
    blocks: i64,
}

/// The calls of one VM in their order.
fn calls(trace: &Path, vm: u64) -> Result<Vec<Call>> {
    let words = ["events", "--format", "jsonl", "--vm", &vm.to_string()].map(str::to_string);
    let output = analyze(words.into_iter().chain([trace.display().to_string()]))?;
    let events = std::str::from_utf8(&output.stdout)?.lines().map(serde_json::from_str::<Value>);
    let mut calls = Vec::new();
    for event in events {
        let event = event?;
        let of = |key: &str| event[key].as_i64().unwrap_or_default();
        let blocks = match event["event"].as_str().unwrap_or_default() {
            "alloc" => 1,
            // LuaJIT frees nothing, too, at times.
            "free" => -i64::from(of("ptr") != 0),
            "realloc" | "resize" => 0,
            _ => continue,
        };
        calls.push(Call { time: of("time_ns") as u64, bytes: of("new_size") - of("old_size"), blocks });
    }
    Ok(calls)
}

/// `gc.total`, and how many blocks live: chunks in use and direct ones, but neither fenceposts, the only ones below 32
/// bytes, nor the record that every segment but the newest holds of itself.
fn counted(vm: &Value) -> (i64, i64) {
    let count = |value: &Value| value.as_i64().unwrap_or_default();
    let populations = &vm["ljscope"]["populations"];
    let used = populations["used"]["buckets"].as_array().into_iter().flatten();
    let chunks: i64 =
        used.filter(|bucket| count(&bucket["size_from"]) >= 32).map(|bucket| count(&bucket["count"])).sum();
    let records = count(&vm["segments"]["count"]) - 1;
    (count(&vm["luajit_GC_managed"]), chunks + count(&populations["direct"]["count"]) - records)
}

fn at(trace: &Path, vm: u64, time: u64) -> Result<Value> {
    let arguments = ["--vm", &vm.to_string(), "--at", &format!("{time}ns")];
    let vms = sums(trace, &arguments, &format!("{arguments:?} of {}", trace.display()))?;
    Ok(vms.into_iter().next().ok_or("no VM")?)
}

#[test]
fn the_heap_at_a_time_is_the_keyframe_and_the_calls_since() -> Result<()> {
    for name in FIXTURES {
        let trace = fixture(name);
        let (_, document) = info(&trace)?;
        let frames = document["frames"].as_array().ok_or("no frames")?;
        for vm in 1..=document["vms"].as_object().map_or(0, |vms| vms.len() as u64) {
            let calls = calls(&trace, vm)?;
            let of = |value: &Value| value.as_u64().unwrap_or_default();
            let keyframes: Vec<&Value> = frames.iter().filter(|f| f["kind"] == "keyframe" && f["vm"] == vm).collect();
            assert!(keyframes.len() > 1, "{name}");
            for (place, keyframe) in keyframes.iter().enumerate() {
                // How many calls stand before it in the file: those happened before it.
                let before = frames
                    .iter()
                    .filter(|f| f["kind"] == "calls" && f["vm"] == vm && of(&f["offset"]) < of(&keyframe["offset"]));
                let first = before.map(|frame| of(&frame["count"]) as usize).sum::<usize>();
                let next = keyframes.get(place + 1).map_or(u64::MAX, |next| of(&next["start_ns"]));
                let start = of(&keyframe["start_ns"]);
                let state = at(&trace, vm, start)?;
                assert_eq!(state["ljscope"]["moment"]["calls_since_keyframe"], 0, "{name}: at a keyframe");
                let chunks = of(&state["used"]["count"]) + of(&state["free"]["count"]);
                assert_eq!(chunks, of(&keyframe["count"]), "{name}: the keyframe at {start} itself");
                let (bytes, blocks) = counted(&state);
                let times: Vec<u64> =
                    calls[first..].iter().map(|call| call.time).take_while(|time| *time < next).collect();
                for part in 1..=4 {
                    let Some(time) = times.get((times.len() * part / 4).saturating_sub(1)).copied() else { continue };
                    let since: Vec<&Call> = calls[first..].iter().take_while(|call| call.time <= time).collect();
                    let state = at(&trace, vm, time)?;
                    let moment = &state["ljscope"]["moment"];
                    assert_eq!(
                        (of(&moment["calls_since_keyframe"]) as usize, of(&moment["time_ns"])),
                        (since.len(), time),
                        "{name}"
                    );
                    let expected = (
                        bytes + since.iter().map(|call| call.bytes).sum::<i64>(),
                        blocks + since.iter().map(|call| call.blocks).sum::<i64>(),
                    );
                    assert_eq!(
                        counted(&state),
                        expected,
                        "{name}: VM {vm} at {time}, {} calls behind {start}",
                        since.len()
                    );
                }
            }
        }
    }
    Ok(())
}

#[test]
fn the_peak_is_the_highest_point() -> Result<()> {
    let occupied = |vm: &Value| {
        let bytes = |population: &str| vm["ljscope"]["populations"][population]["bytes"].as_u64().unwrap_or_default();
        bytes("used") + bytes("direct")
    };
    for name in FIXTURES {
        let trace = fixture(name);
        for peak in stats(&trace, &["--at", "peak"])?.1 {
            let vm = peak["ljscope"]["vm"]["number"].as_u64().ok_or("no number")?;
            let time = peak["ljscope"]["moment"]["time_ns"].as_u64().ok_or("no time")?;
            let first = at(&trace, vm, time)?;
            // Calls of the same tick of the trace's clock may follow the peak.
            assert!(occupied(&first) <= occupied(&peak), "{name}");
            let calls = calls(&trace, vm)?;
            let known = info(&trace)?.1["frames"].as_array().and_then(|frames| {
                frames.iter().find(|f| f["kind"] == "keyframe" && f["vm"] == vm)?["start_ns"].as_u64()
            });
            let times: Vec<u64> = calls.iter().map(|call| call.time).filter(|time| Some(*time) >= known).collect();
            for time in times.iter().step_by(times.len() / 12 + 1) {
                assert!(occupied(&at(&trace, vm, *time)?) <= occupied(&peak), "{name}: VM {vm} at {time}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_end_is_the_last_keyframe_of_a_recording_that_was_stopped() -> Result<()> {
    for name in FIXTURES {
        let trace = fixture(name);
        let (_, document) = info(&trace)?;
        let frames = document["frames"].as_array().ok_or("no frames")?;
        let (code, end) = stats(&trace, &["--at", "end"])?;
        assert_eq!(code, 0, "{name}");
        for vm in &end {
            let number = &vm["ljscope"]["vm"]["number"];
            let last = frames.iter().rfind(|f| f["kind"] == "keyframe" && f["vm"] == *number).ok_or("no keyframe")?;
            let chunks = vm["used"]["count"].as_u64().unwrap_or(0) + vm["free"]["count"].as_u64().unwrap_or(0);
            assert_eq!(Some(chunks), last["count"].as_u64(), "{name}");
        }
        // Without --at the end is meant.
        let figures = |vms: &[Value]| vms.iter().map(|vm| vm["ljscope"]["populations"].clone()).collect::<Vec<_>>();
        assert_eq!(figures(&end), figures(&stats(&trace, &[])?.1), "{name}");
    }
    Ok(())
}

#[test]
fn times_are_taken_in_any_unit_and_refused_outside_of_the_trace() -> Result<()> {
    let trace = fixture("gc64");
    let start = info(&trace)?.1["frames"]
        .as_array()
        .and_then(|frames| frames.iter().rfind(|f| f["kind"] == "keyframe")?["start_ns"].as_u64());
    let us = start.ok_or("no keyframe")? / 1000 + 1;
    let same: Vec<Vec<Value>> =
        [format!("{us}us"), format!("{}ns", us * 1000), format!("{}.{:06}s", us / 1_000_000, us % 1_000_000)]
            .iter()
            .map(|time| Ok(stats(&trace, &["--at", time])?.1))
            .collect::<Result<_>>()?;
    assert!(same.windows(2).all(|two| two[0] == two[1]), "{same:#?}");
    let name = trace.display().to_string();
    for time in ["1000000h", "0ns", "-1s", "soon", "1.2.3s", "nan", "inf", "1e400", ""] {
        let output = analyze(["stats", &format!("--at={time}"), &name])?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "--at={time}: {said}");
        assert!(!said.contains("panicked") && said.len() > 10, "--at={time}: {said}");
    }
    Ok(())
}
