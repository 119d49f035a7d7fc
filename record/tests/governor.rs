//! The governor against simulated targets: it must keep its budget whatever they do, and use it.

use proptest::prelude::*;
use record::governor::{Governor, Limits, MINUTE, Next};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
/// What a hit costs, and what a call costs without one.
const HIT_NS: u64 = 1500;
const CALL_NS: f64 = 200.0;

const LIMITS: Limits = Limits { share: 0.01, window: 10 * SECOND, every: SECOND, max_pause: 50 * MS };

/// A process: how many calls a second it would make at a moment, and how large its heap is then.
struct Target {
    calls: fn(u64) -> f64,
    heap: fn(u64) -> u64,
    /// How long the recorder takes to look again.
    poll: u64,
}

#[derive(Debug, Default)]
struct Outcome {
    windows: u64,
    keyframes: u64,
    proofs: u64,
    open_ns: u64,
    hits: u64,
    longest_pause: u64,
    /// Spent in all, and the most of any minute, as shares.
    share: f64,
    worst_minute: f64,
}

/// The process's time from `now` to `now + wall` with the probe open: how many hits fall into it. A process that has
/// nothing to wait for is slowed down by its hits.
fn hits(target: &Target, now: u64, wall: u64) -> u64 {
    let rate = (target.calls)(now);
    let busy = rate * (CALL_NS + HIT_NS as f64) / 1e9;
    (rate / busy.max(1.0) * wall as f64 / 1e9) as u64
}

fn simulate(target: &Target, limits: Limits, length: u64) -> Outcome {
    let mut governor = Governor::new(limits, HIT_NS, 0, 7);
    let (mut now, mut outcome) = (0, Outcome::default());
    let pause = |governor: &mut Governor, now: &mut u64, outcome: &mut Outcome| {
        let bytes = (target.heap)(*now);
        // 2 GB/s; on average half a millisecond to stop.
        let (stop, copy) = (MS / 4 + *now % (MS / 2), bytes / 2);
        // A copy is broken off in time.
        let took = (stop + copy).min(limits.max_pause);
        *now += took;
        governor.paused(*now, took);
        governor.learn_pause(stop, copy, bytes);
        outcome.keyframes += u64::from(took == stop + copy);
        outcome.longest_pause = outcome.longest_pause.max(took);
    };
    while now < length {
        let window = match governor.next(now, (target.heap)(now)) {
            Next::At(when) => {
                assert!(when > now, "it must get on");
                now = when;
                continue;
            }
            Next::Window(window) => window,
        };
        outcome.windows += 1;
        now += 10 * MS; // opening
        if window.keyframe {
            pause(&mut governor, &mut now, &mut outcome);
        }
        governor.opened(now, (target.heap)(now));
        while governor.keeps(now) {
            // The ring wakes the recorder up early when calls come fast.
            let per_ms = hits(target, now, MS).max(1);
            let wall = if per_ms > 50 { target.poll } else { 20 * MS.max(target.poll / 20) };
            let hits = hits(target, now, wall);
            now += wall;
            outcome.open_ns += wall;
            outcome.hits += hits;
            governor.hits(now, hits);
        }
        if window.proof {
            outcome.proofs += 1;
            pause(&mut governor, &mut now, &mut outcome);
        }
        now += 75 * MS; // closing
        governor.closed();
    }
    let ledger = governor.ledger();
    outcome.share = ledger.total() as f64 / now as f64;
    outcome.worst_minute = ledger.worst_minute_ppm(now) as f64 / 1e6;
    outcome
}

fn small(_: u64) -> u64 {
    8 << 20
}

fn within(outcome: &Outcome, limits: Limits) {
    assert!(outcome.worst_minute <= limits.share, "{outcome:?}");
    assert!(outcome.longest_pause <= limits.max_pause, "{outcome:?}");
}

#[test]
fn an_idle_target_is_recorded_nearly_whole() {
    let outcome = simulate(&Target { calls: |_| 20.0, heap: small, poll: MS }, LIMITS, 600 * SECOND);
    within(&outcome, LIMITS);
    assert!(outcome.open_ns > 500 * SECOND, "{outcome:?}");
    assert!(outcome.share < 0.002, "{outcome:?}");
}

