//! What a user calls. Each command opens a trace, replays what it needs, and writes.

pub mod events;
pub mod info;
pub mod stats;
pub mod verify;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cli::{Arguments, Command, StatsArguments};
use crate::output::{Format, Options};
use crate::replay::verdict::{Judgement, Verdict};

/// Runs the program.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    if let Some(threads) = arguments.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot start the threads")?;
    }
    match (arguments.command, arguments.trace) {
        (Some(Command::Stats(arguments)), _) => stats::run(&arguments),
        (Some(Command::Verify(arguments)), _) => verify::run(&arguments),
        (Some(Command::Info(arguments)), _) => info::run(&arguments),
        (Some(Command::Events(arguments)), _) => events::run(&arguments),
        (None, Some(trace)) => {
            stats::run(&StatsArguments { trace, at: None, vm: None, format: Format::Text, compat: false, output: None })
        }
        (None, None) => anyhow::bail!("no trace given: see analyze --help"),
    }
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
