//! What a recording leaves on disk and says meanwhile: limits, parts, anonymity, status.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testdata::{
    Interpreter, Program, Recorder, analyze, info, may_record, record, run, skip, stats, sums, tool, verify,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn may(test: &str) -> bool {
    may_record().map_err(|reason| skip(test, &reason)).is_ok()
}

/// A workload that waits in `ready`.
fn ready(workload: &str, argument: f64) -> Result<Program> {
    let mut program = Interpreter::gc64().start(workload, Some(argument))?;
    program.wait_ready()?;
    Ok(program)
}

/// Records a workload from `ready` to `done`, with `arguments`; the exit code and what was said.
fn recorded(workload: &str, argument: f64, trace: &Path, arguments: &[&str]) -> Result<(i32, String)> {
    let mut program = ready(workload, argument)?;
    let pid = program.pid().to_string();
    let words = arguments.iter().copied().chain(["--max-pause=1s", "-p", &pid, "-o"]).map(AsRef::as_ref);
    let mut recorder = Recorder::start(words.chain([trace.as_os_str()]))?;
    recorder.wait_recording()?;
    program.go()?;
    program.wait_done()?;
    let ended = recorder.stop()?;
    assert!(program.finish()?.success());
    Ok(ended)
}

fn mode(path: &Path) -> Result<u32> {
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o777)
}

#[test]
fn a_trace_ends_before_it_is_too_large() -> Result<()> {
    if !may("a_trace_ends_before_it_is_too_large") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let (code, said) = recorded("churn", 1.0, &trace, &["--mode=full", "--max-size=2MiB"])?;
    assert_eq!(code, 0, "it is what was asked for: {said}");
    assert!(said.contains("the size limit was reached"), "{said}");
    let size = std::fs::metadata(&trace)?.len();
    assert!(size <= 2 << 20, "{size}: {said}");
    assert!(size > 1 << 20, "the room is used: {size}");
    assert_eq!(mode(&trace)?, 0o600);
    let verified = verify(&trace, "--max-size")?;
    assert!(verified.calls > 100_000, "{verified:?}");
    Ok(())
}

/// The parts of a recording, in order.
fn parts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        parts.push(entry?.path());
    }
    parts.sort();
    Ok(parts)
}

/// `analyze verify` of several parts: its exit code and answer.
fn verdict_of(parts: &[PathBuf]) -> Result<(Option<i32>, Value)> {
    let words = ["verify", "--format", "json"].map(AsRef::as_ref).into_iter();
    let output = analyze(words.chain(parts.iter().map(|part| part.as_os_str())))?;
    Ok((output.status.code(), serde_json::from_slice(&output.stdout)?))
}

#[test]
fn parts_are_whole_each_and_together() -> Result<()> {
    if !may("parts_are_whole_each_and_together") {
        return Ok(());
    }
    for arguments in [&["--mode=full", "--rotate=1MiB"][..], &["--mode=sample", "--rotate=1s", "--every=200ms"]] {
        let folder = tempfile::tempdir()?;
        let (code, said) = recorded("churn", 0.8, &folder.path().join("trace.ljt"), arguments)?;
        assert_eq!(code, 0, "{said}");
        let parts = parts(folder.path())?;
        assert!(parts.len() >= 2, "{parts:?}: {said}");
        let (mut calls, mut recordings) = (0, std::collections::BTreeSet::new());
        for (at, part) in parts.iter().enumerate() {
            assert!(part.ends_with(format!("trace.{:03}.ljt", at + 1)), "{parts:?}");
            assert_eq!(mode(part)?, 0o600);
            let (code, document) = info(part)?;
            assert_eq!((code, &document["header"]["part"]), (0, &Value::from(at + 1)), "{document:#}");
            recordings.insert(document["header"]["recording"].to_string());
            calls += document["end"]["trailer"]["calls"].as_u64().unwrap_or_default();
            // Each one by itself: it may be so short that there is nothing in it to compare.
            verify(part, &part.display().to_string())?;
        }
        assert_eq!(recordings.len(), 1, "all are one recording");
        let mut shuffled = parts.clone();
        shuffled.rotate_left(1);
        let (code, document) = verdict_of(&shuffled)?;
        assert_eq!((code, &document["judgement"]), (Some(0), &"verified".into()), "{document:#}");
        assert_eq!(document["verdict"]["calls"], calls, "{document:#}");
        // One is missing in between.
        if parts.len() > 2 {
            let (code, document) = verdict_of(&[&parts[..1], &parts[2..]].concat())?;
            assert_eq!((code, &document["judgement"]), (Some(2), &"incomplete".into()), "{document:#}");
        }
    }
    Ok(())
}

