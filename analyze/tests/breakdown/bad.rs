//! Nothing to show, nothing whole, or nothing that makes sense: said, and never a panic.

use std::process::Command;

use analyze::metrics::breakdown::owners;
use analyze::output::{self, Format, Options};
use analyze::replay::Plan;
use analyze::replay::verdict::Judgement;
use analyze::report::Asked;
use shared::trace::breakdown::{Arena, Breakdown, Glibc, Memory, Slice, SliceKind, Zone};
use shared::trace::frame::Kind;
use shared::trace::meta::Process;

use crate::made::{END, FIRST, MASTER, Made, SECOND, header, heap, made, open, process, report, worker};

fn fails(bytes: &[u8], at: Option<Asked>, pid: Option<u32>) -> String {
    let error = format!("{:#}", report(bytes, at, pid).expect_err("no report"));
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn without_a_look_it_says_what_to_do() {
    let mut empty = Made::new(&header());
    empty.process(0, &process(FIRST, "worker process"));
    let error = fails(&empty.bytes(END), None, None);
    assert!(error.contains("has no breakdown") && error.contains("--mode snapshot"), "{error}");
    let mut other = Made::new(&header());
    other.process(0, &process(FIRST, "worker process"));
    other.process(0, &process(MASTER, "master process"));
    other.look(SECOND, &worker(MASTER, 0, 0));
    let error = fails(&other.bytes(END), None, Some(FIRST));
    assert!(error.contains("has no breakdown of process 110"), "{error}");
}

#[test]
fn what_is_not_there_is_named() {
    let bytes = made().bytes(END);
    assert!(fails(&bytes, None, Some(7)).contains("no process 7 in this trace; it has 100, 101, 110, 111"));
    assert!(fails(&bytes, Some(Asked::At(90 * SECOND)), None).contains("the trace ends at 21s"));
    assert!(fails(&bytes, Some(Asked::At(5)), None).contains("known from 1s on"));
}

#[test]
fn the_same_look_in_two_parts_is_one() {
    let mut made = made();
    made.look(21 * SECOND, &crate::made::master());
    let trace = open(&made.bytes(END));
    assert_eq!(Plan::new(&trace).expect("a plan").breakdowns.len(), 12);
}

#[test]
fn a_damaged_look_is_told_of_and_the_others_are_shown() {
    let mut bytes = made().bytes(END);
    let trace = open(&bytes);
    let looks: Vec<u64> =
        trace.frames.iter().filter(|frame| frame.head.kind == Kind::Breakdown).map(|frame| frame.offset).collect();
    // A byte behind the head of the last one.
    let at = usize::try_from(looks.last().expect("a look") + 60).expect("an offset");
    bytes[at] ^= 0x55;
    let report = report(&bytes, None, None).expect("a report");
    assert_eq!(report.verdict.judgement(), Judgement::Incomplete);
    assert!(report.verdict.damage[0].contains(&format!("byte {}", looks[looks.len() - 1])), "{:?}", report.verdict);
    assert_eq!(report.processes.iter().map(|process| process.looks).sum::<u64>(), 11);
    for at in looks {
        bytes[usize::try_from(at).expect("an offset") + 61] ^= 0x55;
    }
    assert!(fails(&bytes, None, None).contains("has no breakdown that can be read (damaged at byte"));
}

/// All that a trace may claim.
#[test]
fn figures_beyond_reason_are_written() {
    let most = Memory { mapped: u64::MAX, resident: u64::MAX, swapped: u64::MAX, pss: u64::MAX };
    let name = "\u{1b}[31m<&\">\u{ffff}".repeat(50);
    let slice = |kind, vm| Slice { kind, name: name.clone(), vm, memory: most };
    let kinds = [SliceKind::Luajit, SliceKind::SystemAllocator, SliceKind::SharedZone, SliceKind::Reserved];
    let arena = Arena { system: u64::MAX, top: u64::MAX, overhead: u64::MAX, ..Arena::default() };
    let breakdown = Breakdown {
        pid: 5,
        started_ticks: u64::MAX,
        total: Memory { mapped: 1, resident: u64::MAX, ..most },
        slices: kinds.into_iter().flat_map(|kind| [slice(kind, 9), slice(kind, 9)]).collect(),
        glibc: Some(Glibc { arenas: vec![arena.clone(), arena], ..Glibc::default() }),
        zones: vec![Zone { name: name.clone(), size: u64::MAX, pages: u64::MAX, ..Zone::default() }],
        missing: vec![name.clone()],
        ..Breakdown::default()
    };
    let mut made = Made::new(&header());
    made.process(0, &Process { program: name.clone(), pid: 5, started_ticks: u64::MAX, ..Process::default() });
    made.vm(9, 5, &name, &name);
    made.keyframe(9, 3, heap(false));
    made.look(0, &breakdown);
    made.look(u64::MAX / 2, &Breakdown { slices: Vec::new(), ..breakdown.clone() });
    made.look(u64::MAX - 5_000_000, &breakdown);
    made.look(7, &Breakdown::default());
    let bytes = made.bytes(END);
    for at in [None, Some(Asked::Peak), Some(Asked::At(7))] {
        let report = report(&bytes, at, None).expect("a report");
        for format in [Format::Text, Format::Json, Format::Csv, Format::Svg] {
            let mut out = Vec::new();
            output::write(&report, format, &Options::default(), &mut out).expect("it is written");
            let text = String::from_utf8(out).expect("text");
            assert!(format == Format::Csv || !text.contains('\u{1b}'), "{format:?}");
        }
    }
    assert_eq!(owners::below(&[u64::MAX; 3]), [false; 3]);
}

/// The program itself: its exit status, and one line where there is nothing to show.
#[test]
fn the_program_fails_with_one_line_and_answers_with_none() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("made.ljt");
    let analyze =
        |words: &[&str]| Command::new(env!("CARGO_BIN_EXE_analyze")).arg("breakdown").arg(&path).args(words).output();
    std::fs::write(&path, Made::new(&header()).bytes(END))?;
    let ran = analyze(&[])?;
    let error = String::from_utf8_lossy(&ran.stderr);
    assert_eq!((ran.status.code(), error.lines().count(), ran.stdout.len()), (Some(1), 1, 0), "{error}");
    std::fs::write(&path, made().bytes(END))?;
    let picture = folder.path().join("made.svg");
    let ran = analyze(&["--pid", "110", "--at", "12s", "--format", "svg", "-o", &picture.to_string_lossy()])?;
    assert_eq!((ran.status.code(), ran.stderr.len(), ran.stdout.len()), (Some(0), 0, 0));
    assert!(std::fs::read_to_string(&picture)?.contains("look 2 of 3, the last one before 12.000 s"));
    Ok(())
}
