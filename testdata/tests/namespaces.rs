//! Processes as containers have them: other mount and PID namespaces, another root, files on overlays and files that are
//! no more.

use std::path::Path;
use std::process::Command;

use testdata::{
    Interpreter, Program, Ran, Recorder, Service, changed_text, children, copy_program, info, may_record, run, skip,
    status_field, tool, verify,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const MODES: [&str; 2] = ["full", "sample"];

/// A folder with a service; `None` where nothing can be recorded, or no namespaces are to be had.
fn place(test: &str) -> Result<Option<(tempfile::TempDir, Service)>> {
    let unshare = || match run(Command::new("unshare").args(["--mount", "--pid", "--fork", "true"])) {
        Ok(ran) if ran.code == 0 => Ok(()),
        Ok(ran) => Err(ran.stderr),
        Err(error) => Err(format!("unshare: {error}")),
    };
    if let Err(reason) = may_record().and_then(|()| unshare()) {
        skip(test, reason.trim());
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let service = Service::install(folder.path())?;
    Ok(Some((folder, service)))
}

/// A command that runs a shell script in new mount and PID namespaces. The script is the first process there: `$0` is
/// `folder`, `$@` the program that it becomes in the end. When `unshare` is ended, all that is in there ends.
fn in_namespaces(folder: &Path, script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", script]).arg(folder);
    command
}

/// The process id, as we see it, of the process that `unshare` waits for.
fn inside(program: &Program) -> Result<u32> {
    Ok(*children(program.pid()).first().ok_or("nothing in the namespace")?)
}

fn recorded(ran: &Ran, trace: &Path, name: &str, pid: u32) -> Result<()> {
    assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
    assert_eq!(changed_text(pid)?, [0; 0], "{name}");
    assert_eq!(status_field(pid, "TracerPid")?, "0", "{name}");
    let verified = verify(trace, name)?;
    assert!(verified.calls > 1000 && verified.keyframes > 0, "{name}: {verified:?}");
    Ok(())
}

/// The process that a trace is of.
fn process(trace: &Path) -> Result<serde_json::Value> {
    let (_, document) = info(trace)?;
    Ok(document["processes"][0].clone())
}

#[test]
fn a_program_that_only_its_namespace_has() -> Result<()> {
    let Some((folder, service)) = place("a_program_that_only_its_namespace_has")? else { return Ok(()) };
    // In a file system that nobody else sees, at a path that nobody else has.
    let script = "mkdir $0/own; mount -t tmpfs tmpfs $0/own; cp $1 $0/own/luajit; shift; exec $0/own/luajit \"$@\"";
    for mode in MODES {
        let mut program = service.start(&mut in_namespaces(folder.path(), script))?;
        let (trace, pid) = (folder.path().join(format!("{mode}.ljt")), inside(&program)?);
        assert!(!folder.path().join("own/luajit").exists());
        let ran = Recorder::through(&mut Command::new(tool("record")), mode, &trace, pid, &mut program)?;
        recorded(&ran, &trace, mode, pid)?;
        let process = process(&trace)?;
        assert_eq!((&process["pid"], &process["inner_pid"]), (&pid.into(), &1.into()), "{process:#}");
        std::fs::remove_dir(folder.path().join("own"))?;
    }
    Ok(())
}

#[test]
fn a_process_has_the_id_that_it_sees() -> Result<()> {
    let Some((folder, service)) = place("a_process_has_the_id_that_it_sees")? else { return Ok(()) };
    let script = "local ffi = require('ffi') ffi.cdef('int getpid(void);') io.write('ready\\n') io.flush() \
                  io.read('*l') io.write('done ', ffi.C.getpid(), '\\n') io.flush() io.read('*a')";
    // The third process there, or whichever.
    let mut command = in_namespaces(folder.path(), "true & wait; exec 3<&0; \"$@\" <&3 & wait");
    let mut program = Program::start(command.arg(service.luajit()).args(["-e", script]))?;
    program.wait_ready()?;
    let shell = inside(&program)?;
    let pid = *children(shell).first().ok_or("no luajit")?;
    let trace = folder.path().join("trace.ljt");
    let ran = Recorder::through(&mut Command::new(tool("record")), "snapshot", &trace, pid, &mut program)?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    program.go()?;
    let seen: u64 = program.wait_done()?.parse()?;
    assert!(seen > 1);
    let process = process(&trace)?;
    assert_eq!((&process["pid"], &process["inner_pid"]), (&pid.into(), &seen.into()), "{process:#}");
    Ok(())
}

/// As a container beside it sees it that shares its PID namespace: both ids are the inner one.
#[test]
fn the_recorder_in_the_same_namespace() -> Result<()> {
    let Some((folder, service)) = place("the_recorder_in_the_same_namespace")? else { return Ok(()) };
    for mode in MODES {
        let mut program = service.start(&mut in_namespaces(folder.path(), "exec \"$@\""))?;
        let (trace, pid) = (folder.path().join(format!("{mode}.ljt")), inside(&program)?);
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid.to_string(), "--mount", "--pid", "--no-fork"]);
        // One more process: without a fork it would not be in the namespace itself.
        command.args(["sh", "-c", "\"$@\" & child=$!; trap 'kill -s INT $child' INT; wait $child; wait $child", "sh"]);
        let ran = Recorder::through(command.arg(tool("record")), mode, &trace, 1, &mut program)?;
        recorded(&ran, &trace, mode, pid)?;
        let process = process(&trace)?;
        assert_eq!((&process["pid"], &process["inner_pid"]), (&1.into(), &0.into()), "{process:#}");
    }
    Ok(())
}

