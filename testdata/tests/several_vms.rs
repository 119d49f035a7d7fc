//! Programs with a VM in each of several threads: each VM has a stream and a heap of its own.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testdata::{Program, Recorder, THREADS, THREADS_NOGC64, info, may_record, record, skip, sums, verify};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const PROGRAMS: [(&str, &str); 2] = [("gc64", THREADS), ("nogc64", THREADS_NOGC64)];

/// Records a program from `ready` to `done`; returns its figures, the same ones as without a recorder.
fn record_threads(program: &str, words: [&str; 3], trace: &Path) -> Result<(i32, String)> {
    let figures = |attach: bool| -> Result<(String, Option<(i32, String)>)> {
        let mut program = Program::start(Command::new(program).args(words))?;
        program.wait_ready()?;
        let pid = program.pid().to_string();
        let arguments = ["--keyframe-every", "150ms", "-p", &pid, "-o"].map(AsRef::as_ref);
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
fn a_snapshot_has_a_keyframe_of_each_vm() -> Result<()> {
    if !may("a_snapshot_has_a_keyframe_of_each_vm") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt").display().to_string();
    let mut program = Program::start(Command::new(THREADS).args(["work", "5", "7"]))?;
    program.wait_ready()?;
    let ran = record(["--mode", "snapshot", "-p", &program.pid().to_string(), "-o", &trace])?;
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
