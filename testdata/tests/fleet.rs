//! scripts/fleet on a real Spark: a master and two workers on loopback, one of them killed in the middle. What is made,
//! run and compared is in scripts/fleet/check.py.

use std::path::Path;
use std::process::{Command, Stdio};

use testdata::{fixture, tool};

#[test]
fn a_fleet_on_spark_has_the_figures_of_batch() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir()?;
    let python = root.join("target/fleet/bin/python");
    assert!(python.exists(), "{} is missing: scripts/deps installs it", python.display());
    let gc64 = fixture("gc64");
    let folders = [gc64.parent().ok_or("a folder")?, folder.path()];
    // Every step of it is bounded, and it ends what it has started; so this is not to be needed.
    let mut check = Command::new("timeout");
    check.arg("1000").arg(python).arg(root.join("scripts/fleet/check.py"));
    check.args([tool("analyze"), tool("examples/generate")]).args(folders);
    let ran = check.stdin(Stdio::null()).output()?;
    let said = [ran.stdout, ran.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(ran.status.success(), "{}", said.concat());
    Ok(())
}
