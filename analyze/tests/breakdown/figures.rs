//! What a report says of the made recording.

use analyze::metrics::advice::{self, Advice};
use analyze::metrics::breakdown::ProcessMemory;
use analyze::replay::verdict::Judgement;
use analyze::report::{Asked, BreakdownReport};
use shared::trace::breakdown::{Memory, SliceKind};

use crate::made::{END, FIRST, MASTER, MIB, NEXT, OLD, SECOND, made, report};

fn end() -> BreakdownReport {
    report(&made().bytes(END), None, None).expect("a report")
}

fn one(report: &BreakdownReport, pid: u32) -> &ProcessMemory {
    report.processes.iter().find(|process| process.pid() == pid).expect("the process")
}

fn about<'a>(report: &'a BreakdownReport, pid: u32, topic: &str) -> Vec<&'a Advice> {
    let all = report.processes.iter().zip(&report.advice).find(|(process, _)| process.pid() == pid);
    all.expect("the process").1.iter().filter(|advice| advice.topic == topic).collect()
}

#[test]
fn every_byte_is_in_one_owner() {
    let report = end();
    assert_eq!(report.verdict.judgement(), Judgement::Consistent, "{:?}", report.verdict);
    assert_eq!(report.processes.len(), 4);
    for process in &report.processes {
        assert!(process.checks().iter().all(|check| check.off() == 0), "{:?}", process.checks());
        let owners: Memory = process.shares.iter().map(|share| share.memory).sum();
        assert_eq!(owners, process.breakdown.total);
        let system = process.system();
        assert_eq!(system.resident + system.swapped + system.untouched, process.breakdown.total.mapped);
    }
    let labels: Vec<&str> = one(&report, FIRST).shares.iter().map(|share| share.owner.label.as_str()).collect();
    let expected = [
        "HTTP LuaJIT Allocator",
        "Stream LuaJIT Allocator",
        "LuaJIT JIT code",
        "Glibc Allocator",
        "Nginx Shm Loaded",
        "Text Segments",
        "File Data",
        "System Stacks",
        "Kernel",
        "Reserved",
        "Other",
    ];
    assert_eq!(labels, expected);
}

#[test]
fn a_moment_shows_the_look_nearest_to_it() {
    let bytes = made().bytes(END);
    let of = |at| one(&report(&bytes, at, Some(FIRST)).expect("a report"), FIRST).shares[0].memory.resident / MIB;
    assert_eq!(of(None), 70);
    assert_eq!(of(Some(Asked::End)), 70);
    assert_eq!(of(Some(Asked::Peak)), 70);
    assert_eq!(of(Some(Asked::At(12 * SECOND))), 55);
    assert_eq!(of(Some(Asked::At(11 * SECOND))), 55, "it came two milliseconds later");
    assert_eq!(of(Some(Asked::At(2 * SECOND))), 40);
    let report = report(&bytes, Some(Asked::At(12 * SECOND)), None).expect("a report");
    assert_eq!((report.asked, one(&report, MASTER).time), (Some(12 * SECOND), 11 * SECOND));
}

#[test]
fn the_instance_counts_shared_pages_once() {
    let report = end();
    let [instance] = &report.instances[..] else { panic!("one instance") };
    let rows: Vec<(u32, u64)> = instance.members.iter().map(|member| (member.pid, member.generation)).collect();
    assert_eq!(rows, [(MASTER, 0), (OLD, 1), (FIRST, 2), (NEXT, 2)]);
    let sum: Memory = report.processes.iter().map(|process| process.breakdown.total).sum();
    assert_eq!(instance.memory, sum);
    // Each of four has 12 MiB of the sessions, which are in RAM once.
    let zones: Memory = report.processes.iter().map(|process| process.of(&[SliceKind::SharedZone])).sum();
    assert_eq!(zones.resident, 4 * zones.pss);
    let [old] = &advice::of_instance(instance)[..] else { panic!("of generations") };
    assert!(old.finding.starts_with("1 process (101) of earlier generations"), "{old:?}");
    assert!(old.finding.contains("; it says in its title"), "{old:?}");
    let one = crate::made::report(&made().bytes(END), None, Some(FIRST)).expect("a report");
    assert!(one.instances.is_empty());
}

