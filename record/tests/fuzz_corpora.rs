//! Replays the fuzz corpora through the very code that `scripts/fuzz` runs, without cargo-fuzz.

use std::fs;
use std::path::{Path, PathBuf};

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
