//! Ctrl-C in the middle.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::called::{batch, command, folders, make, trace};
use crate::write::Shape;

/// Traces whose results are kept whole.
fn finished(out: &Path) -> usize {
    let parts = fs::read_dir(out.join("parts")).into_iter().flatten().flatten();
    parts.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json")).count()
}

#[test]
fn ctrl_c_leaves_what_is_finished_and_the_next_run_goes_on() {
    const TRACES: u64 = 40;
    let (_guard, traces, out) = folders();
    for seed in 0..TRACES {
        make(&Shape { calls: 150_000, ..trace(seed) }, &traces.join(format!("{seed:02}.ljt")));
    }
    let mut child =
        command(&[&traces], &out, &["-j", "1"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    // The last of them may be on its way into the table yet.
    while finished(&out) < 3 {
        assert!(start.elapsed() < Duration::from_secs(120), "nothing is finished");
        std::thread::sleep(Duration::from_millis(2));
    }
    let signal = Command::new("sh").args(["-c", "kill -INT \"$1\"", "sh", &child.id().to_string()]).status().unwrap();
    assert!(signal.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert!(said.lines().count() == 1 && said.contains("stopped"), "{said}");
    let text = fs::read_to_string(out.join("summary.csv")).unwrap();
    let (rows, parts) = (text.lines().count() - 1, finished(&out));
    assert!(rows >= 2 && rows <= parts && (parts as u64) < TRACES, "{rows} rows, {parts} parts");

    let next = batch(&[&traces], &out, &[]);
    assert_eq!((next.code, next.judgements("kept")), (Some(0), parts as u64), "{}", next.said);
    assert_eq!(next.rows("summary").len() as u64, TRACES);
}
