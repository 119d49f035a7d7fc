//! The census of a heap is what the program itself has counted, and says of next to every byte what it is: on every build of
//! LuaJIT there is, and on real programs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use shared::heap::Heap;
use shared::trace::census::{Census, ObjectKind};
use shared::trace::frame::Kind;
use shared::trace::names::Names;
use shared::trace::reader::Trace;
use testdata::{Interpreter, Nginx, WORKLOADS, may_record, record, skip};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A VM's heap and what its blocks are.
struct Labelled {
    heap: Heap,
    census: Census,
    names: Option<Names>,
}

/// Sums of a census.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sum {
    count: u64,
    bytes: u64,
    garbage: u64,
}

impl Labelled {
    /// The bytes of each block that has a label, in the order of the labels.
    fn sizes(&self) -> Vec<u64> {
        let used = self.heap.chunks.iter().filter(|chunk| chunk.used).map(|chunk| chunk.size);
        used.chain(self.heap.direct.iter().map(|direct| direct.size)).collect()
    }

    fn by_kind(&self) -> BTreeMap<ObjectKind, Sum> {
        let mut sums: BTreeMap<ObjectKind, Sum> = BTreeMap::new();
        for (label, size) in self.census.labels.iter().zip(self.sizes()) {
            let sum = sums.entry(label.kind).or_default();
            sum.count += 1;
            sum.bytes += size;
            sum.garbage += u64::from(label.garbage);
        }
        sums
    }

    /// The share of bytes of which nothing is known.
    fn unknown(&self) -> f64 {
        let sums = self.by_kind();
        let all: u64 = sums.values().map(|sum| sum.bytes).sum();
        sums.get(&ObjectKind::Unknown).map_or(0.0, |sum| sum.bytes as f64 / all as f64)
    }
}

/// Every keyframe of a trace that has a census, in order.
fn censuses(path: &Path) -> Result<Vec<Labelled>> {
    let trace = Trace::open(BufReader::new(File::open(path)?))?;
    let mut found = Vec::new();
    let mut heaps = BTreeMap::new();
    for frame in &trace.frames {
        match frame.head.kind {
            Kind::Keyframe => {
                heaps.insert((frame.head.vm, frame.head.start), trace.keyframe(frame)?.heap);
            }
            Kind::Census => {
                let heap = heaps.remove(&(frame.head.vm, frame.head.start)).ok_or("a census without a keyframe")?;
                found.push(Labelled { heap, census: trace.census(frame)?, names: None });
            }
            Kind::Names => {
                let of = found.last_mut().ok_or("names without a census")?;
                of.names = Some(trace.names(frame)?);
            }
            _ => {}
        }
    }
    Ok(found)
}

/// What must hold of every census, whatever is in the heap.
fn check(labelled: &Labelled, name: &str) {
    let Labelled { heap, census, .. } = labelled;
    let sums = labelled.by_kind();
    println!("{name}: {:?} {sums:#?}", census.findings);
    assert_eq!(census.findings.problem, None, "{name}");
    assert_eq!(census.labels.len(), labelled.sizes().len(), "{name}: a label for each block");
    let used: u64 = heap.chunks.iter().filter(|chunk| chunk.used).map(|chunk| chunk.size).sum();
    let direct: u64 = heap.direct.iter().map(|direct| direct.size).sum();
    assert_eq!(sums.values().map(|sum| sum.bytes).sum::<u64>(), used + direct, "{name}: each byte once");
    let only = |kind| sums.get(&kind).map_or(0, |sum: &Sum| sum.count);
    // While a table is resized nothing but registers refer to its old part, which may be much of a small heap.
    let in_the_making = only(ObjectKind::Unknown) <= 1;
    assert!(labelled.unknown() < 0.01 || in_the_making, "{name}: {:.2} % unknown", labelled.unknown() * 100.0);
    assert_eq!((only(ObjectKind::VmState), only(ObjectKind::StringTable)), (1, 1), "{name}");
    // One may be in the making.
    let (stacks, threads) = (only(ObjectKind::Stack), only(ObjectKind::Thread));
    assert!(stacks.abs_diff(threads + 1) <= 1, "{name}: each thread has a stack, the main one too");
}

fn snapshot(pid: u32) -> Result<Vec<Labelled>> {
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    snapshot_to(&trace, pid, &[])?;
    censuses(&trace)
}

fn snapshot_to(trace: &Path, pid: u32, how: &[&str]) -> Result<()> {
    let pid = pid.to_string();
    let words = [&["--mode=snapshot", "--max-pause=1s"], how, &["-p", &pid, "-o"]].concat();
    let ran = record(words.into_iter().map(AsRef::as_ref).chain([trace.as_os_str()]))?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    Ok(())
}

