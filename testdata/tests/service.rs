//! The example unit in `scripts/`: systemd finds no fault with it, and its command line is one that `record` takes.

use std::path::{Path, PathBuf};
use std::process::Command;

use testdata::{may_record, record, run, skip, tool};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const INSTALLED: &str = "/usr/local/bin/record";

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/ljscope-record.service")
}

/// The words of its command, behind the program; what systemd fills in as given.
fn words(state: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(unit())?;
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).ok_or("no ExecStart")?;
    let line = line.replace("${STATE_DIRECTORY}", &state.display().to_string());
    let line = line.replace("${INVOCATION_ID}", "0123456789abcdef");
    let mut words = line.split_whitespace().map(str::to_owned);
    assert_eq!(words.next().as_deref(), Some(INSTALLED));
    let words: Vec<String> = words.collect();
    assert!(words.iter().all(|word| !word.contains(['$', '%', '"', '\'']) || word == "1%"), "{words:?}");
    Ok(words)
}

#[test]
fn its_command_line_is_understood() -> Result<()> {
    if let Err(reason) = may_record() {
        skip("its_command_line_is_understood", &reason);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut words = words(folder.path())?;
    let name = words.iter().position(|word| word == "nginx").ok_or("it names nginx")?;
    words[name] = "no-such-program".into();
    let ran = record(&words)?;
    assert_eq!((ran.code, ran.stderr.lines().count()), (1, 1), "{}", ran.stderr);
    assert!(ran.stderr.contains("no process called no-such-program"), "{}", ran.stderr);
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 0, "nothing is left");
    Ok(())
}

#[test]
fn systemd_finds_no_fault_with_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("ljscope-record.service");
    // It looks whether the program is there, and so is the manual.
    let text = std::fs::read_to_string(unit())?.replace(INSTALLED, &tool("record").display().to_string());
    std::fs::write(&copy, text)?;
    match run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy)) {
        Ok(ran) => assert_eq!((ran.code, ran.stderr.as_str()), (0, "")),
        Err(error) => skip("systemd_finds_no_fault_with_it", &format!("systemd-analyze: {error}; systemd has it")),
    }
    Ok(())
}
