//! Heaps over time, against what the program really did.

use std::io::BufReader;

use analyze::cli::{Of, Period};
use analyze::commands::timeline::report;
use analyze::metrics::population::Populations;
use analyze::metrics::timeline::{Levels, Point};
use analyze::report::{Asked, TimelineReport};
use analyze::source::FileTrace;
use shared::Nanos;
use shared::trace::reader::Trace;

use crate::recorder::{Recorder, Shape, USUAL};

fn open(bytes: &[u8]) -> FileTrace {
    let mut file = tempfile::tempfile().expect("a file");
    std::io::Write::write_all(&mut file, bytes).expect("room");
    Trace::open(BufReader::new(file)).expect("a trace")
}

fn timeline(bytes: &[u8], period: &Period, points: u64) -> TimelineReport {
    report("made", &open(bytes), period, points, &Of::default()).expect("a timeline")
}

fn joined(points: &[Point]) -> Point {
    let mut all = Point::default();
    points.iter().for_each(|point| all.then(point));
    all
}

/// Windows with and without keyframes, one of them with losses; and the moments between which nothing is recorded.
fn recorded(seed: u64) -> (Vec<u8>, Vec<(Nanos, Nanos)>) {
    let mut recorder = Recorder::new(seed);
    let mut silent = Vec::new();
    for number in 0..6 {
        match number {
            4 => recorder.lossy_window(USUAL),
            _ => recorder.window(Shape { keyframe: number != 2, proven: number % 2 == 1, ..USUAL }),
        }
        let start = recorder.world.now;
        recorder.between(2000);
        silent.push((start, recorder.world.now));
    }
    (recorder.parts().remove(0), silent)
}

#[test]
fn any_number_of_points_adds_up_to_the_same() {
    for seed in 0..10 {
        let (bytes, _) = recorded(seed);
        let whole = timeline(&bytes, &Period::default(), 1);
        let [lane] = &whole.lanes[..] else { panic!("one VM") };
        let [all] = lane.points[..] else { panic!("one point") };
        assert_eq!((all.windows, all.gaps), (6, 1));
        assert!(all.flow.calls() >= 1500 && all.recorded_ns > 0);
        for points in [2, 7, 240, 10_000] {
            let fine = timeline(&bytes, &Period::default(), points);
            assert!(fine.scale.count() as u64 <= points);
            assert_eq!(joined(&fine.lanes[0].points), all, "{seed} {points}");
            assert_eq!(fine.lanes[0].cycles, lane.cycles);
        }
    }
}

#[test]
fn between_windows_nothing_is_known() {
    let (bytes, silent) = recorded(3);
    let report = timeline(&bytes, &Period::default(), 400);
    let mut empty = 0;
    for (at, point) in report.lanes[0].points.iter().enumerate() {
        let (from, to) = report.scale.span(at);
        // A window's keyframe may come a little after its end.
        if silent.iter().any(|(start, end)| from > start + 200_000 && to + 200_000 < *end) {
            assert_eq!(*point, Point::default(), "{from} {to}");
            empty += 1;
        }
    }
    assert!(empty > 100, "{empty}");
}

#[test]
fn a_heap_has_the_figures_of_stats() {
    let mut recorder = Recorder::new(9);
    recorder.window(USUAL);
    let heap = Populations::of(&recorder.world.heap());
    recorder.between(500);
    let report = timeline(&recorder.parts().remove(0), &Period::default(), 1);
    let point = report.lanes[0].points[0];
    let levels = point.heap.expect("a heap").last;
    let expected = Levels {
        used: heap.used.all.bytes,
        free: heap.free.all.bytes,
        segments: heap.segments.all.bytes,
        direct: heap.direct.all.bytes,
        gc_total: heap.gc_total,
    };
    assert_eq!(levels, expected);
    // What the calls say is what the collector counts.
    let flow = point.flow;
    let grown = flow.allocated_bytes + flow.grown_bytes;
    let first = point.heap.expect("a heap").first.gc_total;
    assert_eq!(first + grown - flow.shrunk_bytes - flow.freed_bytes, levels.gc_total);
}

#[test]
fn a_period_is_cut_out_and_a_bad_one_refused() {
    let (bytes, _) = recorded(5);
    let all = timeline(&bytes, &Period::default(), 100);
    let (end, middle) = (all.scale.to, all.scale.to / 2);
    let part = |from, to| Period { from: Some(Asked::At(from)), to: Some(Asked::At(to)) };
    let calls = |period: &Period| joined(&timeline(&bytes, period, 100).lanes[0].points).flow.calls();
    assert_eq!(calls(&part(0, middle)) + calls(&part(middle + 1, end)), calls(&Period::default()));
    for bad in [part(middle, 0), part(0, end + 1), part(end + 1, end + 2)] {
        assert!(report("made", &open(&bytes), &bad, 100, &Of::default()).is_err());
    }
    let peak = Period { from: Some(Asked::Peak), to: None };
    let report = timeline(&bytes, &peak, 100);
    let most =
        |report: &TimelineReport| joined(&report.lanes[0].points).heap.map(|heap| heap.max.used + heap.max.direct);
    assert!(most(&report) > Some(0) && report.scale.from > 0);
}
