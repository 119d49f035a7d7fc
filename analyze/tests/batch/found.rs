//! What is found among files and directories.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use shared::trace::meta::{Header, Process, Trailer, Vm};
use shared::trace::writer::Writer;

use crate::called::{batch, cell, folders, make, trace};
use crate::program::Program;

#[test]
fn ten_thousand_entries_and_a_few_traces() {
    let (_guard, traces, out) = folders();
    for seed in 0..24 {
        make(&trace(seed), &traces.join(format!("{seed}.ljt")));
    }
    fs::write(traces.join("other"), "nothing").unwrap();
    for number in 0..9_900 {
        fs::hard_link(traces.join("other"), traces.join(format!("other {number}.log"))).unwrap();
    }
    for number in 0..76 {
        fs::hard_link(traces.join(format!("{}.ljt", number % 24)), traces.join(format!("link {number}.ljt"))).unwrap();
    }
    let batch = batch(&[&traces], &out, &[]);
    assert_eq!((batch.code, batch.judgements("verified"), batch.judgements("duplicates")), (Some(0), 24, 76));
    assert_eq!((batch.rows("summary").len(), batch.rows("duplicates").len()), (24, 76));
}

#[test]
fn names_of_all_kinds_are_read_and_told_apart() {
    let (_guard, traces, out) = folders();
    let deep = traces.join("with spaces").join("a\\b").join("ü");
    fs::create_dir_all(&deep).unwrap();
    let names: [&[u8]; 5] = [b"\xff.ljt", b"\xfe.ljt", b"\\xff.ljt", b" .ljt", b"a\nb.ljt"];
    for (seed, name) in names.iter().enumerate() {
        make(&trace(seed as u64), &deep.join(OsStr::from_bytes(name)));
    }
    // Back to where it came from.
    symlink(&traces, deep.join("again")).unwrap();
    let inside = batch(&[&traces], &out, &["--pictures"]);
    assert_eq!((inside.code, inside.judgements("verified")), (Some(0), 5), "{}", inside.said);
    let shown: Vec<&str> = inside.traces().iter().map(|trace| trace["trace"].as_str().unwrap()).collect();
    for end in ["/\\xff.ljt", "/\\xfe.ljt", "/\\\\xff.ljt", "/ .ljt", "/a\\x0ab.ljt"] {
        assert_eq!(shown.iter().filter(|name| name.ends_with(end)).count(), 1, "{end} of {shown:?}");
    }
    assert_eq!(fs::read_dir(out.join("pictures")).unwrap().count(), 5);
    // And by their names.
    let paths: Vec<_> = names.iter().map(|name| deep.join(OsStr::from_bytes(name))).collect();
    let paths: Vec<&Path> = paths.iter().map(AsRef::as_ref).collect();
    let named = batch(&paths, &out, &[]);
    assert_eq!((named.code, named.judgements("kept")), (Some(0), 5));
}

#[test]
fn a_trace_that_is_found_twice_counts_once() {
    let (_guard, traces, out) = folders();
    make(&trace(1), &traces.join("one.ljt"));
    fs::create_dir(traces.join("copies")).unwrap();
    fs::copy(traces.join("one.ljt"), traces.join("copies/copy.ljt")).unwrap();
    symlink(traces.join("one.ljt"), traces.join("copies/symbolic.ljt")).unwrap();
    // One that is not complete yet is not the one to count.
    let whole = fs::read(traces.join("one.ljt")).unwrap();
    fs::write(traces.join("a cut copy.ljt"), &whole[..whole.len() / 2]).unwrap();
    let batch = batch(&[&traces, &traces.join("one.ljt"), &traces.join("copies")], &out, &[]);
    assert_eq!((batch.code, batch.judgements("verified")), (Some(0), 1), "{}", batch.value);
    assert_eq!(batch.judgements("duplicates"), 6, "{:?}", batch.rows("duplicates"));
    let sizes: u64 = batch.traces().iter().map(|trace| trace["bytes"].as_u64().unwrap()).sum();
    assert_eq!(sizes, whole.len() as u64);
}

#[test]
fn parts_of_a_recording_are_one_trace() {
    let (_guard, traces, out) = folders();
    let program = Program::new(3, 100);
    for part in [2, 1] {
        let header = Header {
            recording: "abc".to_owned(),
            part,
            started_unix_ns: part,
            mode: "snapshot".to_owned(),
            ..Header::default()
        };
        let file = File::create(traces.join(format!("{}.ljt", 9 - part))).unwrap();
        let mut writer = Writer::new(file, &header).unwrap();
        writer.process(0, &Process { pid: 7, program: "p".to_owned(), ..Process::default() }).unwrap();
        writer.vm(0, 1, &Vm { pid: 7, ..Vm::default() }).unwrap();
        writer.keyframe(1, (0, 0), &program.keyframe()).unwrap();
        writer.finish(1, Trailer::default()).unwrap();
    }
    let batch = batch(&[&traces], &out, &[]);
    let [row] = &*batch.rows("summary") else { panic!("{}", batch.value) };
    assert_eq!((cell(row, "files"), cell(row, "keyframes_missed")), ("2", "0"));
    assert!(cell(row, "trace").ends_with("8.ljt"), "the first part gives the name: {row:?}");
}
