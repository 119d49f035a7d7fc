//! The recorder without root: which capabilities suffice, and what it says where one is missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use testdata::{
    Interpreter, Nginx, Program, Ran, Recorder, Service, changed_text, copy_program, may_record, run, skip,
    status_field, tool, verify,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What suffices everywhere.
const ENOUGH: &[&str] = &["sys_ptrace", "sys_admin"];
const MODES: [&str; 3] = ["snapshot", "sample", "full"];

/// A user that owns nothing but what a test gives it.
#[derive(Clone, Copy)]
struct User(u32);

impl User {
    /// A command that becomes a program of this user with these capabilities and no way to others.
    fn with(self, capabilities: &[&str]) -> Command {
        let list: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={}", self.0), format!("--regid={}", self.0), "--clear-groups".into()]);
        // Ambient ones can only be had while they are inheritable, so these come first.
        command.args(["--inh-caps", "--ambient-caps", "--bounding-set"].map(|set| format!("{set}=-all{list}")));
        command
    }
}

const RECORDER: User = User(64_001);
const OTHER: User = User(64_002);

/// A folder that all users may look into, with a recorder and a service in it.
struct Place {
    folder: tempfile::TempDir,
    service: Service,
}

impl Place {
    fn new(test: &str) -> Result<Option<Place>> {
        if let Err(reason) = may_record() {
            skip(test, &reason);
            return Ok(None);
        }
        if let Err(error) = Command::new("setpriv").arg("--version").output() {
            skip(test, &format!("setpriv: {error}; util-linux has it"));
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let service = Service::install(folder.path())?;
        let place = Place { folder, service };
        copy_program(tool("record"), place.record())?;
        Ok(Some(place))
    }

    fn record(&self) -> PathBuf {
        self.folder.path().join("record")
    }

    fn trace(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.ljt"))
    }

    /// Tries to record a process for a moment.
    fn try_it(&self, mut command: Command, mode: &str, target: &[&str]) -> Result<Ran> {
        let trace = self.trace("tried");
        command
            .arg(self.record())
            .args(["--mode", mode, "--max-pause=2s", "-d", "100ms", "--force", "-o"])
            .arg(&trace)
            .args(target);
        let ran = run(&mut command)?;
        assert_eq!(ran.code == 0, trace.exists(), "{}", ran.stderr);
        if trace.exists() {
            std::fs::remove_file(&trace)?;
        }
        Ok(ran)
    }

    /// Checks that a process cannot be recorded, and what is said.
    fn refused(&self, command: Command, mode: &str, target: &[&str], words: &[&str]) -> Result<()> {
        let ran = self.try_it(command, mode, target)?;
        assert_eq!((ran.code, ran.stderr.lines().count()), (1, 1), "{mode}: {}", ran.stderr);
        for word in words {
            assert!(ran.stderr.contains(word), "{mode}: {word:?} is missing: {}", ran.stderr);
        }
        Ok(())
    }
}

/// Checks a recording.
fn recorded(ran: &Ran, trace: &Path, name: &str, pid: u32) -> Result<()> {
    assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
    assert!(!ran.stderr.contains("could not be measured"), "{name}: {}", ran.stderr);
    assert_eq!(changed_text(pid)?, [0; 0], "{name}");
    assert_eq!(status_field(pid, "TracerPid")?, "0", "{name}");
    let verified = verify(trace, name)?;
    assert!(name.contains("snapshot") || verified.calls > 1000 && verified.keyframes > 0, "{name}: {verified:?}");
    Ok(())
}

#[test]
fn two_capabilities_suffice_for_everything() -> Result<()> {
    let Some(place) = Place::new("two_capabilities_suffice_for_everything")? else { return Ok(()) };
    let own = || RECORDER.with(&[]);
    let roots = || Command::new("env");
    for mode in MODES {
        for (whose, mut starts) in [("own", own()), ("root", roots())] {
            let name = format!("{whose}-{mode}");
            let mut program = place.service.start(&mut starts)?;
            let (trace, pid) = (place.trace(&name), program.pid());
            let ran = Recorder::through(RECORDER.with(ENOUGH).arg(place.record()), mode, &trace, pid, &mut program)?;
            recorded(&ran, &trace, &name, pid)?;
        }
    }
    Ok(())
}

#[test]
fn a_worker_of_nginx() -> Result<()> {
    let Some(place) = Place::new("a_worker_of_nginx")? else { return Ok(()) };
    if let Err(reason) = Nginx::available() {
        skip("a_worker_of_nginx", &reason);
        return Ok(());
    }
    let nginx = Nginx::start()?;
    let worker = nginx.worker_pid()?;
    for mode in MODES {
        let trace = place.trace(mode);
        let mut command = RECORDER.with(ENOUGH);
        command.arg(place.record()).args(["--mode", mode, "--max-pause=2s", "--every=200ms", "--max-overhead=20%"]);
        command.args(["-p", &worker.to_string(), "-o"]).arg(&trace);
        let ran = if mode == "snapshot" {
            run(&mut command)?
        } else {
            let mut recorder = Recorder::spawn(&mut command)?;
            recorder.wait_recording()?;
            let load = nginx.load("/json", std::time::Duration::from_millis(1500), 2);
            assert!(load.requests > 0 && load.errors == 0, "{mode}: {load:?}");
            let (code, stderr) = recorder.stop()?;
            Ran { code, stdout: Vec::new(), stderr }
        };
        recorded(&ran, &trace, mode, worker)?;
    }
    Ok(())
}

/// Linux 5.8 let CAP_PERFMON open uprobes, and took that back in the middle of 2025, in older series as well: so what
/// holds can only be seen by trying.
#[test]
fn perfmon_suffices_or_the_kernel_is_named() -> Result<()> {
    let Some(place) = Place::new("perfmon_suffices_or_the_kernel_is_named")? else { return Ok(()) };
    let capabilities = &["perfmon", "sys_ptrace"];
    for mode in MODES {
        let mut program = place.service.start(&mut OTHER.with(&[]))?;
        let (trace, pid) = (place.trace(mode), program.pid());
        let command = &mut RECORDER.with(capabilities);
        match Recorder::through(command.arg(place.record()), mode, &trace, pid, &mut program) {
            Ok(ran) => recorded(&ran, &trace, mode, pid)?,
            Err(error) if mode != "snapshot" => {
                let said = error.to_string();
                for word in ["CAP_PERFMON is there", "wants CAP_SYS_ADMIN", "perf_event_paranoid is", "--mode snapshot"]
                {
                    assert!(said.contains(word), "{mode}: {word:?} is missing: {said}");
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[test]
fn what_is_missing_is_named() -> Result<()> {
    let Some(place) = Place::new("what_is_missing_is_named")? else { return Ok(()) };
    let theirs = place.service.start(&mut OTHER.with(&[]))?;
    let own = place.service.start(&mut RECORDER.with(&[]))?;
    let (theirs, own) = (theirs.pid().to_string(), own.pid().to_string());
    let ptrace = ["no privilege to look into", "CAP_SYS_PTRACE is missing", "ptrace_scope is", "setcap cap_sys_ptrace"];
    let probe = ["no privilege to probe", "CAP_SYS_ADMIN is missing", "perf_event_paranoid is", "--mode snapshot"];
    for mode in MODES {
        place.refused(RECORDER.with(&[]), mode, &["-p", &theirs], &ptrace)?;
        place.refused(RECORDER.with(&["sys_admin"]), mode, &["-p", &theirs], &ptrace)?;
    }
    for mode in ["sample", "full"] {
        place.refused(RECORDER.with(&["sys_ptrace"]), mode, &["-p", &theirs], &probe)?;
        place.refused(RECORDER.with(&["sys_ptrace"]), mode, &["-p", &own], &probe)?;
        // What Yama forbids, is forbidden first.
        place.refused(
            RECORDER.with(&[]),
            mode,
            &["-p", &own],
            &["no privilege to", "capabilities are 0000000000000000"],
        )?;
    }
    let ran = place.try_it(RECORDER.with(&["sys_ptrace"]), "snapshot", &["-p", &theirs])?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);

    // All capabilities, but in a user namespace: there they count for what is in it.
    let mut inside = RECORDER.with(&[]);
    inside.args(["unshare", "--user", "--map-root-user"]);
    let probe = run(RECORDER.with(&[]).args(["unshare", "--user", "--map-root-user", "true"]))?;
    if probe.code == 0 {
        place.refused(inside, "sample", &["-p", &theirs], &["counts in a user namespace only"])?;
    } else {
        skip("what_is_missing_is_named: a user namespace", probe.stderr.trim());
    }
    Ok(())
}

#[test]
fn a_name_nobody_may_look_into_is_no_name_nobody_has() -> Result<()> {
    let Some(place) = Place::new("a_name_nobody_may_look_into_is_no_name_nobody_has")? else { return Ok(()) };
    let called = place.folder.path().join("called-so");
    copy_program(place.service.luajit(), &called)?;
    let mut command = OTHER.with(&[]);
    let mut program = Program::start(command.arg(&called).args(place.service.words()))?;
    program.wait_ready()?;
    place.refused(RECORDER.with(&[]), "sample", &["--name", "called-so"], &["CAP_SYS_PTRACE is missing"])?;
    place.refused(RECORDER.with(&[]), "sample", &["--name", "called-otherwise"], &["no process called"])
}

/// Less memory may be locked than rings would like to have: they are smaller.
#[test]
fn with_little_memory_to_lock() -> Result<()> {
    let Some(place) = Place::new("with_little_memory_to_lock")? else { return Ok(()) };
    // What a user has locked counts for all its processes, so this one is nobody else's.
    let user = User(64_003);
    for mode in ["sample", "full"] {
        // Few calls: less than what a small ring holds. Else some would be lost, as told, where the machine is busy.
        let script = "local t = {} io.write('ready\\n') io.flush() io.read('*l') \
                      for i = 1, 2000 do t[i % 50] = { i } end io.write('done\\n') io.flush() io.read('*a')";
        let mut program = Program::start(OTHER.with(&[]).arg(place.service.luajit()).args(["-e", script]))?;
        program.wait_ready()?;
        let (trace, pid) = (place.trace(mode), program.pid());
        let mut command = user.with(ENOUGH);
        command.args(["prlimit", "--memlock=0"]).arg(place.record());
        let ran = Recorder::through(&mut command, mode, &trace, pid, &mut program)?;
        assert_eq!(ran.code, 0, "{mode}: {}", ran.stderr);
        assert!(!ran.stderr.contains("could not be measured"), "{mode}: {}", ran.stderr);
        let verified = verify(&trace, mode)?;
        assert!(mode == "sample" || verified.calls > 1000 && verified.keyframes > 0, "{mode}: {verified:?}");
    }
    Ok(())
}

/// The file has the capabilities, whoever runs it: what `setcap` is for.
#[test]
fn a_recorder_with_capabilities_of_its_own() -> Result<()> {
    let Some(place) = Place::new("a_recorder_with_capabilities_of_its_own")? else { return Ok(()) };
    let set = Command::new("setcap").arg("cap_sys_ptrace,cap_sys_admin=ep").arg(place.record()).output();
    match set {
        Ok(set) if set.status.success() => {}
        Ok(set) => {
            let said = String::from_utf8_lossy(&set.stderr).into_owned();
            skip("a_recorder_with_capabilities_of_its_own", said.trim());
            return Ok(());
        }
        Err(error) => {
            skip("a_recorder_with_capabilities_of_its_own", &format!("setcap: {error}; libcap2-bin has it"));
            return Ok(());
        }
    }
    for mode in MODES {
        let mut program = place.service.start(&mut OTHER.with(&[]))?;
        let (trace, pid) = (place.trace(mode), program.pid());
        let user = [format!("--reuid={}", RECORDER.0), format!("--regid={}", RECORDER.0), "--clear-groups".into()];
        let mut command = Command::new("setpriv");
        command.args(user).arg(place.record());
        let ran = Recorder::through(&mut command, mode, &trace, pid, &mut program)?;
        recorded(&ran, &trace, mode, pid)?;
    }
    Ok(())
}

/// After an upgrade a process goes on with files that are no more. To reach those of another user takes one more.
#[test]
fn a_replaced_library() -> Result<()> {
    let Some(place) = Place::new("a_replaced_library")? else { return Ok(()) };
    let neovim = match Interpreter::neovim() {
        Ok(neovim) => neovim,
        Err(reason) => {
            skip("a_replaced_library", &reason);
            return Ok(());
        }
    };
    let mut program = neovim.start_with_library("mixed", place.folder.path())?;
    program.wait_ready()?;
    let library = place.folder.path().join("libluajit-5.1.so.2");
    std::fs::remove_file(&library)?;
    let pid = program.pid().to_string();
    let words = ["libluajit-5.1.so.2", "replaced or deleted", "cap_dac_read_search"];
    for mode in MODES {
        place.refused(RECORDER.with(ENOUGH), mode, &["-p", &pid], &words)?;
    }
    place.refused(RECORDER.with(&["sys_ptrace"]), "snapshot", &["-p", &pid], &["cap_checkpoint_restore"])?;
    let all = [ENOUGH, &["dac_read_search"]].concat();
    let (trace, pid) = (place.trace("replaced"), program.pid());
    let ran = Recorder::through(RECORDER.with(&all).arg(place.record()), "full", &trace, pid, &mut program)?;
    recorded(&ran, &trace, "replaced", pid)
}
