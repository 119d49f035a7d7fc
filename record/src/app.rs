//! The program: from arguments to a trace and a summary.

use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;
use shared::trace::meta::{Header, Process};
use shared::trace::writer::Writer;

use crate::cli::{Arguments, Mode};
use crate::door::{Door, Module};
use crate::freeze::Frozen;
use crate::launch::{Birth, Launched};
use crate::locate::{self, FoundVm};
use crate::output::Output;
use crate::session::{Armed, Session, Stopped, monotonic_ns};
use crate::target::Target;
use crate::{calibrate, privilege, report};

/// How long to wait for a child's status once its VM is gone.
const CHILD_PATIENCE: Duration = Duration::from_secs(5);

/// Runs the program.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(output) = &arguments.output {
        output_of(arguments, output.clone()).check()?;
    }
    let stop = stop_flag()?;
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, unlimited_files());
    // What the program prints must not get in between the trace.
    let is_stdout = arguments.output.as_ref().is_some_and(|path| path.as_os_str() == "-");
    let stdout = if is_stdout { Stdio::from(std::io::stderr()) } else { Stdio::inherit() };
    let mut launched = match (&arguments.command, &*arguments.program) {
        (Some(command), _) => Some(Launched::shell(command, stdout)?),
        (None, []) => None,
        (None, words) => Some(Launched::program(words, stdout)?),
    };
    let (pid, held) = match &mut launched {
        None => (Pid::from_raw(arguments.pid.context("no process given")?), None),
        Some(launched) => match launched.wait_for_vm(&stop)? {
            Birth::Vm(pid, frozen) => (pid, Some(frozen)),
            Birth::Ended(status) => bail!("the program ended ({status}) before a LuaJIT VM was seen in it"),
            Birth::Asked => bail!("stopped before a LuaJIT VM was seen"),
        },
    };
    let target = open(pid)?;
    record(arguments, target, held, launched, &stop)
}

/// Set by SIGINT and SIGTERM.
fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot catch signals")?;
    }
    Ok(stop)
}

/// Every thread takes half a dozen descriptors.
fn unlimited_files() -> rustix::process::Rlimit {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum }
}

fn output_of(arguments: &Arguments, path: std::path::PathBuf) -> Output {
    if path.as_os_str() == "-" { Output::Stdout } else { Output::File { path, force: arguments.force } }
}

fn open(pid: Pid) -> Result<Target> {
    let target = Target::open(pid).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            anyhow::anyhow!("no process {pid}: is it still running? (pgrep nginx lists ids)")
        }
        _ => privilege::explain_access(pid, &error),
    })?;
    privilege::check_access(&target)?;
    Ok(target)
}

/// The process's VMs and the door they share, or why there is none.
fn find_door(target: &Target) -> Result<(Door, Vec<FoundVm>)> {
    let pid = target.pid;
    let mappings = target.mappings().map_err(|error| privilege::explain_access(pid, &error))?;
    let found = locate::vms(target, &mappings);
    if let Some(vm) = found.vms.first() {
        return Ok((Door::find(target, &mappings, vm.global.allocf)?, found.vms));
    }
    if !target.is_alive() {
        bail!("process {pid} ended while it was being looked at");
    }
    if found.custom > 0 || mentions_luajit(target, &mappings) {
        bail!(
            "process {pid} has LuaJIT in it, but no VM on LuaJIT's own allocator: it was built with \
             LUAJIT_USE_SYSMALLOC, brings an allocator of its own, or has not started its VM yet"
        );
    }
    bail!(
        "process {pid} ({}) is not a LuaJIT program: no VM in its memory, no LuaJIT in its files",
        target.exe().display()
    )
}

/// Whether any mapped file carries LuaJIT's version string.
fn mentions_luajit(target: &Target, mappings: &[crate::target::Mapping]) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    let files = mappings.iter().filter(|mapping| mapping.executable && mapping.file.is_some());
    files
        .filter(|mapping| seen.insert(mapping.inode))
        .filter_map(|mapping| Module::load(target, mapping).ok())
        .any(|module| module.image.contains(b"LuaJIT 2."))
}

