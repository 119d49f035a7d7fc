//! A made-up report of rates for the tests of outputs.

use shared::call::Call;

use crate::metrics::asks::Asks;
use crate::metrics::estimate::{Observed, Sampling};
use crate::metrics::lifetimes::Ages;
use crate::metrics::rates::{Rates, Time};
use crate::output::sample;
use crate::replay::verdict::Windows;
use crate::report::{RatesReport, Section};

/// A VM with sizes and lifetimes of all kinds, from windows or from a recording of every call.
pub(crate) fn report(estimated: bool) -> RatesReport {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let (mut windows, mut asks, mut ages) = (Vec::new(), Vec::new(), Ages::default());
    for at in 0..40 {
        let mut window = Asks::default();
        let calls = 3000 + next(3000);
        for _ in 0..calls {
            let size = (16 + next(100)) << (next(64) / 60 * next(14));
            let (ptr, osize, nsize) = match next(10) {
                0..5 => (0, 0, size),
                5 => (8, size, size + 64),
                _ => (8, size, 0),
            };
            window.observe(&Call { time: 0, ptr, osize, nsize });
            ages.observe(next(200) * next(200) * 1000, size, next(3) > 0);
        }
        let cpu_ns = calls * 3000;
        windows.push(Observed { cpu_start_ns: at * 900_000_000, cpu_ns, wall_ns: cpu_ns, hits: calls, lossy: false });
        asks.push(window);
    }
    let time = Time { recorded_ns: 40_000_000_000, observed_ns: 600_000_000 };
    let cpu_to_ns = Some(36_000_000_000);
    let sampling = Sampling { windows, cpu_from_ns: 0, cpu_to_ns, hit_ns: 1400, hit_spread_ns: 60 };
    let rates = if estimated { Rates::estimated(&sampling, &asks, time) } else { Rates::exact(&asks, time) };
    let report = sample::report();
    let mut verdict = report.verdict;
    if estimated {
        verdict.windows = Windows { all: 40, with_keyframe: 38, proven: 4, lossy: 0 };
    }
    let vm = report.vms[0].vm.clone();
    let section = Section {
        pid: vm.pid,
        vm: Some((1, vm)),
        vms: 1,
        rates,
        hit_ns: 1400,
        lifetimes: ages.finish(),
        windows_without_lifetimes: if estimated { 2 } else { 0 },
    };
    let whole = Section { vm: None, vms: 2, ..section.clone() };
    let (source, header, processes) = (report.source, report.header, report.processes);
    RatesReport { source, header, processes, verdict, sections: vec![section, whole] }
}
