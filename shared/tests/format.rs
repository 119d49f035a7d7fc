//! Reads `FORMAT.md`: its field tables must tell of the fields there are, and its example must be a trace that reads
//! as it says and that the writer writes, byte for byte. `BLESS=1` writes the example's two listings anew.

#[path = "format/dump.rs"]
mod dump;
#[path = "format/example.rs"]
mod example;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;
use shared::call::Event;
use shared::trace::breakdown::{Amount, Arena, Breakdown, Class, Glibc, Memory, Slice, Slot, VmPages, Zone};
use shared::trace::census::{Findings, ObjectKind};
use shared::trace::frame::Kind;
use shared::trace::meta::{Cost, Gap, Header, IndexEntry, Missed, Probe, Process, Trailer, Vm, Window};
use shared::trace::reader::{End, Trace};
use shared::trace::stacks::{About, Module, Place};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn document() -> String {
    fs::read_to_string(here("FORMAT.md")).expect("FORMAT.md is there")
}

/// The fenced part of the document that starts with this line, without its fences.
fn fenced<'a>(document: &'a str, fence: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("\n{fence}\n")).expect("the fence is there");
    rest.split_once("```").expect("the fence ends").0
}

/// The names in the first column of the table behind a line.
fn fields<'a>(document: &'a str, before: &str) -> Vec<&'a str> {
    let (_, rest) = document.split_once(&format!("\n{before}")).unwrap_or_else(|| panic!("{before:?} is there"));
    let table = rest.lines().skip_while(|line| !line.starts_with("| field")).skip(2);
    table.map_while(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

#[track_caller]
fn told<T: Serialize + Default>(document: &str, before: &str) {
    let serde_json::Value::Object(value) = serde_json::to_value(T::default()).expect("plain data") else {
        panic!("an object")
    };
    let mut told = fields(document, before);
    told.sort_unstable();
    let mut there: Vec<&str> = value.keys().map(String::as_str).collect();
    there.sort_unstable();
    assert_eq!(told, there, "the table behind {before:?}");
}

#[test]
fn the_tables_tell_of_every_field() {
    let document = document();
    told::<Header>(&document, "### header");
    told::<Process>(&document, "### process");
    told::<Vm>(&document, "### vm");
    told::<Probe>(&document, "`probe` has");
    told::<Gap>(&document, "### gap");
    told::<Window>(&document, "`window` has");
    told::<Missed>(&document, "### missed");
    told::<Breakdown>(&document, "### breakdown");
    told::<Memory>(&document, "`total` has");
    told::<Slice>(&document, "each of the `slices` has");
    told::<Glibc>(&document, "`glibc` has");
    told::<Arena>(&document, "each of the `arenas` has");
    told::<Amount>(&document, "an amount has");
    told::<Class>(&document, "each class has");
    told::<Zone>(&document, "each of the `zones` has");
    told::<Slot>(&document, "each of the `slots` has");
    told::<VmPages>(&document, "each of the `vms` has");
    told::<Findings>(&document, "the findings have");
    told::<About>(&document, "what the samples are of");
    told::<Module>(&document, "each of the `modules` has");
    told::<Place>(&document, "each of the `places` has");
    told::<Trailer>(&document, "### trailer");
    told::<Cost>(&document, "`cost` has");
    told::<IndexEntry>(&document, "## Trailer, index, footer");
}

#[test]
fn the_kinds_of_objects_are_told() {
    let document = document();
    let (_, rest) = document.split_once("\n| number | kind |").expect("the table of kinds is there");
    let told: Vec<&str> = rest.lines().skip(2).map_while(|line| line.strip_prefix("| ")?.split(" | ").nth(1)).collect();
    assert_eq!(told, ObjectKind::ALL.map(ObjectKind::name));
}

/// What `read_ljt.py` ends with, computed with the reader.
fn last_line(bytes: &[u8]) -> String {
    let trace = Trace::open(Cursor::new(bytes)).expect("a trace");
    let (mut calls, mut maps, mut crc) = (0, 0, crc32fast::Hasher::new());
    for frame in trace.frames.iter().filter(|frame| frame.head.kind == Kind::Calls) {
        for event in trace.calls(frame).expect("a block").events() {
            let vm = u64::from(frame.head.vm);
            let words = match event {
                Event::Call(c) => vec![vm, c.time, c.ptr, c.osize, c.nsize],
                Event::Map(m) => vec![vm, m.time, m.op as u64, m.addr, m.len, m.new_len, m.result],
            };
            *if matches!(event, Event::Call(_)) { &mut calls } else { &mut maps } += 1;
            words.iter().for_each(|word| crc.update(&word.to_le_bytes()));
        }
    }
    format!("{calls} calls, {maps} mapping calls, crc32 {:08x}", crc.finalize())
}

/// What the second reader says, or why it cannot.
fn python(file: &Path) -> Result<String, String> {
    let script = here("../testdata/read_ljt.py");
    let done = Command::new("python3").arg(script).arg("--events").arg(file).output().map_err(|e| e.to_string())?;
    if done.status.code() == Some(3) {
        return Err(String::from_utf8_lossy(&done.stderr).trim().to_owned());
    }
    assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8(done.stdout).expect("text"))
}

fn temporary(name: &str, bytes: &[u8]) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&file, bytes).expect("a temporary file can be written");
    file
}

fn bless(document: &str, fence: &str, listing: &str) {
    let old = format!("\n{fence}\n{}```", fenced(document, fence));
    let new = document.replacen(&old, &format!("\n{fence}\n{listing}```"), 1);
    fs::write(here("FORMAT.md"), new).expect("FORMAT.md can be written");
}

#[test]
fn the_example_is_what_it_says() {
    let written = dump::unpacked(&example::write());
    if std::env::var_os("BLESS").is_some() {
        bless(&document(), "```hex", &dump::annotate(&written));
        let said = python(&temporary("blessed.ljt", &written)).expect("python3 is needed to bless");
        bless(&document(), "```text", &said);
    }
    let document = document();
    let bytes = dump::parse(fenced(&document, "```hex"));
    example::check(&bytes);
    assert_eq!(bytes, written, "the writer writes something else: see the top of this file");

    let text = fenced(&document, "```text");
    assert_eq!(text.lines().last(), Some(&*last_line(&bytes)));
    match python(&temporary("example.ljt", &bytes)) {
        Ok(said) => assert_eq!(said, text),
        Err(reason) => eprintln!("skipped: the second reader: {reason}"),
    }
}

#[test]
fn the_second_reader_agrees_on_other_traces() {
    for entry in fs::read_dir(here("../testdata/fuzz/corpus/trace")).expect("the corpus is there") {
        let file = entry.expect("a directory can be read").path();
        let bytes = fs::read(&file).expect("a file can be read");
        let Ok(trace) = Trace::open(Cursor::new(&bytes)) else { continue };
        let whole = matches!(trace.end, End::Complete(_));
        if trace.frames.iter().any(|frame| frame.head.kind == Kind::Calls && trace.calls(frame).is_err()) {
            continue;
        }
        match python(&file) {
            Ok(said) => {
                let mut lines = said.lines().rev();
                assert_eq!(lines.next(), Some(&*last_line(&bytes)), "{}", file.display());
                assert_eq!(lines.next() == Some("complete"), whole, "{}", file.display());
            }
            Err(reason) => eprintln!("skipped: {}: {reason}", file.display()),
        }
    }
}
