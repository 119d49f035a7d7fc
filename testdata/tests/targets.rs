//! The target ends at any moment, or becomes another program: the recorder ends well, and what it wrote is right.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use testdata::{
    Dice, LUAJIT, LUAJIT_NOGC64, Program, Recorder, changed_text, children, info, may_record, run, signal, skip, state,
    status_field, tool, uncontradicted,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Throws all the moments; a turn's number and this repeat a turn.
const SEED: u64 = 0x656e_6473;
const TURNS: u64 = 200;
/// Side by side: a turn mostly waits for the kernel to open and close probes.
const WORKERS: u64 = 3;

/// Works for a minute, were it not killed: some MB of what comes and goes, and now and then a block of its own mapping.
const WORK: &str = "print('ready') io.stdout:flush() local t, stop = {}, os.time() + 60 \
                    while os.time() < stop do for i = 1, 1000 do t[i % 9000] = { i, tostring(i) } end \
                    t.big = string.rep('b', 150000) .. #t end";

const SAMPLE: &[&str] = &["--mode=sample", "--every=100ms", "--window=50ms", "--max-overhead=50%"];
const FULL: &[&str] = &["--mode=full", "--keyframe-every=20ms"];

/// What the recorder is at when the target is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Recording,
    Freezing,
    Closing,
    /// The recorder has started it itself.
    Launched,
}

const PHASES: [Phase; 5] = [Phase::Starting, Phase::Recording, Phase::Freezing, Phase::Closing, Phase::Launched];

fn may(test: &str) -> bool {
    may_record().map_err(|reason| skip(test, &reason)).is_ok()
}

fn started(script: &str) -> Result<Program> {
    let mut program = Program::start(Command::new(LUAJIT).args(["-e", script]))?;
    program.wait_ready()?;
    Ok(program)
}

fn attach(pid: u32, mode: &[&str], trace: &Path) -> Result<Recorder> {
    let pid = pid.to_string();
    let words = mode.iter().copied().chain(["-p", &pid, "-o"]).map(AsRef::as_ref);
    Ok(Recorder::start(words.chain([trace.as_os_str()]))?)
}

/// The recorder's end must be one of three; returns its exit code and what it said.
fn check(recorder: Recorder, trace: &Path, name: &str) -> Result<(i32, String)> {
    let (code, said) = recorder.wait().map_err(|error| format!("{name}: {error}"))?;
    assert!(!said.contains("panicked"), "{name}: {said}");
    match code {
        0 | 2 => {
            let told = ["missed keyframe", " lost", "trouble"].iter().any(|what| said.contains(what));
            assert!(code == 0 || told && !said.contains(" 0 lost, 0 of VMs not known yet\npauses"), "{name}: {said}");
            assert_eq!(info(trace)?.1["end"]["complete"], true, "{name}: {said}");
            uncontradicted(trace, name)?;
        }
        1 => {
            let errors: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
            assert!(matches!(errors[..], [line] if line.starts_with("record: ")), "{name}: {said}");
            assert!(!trace.exists(), "{name} left a file: {said}");
        }
        code => panic!("{name}: exit code {code}: {said}"),
    }
    if trace.exists() {
        std::fs::remove_file(trace)?;
    }
    Ok((code, said))
}

/// Waits until the target stands still, a while.
fn wait_for_stop(pid: u32) {
    let since = Instant::now();
    while state(pid) != Some('t') && since.elapsed() < Duration::from_millis(500) {
        std::hint::spin_loop();
    }
}

