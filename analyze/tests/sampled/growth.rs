//! What grows, against what the program really did.

use std::collections::BTreeSet;
use std::io::{BufReader, Cursor};

use analyze::cli::{Of, Period};
use analyze::commands::growth::report;
use analyze::metrics::growth::{Basis, Finding, GrowthReport};
use analyze::metrics::population::Populations;
use analyze::report::Asked;
use proptest::prelude::*;
use shared::Addr;
use shared::trace::meta::{Header, Process, Trailer, Vm};
use shared::trace::reader::Trace;
use shared::trace::writer::Writer;

use crate::recorder::{Recorder, Shape, USUAL};
use crate::world::World;

fn growth(bytes: &[u8], period: &Period) -> anyhow::Result<GrowthReport> {
    let mut file = tempfile::tempfile().expect("a file");
    std::io::Write::write_all(&mut file, bytes).expect("room");
    report("made", &Trace::open(BufReader::new(file)).expect("a trace"), period, &Of::default())
}

/// What a program with a collector calls: garbage piles up and is swept, while new garbage is made; in each cycle so many
/// blocks of 700 bytes are kept.
fn calls(world: &mut World, kept: usize, mut made: impl FnMut(&mut World, (Addr, u64, u64))) {
    let mut garbage: Vec<(Addr, u64)> = Vec::new();
    for cycle in 0..12 {
        let mut swept = std::mem::take(&mut garbage);
        let mut allocate = |world: &mut World, size: u64| {
            made(world, (0, 0, size));
            world.newest().expect("a block")
        };
        for at in 0..400 {
            let size = 30 + world.below(300);
            swept.push(allocate(world, size));
            if at < kept + cycle % 2 {
                allocate(world, 700);
            }
        }
        for (at, (ptr, size)) in swept.into_iter().enumerate() {
            if at % 8 == 0 {
                let size = 30 + world.below(300);
                garbage.push({
                    made(world, (0, 0, size));
                    world.newest().expect("a block")
                });
            }
            made(world, (ptr, size, 0));
        }
    }
}

/// A recording of every call of it, with keyframes behind some calls.
fn recorded(kept: usize, keyframes: &BTreeSet<usize>) -> (Vec<u8>, [Populations; 2]) {
    let mut bytes = Cursor::new(Vec::new());
    let header = Header { mode: "full".into(), arch: "x86_64".into(), ..Header::default() };
    let mut writer = Writer::new(&mut bytes, &header).expect("memory");
    let mut world = World::new(0x7f00_0000_0000, 7);
    let process = Process { pid: 42, program: "luajit".into(), ..Process::default() };
    writer.process(0, &process).expect("memory");
    writer.vm(0, 1, &Vm { pid: 42, label: "luajit".into(), gc64: true, ..Vm::default() }).expect("memory");
    writer.keyframe(1, (0, 0), &world.keyframe()).expect("memory");
    let before = Populations::of(&world.heap());
    let mut count = 0;
    calls(&mut world, kept, |world, (ptr, osize, nsize)| {
        let (call, maps) = world.call(ptr, osize, nsize);
        writer.call(1, &call).expect("memory");
        maps.iter().for_each(|map| writer.map(1, map).expect("memory"));
        count += 1;
        if keyframes.contains(&count) {
            writer.keyframe(1, (world.now, world.now), &world.keyframe()).expect("memory");
        }
    });
    let now = world.now;
    writer.finish(now, Trailer { reason: "the time was up".into(), ..Trailer::default() }).expect("memory");
    (bytes.into_inner(), [before, Populations::of(&world.heap())])
}

#[test]
fn a_leak_is_a_suspect_and_growth_is_exact() {
    let (bytes, [before, after]) = recorded(20, &BTreeSet::new());
    let report = growth(&bytes, &Period::default()).expect("growth");
    let figures = &report.vms[0].figures;
    assert_eq!((figures.basis, figures.every), (Basis::CycleEnds, 1));
    // The last cycle's end is not known for certain.
    assert_eq!(figures.points, 11);
    let suspects: Vec<u64> = figures.suspects().map(|class| class.size_from).collect();
    assert_eq!(suspects, [512]);
    // Beside the mstate.
    assert_eq!(figures.classes[0].change.to.count, 1 + 12 * 20 + 6);
    let whole = |heap: &Populations| heap.used.all.bytes + heap.direct.all.bytes;
    let net: i64 = figures.classes.iter().map(|class| class.change.net_bytes).sum();
    // Times are rounded down: a few calls are of the moment of the first keyframe.
    let from = &report.vms[0].from;
    assert!(from.time == 0 && from.calls_since_keyframe < 10 && figures.all.from.bytes > whole(&before));
    assert_eq!(net, whole(&after) as i64 - figures.all.from.bytes as i64);
    assert_eq!((figures.all.net_bytes, figures.all.to.bytes), (net, whole(&after)));
}

#[test]
fn nothing_kept_is_nothing_suspected() {
    let (bytes, _) = recorded(0, &BTreeSet::new());
    let report = growth(&bytes, &Period::default()).expect("growth");
    let figures = &report.vms[0].figures;
    assert!(figures.points >= 8 && figures.suspects().count() == 0, "{figures:#?}");
}

#[test]
fn a_period_is_cut_out_and_a_bad_one_refused() {
    let (bytes, _) = recorded(20, &BTreeSet::new());
    let all = growth(&bytes, &Period::default()).expect("growth");
    let (end, middle) = (all.vms[0].to.time, all.vms[0].to.time / 2);
    let part = |from, to| Period { from: Some(Asked::At(from)), to: Some(Asked::At(to)) };
    let net = |period: &Period| growth(&bytes, period).expect("growth").vms[0].figures.all.net_bytes;
    assert_eq!(net(&part(0, middle)) + net(&part(middle, end)), net(&Period::default()));
    let half = growth(&bytes, &part(0, middle)).expect("growth");
    let figures = &half.vms[0].figures;
    assert!(figures.are_too_few() && figures.classes.iter().all(|class| class.finding == Finding::TooFew));
    for bad in [part(middle, 0), part(middle, middle), part(0, end + 1_000_000)] {
        assert!(growth(&bytes, &bad).is_err(), "{bad:?}");
    }
    let from_peak = Period { from: Some(Asked::Peak), to: None };
    assert!(growth(&bytes, &from_peak).expect("growth").vms[0].from.time > 0);
}

#[test]
fn windows_without_whole_cycles_speak_for_themselves() {
    let mut recorder = Recorder::new(5);
    for number in 0..10 {
        recorder.window(Shape { proven: number % 2 == 1, ..USUAL });
        recorder.between(2000);
    }
    let report = growth(&recorder.parts().remove(0), &Period::default()).expect("growth");
    let figures = &report.vms[0].figures;
    assert_eq!((figures.basis, figures.points), (Basis::Windows, 10));
    assert!(report.vms[0].to.between_windows && !figures.are_too_few());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    // Not within the first calls: some are of the moment of the first keyframe, where the growth begins.
    #[test]
    fn any_split_gives_the_same_figures(keyframes in proptest::collection::btree_set(20..10_000usize, 0..40)) {
        let (whole, _) = recorded(20, &BTreeSet::new());
        let (split, _) = recorded(20, &keyframes);
        let figures = |bytes: &[u8]| growth(bytes, &Period::default()).expect("growth").vms.remove(0).figures;
        prop_assert_eq!(figures(&split), figures(&whole));
    }
}
