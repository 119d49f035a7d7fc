//! A made-up report for the tests of outputs: a VM with some of every kind, and what it had before.

use shared::heap::{Chunk, Direct, Heap};
use shared::trace::census::{Census, Findings, Label, ObjectKind, TableFill};
use shared::trace::names::{Names, ProtoPlace};

use crate::metrics::objects::{Growth, Objects, ObjectsReport, VmObjects};
use crate::output::sample;

/// One VM.
pub(crate) fn report() -> ObjectsReport {
    let report = sample::report();
    let (before, after) = (objects(20_000), objects(30_000));
    let growth = Growth::between((10_000_000, &before), (9_871_234_567, &after));
    let vm = VmObjects {
        number: 1,
        vm: report.vms[0].vm.clone(),
        time: 9_871_234_567,
        censuses: 2,
        objects: after,
        growth: Some(growth),
    };
    ObjectsReport {
        source: report.source,
        header: report.header,
        processes: report.processes,
        verdict: report.verdict,
        vms: vec![vm],
        without: Vec::new(),
    }
}

/// So many objects: of each kind fewer than of the one before, most of them small, some garbage.
fn objects(count: u64) -> Objects {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut heap = Heap::default();
    let findings = Findings { collector: "sweep".to_owned(), strings: 0, problem: None };
    let mut census = Census { findings, ..Census::default() };
    let chunks = ["@/usr/share/lua/5.1/handlers.lua", "=(command line)", "(text)"].map(str::to_owned).to_vec();
    let mut names = Names { chunks, ..Names::default() };
    let mut addr = 1 << 20;
    for at in 0..=count {
        let size = (32 + next(96) / 8 * 8) << (next(64) / 60 * next(10));
        let kind = ObjectKind::ALL[((next(17) + 1) * next(17) / 17) as usize];
        if at == count {
            heap.direct.push(Direct { base: 1 << 40, size: 266_240 });
        } else {
            heap.chunks.push(Chunk { addr, size, used: true });
        }
        addr += size;
        census.labels.push(Label { kind, garbage: next(20) == 0 });
        match kind {
            ObjectKind::String => census.strings.push(size - 24),
            ObjectKind::Proto => {
                census.protos.push(next(50));
                names.protos.push((next(9) > 0).then(|| ProtoPlace { chunk: next(3), first_line: next(12) }));
            }
            // Of one of the first protos, or in C.
            ObjectKind::Function => names.functions.push(next(60).checked_sub(1)),
            ObjectKind::Table => census.tables.push(TableFill {
                inside: 0,
                array: size,
                array_used: (next(50) > 0).then_some(size / 2),
                hash: 8,
                hash_used: Some(5),
                apart: true,
            }),
            _ => {}
        }
    }
    Objects::of(&heap, &census, Some(&names)).unwrap_or_default()
}
