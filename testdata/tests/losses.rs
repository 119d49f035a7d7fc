//! When things go wrong on the way: calls are lost, or the recorder is killed.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use testdata::{
    Interpreter, LIMIT, Program, Recorder, THREADS, changed_text, cpu_ticks, info, may_record, signal, skip, stats,
    status_field, verdict,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Processor time of the target that suffices to fill a ring: 8 MB of 72 bytes a hit, at a million hits a second and more.
const TICKS: u64 = 60;

/// Waits until a process has used so many more ticks of processor time.
fn let_work(program: &Program, ticks: u64) -> Result<()> {
    let (since, start) = (Instant::now(), cpu_ticks(program.pid())?);
    while cpu_ticks(program.pid())? < start + ticks {
        if since.elapsed() > LIMIT {
            return Err("the target does nothing".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Lets the recorder stand still at a moment when the target does not: for a keyframe both do.
fn stop_beside(recorder: &Recorder, program: &Program) -> Result<()> {
    for _ in 0..1000 {
        signal("STOP", recorder.pid())?;
        if status_field(program.pid(), "TracerPid")? == "0" {
            return Ok(());
        }
        signal("CONT", recorder.pid())?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Err("the target stands still all the time".into())
}

fn attach(program: &Program, trace: &Path, arguments: &[&str]) -> Result<Recorder> {
    let pid = program.pid().to_string();
    let words = ["--mode=full", "--max-pause=500ms", "-p", &pid]
        .into_iter()
        .chain(arguments.iter().copied())
        .map(AsRef::as_ref);
    let mut recorder = Recorder::start(words.chain(["-o".as_ref(), trace.as_os_str()]))?;
    recorder.wait_recording()?;
    Ok(recorder)
}

/// What a workload prints in the end when nobody looks.
fn undisturbed(interpreter: &Interpreter, workload: &str, argument: f64) -> Result<String> {
    let mut program = interpreter.start(workload, Some(argument))?;
    program.wait_ready()?;
    program.go()?;
    let figures = figures(&mut program)?;
    assert!(program.finish()?.success());
    Ok(figures)
}

/// The figures that do not depend on where the kernel puts the heap.
fn figures(program: &mut Program) -> Result<String> {
    let figures = program.wait_done()?;
    Ok(figures.split(" heap_kib=").next().unwrap_or_default().to_string())
}

fn may(test: &str) -> bool {
    may_record().map_err(|reason| skip(test, &reason)).is_ok()
}

#[test]
fn lost_calls_are_told_and_the_rest_is_right() -> Result<()> {
    if !may("lost_calls_are_told_and_the_rest_is_right") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let mut program = Interpreter::gc64().start("churn", Some(0.6))?;
    program.wait_ready()?;
    let recorder = attach(&program, &trace, &["--keyframe-every", "300ms"])?;
    program.go()?;
    let_work(&program, 20)?;
    stop_beside(&recorder, &program)?;
    let stopped = let_work(&program, TICKS);
    signal("CONT", recorder.pid())?;
    stopped?;
    program.wait_done()?;
    let (code, said) = recorder.stop()?;
    assert!(program.finish()?.success());

    let (info_code, document) = info(&trace)?;
    assert_eq!(info_code, 0, "{document:#}");
    let lost = document["end"]["trailer"]["lost"].as_u64().ok_or("no count")?;
    assert!(lost > 0, "the ring never overflowed: {said}");
    assert_eq!(code, 2, "{said}");
    assert!(said.contains(&format!(" {lost} lost")), "{said}");

    let (code, document) = verdict(&trace)?;
    let verdict = &document["verdict"];
    let number = |key: &str| verdict[key].as_u64().unwrap_or(u64::MAX);
    assert_eq!((code, &document["judgement"]), (2, &"incomplete".into()), "{document:#}");
    assert_eq!((number("chunks_differing"), number("direct_differing")), (0, 0), "{document:#}");
    assert_eq!((&verdict["contradictions"], &verdict["differing"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    assert_eq!(number("calls_lost"), lost);
    assert_eq!(number("calls_replayed") + number("calls_not_replayed"), number("calls"), "{document:#}");
    assert!(number("calls_replayed") > 0 && number("keyframes_compared") > 0, "{document:#}");

    let gaps: Vec<&Value> = verdict["gaps"].as_array().into_iter().flatten().collect();
    assert_eq!(gaps.iter().filter_map(|gap| gap["lost"].as_u64()).sum::<u64>(), lost, "{gaps:#?}");
    let (_, document) = info(&trace)?;
    let kinds: Vec<&str> =
        document["frames"].as_array().into_iter().flatten().filter_map(|frame| frame["kind"].as_str()).collect();
    let gap = kinds.iter().rposition(|kind| *kind == "gap").ok_or("no gap")?;
    assert!(kinds[gap..].contains(&"keyframe"), "a keyframe must follow the gap: {kinds:?}");

    // The heap at the end is known again; in the gap it is not, and that is said.
    let (code, vms) = stats(&trace, &[])?;
    assert_eq!((code, &vms[0]["ljscope"]["moment"]["short_of"]), (2, &Value::Null));
    let at = document["frames"][gap]["start_ns"].as_u64().ok_or("no time")? + 1;
    let (code, vms) = stats(&trace, &["--at", &format!("{at}ns")])?;
    let moment = &vms[0]["ljscope"]["moment"];
    // A keyframe may be that near.
    assert!(code == 2 || moment["calls_since_keyframe"] == 0, "{moment:#}");
    Ok(())
}

/// Waits until something of the trace is on disk: its first keyframe, as soon as that is walked.
fn wait_for_bytes(trace: &Path) -> Result<()> {
    let since = Instant::now();
    while std::fs::metadata(trace)?.len() == 0 {
        assert!(since.elapsed() < LIMIT, "nothing reaches the disk");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[test]
fn a_recorder_killed_outright_leaves_no_trap_behind() -> Result<()> {
    if !may("a_recorder_killed_outright_leaves_no_trap_behind") {
        return Ok(());
    }
    for interpreter in [Interpreter::gc64(), Interpreter::nogc64()] {
        let expected = undisturbed(&interpreter, "churn", 0.25)?;
        let folder = tempfile::tempdir()?;
        let trace = folder.path().join("trace.ljt");
        let mut program = interpreter.start("churn", Some(0.25))?;
        program.wait_ready()?;
        let recorder = attach(&program, &trace, &["--keyframe-every", "50ms"])?;
        // Proof that the comparison sees a breakpoint.
        assert!(!changed_text(program.pid())?.is_empty(), "a probe is armed");
        program.go()?;
        let_work(&program, 10)?;
        wait_for_bytes(&trace)?;
        signal("KILL", recorder.pid())?;
        drop(recorder);

        assert_eq!(status_field(program.pid(), "TracerPid")?, "0");
        assert_eq!(figures(&mut program)?, expected, "{}: the work must come out the same", interpreter.name);
        assert_eq!(changed_text(program.pid())?, [0; 0], "{}", interpreter.name);
        assert!(program.finish()?.success(), "{}", interpreter.name);

        let (code, document) = info(&trace)?;
        assert_eq!((code, &document["end"]["complete"]), (2, &false.into()), "{document:#}");
        let (code, document) = verdict(&trace)?;
        assert_eq!((code, &document["judgement"]), (2, &"incomplete".into()), "{document:#}");
        let verdict = &document["verdict"];
        assert!(verdict["truncated"].as_str().is_some_and(|what| what.contains("byte")), "{document:#}");
        assert_eq!((&verdict["contradictions"], &verdict["chunks_differing"]), (&Value::Array(vec![]), &0.into()));
        assert!(verdict["keyframes"].as_u64() > Some(0), "keyframes reach the disk as they come: {document:#}");
    }
    Ok(())
}

#[test]
fn a_recorder_killed_while_idle_has_left_its_first_keyframe() -> Result<()> {
    if !may("a_recorder_killed_while_idle_has_left_its_first_keyframe") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let mut program = Interpreter::gc64().start("mixed", Some(0.1))?;
    program.wait_ready()?;
    let recorder = attach(&program, &trace, &[])?;
    wait_for_bytes(&trace)?;
    drop(recorder);
    let (code, vms) = stats(&trace, &[])?;
    assert_eq!(code, 2, "it has no trailer");
    assert!(vms[0]["used"]["count"].as_u64() > Some(100), "{:#}", vms[0]);
    program.go()?;
    program.wait_done()?;
    Ok(())
}

#[test]
fn a_recording_that_ends_well_leaves_nothing_behind() -> Result<()> {
    if !may("a_recording_that_ends_well_leaves_nothing_behind") {
        return Ok(());
    }
    for interpreter in [Interpreter::gc64(), Interpreter::static_gc64()] {
        let expected = undisturbed(&interpreter, "mixed", 0.2)?;
        let folder = tempfile::tempdir()?;
        let mut program = interpreter.start("mixed", Some(0.2))?;
        program.wait_ready()?;
        assert_eq!(changed_text(program.pid())?, [0; 0], "{}", interpreter.name);
        let recorder = attach(&program, &folder.path().join("trace.ljt"), &[])?;
        assert!(!changed_text(program.pid())?.is_empty(), "a probe is armed");
        program.go()?;
        assert_eq!(figures(&mut program)?, expected, "{}", interpreter.name);
        let (code, said) = recorder.stop()?;
        assert_eq!(code, 0, "{said}");
        assert_eq!(changed_text(program.pid())?, [0; 0], "{}", interpreter.name);
        assert_eq!(status_field(program.pid(), "TracerPid")?, "0");
        assert!(program.finish()?.success());
    }
    Ok(())
}

#[test]
fn a_target_that_cannot_be_stopped_goes_on_when_it_can() -> Result<()> {
    if !may("a_target_that_cannot_be_stopped_goes_on_when_it_can") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let mut program = Program::start(Command::new(THREADS).arg("stuck"))?;
    program.wait_ready()?;
    let recorder = attach(&program, &trace, &["--keyframe-every", "50ms"])?;
    program.go()?;
    // It hangs in the kernel when it is asked to stop, which is given up, and stops only later, which must not last.
    program.wait_done()?;
    let (code, said) = recorder.stop()?;
    assert_eq!(status_field(program.pid(), "TracerPid")?, "0");
    assert!(program.finish()?.success());
    assert_eq!(code, 2, "keyframes are missing: {said}");
    assert!(said.contains("did not stop"), "{said}");
    let (_, document) = verdict(&trace)?;
    assert_eq!(document["judgement"], "verified", "{document:#}");
    assert!(document["verdict"]["calls_replayed"].as_u64() > Some(10_000), "{document:#}");
    Ok(())
}