fn may(test: &str) -> bool {
    may_record().map_err(|reason| skip(test, &reason)).is_ok()
}

/// The programs that run workloads; those that are missing are reported.
fn interpreters(test: &'static str) -> impl Iterator<Item = Interpreter> {
    Interpreter::all().into_iter().filter_map(move |interpreter| interpreter.map_err(|why| skip(test, &why)).ok())
}

#[test]
fn populations_are_counted_as_the_program_counts_them() -> Result<()> {
    const TEST: &str = "populations_are_counted_as_the_program_counts_them";
    if !may(TEST) {
        return Ok(());
    }
    for interpreter in interpreters(TEST) {
        let name = interpreter.name;
        let mut program = interpreter.start("objects", None)?;
        program.wait_ready()?;
        let before = snapshot(program.pid())?.pop().ok_or("no census")?;
        program.go()?;
        let figures = program.wait_done()?;
        let after = snapshot(program.pid())?.pop().ok_or("no census")?;
        check(&before, &format!("{name} before"));
        check(&after, &format!("{name} after"));
        let figure = |figure: &str| -> Result<u64> {
            let word = figures.split_whitespace().find_map(|word| word.strip_prefix(figure)?.strip_prefix('='));
            Ok(word.ok_or_else(|| format!("no {figure} in {figures}"))?.parse()?)
        };
        let (old, new) = (before.by_kind(), after.by_kind());
        let grown = |kind| {
            let count = |sums: &BTreeMap<ObjectKind, Sum>| sums.get(&kind).map_or(0, |sum| sum.count);
            count(&new) - count(&old)
        };
        // What the program does beside: it formats its figures, and has a few more strings and a table for them.
        let about = |found: u64, expected: u64, more: u64, what: &str| {
            assert!((expected..=expected + more).contains(&found), "{name}: {what}: {found}, made were {expected}");
        };
        about(grown(ObjectKind::String), figure("strings")?, 40, "strings");
        about(grown(ObjectKind::Table), figure("tables")?, 4, "tables");
        about(grown(ObjectKind::Function), figure("functions")?, 4, "functions");
        about(grown(ObjectKind::Upvalue), figure("upvalues")?, 4, "upvalues");
        about(grown(ObjectKind::Thread), figure("threads")?, 0, "threads");
        about(grown(ObjectKind::Stack), figure("threads")?, 0, "stacks");
        about(grown(ObjectKind::Userdata), figure("userdata")?, 0, "userdata");
        about(grown(ObjectKind::Cdata), figure("cdata")?, 8, "cdata");
        about(grown(ObjectKind::Proto), figure("protos")?, 0, "protos");
        let sum = |of: &dyn Fn(&Census) -> u64| of(&after.census) - of(&before.census);
        about(sum(&|census| census.strings.iter().sum()), figure("string_bytes")?, 2000, "string bytes");
        about(sum(&|census| census.protos.iter().sum()), figure("proto_lines")?, 0, "lines");
        let tables =
            |of: fn(&shared::trace::census::TableFill) -> u64| sum(&|census| census.tables.iter().map(of).sum());
        about(tables(|table| table.array), figure("array_slots")?, 40, "array slots");
        about(tables(|table| table.array_used.unwrap_or(0)), figure("array_used")?, 40, "array slots in use");
        about(tables(|table| table.hash), figure("hash_slots")?, 40, "hash slots");
        about(tables(|table| table.hash_used.unwrap_or(0)), figure("hash_used")?, 40, "hash slots in use");
    }
    Ok(())
}

/// Everything that stands in a trace, and the bytes as they are in the file.
fn all_of(path: &Path) -> Result<String> {
    let trace = Trace::open(BufReader::new(File::open(path)?))?;
    let mut all = format!("{:?} {:?}", trace.header, trace.end);
    for frame in &trace.frames {
        all.push_str(&match frame.head.kind {
            Kind::Process => format!("{:?}", trace.process(frame)?),
            Kind::Vm => format!("{:?}", trace.vm(frame)?),
            Kind::Calls => format!("{:?}", trace.calls(frame)?),
            Kind::Keyframe => format!("{:?}", trace.keyframe(frame)?),
            Kind::Gap => format!("{:?}", trace.gap(frame)?),
            Kind::Missed => format!("{:?}", trace.missed(frame)?),
            Kind::Breakdown => format!("{:?}", trace.breakdown(frame)?),
            Kind::Census => format!("{:?}", trace.census(frame)?),
            Kind::Names => format!("{:?}", trace.names(frame)?),
            Kind::Stacks => format!("{:?}", trace.stacks(frame)?),
            // Both are above.
            Kind::Header | Kind::Trailer => String::new(),
            Kind::Unknown(kind) => panic!("a frame of kind {kind:#x}"),
        });
    }
    all.push_str(&String::from_utf8_lossy(&std::fs::read(path)?));
    Ok(all)
}

