//! A made-up report for the tests of outputs: a program that throws most away at once, and keeps some.

use crate::metrics::fates::{Fates, Life};
use crate::metrics::lives::{ClassLives, Figures, LifetimesReport, Turnover, VmLifetimes};
use crate::metrics::population::Tally;
use crate::metrics::rates::{Basis, Time, exact};
use crate::model::Block;
use crate::output::sample;
use crate::replay::period::Period;
use shared::trace::calls::TICK;

/// One VM.
pub(crate) fn report() -> LifetimesReport {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut fates = Fates { windows: 1, observed_ns: 20_000_000_000, ..Fates::default() };
    for at in 0..20_000u64 {
        let first = (32 + next(100) / 8 * 8) << (next(64) / 60 * next(14));
        let resizes = (next(8) / 7 * next(9)) as u32;
        let block = |size| Block { ptr: at * 64, size, direct: false };
        (0..resizes).for_each(|step| fates.resizes.observe(block(first << step), block(first << (step + 1)), first));
        let born = (next(20) > 0).then_some(at * 10 * TICK);
        let life = Life { born, first, last: first << resizes, resizes };
        let end = (at * 10 + ((next(30) * next(30)) << (next(3) * 5))) * TICK;
        if next(5) > 0 { fates.died(life, end) } else { fates.lives_on(life, end) }
    }
    fates.live_byte_ns = 9_000_000 * 20_000_000_000;
    let born = exact(fates.born_bytes(), Time { recorded_ns: fates.observed_ns, observed_ns: fates.observed_ns });
    let mut all = crate::metrics::fates::ClassFates { ages: fates.ages(), older_died: Tally::default() };
    fates.classes.values().for_each(|class| all.older_died.add(class.older_died));
    let live_bytes = fates.live_bytes();
    let figures = Figures {
        basis: Basis::Exact,
        windows: 1,
        windows_left_out: 0,
        observed_ns: fates.observed_ns,
        blocks_at_start: 100_000,
        blocks_at_end: 110_000,
        turnover: Turnover {
            born,
            live_bytes,
            per_second: live_bytes.map(|live| born.per_second / live),
            low: None,
            high: None,
        },
        curve: all.ages.died_by((0..48).map(|power| TICK << power)),
        all: ClassLives::of(0, &all),
        classes: fates.classes.iter().map(|(size, class)| ClassLives::of(*size, class)).collect(),
        resizes: fates.resizes.sums,
        chains: fates.resizes.chains(),
    };
    let report = sample::report();
    let vm = report.vms[0].vm.clone();
    LifetimesReport {
        source: report.source,
        header: report.header,
        processes: report.processes,
        verdict: report.verdict,
        vms: vec![VmLifetimes { number: 1, vm, period: Period { from: 0, to: 20_000_000_000 }, figures }],
    }
}
