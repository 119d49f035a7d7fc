//! Which recordings there are among files and directories: each once, its parts together.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};
use shared::trace::meta::Header;
use shared::trace::reader::read_header;

use crate::metrics::batch::{Duplicate, Failed};
use crate::source::{Source, shown};

/// What was found.
#[derive(Debug, Default)]
pub(in crate::commands) struct Found {
    /// The recordings, in the order of their first files.
    pub(in crate::commands) recordings: Vec<Recording>,
    /// Files that are another one again.
    pub(in crate::commands) duplicates: Vec<Duplicate>,
    /// Files and directories that cannot be read.
    pub(in crate::commands) failed: Vec<Failed>,
}

/// All there is of a recording.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Recording {
    /// Its file, or its parts in their order.
    pub(in crate::commands) files: Vec<TraceFile>,
}

/// A file that begins as a trace does.
#[derive(Debug, Clone)]
pub(in crate::commands) struct TraceFile {
    pub(in crate::commands) path: PathBuf,
    pub(in crate::commands) bytes: u64,
    /// When it was last written, in nanoseconds since 1970; 0 if the system does not tell.
    pub(in crate::commands) modified_ns: u64,
    header: Header,
}

impl Recording {
    /// Its name: its first file's path.
    pub(in crate::commands) fn name(&self) -> String {
        self.files.first().map(|file| shown(&file.path)).unwrap_or_default()
    }

    /// Its files, to be opened together.
    pub(in crate::commands) fn source(&self) -> Source {
        Source(self.files.iter().map(|file| file.path.clone()).collect())
    }

    pub(in crate::commands) fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }
}

/// Looks for traces: files as they are named, and whatever is called `*.ljt` in directories, however deep.
pub(in crate::commands) fn find(paths: &[PathBuf]) -> Found {
    let mut found = Found::default();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() { walk(path, &mut files, &mut found.failed) } else { files.push(path.clone()) }
    }
    let files = found.open(files);
    found.join(files);
    found
}

/// The traces below a directory, in the order of their names. Links to directories are not followed: they may lead back.
fn walk(root: &Path, files: &mut Vec<PathBuf>, failed: &mut Vec<Failed>) {
    let mut folders = vec![root.to_path_buf()];
    let mut here = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).and_then(|entries| {
            entries.map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?.is_dir())))).collect()
        });
        let entries: Vec<(PathBuf, bool)> = match entries {
            Ok(entries) => entries,
            Err(error) => {
                failed.push(Failed { path: shown(&folder), reason: format!("cannot read the directory: {error}") });
                continue;
            }
        };
        for (path, is_folder) in entries {
            if is_folder {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "ljt") {
                here.push(path);
            }
        }
    }
    here.sort();
    files.append(&mut here);
}

impl Found {
    /// The beginnings of files, each file once.
    fn open(&mut self, paths: Vec<PathBuf>) -> Vec<TraceFile> {
        let mut seen: BTreeMap<Identity, PathBuf> = BTreeMap::new();
        let mut files = Vec::new();
        for path in paths {
            let opened = regular(&path).and_then(|meta| match seen.entry(identity(&path, &meta)?) {
                Entry::Occupied(first) => Ok(Err(first.get().clone())),
                Entry::Vacant(entry) => {
                    entry.insert(path.clone());
                    Ok(Ok(begin(&path, &meta)?))
                }
            });
            match opened {
                Ok(Ok(file)) => files.push(file),
                Ok(Err(first)) => self.duplicate(&path, &first),
                Err(error) => self.failed.push(Failed { path: shown(&path), reason: format!("{error:#}") }),
            }
        }
        files
    }

    fn duplicate(&mut self, path: &Path, of: &Path) {
        self.duplicates.push(Duplicate { path: shown(path), of: shown(of) });
    }

    /// Leaves out copies, and puts the parts of a recording together.
    fn join(&mut self, files: Vec<TraceFile>) {
        let mut largest: BTreeMap<String, usize> = BTreeMap::new();
        for (at, file) in files.iter().enumerate() {
            let Some(key) = file.key() else { continue };
            let first = *largest.entry(key.clone()).or_insert(at);
            // A copy may have been cut off, or be still on its way.
            if files[first].bytes < file.bytes {
                largest.insert(key, at);
            }
        }
        let mut place: BTreeMap<String, usize> = BTreeMap::new();
        let keep: BTreeSet<usize> = largest.values().copied().collect();
        for (at, file) in files.iter().enumerate() {
            let original = file.key().and_then(|key| largest.get(&key)).copied().unwrap_or(at);
            if !keep.contains(&at) && original != at {
                self.duplicate(&file.path, &files[original].path);
                continue;
            }
            let recording = &file.header.recording;
            match place.get(recording).filter(|_| !recording.is_empty()) {
                Some(known) => self.recordings[*known].files.push(file.clone()),
                None => {
                    place.insert(recording.clone(), self.recordings.len());
                    self.recordings.push(Recording { files: vec![file.clone()] });
                }
            }
        }
        for recording in &mut self.recordings {
            recording.files.sort_by_key(|file| file.header.part);
        }
    }
}

impl TraceFile {
    /// What two copies of a file have in common, and nothing else has: a part's number in its recording, or where and to
    /// the nanosecond when it was begun. None if the trace does not tell.
    fn key(&self) -> Option<String> {
        let header = &self.header;
        if !header.recording.is_empty() {
            return Some(format!("{}\0{}", header.part, header.recording));
        }
        (header.started_unix_ns != 0).then(|| serde_json::to_string(header).ok()).flatten()
    }
}

/// What the system knows a file by, whatever its path.
type Identity = (u64, u64, PathBuf);

#[cfg(unix)]
fn identity(_: &Path, meta: &Metadata) -> Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    Ok((meta.dev(), meta.ino(), PathBuf::new()))
}

#[cfg(not(unix))]
fn identity(path: &Path, _: &Metadata) -> Result<Identity> {
    Ok((0, 0, path.canonicalize().context("cannot look at it")?))
}

fn regular(path: &Path) -> Result<Metadata> {
    let meta = fs::metadata(path).context("cannot look at it")?;
    if !meta.is_file() {
        bail!("it is no file, and can be read only once: copy it to a file");
    }
    Ok(meta)
}

fn begin(path: &Path, meta: &Metadata) -> Result<TraceFile> {
    let header = read_header(File::open(path).context("cannot open it")?)?;
    let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified_ns = modified.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    Ok(TraceFile { path: path.to_path_buf(), bytes: meta.len(), modified_ns, header })
}
