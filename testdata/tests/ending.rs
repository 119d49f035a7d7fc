//! The ways a recording ends, and the mode that ends at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use testdata::{
    Interpreter, Program, Recorder, changed_text, info, may_record, record, signal, skip, stats, sums, verify,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A folder for traces and a workload that waits in `ready`; `None` where nothing can be recorded.
fn prepared(test: &str, workload: &str, argument: f64) -> Result<Option<(tempfile::TempDir, PathBuf, Program)>> {
    if let Err(reason) = may_record() {
        skip(test, &reason);
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let mut program = Interpreter::gc64().start(workload, Some(argument))?;
    program.wait_ready()?;
    Ok(Some((folder, trace, program)))
}

fn attach(program: &Program, trace: &Path, arguments: &[&str]) -> Result<Recorder> {
    let pid = program.pid().to_string();
    let words =
        ["--mode=full", "--max-pause=2s", "-p", &pid].into_iter().chain(arguments.iter().copied()).map(AsRef::as_ref);
    let mut recorder = Recorder::start(words.chain(["-o".as_ref(), trace.as_os_str()]))?;
    recorder.wait_recording()?;
    Ok(recorder)
}

/// The trailer of a trace that must have one.
fn trailer(trace: &Path) -> Result<Value> {
    let (code, document) = info(trace)?;
    assert_eq!((code, &document["end"]["complete"]), (0, &Value::Bool(true)), "{document:#}");
    Ok(document["end"]["trailer"].clone())
}

#[test]
fn a_target_that_is_killed_leaves_a_whole_trace() -> Result<()> {
    let Some((_folder, trace, mut program)) = prepared("a_target_that_is_killed", "churn", 1.0)? else { return Ok(()) };
    let recorder = attach(&program, &trace, &["--keyframe-every", "100ms"])?;
    program.go()?;
    std::thread::sleep(Duration::from_millis(500));
    signal("KILL", program.pid())?;
    let (code, said) = recorder.wait()?;
    assert_eq!(code, 0, "{said}");
    let trailer = trailer(&trace)?;
    assert_eq!((&trailer["target_ended"], &trailer["reason"]), (&true.into(), &"the target ended".into()));
    let verified = verify(&trace, "killed")?;
    assert!(verified.calls > 10_000, "{verified:?}");
    sums(&trace, &[], "killed")?;
    Ok(())
}

#[test]
fn a_target_that_ends_leaves_a_whole_trace() -> Result<()> {
    let Some((_folder, trace, mut program)) = prepared("a_target_that_ends", "mixed", 0.3)? else { return Ok(()) };
    let recorder = attach(&program, &trace, &[])?;
    program.go()?;
    program.wait_done()?;
    assert!(program.finish()?.success());
    let (code, said) = recorder.wait()?;
    assert_eq!(code, 0, "{said}");
    assert_eq!(trailer(&trace)?["target_ended"], true);
    assert!(verify(&trace, "ended")?.calls > 10_000);
    // The end of a VM frees everything; what is of interest is its peak.
    let vms = sums(&trace, &[], "ended")?;
    assert_eq!(vms[0]["ljscope"]["moment"]["asked"], "peak");
    let at_end = sums(&trace, &["--at", "end"], "ended")?;
    assert!(at_end[0]["used"]["count"].as_u64() < vms[0]["used"]["count"].as_u64());
    Ok(())
}

#[test]
fn sigterm_ends_a_recording_as_sigint_does() -> Result<()> {
    for name in ["TERM", "INT"] {
        let Some((_folder, trace, mut program)) = prepared("sigterm_ends_a_recording", "mixed", 0.3)? else {
            return Ok(());
        };
        let recorder = attach(&program, &trace, &[])?;
        program.go()?;
        program.wait_done()?;
        signal(name, recorder.pid())?;
        let (code, said) = recorder.wait()?;
        assert_eq!(code, 0, "{name}: {said}");
        let trailer = trailer(&trace)?;
        assert_eq!((&trailer["reason"], &trailer["target_ended"]), (&"asked to stop".into(), &false.into()), "{name}");
        let verified = verify(&trace, name)?;
        assert!(verified.calls > 10_000 && verified.keyframes > 0, "{name}: {verified:?}");
        assert!(program.finish()?.success());
    }
    Ok(())
}

#[test]
fn a_recording_ends_when_its_time_is_up() -> Result<()> {
    let Some((_folder, trace, mut program)) = prepared("a_recording_ends_when_its_time_is_up", "churn", 0.3)? else {
        return Ok(());
    };
    let recorder = attach(&program, &trace, &["-d", "300ms"])?;
    program.go()?;
    let (code, said) = recorder.wait()?;
    assert_eq!(code, 0, "{said}");
    assert_eq!(trailer(&trace)?["reason"], "the time was up");
    assert!(verify(&trace, "-d")?.keyframes > 0);
    assert_eq!(changed_text(program.pid())?, [0; 0]);
    program.wait_done()?;
    assert!(program.finish()?.success());
    Ok(())
}

#[test]
fn a_snapshot_is_the_keyframe_of_a_full_recording() -> Result<()> {
    for interpreter in [Interpreter::gc64(), Interpreter::nogc64()] {
        if let Err(reason) = may_record() {
            skip("a_snapshot_is_the_keyframe_of_a_full_recording", &reason);
            return Ok(());
        }
        let folder = tempfile::tempdir()?;
        let [snapshot, full] = ["snapshot.ljt", "full.ljt"].map(|name| folder.path().join(name));
        let mut program = interpreter.start("direct", None)?;
        program.wait_ready()?;
        program.go()?;
        program.wait_done()?;
        let pid = program.pid().to_string();
        let ran = record(["-p", &pid, "--mode", "snapshot", "--max-pause=2s", "-o", &snapshot.display().to_string()])?;
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let (code, said) = attach(&program, &full, &[])?.stop()?;
        assert_eq!(code, 0, "{said}");

        let (code, document) = info(&snapshot)?;
        assert_eq!(code, 0);
        let kinds: Vec<_> =
            document["frames"].as_array().into_iter().flatten().map(|frame| frame["kind"].as_str()).collect();
        assert_eq!(kinds, ["header", "process", "vm", "keyframe", "census", "breakdown", "process"].map(Some));
        assert_eq!((&document["header"]["mode"], &document["vms"]["1"]["probe"]), (&"snapshot".into(), &Value::Null));
        let trailer = &document["end"]["trailer"];
        // One stop for the heap, and one to three for glibc's arenas.
        let pauses = trailer["cost"]["pauses"].as_u64().ok_or("no pauses")?;
        assert!(trailer["calls"] == 0 && (2..=4).contains(&pauses), "{trailer:#}");

        let facts = |trace: &Path| -> Result<Value> {
            let (code, vms) = stats(trace, &[])?;
            assert_eq!((code, vms.len()), (0, 1));
            let vm = &vms[0];
            Ok(serde_json::json!([
                vm["distributions"],
                vm["used"],
                vm["free"],
                vm["segments"],
                vm["luajit_GC_managed"],
                vm["ljscope"]["populations"],
                vm["ljscope"]["overhead_bytes"],
            ]))
        };
        let taken = facts(&snapshot)?;
        assert_eq!(taken, facts(&full)?, "{}", interpreter.name);
        assert!(taken[5]["direct"]["count"].as_u64() > Some(0), "direct blocks are part of it: {taken:#}");
        sums(&snapshot, &[], interpreter.name)?;
        assert!(program.finish()?.success());
    }
    Ok(())
}
