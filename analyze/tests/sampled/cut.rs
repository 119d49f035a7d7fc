//! Hits may be lost between a call and what it asks of the system: the call is then missing, too, and nothing is wrong.

use analyze::replay::state::whole;
use analyze::replay::verdict::{Judgement, Verdict};
use shared::trace::meta::{Gap, Header, Process, Trailer, Vm};
use shared::trace::writer::Writer;

use crate::recorder::{join, plan};
use crate::world::World;

/// A recording of a few calls, the last of which is the first that needs a mapping call; that one is not in the trace.
fn without_its_mapping_call(lost: Option<Gap>) -> Verdict {
    let mut bytes = Vec::new();
    let header = Header { mode: "full".into(), arch: "x86_64".into(), ..Header::default() };
    let mut writer = Writer::new(&mut bytes, &header).unwrap();
    let mut world = World::new(0x7f00_0000_0000, 7);
    writer.process(0, &Process { pid: 42, program: "luajit".into(), ..Process::default() }).unwrap();
    writer.vm(0, 1, &Vm { pid: 42, gc64: true, ..Vm::default() }).unwrap();
    writer.keyframe(1, (0, 0), &world.keyframe()).unwrap();
    let mut calls = 0;
    loop {
        let (call, maps) = world.step();
        writer.call(1, &call).unwrap();
        calls += 1;
        if !maps.is_empty() {
            break;
        }
    }
    assert!(calls > 1, "a call that is replayed comes first");
    if let Some(gap) = &lost {
        writer.gap(1, (world.now, world.now), gap).unwrap();
    }
    writer.keyframe(1, (world.now, world.now), &world.keyframe()).unwrap();
    writer.finish(world.now, Trailer { reason: "the time was up".into(), ..Trailer::default() }).unwrap();
    let trace = join(vec![bytes]);
    let verdict = whole(&trace, &plan(&trace)).verdict;
    assert_eq!((verdict.calls, verdict.calls_replayed), (calls, calls - 1));
    assert_eq!(verdict.calls_not_replayed, 1);
    verdict
}

#[test]
fn a_call_whose_mapping_call_is_lost_is_not_replayed() {
    let lost = Gap { reason: "the ring was full".into(), lost: 1, window: None };
    let verdict = without_its_mapping_call(Some(lost));
    assert_eq!(verdict.judgement(), Judgement::Incomplete);
    assert!(verdict.contradictions.is_empty() && verdict.differing.is_empty(), "{verdict:?}");
}

#[test]
fn where_nothing_is_lost_a_missing_mapping_call_is_a_contradiction() {
    let verdict = without_its_mapping_call(None);
    assert_eq!(verdict.judgement(), Judgement::Contradicted);
    assert!(verdict.contradictions[0].what.contains("must have called"), "{verdict:?}");
}