/// The recorder's child that runs our script, once there is one.
fn launched(recorder: &Recorder) -> Result<u32> {
    let since = Instant::now();
    loop {
        let all = children(recorder.pid());
        // Between its start and its program's a child has our own command line.
        let runs = |pid: &&u32| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(LUAJIT.as_bytes()))
        };
        if let Some(pid) = all.iter().find(runs) {
            return Ok(*pid);
        }
        if since.elapsed() > Duration::from_secs(30) {
            return Err("the recorder starts nothing".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn one_turn(turn: u64, folder: &Path) -> Result<(Phase, i32)> {
    let mut dice = Dice::new(SEED, turn);
    let (mode, phase) = (if turn % 2 == 1 { FULL } else { SAMPLE }, PHASES[(turn / 2 % 5) as usize]);
    let name = format!("turn {turn}, {phase:?}, {}", mode[0]);
    let trace = folder.join(format!("{turn}.ljt"));
    if phase == Phase::Launched {
        let words = mode.iter().copied().map(AsRef::as_ref);
        let program = ["--", LUAJIT, "-e", WORK].map(AsRef::as_ref);
        let recorder = Recorder::start(words.chain(["-o".as_ref(), trace.as_os_str()]).chain(program))?;
        let pid = launched(&recorder)?;
        dice.nap(400);
        signal("KILL", pid)?;
        return Ok((phase, check(recorder, &trace, &name)?.0));
    }
    let program = started(WORK)?;
    let mut recorder = attach(program.pid(), mode, &trace)?;
    if phase == Phase::Starting {
        dice.nap(1200);
    } else {
        recorder.wait_recording().map_err(|error| format!("{name}: {error}"))?;
        dice.nap(200);
    }
    match phase {
        Phase::Freezing => wait_for_stop(program.pid()),
        Phase::Closing => {
            signal("INT", recorder.pid())?;
            dice.nap(300);
        }
        _ => {}
    }
    // Kills it outright.
    drop(program);
    Ok((phase, check(recorder, &trace, &name)?.0))
}

#[test]
fn two_hundred_targets_killed_at_any_moment() -> Result<()> {
    if !may("two_hundred_targets_killed_at_any_moment") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let next = AtomicU64::new(0);
    let work = || -> Result<Vec<(Phase, i32)>> {
        let mut codes = Vec::new();
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            if turn >= TURNS {
                return Ok(codes);
            }
            codes.push(one_turn(turn, folder.path()).inspect_err(|_| next.store(TURNS, Ordering::Relaxed))?);
        }
    };
    let all = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_fold(Vec::new(), |mut all: Vec<(Phase, i32)>, worker| {
            all.extend(worker.join().map_err(|_| "a worker failed, see above")??);
            Result::Ok(all)
        })
    })?;
    for phase in PHASES {
        let of = |code| all.iter().filter(|one| **one == (phase, code)).count();
        println!("{phase:?}: {} ended with 0, {} with 2, {} with 1", of(0), of(2), of(1));
        assert!(phase == Phase::Starting || phase == Phase::Launched || of(1) == 0, "{phase:?}");
    }
    Ok(())
}