#[test]
fn a_steady_target_gets_windows_that_use_the_budget() {
    let outcome = simulate(&Target { calls: |_| 50_000.0, heap: small, poll: MS }, LIMITS, 600 * SECOND);
    within(&outcome, LIMITS);
    assert!(outcome.windows > 80, "{outcome:?}");
    assert!(outcome.share > 0.004, "the budget is there to be used: {outcome:?}");
    assert!(outcome.proofs >= outcome.windows / 20, "{outcome:?}");
}

#[test]
fn a_saturated_target_keeps_its_budget() {
    for share in [0.001, 0.01, 0.05] {
        let limits = Limits { share, ..LIMITS };
        let outcome = simulate(&Target { calls: |_| 5e6, heap: small, poll: MS }, limits, 600 * SECOND);
        within(&outcome, limits);
        assert!(outcome.windows > 30, "{share}: {outcome:?}");
        assert!(outcome.share > share / 3.0, "{share}: {outcome:?}");
    }
}

#[test]
fn a_burst_closes_the_window() {
    // Ten seconds of nearly nothing, two of all it can do.
    let calls = |now: u64| if now / SECOND % 12 < 10 { 100.0 } else { 5e6 };
    let outcome = simulate(&Target { calls, heap: small, poll: MS }, LIMITS, 1200 * SECOND);
    within(&outcome, LIMITS);
    assert!(outcome.open_ns > 300 * SECOND, "the quiet part is seen: {outcome:?}");
    assert!(outcome.hits > 1_000_000, "and so is the burst: {outcome:?}");
}

#[test]
fn a_heap_that_grows_to_gigabytes_is_not_frozen_for_longer() {
    let heap = |now: u64| (now / SECOND) * (4 << 20);
    let outcome = simulate(&Target { calls: |_| 200_000.0, heap, poll: MS }, LIMITS, 600 * SECOND);
    within(&outcome, LIMITS);
    assert!(outcome.keyframes > 2, "as long as it fits: {outcome:?}");
    assert!(outcome.keyframes < outcome.windows, "then windows go on without: {outcome:?}");
}

#[test]
fn a_recorder_that_is_kept_from_running_pays_it_back() {
    // It looks again after a fifth of a second instead of a millisecond.
    let outcome = simulate(&Target { calls: |_| 5e6, heap: small, poll: 200 * MS }, LIMITS, 1200 * SECOND);
    assert!(outcome.worst_minute <= LIMITS.share * 1.05, "{outcome:?}");
    assert!(outcome.windows > 10, "{outcome:?}");
}

#[test]
fn a_large_heap_alone_takes_the_budget_and_no_more() {
    let outcome = simulate(&Target { calls: |_| 1000.0, heap: |_| 90 << 20, poll: MS }, LIMITS, 1200 * SECOND);
    within(&outcome, LIMITS);
    assert!(outcome.keyframes > 20, "{outcome:?}");
}

proptest! {
    /// Whatever the rates, the heap and the limits are, after the first window no minute exceeds the budget.
    #[test]
    fn no_minute_exceeds_the_budget(
        rate in 1.0..6e6f64,
        heap_mib in 1..2000u64,
        share in 0.002..0.2f64,
        every_ms in 100..5000u64,
        window_ms in 1..20_000u64,
    ) {
        use std::sync::atomic::{AtomicU64, Ordering};
        static RATE: AtomicU64 = AtomicU64::new(0);
        static HEAP: AtomicU64 = AtomicU64::new(0);
        static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _turn = TURN.lock();
        RATE.store(rate as u64, Ordering::Relaxed);
        HEAP.store(heap_mib << 20, Ordering::Relaxed);
        let target = Target {
            calls: |now| RATE.load(Ordering::Relaxed) as f64 * if (now / SECOND).is_multiple_of(7) { 20.0 } else { 0.3 },
            heap: |_| HEAP.load(Ordering::Relaxed),
            poll: MS,
        };
        let limits = Limits { share, window: window_ms * MS, every: every_ms * MS, ..LIMITS };
        let outcome = simulate(&target, limits, 5 * MINUTE);
        prop_assert!(outcome.worst_minute <= share, "{outcome:?}");
        prop_assert!(outcome.longest_pause <= limits.max_pause, "{outcome:?}");
    }
}