#[test]
fn places_are_in_the_trace_only_if_asked_for() -> Result<()> {
    const TEST: &str = "places_are_in_the_trace_only_if_asked_for";
    if !may(TEST) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = |name: &str| folder.path().join(name);
    for interpreter in interpreters(TEST) {
        let name = interpreter.name;
        let mut program = interpreter.start("objects", None)?;
        program.wait_ready()?;
        program.go()?;
        program.wait_done()?;
        let take = |how: &[&str]| -> Result<(String, Option<Names>)> {
            let path = trace(&format!("{name}{}.ljt", how.concat()));
            snapshot_to(&path, program.pid(), how)?;
            let labelled = censuses(&path)?.pop().ok_or("no census")?;
            check(&labelled, name);
            Ok((all_of(&path)?, labelled.names))
        };
        // The program makes chunks with names such as `=chunk 17`; its own is loaded from another file.
        let (all, names) = take(&[])?;
        assert!(names.is_none() && !all.contains("chunk 17") && !all.contains("ready.lua"), "{name}");

        let (all, names) = take(&["--names"])?;
        assert!(all.contains("=chunk 17") && all.contains("/lib/ready.lua"), "{name}: {all}");
        let names = names.ok_or("no names")?;
        // As the program makes them: 2000 closures in one place, a function in each of 200 chunks.
        let mut closures: BTreeMap<u64, u64> = BTreeMap::new();
        names.functions.iter().flatten().for_each(|proto| *closures.entry(*proto).or_default() += 1);
        let (most, count) = closures.iter().max_by_key(|(_, count)| **count).ok_or("no closures")?;
        let place = names.protos[*most as usize].ok_or("no place")?;
        let chunk = &names.chunks[place.chunk as usize];
        assert_eq!((*count, chunk.ends_with("/objects.lua"), place.first_line), (2000, true, 103), "{name}: {chunk}");
        let of_chunks = names
            .protos
            .iter()
            .flatten()
            .filter(|place| names.chunks[place.chunk as usize].starts_with("=chunk ") && place.first_line == 1);
        assert_eq!(of_chunks.count(), 200, "{name}");
        assert!(names.protos.iter().all(Option::is_some), "{name}: {:?}", names.protos);

        let (all, names) = take(&["--names", "--anonymize"])?;
        let chunks = names.ok_or("no names")?.chunks;
        assert!(chunks.iter().any(|chunk| chunk == "@objects.lua") && chunks.iter().any(|chunk| chunk == "=chunk 17"));
        assert!(chunks.iter().all(|chunk| !chunk.contains('/')) && !all.contains("workloads"), "{name}: {chunks:?}");
    }
    Ok(())
}

/// Whatever the program is at: compiling, collecting, in the middle of making an object.
#[test]
fn every_byte_is_known_of_programs_at_work() -> Result<()> {
    const TEST: &str = "every_byte_is_known_of_programs_at_work";
    if !may(TEST) {
        return Ok(());
    }
    for interpreter in interpreters(TEST) {
        for workload in WORKLOADS {
            let name = format!("{}, {workload}", interpreter.name);
            let mut program = interpreter.start(workload, Some(0.3))?;
            program.wait_ready()?;
            program.go()?;
            let mut censuses = 0;
            while !program.is_done() && censuses < 4 {
                snapshot(program.pid())?.iter().for_each(|labelled| check(labelled, &name));
                censuses += 1;
            }
        }
    }
    Ok(())
}

#[test]
fn every_byte_is_known_of_nginx() -> Result<()> {
    const TEST: &str = "every_byte_is_known_of_nginx";
    if let Err(reason) = may_record().and_then(|()| Nginx::available()) {
        skip(TEST, &reason);
        return Ok(());
    }
    let nginx = Nginx::start()?;
    let worker = nginx.worker_pid()?;
    std::thread::scope(|scope| -> Result<()> {
        let paths = ["/json", "/cache", "/big", "/hello"];
        let load = |path| nginx.load(path, Duration::from_secs(4), 2);
        let loads = paths.map(|path| scope.spawn(move || load(path)));
        for turn in 0..5 {
            std::thread::sleep(Duration::from_millis(300));
            let censuses = snapshot(worker)?;
            assert!(!censuses.is_empty(), "nginx {turn}");
            censuses.iter().for_each(|labelled| check(labelled, &format!("nginx {turn}")));
        }
        for load in loads {
            assert!(load.join().is_ok_and(|load| load.requests > 0 && load.errors == 0));
        }
        Ok(())
    })
}
