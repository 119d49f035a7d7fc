//! Processes that end while they are looked at.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testdata::{ALLOC, Dice, Interpreter, Program, Recorder, may_record, skip};

use crate::Result;
use crate::look::breakdowns;

/// Any fixed number: each turn draws from it.
const SEED: u64 = 0x6d65_6d6f_7279;
const TURNS: u64 = 30;

fn recorder(pid: u32, trace: &Path, mode: &[&str]) -> Result<Recorder> {
    let pid = pid.to_string();
    let words = mode.iter().copied().chain(["-p", &pid, "-o"]).map(AsRef::as_ref);
    Ok(Recorder::start(words.chain([trace.as_os_str()]))?)
}

#[test]
fn breakdowns_of_a_process_that_is_killed_are_kept() -> Result<()> {
    if let Err(reason) = may_record() {
        skip("breakdowns_of_a_process_that_is_killed_are_kept", &reason);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let mut program = Interpreter::gc64().start("leak", Some(60.0))?;
    program.wait_ready()?;
    program.go()?;
    let mut recorder = recorder(program.pid(), &trace, &["--breakdown-every=200ms"])?;
    recorder.wait_recording()?;
    std::thread::sleep(Duration::from_secs(1));
    // Kills it outright.
    drop(program);
    let (code, said) = recorder.wait()?;
    assert_eq!(code, 0, "{said}");
    let found = breakdowns(&trace)?;
    assert!(found.len() >= 2, "{} breakdowns: {said}", found.len());
    for breakdown in &found {
        assert!(breakdown.total.resident > 0, "{breakdown:#?}");
        let mapped: u64 = breakdown.slices.iter().map(|slice| slice.memory.mapped).sum();
        // It grows meanwhile, by 128 KiB at a time; far fewer times than this within one look.
        assert!(mapped.abs_diff(breakdown.total.mapped) <= 64 << 20, "{breakdown:#?}");
    }
    Ok(())
}

/// Whatever the moment, there is an answer: a good trace, or none and the reason.
#[test]
fn a_process_without_lua_is_killed_at_any_moment() -> Result<()> {
    if let Err(reason) = may_record() {
        skip("a_process_without_lua_is_killed_at_any_moment", &reason);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut seen = 0;
    for turn in 0..TURNS {
        let trace = folder.path().join(format!("{turn}.ljt"));
        let mut program = Program::start(Command::new(ALLOC).arg("3"))?;
        program.wait_ready()?;
        let recorder = recorder(program.pid(), &trace, &["--mode=snapshot"])?;
        Dice::new(SEED, turn).nap(60);
        drop(program);
        let (code, said) = recorder.wait()?;
        match code {
            0 | 2 => seen += breakdowns(&trace)?.len(),
            1 => assert!(!trace.exists() && !said.is_empty(), "turn {turn}: {said}"),
            other => return Err(format!("turn {turn}: exit {other}: {said}").into()),
        }
        assert!(!said.contains("panic"), "turn {turn}: {said}");
    }
    println!("{seen} breakdowns from {TURNS} processes that were killed");
    Ok(())
}
