//! Several processes in one trace: a master and its workers, named ones, and those that come later.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use testdata::{
    Interpreter, LIMIT, LUAJIT, Nginx, Program, Recorder, changed_text, copy_program, info, may_record, record, signal,
    skip, verdict, verify, workload,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn may(test: &str) -> bool {
    may_record().map_err(|reason| skip(test, &reason)).is_ok()
}

/// The processes of a trace that have a VM, as they were last written.
fn recorded(trace: &Path) -> Result<Vec<Value>> {
    let (_, document) = info(trace)?;
    Ok(document["processes"].as_array().cloned().unwrap_or_default())
}

fn pid(process: &Value) -> u32 {
    process["pid"].as_u64().unwrap_or_default() as u32
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let since = Instant::now();
    while !is_so() {
        if since.elapsed() > LIMIT / 4 {
            return Err(format!("waited in vain: {what}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A recording of an nginx with two workers through a reload and a crash.
fn nginx_through_a_reload(mode: &str, trace: &Path) -> Result<()> {
    let nginx = Nginx::start_with(2)?;
    let master = nginx.master_pid();
    wait_until("both workers are there", || nginx.workers().len() == 2)?;
    let old: BTreeSet<u32> = nginx.workers().into_iter().collect();
    let arguments = ["--every=150ms", "--max-pause=1s", "--max-overhead=10%", "-p", &master.to_string(), mode, "-o"];
    let words = arguments.map(AsRef::as_ref);
    let mut recorder = Recorder::start(words.into_iter().chain([trace.as_os_str()]))?;
    recorder.wait_recording()?;
    assert!(nginx.load("/json", Duration::from_millis(1500), 4).errors == 0);
    nginx.reload()?;
    wait_until("the old workers end", || nginx.workers().iter().all(|worker| !old.contains(worker)))?;
    let new: BTreeSet<u32> = nginx.workers().into_iter().collect();
    // By now they are found: it is looked for them ten times a second, also while this runs.
    assert!(nginx.load("/cache", Duration::from_millis(2500), 4).errors == 0);
    let crashed = *new.first().ok_or("no worker")?;
    signal("KILL", crashed)?;
    wait_until("the master replaces it", || nginx.workers().len() == 2 && !nginx.workers().contains(&crashed))?;
    let after: BTreeSet<u32> = nginx.workers().into_iter().collect();
    nginx.load("/json", Duration::from_millis(2500), 4);
    let (code, said) = recorder.stop()?;
    assert!(code == 0, "{said}");
    for worker in &after {
        assert_eq!(changed_text(*worker)?, [0; 0]);
    }
    assert!(nginx.load("/json", Duration::from_millis(200), 2).errors == 0, "it is as well as before");

    let processes = recorded(trace)?;
    let all: BTreeSet<u32> = processes.iter().map(pid).collect();
    let expected: BTreeSet<u32> = old.iter().chain(&new).chain(&after).copied().chain([master]).collect();
    assert_eq!(all, expected, "{mode}: {processes:#?}");
    for process in &processes {
        let gone = old.contains(&pid(process)) || pid(process) == crashed;
        let expected = if gone { "the target ended" } else { "asked to stop" };
        assert_eq!(process["ended"], expected, "{mode}: {process:#}");
        let parent = if pid(process) == master { std::process::id() } else { master };
        assert_eq!(process["parent"], parent, "{mode}: {process:#}");
    }
    let (_, document) = info(trace)?;
    let vms = document["vms"].as_object().ok_or("no VMs")?;
    for pid in &expected {
        let own = vms.values().filter(|vm| vm["pid"] == *pid).count();
        // A reload gives the master a new one.
        assert!(own == 1 || *pid == master && own == 2, "{mode}: {own} VMs in {pid}");
    }
    assert!(vms.values().all(|vm| vm["label"] == "http"), "{mode}: {vms:#?}");
    let verified = verify(trace, mode)?;
    assert!(verified.keyframes > 0 && verified.calls > 10_000, "{mode}: {verified:?}");
    Ok(())
}

#[test]
fn a_master_with_its_workers_through_a_reload_and_a_crash() -> Result<()> {
    let test = "a_master_with_its_workers_through_a_reload_and_a_crash";
    if let Err(reason) = Nginx::available().and_then(|()| may_record()) {
        skip(test, &reason);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    for mode in ["sample", "full"] {
        nginx_through_a_reload(&format!("--mode={mode}"), &folder.path().join(format!("{mode}.ljt")))?;
    }
    Ok(())
}

#[test]
fn named_processes_and_one_that_comes_later() -> Result<()> {
    if !may("named_processes_and_one_that_comes_later") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    // A name that nothing else on the machine has.
    let name = format!("lj{}", std::process::id());
    let program = folder.path().join(&name);
    copy_program(LUAJIT, &program)?;
    let start = || -> Result<Program> {
        let mut started = Program::start(Command::new(&program).arg(workload("mixed")).arg("0.3"))?;
        started.wait_ready()?;
        Ok(started)
    };
    let mut programs = vec![start()?, start()?];
    let words = ["--mode=full", "--max-pause=1s", "--name", &name, "-o"].map(AsRef::as_ref);
    let mut recorder = Recorder::start(words.into_iter().chain([trace.as_os_str()]))?;
    recorder.wait_recording()?;
    programs.push(start()?);
    // It is found without being told.
    wait_until("the third one is probed", || changed_text(programs[2].pid()).is_ok_and(|text| !text.is_empty()))?;
    for program in &mut programs {
        program.go()?;
    }
    for program in &mut programs {
        program.wait_done()?;
    }
    let pids: BTreeSet<u32> = programs.iter().map(Program::pid).collect();
    for program in programs {
        assert!(program.finish()?.success());
    }
    // All are gone, so there is nothing left to wait for.
    let (code, said) = recorder.wait()?;
    assert_eq!(code, 0, "{said}");
    let processes = recorded(&trace)?;
    assert_eq!(processes.iter().map(pid).collect::<BTreeSet<u32>>(), pids, "{said}");
    assert!(processes.iter().all(|process| process["program"] == name.as_str()), "{processes:#?}");
    assert!(verify(&trace, "named")?.calls > 100_000);
    Ok(())
}

#[test]
fn processes_by_their_ids_in_one_trace() -> Result<()> {
    if !may("processes_by_their_ids_in_one_trace") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let mut programs = Vec::new();
    for interpreter in [Interpreter::gc64(), Interpreter::nogc64(), Interpreter::static_gc64()] {
        let mut program = interpreter.start("mixed", Some(0.3))?;
        program.wait_ready()?;
        programs.push(program);
    }
    let pids: Vec<String> = programs.iter().map(|program| program.pid().to_string()).collect();
    let list = pids[..2].join(",");
    let words = ["--mode=full", "--max-pause=1s", "-p", &list, "-p", &pids[2], "-o"].map(AsRef::as_ref);
    let mut recorder = Recorder::start(words.into_iter().chain([trace.as_os_str()]))?;
    recorder.wait_recording()?;
    for program in &mut programs {
        program.go()?;
    }
    for program in &mut programs {
        program.wait_done()?;
    }
    let (code, said) = recorder.stop()?;
    assert_eq!(code, 0, "{said}");
    assert!(verify(&trace, "three programs")?.keyframes >= 3);
    let (_, document) = info(&trace)?;
    let of: Vec<Vec<&Value>> = ["gc64", "pid"]
        .map(|key| document["vms"].as_object().into_iter().flat_map(|vms| vms.values()).map(|vm| &vm[key]).collect())
        .into();
    assert_eq!(of[0].iter().filter(|gc64| **gc64 == &Value::Bool(true)).count(), 2, "{document:#}");
    assert_eq!(of[1].len(), 3);
    Ok(())
}

#[test]
fn a_process_without_a_vm_among_others_is_told() -> Result<()> {
    if !may("a_process_without_a_vm_among_others_is_told") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt").display().to_string();
    let mut program = Interpreter::gc64().start("mixed", Some(0.1))?;
    program.wait_ready()?;
    let own = std::process::id().to_string();
    // Our own process has the program as a child, so a plain one is needed.
    let mut plain = Command::new("sleep").arg("60").spawn()?;
    let both = format!("{},{}", program.pid(), plain.id());
    let ran = record(["-p", &both, "-o", &trace])?;
    let named = record(["--name", "no-such-program", "-o", &trace])?;
    plain.kill()?;
    plain.wait()?;
    for (ran, word) in [(ran, "is not a LuaJIT program"), (named, "no process called no-such-program")] {
        assert_eq!((ran.code, ran.stderr.lines().count()), (1, 1), "{}", ran.stderr);
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
    }
    assert!(!Path::new(&trace).exists());
    // A process that has a LuaJIT program as its child is fine.
    let ran = record(["--mode", "snapshot", "--max-pause", "1s", "-p", &own, "-o", &trace])?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(verdict(Path::new(&trace))?.0, 0);
    Ok(())
}