/// The machine's own file system below, one in memory above, as container engines do it.
#[test]
fn a_root_on_an_overlay() -> Result<()> {
    let Some((folder, service)) = place("a_root_on_an_overlay")? else { return Ok(()) };
    let overlay = "mkdir -p $0/layers; mount -t tmpfs tmpfs $0/layers; cd $0/layers; mkdir upper work merged; \
                   mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work merged; ";
    let probe = run(&mut in_namespaces(folder.path(), overlay))?;
    if probe.code != 0 {
        skip("a_root_on_an_overlay", probe.stderr.trim());
        return Ok(());
    }
    // From the lower layer; from the upper one, once it is written to.
    for (layer, prepare) in [("lower", ""), ("upper", "touch merged/$1; ")] {
        let script = format!("{overlay}{prepare}exec chroot merged \"$@\"");
        for mode in MODES {
            let name = format!("{layer}-{mode}");
            let mut program = service.start(&mut in_namespaces(folder.path(), &script))?;
            let (trace, pid) = (folder.path().join(format!("{name}.ljt")), inside(&program)?);
            let ran = Recorder::through(&mut Command::new(tool("record")), mode, &trace, pid, &mut program)?;
            recorded(&ran, &trace, &name, pid)?;
        }
        // The links to mapped files are for few; what is in reach by its path must do.
        let mut program = service.start(&mut in_namespaces(folder.path(), &script))?;
        let (trace, pid) = (folder.path().join(format!("{layer}.ljt")), inside(&program)?);
        let mut command = Command::new("setpriv");
        let only = "-all,+sys_ptrace";
        command.args(["--reuid=64001", "--regid=64001", "--clear-groups", "--inh-caps", only, "--ambient-caps", only]);
        command.args(["--bounding-set", only]).arg(place_for_all(folder.path())?);
        let ran = Recorder::through(&mut command, "snapshot", &trace, pid, &mut program)?;
        assert_eq!(ran.code, 0, "{layer}: {}", ran.stderr);
        verify(&trace, layer)?;
    }
    Ok(())
}

/// A copy of the recorder that every user can run, wherever the workspace is.
fn place_for_all(folder: &Path) -> Result<std::path::PathBuf> {
    let copy = folder.join("record");
    copy_program(tool("record"), &copy)?;
    Ok(copy)
}

/// An upgrade while it runs: the probes must go into the file that is mapped, not into its successor.
#[test]
fn a_library_that_is_replaced_or_deleted() -> Result<()> {
    let Some((folder, _)) = place("a_library_that_is_replaced_or_deleted")? else { return Ok(()) };
    let neovim = match Interpreter::neovim() {
        Ok(neovim) => neovim,
        Err(reason) => {
            skip("a_library_that_is_replaced_or_deleted", &reason);
            return Ok(());
        }
    };
    let library = folder.path().join("libluajit-5.1.so.2");
    for mode in MODES {
        for how in ["replaced", "deleted"] {
            let name = format!("{how}-{mode}");
            let mut program = neovim.start_with_library("mixed", folder.path())?;
            program.wait_ready()?;
            if how == "replaced" {
                let successor = folder.path().join("successor");
                std::fs::copy(&library, &successor)?;
                std::fs::rename(&successor, &library)?;
            } else {
                std::fs::remove_file(&library)?;
            }
            let (trace, pid) = (folder.path().join(format!("{name}.ljt")), program.pid());
            let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
            assert!(maps.contains("libluajit-5.1.so.2 (deleted)"), "{name}: {maps}");
            let ran = Recorder::through(&mut Command::new(tool("record")), mode, &trace, pid, &mut program)?;
            recorded(&ran, &trace, &name, pid)?;
        }
    }
    Ok(())
}
