//! The directory a batch writes to: its tables, what it keeps of each trace, and pictures.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use polars::prelude::DataFrame;
use serde::{Deserialize, Serialize};

use super::find::Recording;
use super::one::Done;
use crate::commands::with_output;
use crate::output::rows;
use crate::source::shown;

/// Says that a directory is ours.
const MARK: &str = "ljscope-batch.txt";
const MARK_TEXT: &str = "`analyze batch` wrote what is here, and writes over it when it runs again.\n";
/// Raised whenever what is kept of a trace changes, or how it is counted.
const KEPT: u32 = 1;

/// The directory.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
}

/// What is kept of a trace, and of which.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    key: Key,
    done: Done,
}

/// What a result depends on.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    /// Which program counted.
    analyze: String,
    kept: u32,
    files: Vec<FileKey>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileKey {
    path: String,
    bytes: u64,
    modified_ns: u64,
}

impl Place {
    /// Takes a directory that is ours, empty, or not there yet.
    ///
    /// # Errors
    /// It holds files that are not ours, or cannot be written to.
    pub(super) fn take(folder: &Path) -> Result<Place> {
        let cannot = || format!("cannot write to the directory {}", shown(folder));
        fs::create_dir_all(folder).with_context(cannot)?;
        let mark = folder.join(MARK);
        if !mark.exists() {
            if let Some(entry) = fs::read_dir(folder).with_context(cannot)?.next() {
                let name = shown(Path::new(&entry.with_context(cannot)?.file_name()));
                bail!(
                    "{} is not empty and not of an earlier batch (there is {name}): name a new directory",
                    shown(folder)
                );
            }
            fs::write(&mark, MARK_TEXT).with_context(cannot)?;
        }
        fs::create_dir_all(folder.join("parts")).with_context(cannot)?;
        Ok(Place { folder: folder.to_path_buf() })
    }

    /// What was kept of a trace by an earlier run, if nothing of it has changed since. With `picture`, only if that is there,
    /// too.
    pub(super) fn kept(&self, recording: &Recording, picture: bool) -> Option<Done> {
        let text = fs::read(self.part(recording)).ok()?;
        let kept: Kept = serde_json::from_slice(&text).ok()?;
        let as_asked = !picture || kept.done.heaps.segments.all.count == 0 || self.picture(recording).exists();
        (as_asked && kept.key == Key::of(recording)?).then(|| {
            let mut done = kept.done;
            // It may have been called otherwise, from another directory.
            done.result.trace = recording.name();
            done
        })
    }

    /// Keeps what was found of a trace, whole or not at all.
    pub(super) fn keep(&self, recording: &Recording, done: &Done) -> Result<()> {
        let key = Key::of(recording).context("it is gone")?;
        let kept = Kept { key, done: done.clone() };
        with_output(Some(&self.part(recording)), |out| Ok(serde_json::to_writer(out, &kept)?))
    }

    /// Writes a picture of a trace.
    pub(super) fn draw(&self, recording: &Recording, draw: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        let path = self.picture(recording);
        let folder = self.folder.join("pictures");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", shown(&folder)))?;
        with_output(Some(&path), draw)
    }

    /// Writes rows as `NAME.csv`.
    pub(super) fn csv(&self, name: &str, frame: DataFrame) -> Result<()> {
        with_output(Some(&self.folder.join(format!("{name}.csv"))), |out| rows::csv(frame, out))
    }

    /// Writes rows as `NAME.csv` and as `NAME.parquet`.
    pub(super) fn table(&self, name: &str, frame: DataFrame) -> Result<()> {
        self.csv(name, frame.clone())?;
        with_output(Some(&self.folder.join(format!("{name}.parquet"))), |out| rows::parquet(frame, out))
    }

    fn part(&self, recording: &Recording) -> PathBuf {
        self.folder.join("parts").join(format!("{}.json", stem(recording)))
    }

    fn picture(&self, recording: &Recording) -> PathBuf {
        self.folder.join("pictures").join(format!("{}.svg", stem(recording)))
    }
}

impl Key {
    fn of(recording: &Recording) -> Option<Key> {
        let files = recording.files.iter().map(|file| {
            let path = file.path.canonicalize().ok()?;
            Some(FileKey { path: shown(&path), bytes: file.bytes, modified_ns: file.modified_ns })
        });
        Some(Key { analyze: env!("CARGO_PKG_VERSION").to_owned(), kept: KEPT, files: files.collect::<Option<_>>()? })
    }
}

/// A file name for a trace: its own as far as that is plain, and a number made from its whole path.
fn stem(recording: &Recording) -> String {
    const PLAIN: usize = 60;
    let Some(file) = recording.files.first() else { return String::new() };
    let path = file.path.canonicalize().unwrap_or_else(|_| file.path.clone());
    let name = shown(Path::new(path.file_stem().unwrap_or_default()));
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let name: String = name.chars().take(PLAIN).map(plain).collect();
    format!("{name}-{:016x}", fnv1a(path.as_os_str().as_encoded_bytes()))
}

/// The 64-bit FNV-1a hash of bytes: the same on every machine and in every version (draft-eastlake-fnv).
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_draft() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn foreign_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("new/one");
        Place::take(&inside).unwrap();
        Place::take(&inside).unwrap();
        fs::write(folder.path().join("summary.csv"), "mine").unwrap();
        let error = Place::take(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
    }
}
