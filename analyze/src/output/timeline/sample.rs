//! Made-up timelines for the tests of outputs.

use shared::Nanos;
use shared::call::Call;

use crate::metrics::timeline::{Cycles, Gauge, Heaps, Lane, Levels, Periods, Point, Scale};
use crate::output::sample;
use crate::report::TimelineReport;

const SECOND: Nanos = 1_000_000_000;

/// Two VMs and their process: a saw-tooth, a hole, a gap, looks at the process.
pub(crate) fn report() -> TimelineReport {
    let scale = Scale::new(0, 24 * SECOND, 48);
    let points = |scaled: u64| (0..scale.count()).map(|at| point(at as u64, scaled)).collect::<Vec<Point>>();
    let report = sample::report();
    let lane = |at: usize, scaled| Lane {
        pid: 4711,
        vm: report.vms.get(at).map(|vm| (vm.number, vm.vm.clone())),
        vms: 1,
        points: points(scaled),
        cycles: Some(cycles()),
    };
    let (one, two) = (lane(0, 1000), lane(1, 10));
    let whole = Lane { vm: None, vms: 2, cycles: None, ..lane(0, 1010) };
    let (source, header, processes, verdict) = (report.source, report.header, report.processes, report.verdict);
    TimelineReport { source, header, processes, verdict, scale, lanes: vec![whole, one, two] }
}

fn cycles() -> Cycles {
    let mut cycles = Cycles::default();
    cycles.count = 4;
    cycles.periods = Periods { count: 3, sum_ns: 12 * SECOND, min_ns: 3 * SECOND, max_ns: 5 * SECOND };
    cycles.live = Some(Gauge { first: 700, min: 600, max: 900, last: 650 });
    cycles
}

fn point(at: u64, scaled: u64) -> Point {
    if (20..24).contains(&at) {
        return Point { gaps: u64::from(at == 20), ..Point::default() };
    }
    let levels = |used: u64| {
        let used = used * scaled;
        Levels { used, free: 2000 * scaled - used, segments: 2000 * scaled, direct: 100 * scaled, gc_total: used }
    };
    let mut heap = Heaps::at(levels(700 + at % 8 * 100));
    heap.see(levels(800 + at % 8 * 100));
    let mut point = Point {
        recorded_ns: SECOND / 2,
        heap: Some(heap),
        resident: at.is_multiple_of(10).then(|| Gauge::at(5000 * scaled)),
        cycles: u64::from(at % 8 == 7),
        windows: u64::from(at == 24),
        ..Point::default()
    };
    for size in 1..=scaled {
        for (ptr, osize, nsize) in [(0, 0, size), (8, size, 2 * size), (8, size, size / 2), (8, size, 0)] {
            point.flow.count(&Call { time: 0, ptr, osize, nsize });
        }
    }
    point
}
