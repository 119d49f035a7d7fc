//! The JSON of every command against its published schema, by an independent validator: Debian's python3-jsonschema.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testdata::{analyze, fixture};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const FIXTURES: [&str; 7] = ["gc64", "nogc64", "threads", "nginx", "sampled", "snapshot", "objects"];
const COMMANDS: [&str; 12] = [
    "stats",
    "rates",
    "timeline",
    "lifetimes",
    "growth",
    "breakdown",
    "map",
    "objects",
    "diff",
    "verify",
    "info",
    "batch",
];

fn schema(command: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../analyze/schemas").join(format!("{command}.json"))
}

/// Writes documents to files, and what the validator says of each that is not as the schema says.
fn wrong(command: &str, documents: &[Vec<u8>]) -> Result<Vec<String>> {
    let folder = tempfile::tempdir()?;
    let mut validator = Command::new("python3");
    validator.args(["-W", "ignore", "-m", "jsonschema", "--output", "plain"]);
    for (at, document) in documents.iter().enumerate() {
        let path = folder.path().join(at.to_string());
        std::fs::write(&path, document)?;
        validator.arg("-i").arg(path);
    }
    let output = validator.arg(schema(command)).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("Traceback") && !said.contains("No module"), "{command}: {said}");
    assert_eq!(output.status.success(), said.is_empty(), "{command}: {said}");
    Ok(said.lines().map(str::to_owned).collect())
}

/// The document of a command for a fixture; nothing if it has none to give.
fn document(command: &str, name: &str) -> Result<Option<Vec<u8>>> {
    let folder = tempfile::tempdir()?;
    let trace = fixture(name);
    let mut words = vec![command.as_ref(), trace.as_os_str()];
    let other = fixture("sampled");
    if command == "diff" {
        words.push(other.as_os_str());
    }
    let out = folder.path().join("out");
    if command == "batch" {
        words.extend(["-o".as_ref(), out.as_os_str()]);
    }
    words.extend([OsStr::new("--format"), OsStr::new("json")]);
    let output = analyze(words)?;
    Ok(matches!(output.status.code(), Some(0 | 2)).then_some(output.stdout))
}

#[test]
fn every_document_is_as_its_schema_says() -> Result<()> {
    for command in COMMANDS {
        let documents = FIXTURES.iter().filter_map(|name| document(command, name).transpose());
        let documents = documents.collect::<Result<Vec<_>>>()?;
        // One fixture alone has censuses.
        assert!(documents.len() >= if command == "objects" { 1 } else { 2 }, "{command}");
        assert_eq!(wrong(command, &documents)?, [""; 0], "{command}");
    }
    Ok(())
}

#[test]
fn rows_that_add_up_are_as_their_schema_says() -> Result<()> {
    let mut by_metric: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for name in FIXTURES {
        let trace = fixture(name);
        let words = ["partial".as_ref(), trace.as_os_str(), "--format".as_ref(), "jsonl".as_ref()];
        let lines = String::from_utf8(analyze(words)?.stdout)?;
        for line in lines.lines() {
            let row: Value = serde_json::from_str(line)?;
            by_metric.insert(row["metric"].to_string(), line.as_bytes().to_vec());
        }
    }
    assert!(by_metric.len() > 50, "{:?}", by_metric.keys());
    let mut rows: Vec<Vec<u8>> = by_metric.into_values().collect();
    assert_eq!(wrong("partial", &rows)?, [""; 0]);
    let another = String::from_utf8_lossy(&rows[0]).replace("\"metric\":\"", "\"metric\":\"un");
    rows.push(another.into_bytes());
    assert!(!wrong("partial", &rows)?.is_empty(), "a metric that is none of ours");
    Ok(())
}

/// The validator must be able to refuse.
#[test]
fn a_wrong_document_is_refused() -> Result<()> {
    for command in COMMANDS {
        let name = if command == "objects" { "objects" } else { "sampled" };
        let mut document: Value = serde_json::from_slice(&document(command, name)?.ok_or("a document")?)?;
        let verdict = match command {
            "stats" => document.pointer_mut("/0/ljscope/verdict"),
            "diff" => document.pointer_mut("/a/verdict"),
            // The judgement stands beside what it rests on.
            "verify" => Some(&mut document),
            _ => document.pointer_mut("/verdict"),
        };
        match verdict {
            Some(verdict) => verdict["judgement"] = "excellent".into(),
            // What is in the file has none.
            None if command == "info" => document["source"] = 7.into(),
            None => return Err(format!("{command} has no verdict").into()),
        }
        assert!(!wrong(command, &[serde_json::to_vec(&document)?])?.is_empty(), "{command}");
    }
    Ok(())
}
