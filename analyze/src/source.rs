//! Where a trace comes from: a file, or standard input.

use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use shared::trace::reader::Trace;

/// A trace on disk.
pub type FileTrace = Trace<BufReader<File>>;

/// A trace's name on the command line; `-` is standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source(pub PathBuf);

impl Source {
    /// Opens the trace. A stream is spooled to an unlinked temporary file first: the replay goes back and forth.
    pub fn open(&self) -> Result<FileTrace> {
        let file = if self.0.as_os_str() == "-" { spool()? } else { self.file(&self.0)? };
        Trace::open(BufReader::with_capacity(1 << 16, file)).with_context(|| self.to_string())
    }

    fn file(&self, path: &Path) -> Result<File> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let kind = file.metadata().with_context(|| format!("cannot look at {}", path.display()))?.file_type();
        if kind.is_dir() {
            anyhow::bail!("{} is a directory: name a trace in it", path.display());
        }
        // A named pipe cannot be read twice either.
        if kind.is_file() { Ok(file) } else { copy(file) }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.as_os_str() == "-" { f.write_str("standard input") } else { self.0.display().fmt(f) }
    }
}

fn spool() -> Result<File> {
    copy(io::stdin().lock())
}

fn copy(mut from: impl io::Read) -> Result<File> {
    let mut file = tempfile::tempfile().context("cannot create a temporary file for the stream")?;
    io::copy(&mut from, &mut file).context("cannot copy the stream to a temporary file")?;
    file.rewind().context("cannot rewind the temporary file")?;
    Ok(file)
}
