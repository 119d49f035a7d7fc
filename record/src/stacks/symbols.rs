//! What names are looked up in, kept beside the trace: the files that stacks lead through, and their separate debug files
//! where the host has them. In the layout that debuggers know, so that it serves them, too: `.build-id/ab/cdef...` is a
//! file, with `.debug` behind it its debug file.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use shared::trace::stacks::Module;

/// A folder of such files.
#[derive(Debug)]
pub struct Symbols {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seen: HashSet<Module>,
    files: usize,
    bytes: u64,
    /// Files that could not be kept, and why.
    missed: Vec<String>,
}

/// Where a host keeps debug files, by build id.
const DEBUG: &str = "usr/lib/debug";

impl Symbols {
    /// Beside the trace of this name.
    pub fn beside(trace: &Path) -> Symbols {
        let mut folder = trace.as_os_str().to_owned();
        folder.push(".symbols");
        Symbols { folder: folder.into(), state: Mutex::default() }
    }

    /// Keeps a module that can be opened by `path`, each once. `root` is the root folder of the process that it was seen in.
    pub fn keep(&self, module: &Module, path: &Path, root: &Path) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.seen.insert(module.clone()) {
            return;
        }
        let Some(place) = place(&module.build_id) else {
            state.missed.push(format!("{}: it has no build id", module.name));
            return;
        };
        let debug = PathBuf::from(format!("{}.debug", place.display()));
        let mut copies = vec![(path.to_owned(), place)];
        let separate = root.join(DEBUG).join(&debug);
        if separate.is_file() {
            copies.push((separate, debug));
        }
        for (from, to) in copies {
            match copy(&from, &self.folder.join(to)) {
                Ok(bytes) => {
                    state.files += 1;
                    state.bytes += bytes;
                }
                Err(error) => state.missed.push(format!("{}: {error}", module.name)),
            }
        }
    }

    /// What was kept, in words, and what was not, each with its reason.
    pub fn summary(&self) -> (String, Vec<String>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let words =
            format!("{}: files kept: {}, {}", self.folder.display(), state.files, bytesize::ByteSize(state.bytes));
        (words, state.missed.clone())
    }
}

/// `.build-id/ab/cdef...`; nothing for what is no build id.
fn place(build_id: &str) -> Option<PathBuf> {
    let (first, rest) = build_id.split_at_checked(2).filter(|(_, rest)| !rest.is_empty())?;
    build_id.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| Path::new(".build-id").join(first).join(rest))
}

/// Copies a file; one that is there already is the same, by its build id.
fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    if to.is_file() {
        return to.metadata().map(|meta| meta.len());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = to.with_extension("new");
    let bytes = fs::copy(from, &new)?;
    fs::rename(new, to)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_ids_make_paths_and_nothing_else_does() {
        assert_eq!(place("c0ffee"), Some(".build-id/c0/ffee".into()));
        for wrong in ["", "c0", "../x", "zz00", "c0/ffee", "é00"] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_file_is_kept_once() {
        let folder = std::env::temp_dir().join(format!("ljscope-symbols-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let program = std::env::current_exe().unwrap();
        let symbols = Symbols::beside(&folder.join("x.ljt"));
        let module = Module { name: "/usr/bin/x".into(), build_id: "c0ffee".into() };
        symbols.keep(&module, &program, &folder);
        symbols.keep(&module, Path::new("/nonexistent"), &folder);
        symbols.keep(&Module { build_id: "c0ffed".into(), ..module.clone() }, Path::new("/nonexistent"), &folder);
        symbols.keep(&Module { build_id: String::new(), ..module }, &program, &folder);
        let kept = fs::metadata(folder.join("x.ljt.symbols/.build-id/c0/ffee")).map(|meta| meta.len());
        let (words, missed) = symbols.summary();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(kept.ok(), fs::metadata(&program).map(|meta| meta.len()).ok());
        assert!(words.contains("files kept: 1,") && missed.len() == 2, "{words} {missed:?}");
    }
}
