//! Where a trace comes from: files, or standard input.

use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use shared::trace::parts::Apart;
use shared::trace::reader::Trace;

use crate::cli::Input;

/// A trace on disk.
pub type FileTrace = Trace<BufReader<File>>;

/// The names on a command line: one trace, or parts of one recording. `-` is standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source(pub Vec<PathBuf>);

impl Source {
    /// What a command line names: of a directory, the traces in it.
    ///
    /// # Errors
    /// A directory that cannot be read, or has no trace in it.
    pub fn of(input: &Input) -> Result<Source> {
        let mut paths = Vec::new();
        for path in &input.traces {
            if path.is_dir() {
                let inside = traces_in(path)?;
                if inside.is_empty() {
                    bail!("{} is a directory without a .ljt file in it: name a trace", path.display());
                }
                paths.extend(inside);
            } else {
                paths.push(path.clone());
            }
        }
        Ok(Source(paths))
    }

    /// Opens the trace. A stream is spooled to an unlinked temporary file first: the replay goes back and forth.
    pub fn open(&self) -> Result<FileTrace> {
        if self.0.iter().filter(|path| is_stream(path)).count() > 1 {
            bail!("standard input can be read once only");
        }
        let traces = self.0.iter().map(|path| open(path)).collect::<Result<Vec<_>>>()?;
        match Trace::join(traces) {
            Ok(joined) => joined.context("no trace given"),
            Err(Apart::Foreign(one, other)) => bail!(
                "{} and {} are not parts of one recording: name the parts of one at a time",
                name(&self.0[one]),
                name(&self.0[other])
            ),
            Err(Apart::Twice(one, other)) => {
                bail!("{} and {} are the same part of one recording", name(&self.0[one]), name(&self.0[other]))
            }
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.0 {
            [] => f.write_str("nothing"),
            [one] => f.write_str(&name(one)),
            [first, others @ ..] => write!(f, "{} and {} more", name(first), others.len()),
        }
    }
}

/// The files of a directory that are named as traces are, in order.
fn traces_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read the directory {}", folder.display());
    let mut traces = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if path.extension().is_some_and(|extension| extension == "ljt") {
            traces.push(path);
        }
    }
    traces.sort();
    Ok(traces)
}

fn is_stream(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn name(path: &Path) -> String {
    if is_stream(path) { "standard input".to_owned() } else { shown(path) }
}

/// A path as text, so that no two paths look alike: bytes that are no UTF-8 and control characters as `\xff`, and a
/// backslash twice.
pub fn shown(path: &Path) -> String {
    let mut text = String::new();
    for piece in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        for c in piece.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if c.is_control() => {
                    c.to_string().bytes().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
                }
                c => text.push(c),
            }
        }
        piece.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

fn open(path: &Path) -> Result<FileTrace> {
    let file = if is_stream(path) { spool()? } else { file(path)? };
    Trace::open(BufReader::with_capacity(1 << 16, file)).with_context(|| name(path))
}

fn file(path: &Path) -> Result<File> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let kind = file.metadata().with_context(|| format!("cannot look at {}", path.display()))?.file_type();
    if kind.is_dir() {
        bail!("{} is a directory", path.display());
    }
    // A named pipe cannot be read twice either.
    if kind.is_file() { Ok(file) } else { copy(file) }
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn no_two_paths_look_alike() {
        let named = |bytes: &[u8]| shown(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!(named("a b/ü.ljt".as_bytes()), "a b/ü.ljt");
        let alike: [&[u8]; 7] = [b"\xff", b"\xfe", b"\\xff", "\u{fffd}".as_bytes(), b"?", b"\n", b"\\n"];
        let names: std::collections::BTreeSet<String> = alike.iter().map(|bytes| named(bytes)).collect();
        assert_eq!(names.len(), alike.len());
        assert!(names.contains("\\xff") && names.contains("\\\\xff") && names.contains("\\x0a"), "{names:?}");
    }
}
