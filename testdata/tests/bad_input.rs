//! What `record` refuses: one line that names the cause and the next step, exit code 1, and no file left behind.

use std::path::Path;
use std::process::{Command, Stdio};

use testdata::{
    LIMIT, LUAJIT, Program, Ran, THREADS, TRACER, copy_program, may_record, record, run, skip, tool, verdict,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn may(test: &str) -> bool {
    may_record().map_err(|reason| skip(test, &reason)).is_ok()
}

/// Checks a refusal: what it must say, and that nothing is left.
fn refused(ran: &Ran, trace: &Path, words: &[&str]) {
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "one line: {}", ran.stderr);
    assert!(ran.stderr.starts_with("record: "), "{}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} is missing: {}", ran.stderr);
    }
    assert_eq!(ran.stdout, b"", "nothing on standard output");
    assert!(!trace.exists(), "a file is left: {}", ran.stderr);
}

/// Tries to record a process into a file that must not come to be.
fn try_pid(pid: &str, words: &[&str]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    refused(&record(["-o", &trace.display().to_string(), "-p", pid])?, &trace, words);
    Ok(())
}

/// A `luajit` that waits until its handle is dropped.
fn waiting() -> Result<Program> {
    let script = "t = {} for i = 1, 1000 do t[i] = { i } end io.write('ready\\n') io.flush() io.read('*a')";
    let mut program = Program::start(Command::new(LUAJIT).args(["-e", script]))?;
    program.wait_ready()?;
    Ok(program)
}

