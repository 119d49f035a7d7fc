//! Programs with a VM in each of several threads: each VM has a stream and a heap of its own.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testdata::{Program, Recorder, THREADS, THREADS_NOGC64, info, may_record, record, skip, sums, verdict, verify};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const PROGRAMS: [(&str, &str); 2] = [("gc64", THREADS), ("nogc64", THREADS_NOGC64)];

/// Records a program from `ready` to `done`; returns its figures, the same ones as without a recorder.
fn record_threads(program: &str, words: [&str; 3], trace: &Path) -> Result<(i32, String)> {
    let figures = |attach: bool| -> Result<(String, Option<(i32, String)>)> {
        let mut program = Program::start(Command::new(program).args(words))?;
        program.wait_ready()?;
        let pid = program.pid().to_string();
        let arguments =
            ["--mode=full", "--max-pause=2s", "--keyframe-every", "150ms", "-p", &pid, "-o"].map(AsRef::as_ref);
        let recorder =
            if attach { Some(Recorder::start(arguments.into_iter().chain([trace.as_os_str()]))?) } else { None };
        let recorder = recorder.map(|mut recorder| recorder.wait_recording().map(|()| recorder)).transpose()?;
        program.go()?;
        let figures = program.wait_done()?;
        let ended = recorder.map(Recorder::stop).transpose()?;
        assert!(program.finish()?.success());
        Ok((figures, ended))
    };
    let (recorded, ended) = figures(true)?;
    assert_eq!(recorded, figures(false)?.0, "{words:?}: recording must not change what a program does");
    ended.ok_or_else(|| "no recorder".into())
}

fn may(test: &str) -> bool {
    may_record().map_err(|reason| skip(test, &reason)).is_ok()
}

#[test]
fn each_vm_has_its_own_heap() -> Result<()> {
    if !may("each_vm_has_its_own_heap") {
        return Ok(());
    }
    for (name, program) in PROGRAMS {
        let folder = tempfile::tempdir()?;
        let trace = folder.path().join("trace.ljt");
        let (code, said) = record_threads(program, ["work", "4", "80"], &trace)?;
        assert_eq!(code, 0, "{name}: {said}");
        let (_, document) = info(&trace)?;
        let vms = document["vms"].as_object().ok_or("no VMs")?;
        let states: BTreeSet<String> = vms.values().map(|vm| vm["mstate"].to_string()).collect();
        assert_eq!((vms.len(), states.len()), (4, 4), "{name}: {document:#}");
        let verified = verify(&trace, name)?;
        assert!(verified.calls > 100_000 && verified.keyframes >= 4 && verified.direct > 0, "{name}: {verified:?}");
        let vms = sums(&trace, &[], name)?;
        assert_eq!(vms.len(), 4, "{name}");
        // Seeds differ, so do the heaps.
        let heaps: BTreeSet<u64> = vms.iter().filter_map(|vm| vm["luajit_GC_managed"].as_u64()).collect();
        assert_eq!(heaps.len(), 4, "{name}: {heaps:?}");
        for number in 1..=4 {
            let one = sums(&trace, &["--vm", &number.to_string()], name)?;
            assert_eq!(one, [vms[number - 1].clone()], "{name}: VM {number}");
        }
    }
    Ok(())
}

#[test]
fn vms_that_close_and_vms_that_are_born_are_followed() -> Result<()> {
    if !may("vms_that_close_and_vms_that_are_born_are_followed") {
        return Ok(());
    }
    for (name, program) in PROGRAMS {
        let folder = tempfile::tempdir()?;
        let trace = folder.path().join("trace.ljt");
        let (code, said) = record_threads(program, ["born", "3", "60"], &trace)?;
        let (_, document) = verdict(&trace)?;
        assert_eq!((code, &document["judgement"]), (0, &"verified".into()), "{name}: {document:#}\n{said}");
        let verified = verify(&trace, name)?;
        let (_, document) = info(&trace)?;
        let vms = document["vms"].as_object().ok_or("no VMs")?;
        println!(
            "{name}: {} VMs, {verified:?}, {} unattributed",
            vms.len(),
            document["end"]["trailer"]["unattributed"]
        );
        assert!(vms.len() > 3, "{name}: those born later have streams too: {document:#}");
        assert!(verified.calls > 100_000 && verified.keyframes >= 3, "{name}: {verified:?}");
        // Before the last one is born the others have their heaps all the same.
        let frames = document["frames"].as_array().into_iter().flatten();
        let last =
            frames.filter(|f| f["kind"] == "keyframe" && f["vm"] == vms.len()).find_map(|f| f["start_ns"].as_u64());
        let before = format!("{}ns", last.ok_or("the last VM has no keyframe")? - 1);
        let known = sums(&trace, &["--at", &before], name)?.len();
        assert!(known > 0 && known < vms.len(), "{name}: {known} of {}", vms.len());
        for vm in sums(&trace, &["--at", "peak"], name)? {
            assert!(vm["used"]["count"].as_u64() > Some(1000), "{name}: {vm:#}");
        }
    }
    Ok(())
}

#[test]
fn windows_of_several_threads_hold_all_their_vms() -> Result<()> {
    if !may("windows_of_several_threads_hold_all_their_vms") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let mut program = Program::start(Command::new(THREADS).args(["work", "4", "300"]))?;
    program.wait_ready()?;
    let pid = program.pid().to_string();
    let words = ["--every=100ms", "--max-overhead=50%", "--max-pause=1s", "-p", &pid, "-o"].map(AsRef::as_ref);
    let mut recorder = Recorder::start(words.into_iter().chain([trace.as_os_str()]))?;
    recorder.wait_recording()?;
    program.go()?;
    program.wait_done()?;
    let (code, said) = recorder.stop()?;
    // On a machine that is busy otherwise, hits may be lost.
    assert!(code == 0 || code == 2 && !said.contains(" 0 lost"), "{said}");
    assert!(program.finish()?.success());
    let (_, document) = verdict(&trace)?;
    let verdict = &document["verdict"];
    assert_eq!((&verdict["contradictions"], &verdict["differing"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!((&verdict["chunks_differing"], &verdict["followed_differing"]), (&0.into(), &0.into()), "{document:#}");
    assert!(verdict["calls_replayed"].as_u64() > Some(1000), "{document:#}");
    assert!(verdict["windows"]["all"].as_u64() >= Some(4), "one for each VM at least: {document:#}");
    let vms = sums(&trace, &[], "windows")?;
    assert_eq!(vms.len(), 4);
    Ok(())
}

#[test]
fn a_snapshot_has_a_keyframe_of_each_vm() -> Result<()> {
    if !may("a_snapshot_has_a_keyframe_of_each_vm") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt").display().to_string();
    let mut program = Program::start(Command::new(THREADS).args(["work", "5", "7"]))?;
    program.wait_ready()?;
    let ran = record(["--mode", "snapshot", "--max-pause=2s", "-p", &program.pid().to_string(), "-o", &trace])?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let (_, document) = info(trace.as_ref())?;
    let frames = document["frames"].as_array().ok_or("no frames")?;
    let keyframes: Vec<&Value> =
        frames.iter().filter(|frame| frame["kind"] == "keyframe").map(|frame| &frame["vm"]).collect();
    assert_eq!(keyframes, [1, 2, 3, 4, 5]);
    assert_eq!(sums(trace.as_ref(), &[], "snapshot")?.len(), 5);
    program.go()?;
    program.wait_done()?;
    assert!(program.finish()?.success());
    Ok(())
}
