//! The recorder does not grow: a short turn of what `scripts/soak` does for ten minutes.

use std::path::Path;
use std::process::Command;

use testdata::{may_record, run, skip, tool};

#[test]
fn a_short_soak_is_flat() -> Result<(), Box<dyn std::error::Error>> {
    if let Err(reason) = may_record() {
        skip("a_short_soak_is_flat", &reason);
        return Ok(());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/soak");
    let record = tool("record");
    let ran = run(Command::new(script).arg("20").env("SOAK_BIN", record.parent().ok_or("no folder")?))?;
    let said = String::from_utf8_lossy(&ran.stdout);
    println!("{said}");
    assert_eq!(ran.code, 0, "{said}{}", ran.stderr);
    assert!(said.lines().any(|line| line == "flat"), "{said}");
    Ok(())
}