#[test]
fn processes_that_cannot_be_recorded() -> Result<()> {
    if !may("processes_that_cannot_be_recorded") {
        return Ok(());
    }
    // Beyond the largest id that Linux gives, PID_MAX_LIMIT.
    try_pid("4194305", &["no process 4194305"])?;
    try_pid("0", &["process"])?;
    let mut sleep = Command::new("sleep").arg("60").spawn()?;
    let tried = try_pid(&sleep.id().to_string(), &["sleep", "not a LuaJIT program"]);
    sleep.kill()?;
    // Killed and not yet waited for.
    let pid = sleep.id();
    let since = std::time::Instant::now();
    while !testdata::status_field(pid, "State")?.starts_with('Z') && since.elapsed() < LIMIT {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let zombie = try_pid(&pid.to_string(), &["zombie"]);
    sleep.wait()?;
    tried?;
    zombie?;
    if std::fs::read_link("/proc/2/exe").is_err() && Path::new("/proc/2").exists() {
        try_pid("2", &["kernel thread"])?;
    } else {
        skip("processes_that_cannot_be_recorded: a kernel thread", "process 2 is none: a container");
    }
    Ok(())
}

#[test]
fn a_custom_allocator_is_named_as_the_cause() -> Result<()> {
    if !may("a_custom_allocator_is_named_as_the_cause") {
        return Ok(());
    }
    let mut program = Program::start(Command::new(THREADS).arg("custom"))?;
    program.wait_ready()?;
    try_pid(&program.pid().to_string(), &["LuaJIT", "allocator of its own"])
}

#[test]
fn a_process_under_another_tracer_is_refused_and_unharmed() -> Result<()> {
    if !may("a_process_under_another_tracer_is_refused_and_unharmed") {
        return Ok(());
    }
    let program = waiting()?;
    let pid = program.pid().to_string();
    let mut tracer = Program::start(Command::new(TRACER).arg(&pid))?;
    tracer.wait_ready()?;
    try_pid(&pid, &["traced by process", &tracer.pid().to_string()])?;
    assert!(tracer.finish()?.success());
    assert_eq!(testdata::changed_text(program.pid())?, [0; 0], "a probe is left");
    // With the other one gone it can be recorded.
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let ran = record(["-o", &trace.display().to_string(), "-p", &pid, "-d", "1ms", "--max-pause=1s"])?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(program.finish()?.success());
    Ok(())
}

#[test]
fn outputs_that_cannot_be_written() -> Result<()> {
    if !may("outputs_that_cannot_be_written") {
        return Ok(());
    }
    let program = waiting()?;
    let pid = program.pid().to_string();
    let folder = tempfile::tempdir()?;
    let there = folder.path().join("there.ljt");
    let name = there.display().to_string();
    std::fs::write(&there, "precious")?;
    let ran = record(["-o", &name, "-p", &pid, "-d", "1ms", "--max-pause=1s"])?;
    assert_eq!((ran.code, ran.stderr.lines().count()), (1, 1), "{}", ran.stderr);
    assert!(ran.stderr.contains(&name) && ran.stderr.contains("--force"), "{}", ran.stderr);
    assert_eq!(std::fs::read(&there)?, b"precious");
    let ran = record(["--force", "-o", &name, "-p", &pid, "-d", "1ms", "--max-pause=1s"])?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(verdict(&there)?.0, 0);

    let missing = folder.path().join("missing/trace.ljt");
    let ran = record(["-o", &missing.display().to_string(), "-p", &pid])?;
    refused(&ran, &missing, &[&folder.path().join("missing").display().to_string()]);
    // Nothing is started for an output that cannot be.
    let mark = folder.path().join("mark");
    let ran = record(["-o", &missing.display().to_string(), "--", "touch", &mark.display().to_string()])?;
    refused(&ran, &missing, &[]);
    assert!(!mark.exists());
    for arguments in [vec![], vec!["--force"]] {
        let ran = record([&arguments[..], &["-o", &folder.path().display().to_string(), "-p", &pid]].concat())?;
        refused(&ran, &missing, &[&folder.path().display().to_string()]);
        assert!(folder.path().is_dir());
    }
    assert!(program.finish()?.success());
    Ok(())
}

#[test]
fn a_full_disk_ends_the_recording_with_what_fits() -> Result<()> {
    if !may("a_full_disk_ends_the_recording_with_what_fits") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (small, kept) = (folder.path().join("small"), folder.path().join("kept.ljt"));
    std::fs::create_dir(&small)?;
    // In a mount namespace of its own, so that the file system goes with the shell however that ends.
    let script = "mount -t tmpfs -o size=128k tmpfs \"$1\" || exit 77\n\
                  \"$2\" --mode=full --max-pause=2s -o \"$1/trace.ljt\" -c \"$5\"; code=$?\ncp \"$1/trace.ljt\" \"$4\"; exit $code";
    let luajit = format!("exec {LUAJIT} {} 0.2 </dev/null >/dev/null", testdata::workload("churn").display());
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(&small)
        .arg(tool("record"))
        .arg("-p")
        .arg(&kept)
        .arg(&luajit);
    let ran = run(&mut command)?;
    if ran.code == 77 {
        skip("a_full_disk_ends_the_recording_with_what_fits", ran.stderr.trim());
        return Ok(());
    }
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    let last = ran.stderr.lines().last().unwrap_or_default();
    for word in ["record: ", "No space left on device", "trace.ljt", "readable"] {
        assert!(last.contains(word), "{word:?} is missing: {}", ran.stderr);
    }
    assert!(std::fs::metadata(&kept)?.len() > 0);
    let (code, document) = verdict(&kept)?;
    assert_eq!((code, &document["judgement"]), (2, &"incomplete".into()), "{document:#}");
    assert_eq!(document["verdict"]["contradictions"], serde_json::json!([]));
    assert!(document["verdict"]["truncated"].is_string(), "{document:#}");
    Ok(())
}

#[test]
fn without_privilege_the_way_to_it_is_told() -> Result<()> {
    if !may("without_privilege_the_way_to_it_is_told") {
        return Ok(());
    }
    if Command::new("setpriv").arg("--version").stdout(Stdio::null()).status().is_err() {
        skip("without_privilege_the_way_to_it_is_told", "no setpriv; util-linux has it");
        return Ok(());
    }
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];
    // Where nobody can read them, whatever the workspace allows.
    let folder = tempfile::tempdir()?;
    let open = |path: &Path, mode: &str| run(Command::new("chmod").arg(mode).arg(path));
    open(folder.path(), "777")?;
    let (recorder, luajit) = (folder.path().join("record"), folder.path().join("luajit"));
    for (from, to) in [(tool("record"), &recorder), (LUAJIT.into(), &luajit)] {
        copy_program(from, to)?;
        open(to, "755")?;
    }
    let trace = folder.path().join("trace.ljt");
    let try_it = |pid: u32| -> Result<()> {
        let mut command = Command::new("setpriv");
        command.args(nobody).arg(&recorder).arg("-o").arg(&trace).args(["-p", &pid.to_string()]);
        let ran = run(&mut command)?;
        refused(&ran, &trace, &["no privilege", "capabilities are 0000000000000000", "setcap cap_sys_ptrace", "root"]);
        Ok(())
    };
    // Another user's process cannot be read, an own one can, but not be probed.
    try_it(waiting()?.pid())?;
    let script = "io.write('ready\\n') io.flush() io.read('*a')";
    let mut own = Program::start(Command::new("setpriv").args(nobody).arg(&luajit).args(["-e", script]))?;
    own.wait_ready()?;
    try_it(own.pid())
}

#[test]
fn wrong_command_lines() -> Result<()> {
    let cases: [&[&str]; 9] = [
        &[],
        &["-o", "trace.ljt"],
        &["-p", "1", "-c", "true"],
        &["-p", "1", "--", "true"],
        &["-p", "one"],
        &["-p", "1", "--mode", "fast"],
        &["-p", "1", "-d", "soon"],
        &["-p", "1", "--unknown"],
        &["true"],
    ];
    for arguments in cases {
        let ran = record(arguments)?;
        assert_eq!(ran.code, 1, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains("--help"), "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, b"", "{arguments:?}");
    }
    for arguments in [["--help"], ["--version"]] {
        let ran = record(arguments)?;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(!ran.stdout.is_empty(), "{arguments:?}");
    }
    Ok(())
}