#[test]
fn a_process_that_ended_is_shown_and_not_counted() {
    let mut made = made();
    let mut process = crate::made::process(OLD, "worker process is shutting down");
    process.ended = "the target ended".into();
    made.process(15 * SECOND, &process);
    let bytes = made.bytes(END);
    let at_end = report(&bytes, None, None).expect("a report");
    assert_eq!(one(&at_end, OLD).ended, Some(15 * SECOND));
    assert_eq!(at_end.instances[0].members.len(), 3);
    assert!(advice::of_instance(&at_end.instances[0]).is_empty());
    let before = report(&bytes, Some(Asked::At(14 * SECOND)), None).expect("a report");
    assert_eq!((one(&before, OLD).ended, before.instances[0].members.len()), (None, 4));
}

#[test]
fn heaps_are_those_of_the_nearest_keyframe() {
    let mut made = made();
    let mut later = crate::made::heap(true);
    later.gc_total = 7;
    made.keyframe(3, 21 * SECOND + 500_000_000, later);
    let report = report(&made.bytes(END), None, None).expect("a report");
    let vm = &one(&report, FIRST).vms[0];
    let heap = vm.heap.as_ref().expect("a heap");
    assert_eq!((vm.number, heap.keyframe_ns, heap.gc_total), (3, 21 * SECOND + 500_000_000, 7));
    assert_eq!(vm.memory.mapped, 96 * MIB);
    assert_eq!(vm.pages.expect("pages").free_resident, 22 * MIB);
    assert_eq!(heap.used.bytes + heap.free.bytes + heap.overhead, heap.segments.bytes);
    assert!(one(&report, FIRST).vms[1].heap.is_none());
}

#[test]
fn advice_rests_on_its_figures() {
    let report = end();
    let says = |pid, topic, part: &str| {
        let advice = about(&report, pid, topic);
        assert!(advice.iter().any(|advice| advice.finding.contains(part)), "{topic}: {advice:?}");
    };
    says(FIRST, "collector", "VM 3: at 1.000 s gc.total was 39.0 MiB");
    says(FIRST, "collector", "70.0 MiB was resident at the look");
    says(FIRST, "fragmentation", "blocks in use pin the segment: 36.0 MiB of 36.0 MiB by 1 chunk (96 B)");
    says(FIRST, "fragmentation", "30.0 MiB are whole pages, 22.0 MiB of them resident");
    says(FIRST, "wholly_free", "1 of them (128.0 KiB) of the shape");
    says(FIRST, "wholly_free", "LuaJIT 2.1.1700000000 lacks that fix");
    says(NEXT, "wholly_free", "LuaJIT 2.1.0-beta3 likely lacks that fix");
    says(NEXT, "trimming", "trim_check is all ones");
    says(FIRST, "glibc", "8.1 MiB of the 18.1 MiB in glibc's 2 arenas are free");
    says(FIRST, "zones", "shared zones map 74.0 MiB, of which this process has 12.2 MiB");
    says(FIRST, "zones", "most is unloaded in sessions: 52.0 MiB of 64.0 MiB");
    says(FIRST, "swap", "1.0 MiB is in swap, 1.0 MiB of that LuaJIT's");
    assert!(about(&report, FIRST, "trimming").is_empty() && about(&report, FIRST, "unknown").is_empty());
    assert_eq!(about(&report, FIRST, "system_allocator").len(), 0, "LuaJIT has more than glibc");
    let topics: Vec<&str> = report.advice[0].iter().map(|advice| advice.topic).collect();
    assert_eq!(topics, ["glibc", "zones"], "of the master, which has no Lua");
}

#[test]
fn more_in_glibc_than_in_lua_is_said() {
    let mut made = crate::made::Made::new(&crate::made::header());
    made.process(0, &crate::made::process(FIRST, "worker process"));
    made.vm(1, FIRST, "http", "");
    made.look(SECOND, &crate::made::worker(FIRST, 1, 3 * MIB));
    let report = report(&made.bytes(END), None, None).expect("a report");
    let glibc = about(&report, FIRST, "system_allocator");
    assert!(glibc[0].finding.contains("Glibc Allocator: 20.0 MiB resident; LuaJIT: 5.0 MiB"), "{glibc:?}");
}
