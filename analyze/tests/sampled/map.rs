//! Maps: which moments have one, and that every form of them has the same figures.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::Path;

use analyze::cli::{self, Command, Of};
use analyze::commands::map::{Moments, report};
use analyze::metrics::map::By;
use analyze::metrics::population::Populations;
use analyze::output::{self, Format, Options};
use analyze::replay::verdict::Judgement;
use analyze::report::{Asked, MapReport};
use analyze::source::FileTrace;
use clap::Parser;
use serde_json::Value;
use shared::trace::meta::{Header, Process, Trailer, Vm};
use shared::trace::reader::Trace;
use shared::trace::writer::Writer;

use crate::recorder::{Recorder, Shape, USUAL};
use crate::world::World;

const MS: u64 = 1_000_000;

/// A recording of every call: VMs with heaps of their own, each with a keyframe at its birth and one at the end.
fn full(vms: u64, calls: usize) -> Vec<u8> {
    recording("full", vms, calls)
}

fn recording(mode: &str, vms: u64, calls: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &Header { mode: mode.into(), ..Header::default() }).expect("memory");
    writer.process(0, &Process { pid: 42, program: "luajit".into(), ..Process::default() }).expect("memory");
    let mut end = 0;
    for number in 1..=vms as u32 {
        let mut world = World::new(0x7f00_0000_0000 + (u64::from(number) << 36), number.into());
        world.now = u64::from(number) * MS;
        let label = format!("vm {number}");
        writer.vm(world.now, number, &Vm { pid: 42, label, gc64: true, ..Vm::default() }).expect("memory");
        writer.keyframe(number, (world.now, world.now), &world.keyframe()).expect("memory");
        for _ in 0..calls {
            let (call, maps) = world.step();
            writer.call(number, &call).expect("memory");
            maps.iter().for_each(|map| writer.map(number, map).expect("memory"));
        }
        if calls > 0 {
            writer.keyframe(number, (world.now, world.now), &world.keyframe()).expect("memory");
        }
        end = end.max(world.now);
    }
    writer.finish(end, Trailer { reason: "the time was up".into(), ..Trailer::default() }).expect("memory");
    bytes
}

fn open(bytes: &[u8]) -> FileTrace {
    let mut file = tempfile::tempfile().expect("a file");
    std::io::Write::write_all(&mut file, bytes).expect("room");
    Trace::open(BufReader::new(file)).expect("a trace")
}

/// What a command line asks for.
fn moments(words: &str) -> Moments {
    let line = ["analyze", "map", "made"].into_iter().chain(words.split_whitespace());
    let parsed = cli::Arguments::try_parse_from(line).expect("a command line");
    let Some(Command::Map(arguments)) = parsed.command else { panic!("another command") };
    arguments.moments().expect("moments")
}

fn map(bytes: &[u8], words: &str) -> MapReport {
    report("made", &open(bytes), &moments(words), By::Allocator, &Of::default()).expect("maps")
}

