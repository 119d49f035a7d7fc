//! Made-up reports for the tests of outputs: realistic sizes, no real process.

use shared::trace::meta::{Header, Process, Vm};

use crate::metrics::population::{Population, Populations};
use crate::replay::costs::CostReport;
use crate::replay::verdict::Verdict;
use crate::report::{Asked, Moment, Report, VmReport};

/// Two VMs of an nginx worker, one of them without direct blocks.
pub(crate) fn report() -> Report {
    let process = Process { pid: 4711, program: "nginx".to_owned(), ..Process::default() };
    let verdict = Verdict {
        calls: 1_171_143,
        calls_replayed: 1_171_143,
        keyframes: 4,
        keyframes_compared: 3,
        chunks_compared: 237_383,
        direct_compared: 12,
        ended: Some("the time is up".to_owned()),
        cost: Some(CostReport {
            elapsed_ns: 10_200_000_000,
            pauses: 4,
            paused_ns: 41_200_000,
            longest_pause_ns: 20_100_000,
            hit_ns: 1010,
            hits: 1_171_143,
            target_ns: 1_224_054_430,
            recorder_cpu_ns: 810_000_000,
            ..CostReport::default()
        }),
        ..Verdict::default()
    };
    Report {
        source: "worker.ljt".to_owned(),
        header: Header {
            writer: "ljscope 0.1.0".to_owned(),
            started_unix_ns: 1_795_323_600_000_000_000,
            host: "web-1".to_owned(),
            kernel: "6.1.0-40-amd64".to_owned(),
            arch: "x86_64".to_owned(),
            mode: "full".to_owned(),
            ..Header::default()
        },
        processes: vec![process],
        verdict,
        vms: vec![vm(1, "http", 50_000, true), vm(2, "stream", 300, false)],
    }
}

/// A VM with about so many chunks.
pub(crate) fn vm(number: u32, label: &str, chunks: u64, direct: bool) -> VmReport {
    VmReport {
        number,
        vm: Vm {
            pid: 4711,
            label: label.to_owned(),
            build: "LuaJIT 2.1.1731601260".to_owned(),
            gc64: true,
            ..Vm::default()
        },
        moment: Moment {
            time: 9_871_234_567,
            asked: Asked::End,
            calls_since_keyframe: 12_345,
            short_of: None,
            between_windows: false,
        },
        populations: populations(chunks, direct),
    }
}

/// A heap whose figures add up: most chunks are small, some large, and `top` fills the segments.
fn populations(chunks: u64, direct: bool) -> Populations {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut used: Population = (0..chunks).map(|_| ((32 + next(96)) << (next(64) / 62 * next(12))) & !15).collect();
    let mut free: Population = (0..chunks / 9).map(|_| ((32 + next(96)) << (next(8) / 6 * next(10))) & !15).collect();
    let need = used.all.bytes + free.all.bytes;
    let count = need / 1_500_000 + 1;
    let segments: Population = (0..count).map(|at| (131_072 << (at % 5)) + need / count / 4096 * 4096).collect();
    (1..count).for_each(|_| used.observe(8));
    let overhead = 64 + (count - 1) * 8;
    free.observe(segments.all.bytes - used.all.bytes - free.all.bytes - overhead);
    let direct: Population =
        if direct { [135_168, 266_240, 1_052_672].into_iter().collect() } else { Population::default() };
    let gc_total = used.all.bytes - 9 * chunks + direct.all.bytes;
    Populations { used, free, segments, direct, overhead, gc_total }
}
