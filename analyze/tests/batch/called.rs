//! Calls the program, and reads what it wrote.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::write::{Shape, write};

/// What a batch said and wrote.
pub(crate) struct Batch {
    pub(crate) code: Option<i32>,
    pub(crate) value: Value,
    pub(crate) said: String,
    pub(crate) folder: PathBuf,
}

/// The program with the words of a batch.
pub(crate) fn command(paths: &[&Path], folder: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_analyze"));
    command.arg("batch").args(paths).arg("-o").arg(folder).args(options);
    command
}

/// Runs a batch, and reads the JSON it says.
pub(crate) fn batch(paths: &[&Path], folder: &Path, options: &[&str]) -> Batch {
    let Output { status, stdout, stderr } =
        command(paths, folder, options).args(["--format", "json"]).output().expect("analyze runs");
    let said = String::from_utf8(stderr).expect("errors are UTF-8");
    let value = serde_json::from_slice(&stdout).unwrap_or(Value::Null);
    Batch { code: status.code(), value, said, folder: folder.to_path_buf() }
}

impl Batch {
    /// A table's rows by the names of its header. No cell of these tests has a comma or a quote, but for reasons.
    pub(crate) fn rows(&self, table: &str) -> Vec<Vec<(String, String)>> {
        let text = fs::read_to_string(self.folder.join(format!("{table}.csv"))).expect("the table is there");
        let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        let head = lines.next().expect("a header");
        lines.map(|cells| head.iter().cloned().zip(cells).collect()).collect()
    }

    pub(crate) fn judgements(&self, name: &str) -> u64 {
        self.value["verdict"][name].as_u64().expect("a count")
    }

    pub(crate) fn traces(&self) -> &[Value] {
        self.value["traces"].as_array().expect("traces")
    }
}

/// A cell of a row.
pub(crate) fn cell<'a>(row: &'a [(String, String)], name: &str) -> &'a str {
    &row.iter().find(|(column, _)| column == name).expect("the column is there").1
}

/// A folder for traces, and the one that a batch writes to: it is not there yet.
pub(crate) fn folders() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let traces = folder.path().join("traces");
    fs::create_dir(&traces).expect("a folder");
    let out = folder.path().join("out");
    (folder, traces, out)
}

/// A trace of some calls.
pub(crate) fn trace(seed: u64) -> Shape {
    Shape { calls: 3_000, bytes: u64::MAX, live: 300, keyframe_every: 1_000, seed }
}

/// Makes a trace.
pub(crate) fn make(shape: &Shape, path: &Path) {
    write(shape, File::create(path).expect("a file")).expect("a trace");
}

/// A recorded trace.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/traces").join(format!("{name}.ljt"))
}