fn fails(bytes: &[u8], words: &str) -> String {
    let error = report("made", &open(bytes), &moments(words), By::Allocator, &Of::default()).expect_err("no maps");
    let error = format!("{error:#}");
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

fn write(report: &MapReport, format: Format) -> String {
    let mut bytes = Vec::new();
    output::write(report, format, &Options::default(), &mut bytes).expect("it is written");
    String::from_utf8(bytes).expect("text")
}

/// The moments of a VM's maps, as they were asked for.
fn asked(report: &MapReport, vm: usize) -> Vec<Asked> {
    report.vms[vm].maps.iter().map(|(moment, _)| moment.asked).collect()
}

#[test]
fn a_map_is_of_the_heap_that_stats_counts() {
    let bytes = full(2, 3000);
    for words in ["", "--at peak", "--at 20ms"] {
        let report = map(&bytes, words);
        let at = match moments(words) {
            Moments::At(asked) => asked[0],
            _ => Asked::Default,
        };
        let stats = analyze::commands::stats::report("made", &open(&bytes), at, None, None).expect("a report");
        assert_eq!((report.vms.len(), &report.verdict), (2, &stats.verdict), "{words}");
        for (maps, stats) in report.vms.iter().zip(&stats.vms) {
            let [(moment, map)] = &maps.maps[..] else { panic!("one map") };
            let Populations { used, free, segments, direct, overhead, .. } = &stats.populations;
            assert_eq!(moment, &stats.moment);
            assert_eq!((map.sum.used + map.sum.own, map.sum.free()), (used.all.bytes, free.all.bytes), "{words}");
            assert_eq!((map.sum.overhead, map.sum.direct), (*overhead, direct.all.bytes));
            assert_eq!(map.sum.segments(), segments.all.bytes);
        }
    }
}

#[test]
fn a_sequence_is_evenly_spaced_and_on_one_grid() {
    let bytes = full(1, 3000);
    let ats = |ms: &[u64]| ms.iter().map(|ms| Asked::At(ms * MS)).collect::<Vec<_>>();
    // It lasts from 1 ms to 31 ms.
    assert_eq!(asked(&map(&bytes, "--steps 4"), 0), ats(&[1, 11, 21, 31]));
    assert_eq!(asked(&map(&bytes, "--steps 1"), 0), ats(&[31]));
    assert_eq!(asked(&map(&bytes, "--steps 3 --from 5ms --to 9ms"), 0), ats(&[5, 7, 9]));
    assert_eq!(asked(&map(&bytes, "--every 12ms"), 0), ats(&[1, 13, 25]));
    assert_eq!(asked(&map(&bytes, "--every 10ms --from 2ms --to end"), 0), ats(&[2, 12, 22]));
    assert_eq!(
        asked(&map(&bytes, "--at 9ms --at peak --at 3ms"), 0),
        [ats(&[9]), vec![Asked::Peak], ats(&[3])].concat()
    );
    let peak = map(&bytes, "--at peak").vms[0].maps[0].0.time;
    assert_eq!(asked(&map(&bytes, "--every 1h --from peak"), 0), [Asked::At(peak)]);
    let report = map(&bytes, "--steps 5");
    let vm = &report.vms[0];
    assert!(vm.maps.iter().all(|(_, map)| map.cell == vm.grid.cell), "all in the same cells");
    // The last moment is a keyframe: the calls before it lead to the one before at most.
    let calls = vm.maps.iter().map(|(moment, _)| moment.calls_since_keyframe);
    assert_eq!(
        calls.clone().max(),
        Some(report.verdict.calls_replayed),
        "each counts once, however many maps it leads to"
    );
    assert!(calls.sum::<u64>() > report.verdict.calls_replayed);
}

#[test]
fn moments_that_are_not_there_are_named() {
    let bytes = full(2, 3000);
    for (words, part) in [
        ("--at 90s", "the trace ends at 32ms"),
        ("--at 20ms --at 90s", "the trace ends at 32ms"),
        ("--at 0.5ms", "known from 1ms on"),
        ("--steps 3 --from 0.5ms", "no heap is known before 0.001 s"),
        ("--steps 3 --to 90s", "the trace ends at 0.032 s"),
        ("--every 1s --from 90s", "the trace ends at 0.032 s"),
        ("--steps 3 --from 9ms --to 5ms", "--from 0.009 s is later than --to 0.005 s"),
        ("--steps 0", "say 1 or more"),
        ("--steps 25", "say --steps 24 or less"),
        ("--every 1ms", "32 maps do not fit a sheet, which has room for 24"),
        ("--every 0", "a time between two"),
    ] {
        let error = fails(&bytes, words);
        assert!(error.contains(part), "{words}: {error}");
    }
    let parse =
        |words: &str| cli::Arguments::try_parse_from(["analyze", "map", "made"].into_iter().chain(words.split(' ')));
    for words in ["--at 1s --every 1s", "--steps 2 --every 1s", "--steps 2 --at end", "--every soon"] {
        assert!(parse(words).is_err(), "{words}");
    }
    let Some(Command::Map(arguments)) = parse("--from 1s").expect("it parses").command else { panic!("map") };
    assert!(arguments.moments().expect_err("no sequence").to_string().contains("add --steps N"));
}

#[test]
fn a_vm_that_is_not_born_yet_does_not_keep_others_from_their_maps() {
    let report = map(&full(3, 100), "--steps 2 --from 1ms --to 4ms");
    let maps: Vec<usize> = report.vms.iter().map(|vm| vm.maps.len()).collect();
    assert_eq!(maps, [2, 1, 1], "but the first one is not known at 1 ms");
    assert!(report.vms[1].without[0].why.contains("known from 2ms on"), "{:?}", report.vms[1].without);
    let text = write(&report, Format::Text);
    assert!(text.contains("no map of 0.001 s: the heap of VM 3 is known from 3ms on"), "{text}");
    let one = report_of(&full(3, 100), Some(2), None);
    assert_eq!((one.vms.len(), one.vms[0].number), (1, 2));
    assert!(
        analyze::commands::map::report(
            "made",
            &open(&full(1, 9)),
            &Moments::Default,
            By::Allocator,
            &Of { vm: Some(7), pid: None }
        )
        .is_err()
    );
}

fn report_of(bytes: &[u8], vm: Option<u32>, pid: Option<u32>) -> MapReport {
    report("made", &open(bytes), &Moments::Default, By::Allocator, &Of { vm, pid }).expect("maps")
}

#[test]
fn traces_without_calls_have_the_map_of_their_keyframe() {
    let bytes = full(1, 0);
    for mode in ["full", "sample", "snapshot"] {
        for words in ["", "--at peak", "--at end", "--at 1ms", "--steps 1", "--steps 3"] {
            let report = map(&recording(mode, 1, 0), words);
            assert_eq!((report.vms[0].maps.len(), report.verdict.judgement()), (1, Judgement::Consistent), "{words}");
            let (moment, map) = &report.vms[0].maps[0];
            assert_eq!((moment.calls_since_keyframe, map.sum.used, map.sum.own), (0, 0, 880));
            for format in [Format::Text, Format::Json, Format::Csv, Format::Svg] {
                assert!(write(&report, format).len() > 100, "{words}");
            }
        }
    }
    assert_eq!(map(&bytes, "--steps 3").vms[0].without.len(), 2, "the other moments have no map of their own");
    assert!(fails(&full(0, 0), "").contains("there is no Lua VM in this trace"));
    assert!(fails(&full(0, 0), "--steps 3").contains("there is no Lua VM in this trace"));
}

#[test]
fn between_windows_nothing_is_made_up() {
    let mut recorder = Recorder::new(5);
    recorder.window(USUAL);
    let (end, of_end) = (recorder.world.now, recorder.world.heap());
    recorder.between(3000);
    let middle = recorder.world.now;
    recorder.between(3000);
    recorder.window(Shape { proven: true, ..USUAL });
    let bytes = recorder.parts().remove(0);
    let words = format!("--at {}us --at {}us --at {}us --at end", end / 1000, middle / 1000, middle / 1000 + 99);
    let report = map(&bytes, &words);
    let vm = &report.vms[0];
    // The first window's end and the trace's.
    assert_eq!(vm.maps.len(), 2);
    assert_eq!(vm.maps[0].1.sum.mapped(), analyze::metrics::map::Map::of(&of_end).sum.mapped());
    assert!(vm.without.iter().all(|without| without.why.contains("the last known: recorded in windows")), "{vm:?}");
    assert_eq!(vm.without.len(), 2);
    let alone = map(&bytes, &format!("--at {}us", middle / 1000));
    let (moment, _) = &alone.vms[0].maps[0];
    assert!(moment.between_windows && moment.time <= end && moment.short_of.is_some());
}

#[test]
fn windows_without_a_keyframe_have_no_map() {
    let mut recorder = Recorder::new(6);
    recorder.window(Shape { keyframe: false, ..USUAL });
    recorder.missed("the heap is too large");
    let bytes = recorder.parts().remove(0);
    for words in ["", "--at peak", "--at 1ms", "--steps 2"] {
        let error = fails(&bytes, words);
        let parts = ["VM 1 has no usable keyframe", "a keyframe was missed: the heap is too large"];
        assert!(parts.iter().all(|part| error.contains(part)), "{words}: {error}");
    }
}

#[test]
fn outputs_have_the_same_figures() {
    let report = map(&full(2, 4000), "--at 3ms --at peak --at end");
    let json: Value = serde_json::from_str(&write(&report, Format::Json)).expect("JSON");
    let csv = write(&report, Format::Csv);
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = lines.next().expect("names");
    let rows: Vec<BTreeMap<&str, &str>> = lines.map(|row| names.iter().copied().zip(row).collect()).collect();
    let (text, svg) = (write(&report, Format::Text), write(&report, Format::Svg));
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let kinds = ["used", "binned", "dv", "top", "own", "overhead", "direct"].map(|kind| format!("{kind}_bytes"));
    let of = |value: &Value, kind: &str| value[kind].as_u64().unwrap_or_default();
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for vm in array(&json["vms"]) {
        for map in array(&vm["maps"]) {
            let is = |text: &str, value: &Value| text.parse::<u64>().ok() == value.as_u64();
            let ours = |row: &&BTreeMap<&str, &str>| {
                is(row["vm"], &vm["vm"]["number"]) && is(row["time_ns"], &map["moment"]["time_ns"])
            };
            let rows: Vec<_> = rows.iter().filter(ours).collect();
            assert_eq!(rows.len(), array(&map["mappings"]).len());
            for kind in &kinds {
                let sum = of(&map["sum"], kind);
                let of_cells = |row: &Value| array(&row["cells"]).iter().map(|cell| of(cell, kind)).sum::<u64>();
                let cells: u64 = array(&map["rows"]).iter().map(of_cells).sum();
                assert_eq!(cells + of(&map["rest"], kind), sum, "{kind} of cells");
                assert_eq!(array(&map["mappings"]).iter().map(|mapping| of(mapping, kind)).sum::<u64>(), sum);
                assert_eq!(rows.iter().map(|row| row[&kind[..]].parse::<u64>().expect("a number")).sum::<u64>(), sum);
                let (name, sum) = (kind.trim_end_matches("_bytes"), output::words::thousands(sum));
                let figure = format!("{name} {sum}");
                assert!(joined.contains(&figure) && svg.contains(&figure), "{figure} is missing: {joined}");
            }
        }
    }
    assert!(text.starts_with("verified: ") && svg.starts_with("<svg"));
    for line in text.lines() {
        assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line:?}");
    }
}

/// `BLESS=1 cargo test --release -p analyze --test sampled` writes the golden files anew.
#[test]
fn outputs_are_as_they_were() {
    let report = map(&full(1, 900), "--at 3ms --at end");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sampled/golden");
    let formats = [("txt", Format::Text), ("json", Format::Json), ("csv", Format::Csv), ("svg", Format::Svg)];
    for (ending, format) in formats {
        let (path, output) = (folder.join("map").with_extension(ending), write(&report, format));
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(&path, &output).expect("a golden file");
        }
        let golden = std::fs::read_to_string(&path).expect("a golden file");
        assert!(golden == output, "{} differs: look at it, then BLESS=1 writes it anew", path.display());
    }
}
