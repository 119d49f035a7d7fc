//! Replays the fuzz corpora through the very code that `scripts/fuzz` runs, without cargo-fuzz.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use shared::trace::calls::{Block, TICK};
use shared::trace::frame::Kind;
use shared::trace::meta::{self, Trailer, Vm};
use shared::trace::reader::{End, Trace};

#[path = "../../testdata/fuzz/src/lib.rs"]
pub mod targets;

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/fuzz/corpus").join(name)
}

/// Runs one target over its whole corpus; a missing or empty corpus is a failure.
fn replay(name: &str, target: targets::Target) {
    let entries = fs::read_dir(corpus(name)).unwrap_or_else(|error| panic!("corpus {name}: {error}"));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a directory can be read").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "corpus {name} is empty");
    for file in files {
        let bytes = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        eprintln!("{name}/{}", file.file_name().unwrap_or_default().display());
        target(&bytes);
        // Cut anywhere, it is one more input.
        (1..32).for_each(|part| target(&bytes[..bytes.len() * part / 32]));
    }
}

#[test]
fn every_corpus_replays() {
    for (name, target) in targets::TARGETS {
        replay(name, target);
    }
}

/// A seed that is refused at the door would test nothing behind it.
#[test]
fn the_seeds_reach_the_bottom() {
    for (name, gc64) in [("gc64", true), ("no-gc64", false)] {
        let bytes = fs::read(corpus("locate").join(name)).expect("a seed");
        let (mstate, pages) = targets::memory::Pages::parse(&bytes).expect("a whole description");
        let heap = shared::heap::walk::walk(mstate, &pages.reader()).expect("a heap");
        assert_eq!((heap.segments.len(), heap.binned.len()), (2, 7));
        let found = record::locate::vms(&pages, &targets::locate::mappings(&pages));
        let [vm] = &found.vms[..] else { panic!("{name}: {found:?}") };
        assert_eq!((vm.mstate, vm.global.gc64), (mstate, gc64));
        assert_eq!(vm.subsystem.as_deref(), Some("http"));
        assert_eq!(vm.build.as_deref(), Some("LuaJIT 2.1.1700000000"));
        assert_eq!(vm.global.gc_counters(&pages), Some((12_345, 23_456)));
    }
    let bytes = fs::read(corpus("heap").join("recorded")).expect("a seed");
    let (mstate, pages) = targets::memory::Pages::parse(&bytes).expect("a whole description");
    let heap = shared::heap::walk::walk(mstate, &pages.reader()).expect("a heap");
    assert!(heap.chunks.len() > 500, "{}", heap.chunks.len());
    let image = record::image::Image::parse(fs::read(corpus("code").join("library")).expect("a seed")).expect("ELF");
    assert_eq!(image.build_id, "0123456789abcdef");
    let function = image.functions("lj_alloc_f").next().expect("a symbol").addr;
    let probe = record::site::choose(image.code(function), function).expect("a site");
    assert_eq!((probe.addr, probe.emulated), (function + 7, true));
}

/// The same for traces: the seeds are read to their ends, columns both compressed and stored as they are among them.
#[test]
fn the_traces_reach_the_bottom() {
    for (name, calls, maps, keyframes) in
        [("complete", 18, 3, 2), ("example", 6, 1, 1), ("long", 598, 75, 2), ("recorded", 288, 12, 1)]
    {
        let bytes = fs::read(corpus("trace").join(name)).expect("a seed");
        let trace = Trace::open(Cursor::new(&bytes)).expect("a trace");
        let End::Complete(end) = &trace.end else { panic!("{name}: {:?}", trace.end) };
        assert_eq!((end.calls, end.maps), (calls, maps), "{name}");
        let of = |kind| trace.frames.iter().filter(move |frame| frame.head.kind == kind);
        let blocks = of(Kind::Calls).map(|frame| trace.calls(frame).expect("a block").events().count() as u64);
        assert_eq!(blocks.sum::<u64>(), calls + maps, "{name}");
        let heaps = of(Kind::Keyframe).map(|frame| trace.keyframe(frame).expect("a keyframe"));
        assert_eq!(heaps.count(), keyframes, "{name}");
    }
    for (name, calls, maps, end) in [
        ("calls", 20, 3, 5 * TICK),
        ("calls-at-the-end-of-time", 20, 3, u64::MAX),
        ("calls-packed", 600, 75, (7 * 1_234_567 / TICK + 599 * 20_000 / TICK) * TICK),
        ("calls-empty", 0, 0, 0),
    ] {
        let bytes = fs::read(corpus("payload").join(name)).expect("a seed");
        let start = targets::payload::start(bytes[1]);
        let block = Block::decode(&bytes[2..], calls, start).expect(name);
        assert_eq!((block.maps.len(), block.calls.last().map_or(0, |call| call.time)), (maps, end), "{name}");
    }
    let bytes = fs::read(corpus("payload").join("trailer-as-it-is")).expect("a seed");
    assert_eq!(meta::decode::<Trailer>(&bytes[1..]).expect("a trailer").index[0].end, u64::MAX);
    let bytes = fs::read(corpus("payload").join("vm-as-it-is")).expect("a seed");
    assert_eq!(meta::decode::<Vm>(&bytes[1..]).expect("a VM").probe.expect("a probe").addr, 4099);
    let bytes = fs::read(corpus("payload").join("columns")).expect("a seed");
    let input = targets::payload::lay_out(&bytes[1..]).expect("whole columns");
    let block = Block::decode(&input[1..], 5, targets::payload::start(input[0])).expect("a block");
    assert_eq!((block.calls.len(), block.maps.len()), (5, 1));
}

/// A heap that contradicts itself in a word must not pass for a heap.
#[test]
fn broken_heaps_are_refused() {
    for (name, why) in [
        ("dv-in-a-bin", "each free chunk but dv and top is in one bin"),
        ("dv-is-top", "dv is not top"),
        ("small-in-a-tree", "trees hold large chunks"),
    ] {
        let bytes = fs::read(corpus("heap").join(name)).expect("a seed");
        let (mstate, pages) = targets::memory::Pages::parse(&bytes).expect("a whole description");
        let error = shared::heap::walk::walk(mstate, &pages.reader()).expect_err(name);
        assert!(error.to_string().contains(why), "{name}: {error}");
    }
}
