//! Rates from windows, against what the program really did between them.

use std::io::BufReader;

use analyze::commands::rates::report;
use analyze::metrics::rates::Basis;
use analyze::report::RatesReport;
use analyze::source::FileTrace;
use shared::trace::reader::Trace;

use crate::recorder::{Recorder, Shape, USUAL};

fn rates(bytes: &[u8]) -> RatesReport {
    let mut file = tempfile::tempfile().expect("a file");
    std::io::Write::write_all(&mut file, bytes).expect("room");
    let trace: FileTrace = Trace::open(BufReader::new(file)).expect("a trace");
    report("made", &trace, None, None).expect("rates")
}

/// Windows of `calls` calls, and so many between two of them.
fn record(seed: u64, windows: usize, calls: usize, between: usize, keyframe: bool) -> Recorder {
    let mut recorder = Recorder::new(seed);
    recorder.between(between / 2);
    for number in 0..windows {
        recorder.window(Shape { calls, keyframe, proven: number == 0 });
        // Not in step with anything.
        recorder.between(between / 2 + recorder.world.now as usize / 64_000 % between);
    }
    recorder
}

#[test]
fn the_estimate_covers_the_truth() {
    let mut covered = 0;
    for seed in 0..40 {
        let recorder = record(seed, 20, 200, 3000, true);
        let (made, allocs, recorded) = (recorder.made, recorder.world.allocs, recorder.world.now);
        let report = rates(&recorder.parts().remove(0));
        let [section] = &report.sections[..] else { panic!("one VM") };
        let rates = &section.rates;
        assert_eq!((rates.basis, rates.windows, rates.recorded_ns), (Basis::Estimate, 20, recorded));
        assert_eq!(rates.calls.observed, 4000);
        // Each call takes the same time here: the estimate is exact but for the ends of windows.
        let truth = made as f64 * 1e9 / recorded as f64;
        assert!((rates.calls.per_second / truth - 1.0).abs() < 0.001, "{} {truth}", rates.calls.per_second);
        let kinds = rates.allocs.per_second + rates.resizes.per_second + rates.frees.per_second;
        assert!((kinds / truth - 1.0).abs() < 0.001);
        // Which of them are allocations varies.
        let (low, high) = (rates.allocs.low.expect("an interval"), rates.allocs.high.expect("an interval"));
        let truth = allocs as f64 * 1e9 / recorded as f64;
        covered += usize::from((low..=high).contains(&truth));
        assert!(section.lifetimes.births > 1000 && section.lifetimes.censored > 0);
    }
    assert!(covered >= 36, "{covered} of 40");
}

#[test]
fn two_windows_give_no_interval_and_windows_without_keyframes_no_lifetimes() {
    let report = rates(&record(1, 2, 200, 3000, false).parts().remove(0));
    let [section] = &report.sections[..] else { panic!("one VM") };
    assert_eq!((section.rates.calls.low, section.rates.calls.observed), (None, 400));
    assert!(section.rates.calls.per_second > 0.0);
    assert_eq!((section.windows_without_lifetimes, section.lifetimes.births), (2, 0));
}

#[test]
fn lossy_windows_are_left_out() {
    let mut recorder = record(2, 5, 200, 1000, true);
    recorder.lossy_window(USUAL);
    recorder.between(500);
    let report = rates(&recorder.parts().remove(0));
    let rates = &report.sections[0].rates;
    assert_eq!((rates.windows, rates.windows_left_out, rates.calls.observed), (5, 1, 1000));
}
