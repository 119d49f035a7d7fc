//! A made-up report for the tests of outputs: one class leaks, others swing, one shrinks.

use std::sync::Arc;

use crate::metrics::growth::census::{DIRECT, Sizes};
use crate::metrics::growth::{Basis, Figures, GrowthReport, Moments, VmGrowth};
use crate::metrics::population::{Population, Populations};
use crate::output::sample;
use crate::report::{Asked, Moment};

const SECOND: u64 = 1_000_000_000;

/// One VM over 40 cycles.
pub(crate) fn report() -> GrowthReport {
    over(40)
}

/// One VM over fewer cycles than are needed.
pub(crate) fn short() -> GrowthReport {
    over(5)
}

fn over(cycles: u64) -> GrowthReport {
    let mut moments = Moments::default();
    for cycle in 0..cycles {
        let mut sizes = Sizes([0; DIRECT + 1]);
        // Leaks; swings; shrinks; is a few direct blocks.
        sizes.0[6] = 6_400_000 + cycle * 200_000 + cycle % 3 * 50_000;
        sizes.0[9] = 5_000_000 + cycle * 7919 % 11 * 100_000;
        sizes.0[12] = 4_000_000 - cycle * 50_000;
        sizes.0[DIRECT] = 135_168 * (1 + cycle % 2);
        moments.push(cycle * SECOND, &Arc::new(sizes));
    }
    let heap = |at: u64| {
        let count = |bytes: u64, size: u64| std::iter::repeat_n(size, (bytes / size) as usize);
        let used = count(6_400_000 + at * 200_000, 64);
        let used = used.chain(count(5_000_000 + at * 9000, 512)).chain(count(4_000_000 - at * 50_000, 4096));
        let used: Population = used.collect();
        Populations { used, direct: count(270_336, 135_168).collect(), ..Populations::default() }
    };
    let moment = |time, asked, calls_since_keyframe| Moment {
        time,
        asked,
        calls_since_keyframe,
        short_of: None,
        between_windows: false,
    };
    let (from, to) = (moment(0, Asked::At(0), 0), moment(cycles * SECOND, Asked::End, 12_345));
    let figures = Figures::of(&heap(0), &heap(cycles), Basis::CycleEnds, &moments);
    let report = sample::report();
    let vm = report.vms[0].vm.clone();
    GrowthReport {
        source: report.source,
        header: report.header,
        processes: report.processes,
        verdict: report.verdict,
        vms: vec![VmGrowth { number: 1, vm, from, to, figures }],
    }
}
