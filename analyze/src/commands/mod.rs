//! What a user calls. Each command opens a trace, replays what it needs, and writes.

pub mod batch;
pub mod breakdown;
pub mod diff;
pub mod events;
mod fleet;
pub mod growth;
pub mod info;
pub mod lifetimes;
pub mod map;
pub mod objects;
pub mod partial;
pub mod rates;
pub mod report;
pub mod schema;
pub mod shell;
pub mod sites;
pub mod stats;
pub mod timeline;
pub mod verify;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use shared::Nanos;
use shared::trace::frame::Kind;
use shared::trace::meta::Vm;

use crate::cli::{Arguments, Command, Period, Written};
use crate::output::{self, Format, Options, Output};
use crate::replay::Plan;
use crate::replay::run::Peak;
use crate::replay::state::{micros, whole};
use crate::replay::verdict::{Judgement, Verdict};
use crate::report::Asked;
use crate::source::FileTrace;

/// Runs the program.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    if let Some(threads) = arguments.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot start the threads")?;
    }
    match arguments.command {
        Some(Command::Stats(arguments)) => stats::run(&arguments),
        Some(Command::Rates(arguments)) => rates::run(&arguments),
        Some(Command::Lifetimes(arguments)) => lifetimes::run(&arguments),
        Some(Command::Growth(arguments)) => growth::run(&arguments),
        Some(Command::Map(arguments)) => map::run(&arguments),
        Some(Command::Objects(arguments)) => objects::run(&arguments),
        Some(Command::Sites(arguments)) => sites::run(&arguments),
        Some(Command::Timeline(arguments)) => timeline::run(&arguments),
        Some(Command::Breakdown(arguments)) => breakdown::run(&arguments),
        Some(Command::Report(arguments)) => report::run(&arguments),
        Some(Command::Batch(arguments)) => batch::run(&arguments),
        Some(Command::Partial(arguments)) => partial::run(&arguments),
        Some(Command::Diff(arguments)) => diff::run(&arguments),
        Some(Command::Verify(arguments)) => verify::run(&arguments),
        Some(Command::Info(arguments)) => info::run(&arguments),
        Some(Command::Events(arguments)) => events::run(&arguments),
        Some(Command::Schema(arguments)) => schema::run(&arguments),
        Some(Command::Completions(arguments)) => shell::completions(&arguments),
        Some(Command::Man(arguments)) => shell::man(&arguments),
        None if arguments.traces.is_empty() => anyhow::bail!("no trace given: see analyze --help"),
        None => stats::run(&stats::Arguments::of(arguments.traces)),
    }
}

/// Writes what was found as was asked for.
fn write(found: &dyn Output, written: &Written) -> Result<()> {
    write_with(found, written, |options| options)
}

/// The same, with something to say on how.
fn write_with(found: &dyn Output, written: &Written, adapt: impl FnOnce(Options) -> Options) -> Result<()> {
    let file = written.output.as_deref();
    if written.format == Format::Parquet && file.is_none() {
        bail!("Parquet is no text: name a file with -o");
    }
    let options = adapt(options(file));
    with_output(file, |out| output::write(found, written.format, &options, out))
}