fn place(test: &str) -> Result<Option<(tempfile::TempDir, PathBuf)>> {
    if !may(test) {
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    Ok(Some((folder, trace)))
}

#[test]
fn a_target_that_ends_by_itself_in_a_window() -> Result<()> {
    let Some((_folder, trace)) = place("a_target_that_ends_by_itself_in_a_window")? else { return Ok(()) };
    for (turn, how) in
        ["os.exit(7)", "os.exit(0, true)", "error('on purpose')", "return"].iter().cycle().take(8).enumerate()
    {
        for mode in [SAMPLE, FULL] {
            let name = format!("turn {turn}, {how}, {}", mode[0]);
            let script = format!(
                "print('ready') io.stdout:flush() io.read() local t, stop = {{}}, os.clock() + 0.{} \
                 while os.clock() < stop do for i = 1, 100 do t[i % 900] = {{ i }} end end {how}",
                1 + turn % 4
            );
            let mut program = started(&script)?;
            let mut recorder = attach(program.pid(), mode, &trace)?;
            recorder.wait_recording()?;
            program.go()?;
            let code = check(recorder, &trace, &name)?.0;
            assert_ne!(code, 1, "{name}");
        }
    }
    Ok(())
}

/// Works, then becomes another `luajit` that works, without a new process id. Without randomized addresses, in a program
/// that lies where it lies, all looks as if nothing had happened.
fn becomes_another(executable: &str, work: &str) -> Result<Program> {
    let more = "local t = {} for i = 1, 1e6 do t[i % 5000] = { i } end print('done') io.stdout:flush() io.read('*a')";
    let script = format!(
        "local ffi = require('ffi') ffi.cdef('int execv(const char *, const char *const *);') \
         print('ready') io.stdout:flush() io.read() {work} \
         ffi.C.execv('{executable}', ffi.new('const char *[4]', {{ '{executable}', '-e', [[{more}]] }}))"
    );
    let mut program = Program::start(Command::new("setarch").args(["-R", executable, "-e", &script]))?;
    program.wait_ready()?;
    Ok(program)
}

#[test]
fn a_target_that_becomes_another_program_has_ended() -> Result<()> {
    let Some((_folder, trace)) = place("a_target_that_becomes_another_program_has_ended")? else { return Ok(()) };
    for turn in 0..4 {
        for (executable, mode) in [(LUAJIT, SAMPLE), (LUAJIT, FULL), (LUAJIT_NOGC64, SAMPLE), (LUAJIT_NOGC64, FULL)] {
            let name = format!("turn {turn}, {executable}, {}", mode[0]);
            let work = format!("local t = {{}} for i = 1, {}e5 do t[i % 5000] = {{ i }} end", 1 + turn);
            let mut program = becomes_another(executable, &work)?;
            let mut recorder = attach(program.pid(), mode, &trace)?;
            recorder.wait_recording()?;
            program.go()?;
            let said = check(recorder, &trace, &name)?.1;
            assert!(said.contains("the target became another program"), "{name}: {said}");
            program.wait_done()?;
            assert_eq!(status_field(program.pid(), "TracerPid")?, "0", "{name}");
            assert_eq!(changed_text(program.pid())?, [0; 0], "{name}");
            assert!(program.finish()?.success(), "{name}");
        }
    }
    Ok(())
}

#[test]
fn a_target_that_is_gone_already_is_one_line() -> Result<()> {
    let Some((_folder, trace)) = place("a_target_that_is_gone_already_is_one_line")? else { return Ok(()) };
    let program = started(WORK)?;
    let pid = program.pid().to_string();
    drop(program);
    let ran = run(Command::new(tool("record")).args(["-p", &pid, "-o"]).arg(&trace))?;
    assert_eq!((ran.code, ran.stderr.lines().count()), (1, 1), "{}", ran.stderr);
    assert!(ran.stderr.contains(&pid) && !trace.exists(), "{}", ran.stderr);
    Ok(())
}

#[test]
fn a_recorder_that_cannot_say_anything_records_all_the_same() -> Result<()> {
    let Some((_folder, trace)) = place("a_recorder_that_cannot_say_anything_records_all_the_same")? else {
        return Ok(());
    };
    let program = started(WORK)?;
    let pid = program.pid().to_string();
    let mut command = Command::new(tool("record"));
    command.args(["-d", "300ms", "-p", &pid, "-o"]).arg(&trace).stderr(std::fs::File::create("/dev/full")?);
    assert!(command.status()?.success());
    assert_eq!(info(&trace)?.1["end"]["complete"], true);
    Ok(())
}

#[test]
fn a_recorder_is_not_suspended_from_a_terminal() -> Result<()> {
    let Some((_folder, trace)) = place("a_recorder_is_not_suspended_from_a_terminal")? else { return Ok(()) };
    let program = started(WORK)?;
    let mut recorder = attach(program.pid(), SAMPLE, &trace)?;
    recorder.wait_recording()?;
    // Ctrl-Z. Suspended, it could leave its target standing still, or at the breakpoint with every call.
    signal("TSTP", recorder.pid())?;
    std::thread::sleep(Duration::from_millis(200));
    assert_ne!(state(recorder.pid()), Some('T'));
    signal("INT", recorder.pid())?;
    assert_eq!(check(recorder, &trace, "TSTP")?.0, 0);
    Ok(())
}