fn header(arguments: &Arguments, base: u64) -> Header {
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Header {
        writer: format!("ljscope record {}", env!("CARGO_PKG_VERSION")),
        started_unix_ns: started.as_nanos() as u64,
        clock: "CLOCK_MONOTONIC".into(),
        clock_start_ns: base,
        host: text(uname.nodename()),
        kernel: text(uname.release()),
        arch: text(uname.machine()),
        mode: arguments.mode.name().into(),
        options: [("keyframe_every_ns".to_owned(), arguments.keyframe_every.as_nanos().to_string())].into(),
    }
}

fn process(target: &Target) -> Process {
    let exe = target.exe();
    let own = format!("/proc/{}/exe", target.pid);
    let image = std::fs::read(own).ok().and_then(|bytes| crate::image::Image::parse(bytes).ok());
    Process {
        pid: target.pid.as_raw() as u32,
        program: program(target),
        command: target.command(),
        exe: exe.display().to_string(),
        build_id: image.map(|image| image.build_id).unwrap_or_default(),
    }
}

fn program(target: &Target) -> String {
    target.exe().file_name().map_or_else(|| "unknown".into(), |name| name.to_string_lossy().into_owned())
}

fn record(
    arguments: &Arguments,
    target: Target,
    held: Option<Frozen>,
    mut launched: Option<Launched>,
    stop: &AtomicBool,
) -> Result<ExitCode> {
    let pid = target.pid;
    let (door, vms) = find_door(&target)?;
    let armed = match arguments.mode {
        Mode::Snapshot => None,
        Mode::Full => Some(Armed::open(&target, &door)?),
    };
    let default = || format!("{}-{pid}.ljt", program(&target)).into();
    let output = output_of(arguments, arguments.output.clone().unwrap_or_else(default));
    output.check()?;
    let base = monotonic_ns();
    let sink = output.open()?;
    let begun = Writer::new(sink, &header(arguments, base)).and_then(|mut writer| {
        writer.process(0, &process(&target))?;
        Ok(writer)
    });
    let writer = match begun {
        Ok(writer) => writer,
        Err(error) => return output.give_up(false, error.into()),
    };
    let emulated = door.probe.emulated;
    let mut session = Session::new(target, door, armed, writer, base);
    let recorded = (|| {
        session.add_vms(vms)?;
        if !session.keyframe(held)? {
            bail!("process {pid} ended while it was being attached to");
        }
        report::found(&session, &output);
        if arguments.mode == Mode::Snapshot {
            session.close()?;
            return Ok(Stopped::Snapshot);
        }
        let until = arguments.duration.map(|duration| Instant::now() + duration);
        let stopped = session.run(stop, until, arguments.keyframe_every)?;
        // The end's keyframe; there is none if the target was faster.
        let alive = stopped != Stopped::TargetEnded && session.keyframe(None)?;
        session.close()?;
        Ok(if alive { stopped } else { Stopped::TargetEnded })
    })();
    let stopped = match recorded {
        Ok(stopped) => stopped,
        Err(error) => return output.give_up(session.begun(), error),
    };
    let status = match &mut launched {
        Some(launched) if stopped == Stopped::TargetEnded => launched.wait(CHILD_PATIENCE)?,
        Some(launched) => launched.status()?,
        None => None,
    };
    if arguments.mode == Mode::Full {
        match calibrate::hit_cost_ns(emulated) {
            Ok(ns) => session.cost.hit_ns = ns,
            Err(error) => eprintln!("record: the cost of a hit could not be measured: {error:#}"),
        }
    }
    let (trailer, bytes, missed) = match session.finish(stopped, status) {
        Ok(done) => done,
        Err(error) => return output.give_up(true, error),
    };
    report::summary(&trailer, bytes, &missed, &output);
    Ok(if trailer.lost > 0 || !missed.is_empty() { ExitCode::from(2) } else { ExitCode::SUCCESS })
}
