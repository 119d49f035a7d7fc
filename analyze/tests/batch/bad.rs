//! Bad traces, and places that are not ours: named, and no harm to the rest.

use std::fs::{self, File};

use shared::Nanos;
use shared::call::Call;
use shared::trace::meta::{Header, Process, Trailer, Vm};
use shared::trace::writer::Writer;

use crate::called::{batch, cell, folders, make, trace};
use crate::program::Program;

/// A trace of one keyframe, and of a call at a time, if there is one.
fn lone(path: &std::path::Path, call: Option<Nanos>) {
    let mut program = Program::new(5, 50);
    let header = Header { mode: "snapshot".to_owned(), ..Header::default() };
    let mut writer = Writer::new(File::create(path).unwrap(), &header).unwrap();
    writer.process(0, &Process { pid: 7, program: "p".to_owned(), ..Process::default() }).unwrap();
    writer.vm(0, 1, &Vm { pid: 7, label: "p".to_owned(), ..Vm::default() }).unwrap();
    writer.keyframe(1, (0, 0), &program.keyframe()).unwrap();
    if let Some(time) = call {
        let (made, _) = program.step();
        writer.call(1, &Call { time, ..made }).unwrap();
    }
    writer.finish(call.unwrap_or_default(), Trailer::default()).unwrap();
}

#[test]
fn bad_traces_are_named_and_the_rest_goes_on() {
    let (_guard, traces, out) = folders();
    make(&trace(1), &traces.join("good.ljt"));
    make(&trace(2), &traces.join("cut.ljt"));
    let whole = fs::read(traces.join("cut.ljt")).unwrap();
    fs::write(traces.join("cut.ljt"), &whole[..whole.len() - 100]).unwrap();
    make(&trace(3), &traces.join("flipped.ljt"));
    let mut bytes = fs::read(traces.join("flipped.ljt")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(traces.join("flipped.ljt"), bytes).unwrap();
    fs::write(traces.join("empty.ljt"), "").unwrap();
    fs::write(traces.join("text.ljt"), "this is no trace at all, but long enough to be one").unwrap();
    fs::write(traces.join("head.ljt"), &whole[..40]).unwrap();
    std::os::unix::fs::symlink("nowhere", traces.join("dangling.ljt")).unwrap();
    lone(&traces.join("snapshot.ljt"), None);
    lone(&traces.join("late.ljt"), Some(u64::MAX));
    let header = Header { mode: "full".to_owned(), ..Header::default() };
    let writer = Writer::new(File::create(traces.join("nothing.ljt")).unwrap(), &header).unwrap();
    writer.finish(0, Trailer::default()).unwrap();

    let batch = batch(&[&traces, &traces.join("missing.ljt")], &out, &["--pictures"]);
    assert_eq!(batch.code, Some(2), "{}", batch.said);
    let failed: Vec<String> = batch.rows("failed").iter().map(|row| cell(row, "path").to_owned()).collect();
    let name = |path: &String| path.rsplit('/').next().unwrap().to_owned();
    let mut names: Vec<String> = failed.iter().map(name).collect();
    names.sort();
    assert_eq!(names, ["dangling.ljt", "empty.ljt", "head.ljt", "missing.ljt", "text.ljt"]);
    let rows = batch.rows("summary");
    let row = |file: &str| rows.iter().find(|row| cell(row, "trace").ends_with(file)).unwrap();
    assert_eq!(cell(row("good.ljt"), "judgement"), "verified");
    assert_eq!(cell(row("cut.ljt"), "judgement"), "incomplete");
    assert!(cell(row("cut.ljt"), "reason").contains("truncated"));
    assert_eq!(cell(row("flipped.ljt"), "judgement"), "incomplete");
    assert_eq!((cell(row("snapshot.ljt"), "judgement"), cell(row("snapshot.ljt"), "calls")), ("consistent", "0"));
    assert_ne!(cell(row("snapshot.ljt"), "used_bytes"), "");
    assert!(cell(row("late.ljt"), "duration_ns").parse::<i64>().unwrap() > i64::MAX / 2);
    assert_eq!((cell(row("nothing.ljt"), "pid"), cell(row("nothing.ljt"), "used_bytes")), ("", ""));
    assert_eq!((rows.len(), batch.judgements("failed"), batch.judgements("incomplete")), (6, 5, 2));
}

#[test]
fn where_nothing_can_be_done_it_says_why() {
    let (guard, traces, out) = folders();
    let nothing = batch(&[&traces], &out, &[]);
    assert_eq!(nothing.code, Some(1));
    assert!(nothing.said.contains("no .ljt file") && !out.exists(), "{}", nothing.said);
    fs::write(traces.join("text.ljt"), "no trace").unwrap();
    assert_eq!(batch(&[&traces], &out, &[]).code, Some(1));
    make(&trace(1), &traces.join("good.ljt"));
    // A directory of somebody else, with a name that we would write to.
    let foreign = guard.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("summary.csv"), "mine").unwrap();
    let refused = batch(&[&traces], &foreign, &[]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.said.contains("there is summary.csv"), "{}", refused.said);
    assert_eq!(
        (fs::read_to_string(foreign.join("summary.csv")).unwrap(), fs::read_dir(&foreign).unwrap().count()),
        ("mine".to_owned(), 1)
    );
    let file = batch(&[&traces], &traces.join("good.ljt"), &[]);
    assert!(file.code == Some(1) && file.said.contains("good.ljt"), "{}", file.said);
}
