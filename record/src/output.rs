//! Where the trace goes: a new file that only we can read, or standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use shared::trace::TraceError;

/// The place for a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// `-o -`
    Stdout,
    /// `-o FILE`
    File {
        /// Its path.
        path: PathBuf,
        /// Whether an existing file may be overwritten.
        force: bool,
    },
}

impl Output {
    /// Refuses a file that is there already, before anything is done to the target.
    pub fn check(&self, first_part: u64) -> Result<()> {
        match (self, self.path(first_part)) {
            (Output::File { force: false, .. }, Some(path)) if path.exists() => {
                bail!("{} exists: choose another name with -o, or overwrite it with --force", path.display())
            }
            (Output::File { path, .. }, _) => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                if parent.is_dir() { Ok(()) } else { bail!("{} is no directory: create it first", parent.display()) }
            }
            (Output::Stdout, _) => Ok(()),
        }
    }

    /// Ends a recording that failed on the way. `begun` says whether there is a keyframe to make a trace of what was
    /// written; if not, nothing is left behind.
    pub fn give_up(&self, begun: bool, error: anyhow::Error) -> Result<ExitCode> {
        let io = io_kind(&error);
        match self {
            // Whoever read our output has had enough.
            Output::Stdout if io == Some(io::ErrorKind::BrokenPipe) => Ok(ExitCode::SUCCESS),
            Output::Stdout => Err(error),
            Output::File { path, .. } if begun => {
                crate::say!(
                    "record: {error:#}: the recording ended here; {} is readable up to its last whole block (analyze \
                     says which)",
                    path.display()
                );
                Ok(ExitCode::from(2))
            }
            Output::File { path, .. } => {
                let _ = fs::remove_file(path);
                Err(error)
            }
        }
    }

    /// The file of a part; part 0 is the only one. `trace.ljt` becomes `trace.001.ljt`.
    pub fn path(&self, part: u64) -> Option<PathBuf> {
        match self {
            Output::File { path, .. } if part > 0 => {
                let extension = path.extension().map_or_else(|| "ljt".into(), |e| e.to_string_lossy().into_owned());
                Some(path.with_extension(format!("{part:03}.{extension}")))
            }
            Output::File { path, .. } => Some(path.clone()),
            Output::Stdout => None,
        }
    }

    /// Opens it, or its file for a part; part 0 is the only one.
    pub fn open(&self, part: u64) -> Result<Sink> {
        match (self, self.path(part)) {
            (Output::Stdout, _) | (_, None) => Ok(Sink::Stdout(io::stdout())),
            (Output::File { force, .. }, Some(path)) => {
                let mut options = OpenOptions::new();
                options.write(true).mode(0o600);
                if *force {
                    options.create(true).truncate(true)
                } else {
                    options.create_new(true)
                };
                let file = options.open(&path).with_context(|| format!("cannot create {}", path.display()))?;
                Ok(Sink::File(BufWriter::with_capacity(1 << 16, file)))
            }
        }
    }
}

/// Whether an error is about reading or writing, such as a full disk.
pub fn is_io(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(TraceError::Io(_))))
}

/// The kind of the I/O error behind an error, if there is one.
fn io_kind(error: &anyhow::Error) -> Option<io::ErrorKind> {
    error.chain().find_map(|cause| match cause.downcast_ref() {
        // Transparent, so the chain passes it by.
        Some(TraceError::Io(error)) => Some(error.kind()),
        _ => cause.downcast_ref().map(io::Error::kind),
    })
}

/// An open output.
#[derive(Debug)]
pub enum Sink {
    /// Standard output.
    Stdout(io::Stdout),
    /// A file.
    File(BufWriter<File>),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Stdout(out) => out.write(bytes),
            Sink::File(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Stdout(out) => out.flush(),
            Sink::File(out) => out.flush(),
        }
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Output::Stdout => f.write_str("standard output"),
            Output::File { path, .. } => path.display().fmt(f),
        }
    }
}