#[test]
fn an_anonymized_trace_replays_and_names_nothing() -> Result<()> {
    if !may("an_anonymized_trace_replays_and_names_nothing") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    for mode in ["full", "sample"] {
        let [plain, anonymous] = ["plain", "anonymous"].map(|name| folder.path().join(format!("{mode}-{name}.ljt")));
        let mut program = ready("direct", 0.3)?;
        let pid = program.pid().to_string();
        let of = |trace: &Path, more: &[&str]| -> Result<()> {
            let name = trace.display().to_string();
            let ran = record([&["--mode", "snapshot", "--max-pause=2s", "-p", &pid, "-o", &name], more].concat())?;
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            Ok(())
        };
        of(&plain, &[])?;
        let words =
            ["--anonymize", "--max-pause=1s", "--every=50ms", "--mode", mode, "-p", &pid, "-o"].map(AsRef::as_ref);
        let mut recorder = Recorder::start(words.into_iter().chain([anonymous.as_os_str()]))?;
        recorder.wait_recording()?;
        program.go()?;
        program.wait_done()?;
        let (code, said) = recorder.stop()?;
        assert_eq!(code, 0, "{said}");
        let verified = verify(&anonymous, mode)?;
        assert!(verified.keyframes > 0 && verified.chunks > 0, "{verified:?}");
        // The heap at the end is the real one, elsewhere.
        let now = folder.path().join(format!("{mode}-now.ljt"));
        of(&now, &[])?;
        let populations = |trace: &Path| -> Result<Vec<Value>> {
            Ok(sums(trace, &[], mode)?.iter().map(|vm| vm["ljscope"]["populations"].clone()).collect())
        };
        assert_eq!(populations(&now)?, populations(&anonymous)?, "{mode}");
        let [(_, real), (_, shown)] = [info(&plain)?, info(&anonymous)?];
        let state = |document: &Value| document["vms"]["1"]["mstate"].as_u64().unwrap_or_default();
        let moved = state(&real).abs_diff(state(&shown));
        assert!(moved != 0 && moved % (128 << 10) == 0, "{moved:#x}");
        assert_eq!(shown["header"]["anonymized"], true);
        let text = shown.to_string();
        let program_path = Interpreter::gc64().executable;
        assert_eq!(shown["header"]["host"], "");
        for secret in [program_path.display().to_string(), testdata::workload("direct").display().to_string()] {
            assert!(real.to_string().contains(&secret), "{secret}: {real:#}");
            assert!(!text.contains(&secret), "{secret}: {text}");
        }
        assert!(program.finish()?.success());
    }
    Ok(())
}

#[test]
fn supervisors_get_json_and_terminals_a_line() -> Result<()> {
    if !may("supervisors_get_json_and_terminals_a_line") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let program = ready("mixed", 0.1)?;
    let (pid, trace) = (program.pid().to_string(), folder.path().join("trace.ljt").display().to_string());
    let arguments = ["--force", "--max-pause=1s", "-d", "2500ms", "-p", &pid, "-o", &trace];
    let ran = record([&arguments[..], &["--json-status"]].concat())?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let lines: Vec<Value> = ran.stderr.lines().map(serde_json::from_str).collect::<serde_json::Result<_>>()?;
    let events: Vec<&str> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!(events.first(), Some(&"recording"), "{}", ran.stderr);
    assert_eq!(events.last(), Some(&"summary"), "{}", ran.stderr);
    let status = lines.iter().find(|line| line["event"] == "status").ok_or("no status")?;
    for key in ["elapsed_s", "windows", "calls", "lost", "bytes", "overhead", "longest_pause_ns"] {
        assert!(status[key].is_number(), "{key}: {status:#}");
    }
    assert_eq!(status["processes"][0]["pid"].to_string(), pid);

    // `script` gives it a terminal; without one there is no such line.
    let command = format!("{} {}", tool("record").display(), arguments.join(" "));
    let ran = run(Command::new("script").args(["-qec", &command, "/dev/null"]))?;
    let shown = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(shown.contains("\r\u{1b}[K") && shown.contains(" windows") && shown.contains(" % spent"), "{shown}");
    let ran = record(arguments)?;
    assert!(!ran.stderr.contains('\u{1b}') && !ran.stderr.contains("% spent"), "{}", ran.stderr);
    Ok(())
}

#[test]
fn a_sample_recording_says_what_it_is() -> Result<()> {
    if !may("a_sample_recording_says_what_it_is") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let (code, said) = recorded("churn", 0.6, &trace, &["--every=100ms", "--max-overhead=20%"])?;
    assert_eq!(code, 0, "{said}");
    let verified = verify(&trace, "sample")?;
    assert!(verified.keyframes > 0 && verified.calls > 1000, "{verified:?}");
    let (_, document) = info(&trace)?;
    assert_eq!(document["header"]["mode"], "sample");
    assert_eq!(document["header"]["options"]["max_overhead_ppm"], "200000");
    let cost = &document["processes"][0]["cost"];
    let number = |key: &str| cost[key].as_u64().unwrap_or_default();
    assert!(number("worst_minute_ppm") > 0, "{cost:#}");
    // The heap at a time between two windows is that of the window before, which is said.
    assert!(!stats(&trace, &[])?.1.is_empty());
    Ok(())
}
