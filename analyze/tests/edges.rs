//! Strange traces through every command in every format: one clear line, or an answer; with exit code 2 if something is
//! missing; never a panic.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use analyze::cli::Arguments;
use clap::CommandFactory;
use shared::trace::meta::{Header, Process, Trailer, Vm};
use shared::trace::writer::Writer;

#[path = "sampled/world.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod world;

use world::World;

/// Commands that read no trace.
const WITHOUT_A_TRACE: [&str; 4] = ["schema", "completions", "man", "help"];

/// Where a trace's bytes go.
#[derive(Debug, Clone, Default)]
struct Sink(Rc<RefCell<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A recording of every call, from `start` on.
fn made(start: u64, calls: usize, program: &str) -> Vec<u8> {
    let sink = Sink::default();
    let header = Header { mode: "full".into(), arch: "x86_64".into(), ..Header::default() };
    let mut writer = Writer::new(sink.clone(), &header).expect("memory");
    let mut world = World::new(0x7f00_0000_0000, 7);
    world.now = start;
    let process = Process { pid: 42, program: program.into(), ..Process::default() };
    writer.process(start, &process).expect("memory");
    let vm = Vm { pid: 42, label: program.into(), gc64: true, ..Vm::default() };
    writer.vm(start, 1, &vm).expect("memory");
    writer.keyframe(1, (start, start), &world.keyframe()).expect("memory");
    for _ in 0..calls {
        let (call, maps) = world.step();
        writer.call(1, &call).expect("memory");
        maps.iter().for_each(|map| writer.map(1, map).expect("memory"));
    }
    writer.keyframe(1, (world.now, world.now), &world.keyframe()).expect("memory");
    writer.finish(world.now, Trailer { reason: "the time was up".into(), ..Trailer::default() }).expect("memory");
    sink.0.take()
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/traces").join(name)).expect("a trace")
}

/// A trace, and which commands must end how: all others end as they can.
struct Edge {
    name: &'static str,
    path: PathBuf,
    must: &'static [(&'static str, i32)],
}

/// What every command must refuse.
const REFUSED: &[(&str, i32)] = &[
    ("stats", 1),
    ("rates", 1),
    ("breakdown", 1),
    ("diff", 1),
    ("verify", 1),
    ("info", 1),
    ("events", 1),
    ("map", 1),
    ("report", 1),
    ("timeline", 1),
    ("lifetimes", 1),
    ("growth", 1),
    ("sites", 1),
];

fn edges(folder: &Path) -> Vec<Edge> {
    let write = |name: &OsStr, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).expect("room");
        path
    };
    let file = |name: &str, bytes: &[u8]| write(OsStr::new(name), bytes);
    let whole = fixture("gc64.ljt");
    let mut flipped = whole.clone();
    for byte in flipped.iter_mut().skip(2000).step_by(997) {
        *byte ^= 0x55;
    }
    let twice = folder.join("twice");
    std::fs::create_dir(&twice).expect("room");
    std::fs::write(twice.join("one.ljt"), &whole).expect("room");
    std::fs::write(twice.join("other.ljt"), &whole).expect("room");
    let nothing_in_it = folder.join("nothing in it");
    std::fs::create_dir(&nothing_in_it).expect("room");
    let late = u64::MAX - 50_000_000;
    let mut edges = vec![
        Edge { name: "empty", path: file("empty.ljt", b""), must: REFUSED },
        Edge { name: "text", path: file("text.ljt", b"This is no trace but a text of some length."), must: REFUSED },
        Edge { name: "a header's start", path: file("header.ljt", &whole[..20]), must: REFUSED },
        Edge { name: "the same part twice", path: twice, must: REFUSED },
        Edge { name: "an empty directory", path: nothing_in_it, must: REFUSED },
        Edge { name: "not there", path: folder.join("not there.ljt"), must: REFUSED },
        Edge {
            name: "cut in its middle",
            path: file("cut.ljt", &whole[..whole.len() / 2]),
            must: &[
                ("stats", 2),
                ("verify", 2),
                ("info", 2),
                ("events", 2),
                ("rates", 2),
                ("growth", 2),
                ("diff", 2),
                ("breakdown", 1),
                ("partial", 2),
            ],
        },
        Edge { name: "flipped", path: file("flipped.ljt", &flipped), must: &[("info", 2), ("partial", 2)] },
        Edge {
            name: "no calls",
            path: file("no calls.ljt", &made(1000, 0, "luajit")),
            must: &[("stats", 0), ("verify", 0), ("diff", 0), ("info", 0), ("partial", 0)],
        },
        Edge {
            name: "huge times",
            path: file("huge.ljt", &made(late, 100, "luajit")),
            must: &[("stats", 0), ("verify", 0), ("info", 0), ("events", 0), ("diff", 0), ("rates", 0), ("growth", 0)],
        },
        Edge {
            name: "a snapshot",
            path: file("a snapshot@1s.ljt", &fixture("snapshot.ljt")),
            must: &[
                ("stats", 0),
                ("rates", 1),
                ("growth", 1),
                ("breakdown", 0),
                ("verify", 0),
                ("info", 0),
                ("diff", 0),
            ],
        },
        Edge {
            name: "a strange program",
            path: file("strange.ljt", &made(0, 50, "<&\"> \u{1b}[31m\u{202e}\n,\t")),
            must: &[("stats", 0), ("verify", 0), ("rates", 0), ("info", 0), ("diff", 0), ("partial", 0)],
        },
    ];
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let path = write(OsStr::from_bytes(b"no \xff UTF-8 \xc3.ljt"), &whole);
        edges.push(Edge {
            name: "a name of other bytes",
            path,
            must: &[("stats", 0), ("rates", 0), ("diff", 0), ("partial", 0)],
        });
    }
    edges
}