/// Calls `write` with the file, or standard output. A file is written whole or not at all.
fn with_output(path: Option<&Path>, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
        let mut out = BufWriter::new(io::stdout().lock());
        return write(&mut out).and_then(|()| Ok(out.flush()?));
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cannot = || format!("cannot write {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(parent).with_context(cannot)?;
    let mut out = BufWriter::new(file.as_file_mut());
    write(&mut out).and_then(|()| Ok(out.flush()?)).with_context(cannot)?;
    drop(out);
    let permissions = File::metadata(file.as_file()).map(|meta| meta.permissions());
    file.persist(path).with_context(cannot)?;
    readable_by_all(path, permissions);
    Ok(())
}

/// The numbers of the VMs asked for: all, one, or those of one process.
fn vms(plan: &Plan, only: Option<u32>, pid: Option<u32>) -> Result<Vec<u32>> {
    if let Some(only) = only.filter(|only| !plan.vms.contains_key(only)) {
        let known: Vec<String> = plan.vms.keys().map(u32::to_string).collect();
        bail!("there is no VM {only} in this trace; it has {}", known.join(", "));
    }
    pid.map_or(Ok(()), |pid| is_there(plan, pid))?;
    let asked =
        |(number, vm): &(&u32, &Vm)| only.is_none_or(|only| only == **number) && pid.is_none_or(|pid| pid == vm.pid);
    let numbers: Vec<u32> = plan.vms.iter().filter(asked).map(|(number, _)| *number).collect();
    match (only, pid) {
        (Some(only), Some(pid)) if numbers.is_empty() => bail!("VM {only} is not in process {pid}"),
        (None, Some(pid)) if numbers.is_empty() => bail!("process {pid} has no VM in this trace"),
        _ => Ok(numbers),
    }
}

/// From when to when something is asked for. Where the peak is, a replay tells; of several VMs, it is
/// the first of theirs.
///
/// # Errors
/// A time behind the trace's end, or an end that is before the beginning.
fn period(trace: &FileTrace, plan: &Plan, vms: &[u32], period: &Period) -> Result<(Nanos, Nanos)> {
    let moment = |asked: Option<Asked>, default: Nanos| match asked {
        Some(Asked::At(time)) if time > plan.end => {
            bail!("the trace ends at {}: ask for an earlier time", humantime::format_duration(micros(plan.end)))
        }
        Some(Asked::At(time)) => Ok(time),
        Some(Asked::Peak) => {
            let came = whole(trace, plan).stretches;
            let ours = plan.stretches.iter().zip(came).filter(|(stretch, _)| vms.contains(&stretch.vm));
            let mut peaks: BTreeMap<u32, Peak> = BTreeMap::new();
            for (stretch, came) in ours {
                // Of equal peaks the first.
                let peak = peaks.entry(stretch.vm).or_insert(came.peak);
                *peak = if came.peak.bytes > peak.bytes { came.peak } else { *peak };
            }
            let first = peaks.values().map(|peak| peak.time).min();
            first.context("no heap is known in this trace, so it has no peak: ask for a time")
        }
        Some(Asked::Default | Asked::End) => Ok(plan.end),
        None => Ok(default),
    };
    // A later part of a recording counts from the recording's start.
    let is_later = trace.parts.first().is_some_and(|part| part.header.part > 1);
    let of_heaps = trace.frames.iter().filter(|frame| matches!(frame.head.kind, Kind::Calls | Kind::Keyframe));
    let first = of_heaps.map(|frame| frame.head.start).min().filter(|_| is_later).unwrap_or(0);
    let (from, to) = (moment(period.from, first)?, moment(period.to, plan.end)?);
    if from > to {
        let show = |time| humantime::format_duration(micros(time)).to_string();
        bail!("{} is before {}: let --to be later than --from", show(to), show(from));
    }
    Ok((from, to))
}

/// An error if a process is not in the trace.
fn is_there(plan: &Plan, pid: u32) -> Result<()> {
    if plan.processes.iter().any(|process| process.pid == pid) {
        return Ok(());
    }
    let known: Vec<String> = plan.processes.iter().map(|process| process.pid.to_string()).collect();
    bail!("there is no process {pid} in this trace; it has {}", known.join(", "));
}

/// What of a trace's damage may be why a heap is not known, to be said behind that.
fn damage(verdict: &Verdict) -> String {
    let missed = verdict.missed.first().map(|missed| format!("a keyframe was missed: {}", missed.reason));
    verdict.truncated.iter().chain(&verdict.damage).chain(&missed).map(|what| format!("; {what}")).collect()
}

/// Colour only where a terminal shows it and nobody objects.
fn options(file: Option<&Path>) -> Options {
    let color = file.is_none() && io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    Options { color, ..Options::default() }
}

/// A temporary file is private; an output is an ordinary file.
fn readable_by_all(path: &Path, permissions: io::Result<std::fs::Permissions>) {
    #[cfg(unix)]
    if let Ok(mut permissions) = permissions {
        use std::os::unix::fs::PermissionsExt;
        permissions.set_mode(0o644);
        // The content is there either way.
        let _ = std::fs::set_permissions(path, permissions);
    }
    #[cfg(not(unix))]
    let _ = (path, permissions);
}

/// 0 for an answer that nothing speaks against, 2 for one that is incomplete or contradicted.
fn exit_code(verdict: &Verdict) -> ExitCode {
    match verdict.judgement() {
        Judgement::Verified | Judgement::Consistent => ExitCode::SUCCESS,
        Judgement::Incomplete | Judgement::Contradicted => ExitCode::from(2),
    }
}