/// Every command that reads a trace, with each of its formats.
fn commands() -> Vec<(String, Option<String>)> {
    let mut all = Vec::new();
    for command in Arguments::command().get_subcommands() {
        if WITHOUT_A_TRACE.contains(&command.get_name()) {
            continue;
        }
        let formats = command.get_arguments().find(|argument| argument.get_id() == "format");
        let formats = formats.map(clap::Arg::get_possible_values).unwrap_or_default();
        let name = || command.get_name().to_owned();
        match formats.is_empty() {
            true => all.push((name(), None)),
            false => all.extend(formats.iter().map(|format| (name(), Some(format.get_name().to_owned())))),
        }
    }
    all
}

#[test]
fn every_command_answers_or_says_why_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    for Edge { name, path, must } in edges(folder.path()) {
        for (command, format) in commands() {
            let mut words: Vec<OsString> = vec![command.clone().into(), path.clone().into()];
            if command == "diff" {
                words.push(path.clone().into());
            }
            let to_file = command == "batch" || format.as_deref() == Some("parquet");
            words.extend(format.iter().flat_map(|format| ["--format".into(), format.into()]));
            if to_file {
                words.extend(["-o".into(), out.clone().into()]);
            }
            let output = Command::new(env!("CARGO_BIN_EXE_analyze")).args(&words).output().expect("analyze runs");
            let said = String::from_utf8_lossy(&output.stderr);
            let what = format!("{name}: {command} {format:?}: {said}");
            assert!(!said.contains("panicked"), "{what}");
            let code = output.status.code().unwrap_or_else(|| panic!("{what}: a signal"));
            match must.iter().find(|(one, _)| *one == command) {
                // There are no rows where there are no calls.
                Some(_) if command == "events" && format.as_deref() == Some("parquet") => {}
                Some((_, expected)) => assert_eq!(code, *expected, "{what}"),
                None => assert!((0..=2).contains(&code), "{what}"),
            }
            // A batch names what failed among its results, all of them if need be.
            if code == 1 && command != "batch" {
                assert_eq!(said.lines().count(), 1, "{what}");
                assert!(said.starts_with("analyze: "), "{what}");
                // What goes row by row may have begun.
                assert!(output.stdout.is_empty() || command == "events", "{what}");
            } else {
                assert!(to_file || !output.stdout.is_empty() || command == "events", "{what}");
                // Rows have names as they are.
                let rows = format.as_deref() == Some("csv");
                assert!(rows || !String::from_utf8_lossy(&output.stdout).contains('\x1b'), "{what}");
            }
            let _ = std::fs::remove_file(&out);
            let _ = std::fs::remove_dir_all(&out);
        }
    }
}

#[test]
fn a_trace_with_an_at_in_its_name_can_be_asked_for_a_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a name@1s");
    std::fs::write(&path, fixture("gc64.ljt")).expect("room");
    let run = |a: &Path, b: &str| {
        let b = format!("{}{b}", path.display());
        let output = Command::new(env!("CARGO_BIN_EXE_analyze")).arg("diff").arg(a).arg(b).output();
        let output = output.expect("analyze runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), said)
    };
    let (code, text, said) = run(&path, "");
    assert!(code == Some(0) && text.contains("no difference"), "{said}");
    let (code, text, said) = run(&path, "@20ms");
    assert!(code == Some(0) && text.contains("a name@1s at 0.020 s") && text.contains("used bytes"), "{said}");
    let (code, _, said) = run(&path, "@noon");
    assert!(code == Some(1) && said.lines().count() == 1 && said.contains("`noon` is no time"), "{said}");
}
