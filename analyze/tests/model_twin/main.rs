//! The model against a naive twin: an allocator written for plainness over ordered maps, with the bitwise tries the
//! model does without, on a simulated kernel. Random calls must give the same addresses, the same system calls and,
//! chunk by chunk and ring by ring, the same heap.

mod kernel;
mod runs;
mod tries;
mod twin;

use analyze::model::{Allocator, Contradiction, ReleaseCheck, System};
use kernel::Policy;
use proptest::prelude::*;
use runs::{Op, Pair, op, policy};
use shared::Addr;
use shared::heap::layout::PAGE;
use shared::heap::{Direct, Heap};
use twin::{Twin, new_heap};

fn run(policy: Policy, random: u64, newer: bool, release_checks: u64, ops: &[Op]) -> Pair {
    let variant = if newer { ReleaseCheck::ToRecord } else { ReleaseCheck::ToFoot };
    let mut pair = Pair::new(Twin::new(policy, random, variant, release_checks));
    ops.iter().for_each(|op| pair.apply(op));
    pair.compare();
    pair
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn model_and_twin_agree(
        policy in policy(), random: u64, newer: bool, checks in 1..300u64,
        ops in prop::collection::vec(op(), 1..800),
    ) {
        let mut pair = run(policy, random, newer, checks, &ops);
        while !pair.blocks.is_empty() {
            pair.free(pair.blocks.len() / 2);
        }
        pair.keyframe();
    }

    /// A damaged keyframe is refused, or else it is another sound one.
    #[test]
    fn damaged_heaps_are_refused(
        policy in policy(), random: u64, ops in prop::collection::vec(op(), 1..200),
        damage in prop::collection::vec((0..24u8, any::<usize>(), prop_oneof![Just(8u64), Just(16), Just(32), Just(4096), any::<u64>()]), 1..4),
    ) {
        let pair = run(policy, random, true, 255, &ops);
        let mut heap = pair.twin.to_heap();
        for &(what, i, by) in &damage {
            damage_heap(&mut heap, what, i, by);
        }
        if let Ok(mut model) = Allocator::from_heap(&heap) {
            prop_assert_eq!(model.to_heap(), heap);
            // It may hold other blocks than ours, so calls may contradict it; they must not panic.
            for &(ptr, size) in &pair.blocks {
                let _ = model.call(ptr, size, 0, &mut Refusing);
            }
        }
    }
}

/// A system without memory that keeps what it has.
struct Refusing;

impl System for Refusing {
    fn map(&mut self, _: u64) -> Option<Addr> {
        None
    }
    fn unmap(&mut self, _: Addr, _: u64) -> bool {
        false
    }
    fn remap(&mut self, _: Addr, _: u64, _: u64) -> Option<Addr> {
        None
    }
    fn unmaps_next(&self, _: Addr, _: u64) -> bool {
        false
    }
}

fn damage_heap(heap: &mut Heap, what: u8, i: usize, by: u64) {
    fn pick<T>(items: &mut [T], i: usize) -> Option<&mut T> {
        let len = items.len().max(1);
        items.get_mut(i % len)
    }
    let (chunks, binned) = (heap.chunks.len(), heap.binned.len().max(1));
    if chunks == 0 {
        return;
    }
    let change = |value: &mut u64| *value = value.wrapping_add(by);
    match what {
        0 => change(&mut heap.mstate),
        1 => change(&mut heap.dv),
        2 => heap.dv = 0,
        3 => heap.dv = heap.chunks[i % chunks].addr,
        4 => change(&mut heap.top),
        5 => heap.top = heap.chunks[i % chunks].addr,
        6 => heap.release_checks = 0,
        7 => drop(heap.chunks.remove(i % chunks)),
        8 => heap.chunks.push(heap.chunks[i % chunks]),
        9 => heap.chunks.swap(i % chunks, i / 7 % chunks),
        10 => heap.chunks.truncate(i % chunks),
        11 => pick(&mut heap.chunks, i).into_iter().for_each(|c| c.used = !c.used),
        12 => pick(&mut heap.chunks, i).into_iter().for_each(|c| change(&mut c.addr)),
        13 => pick(&mut heap.chunks, i).into_iter().for_each(|c| change(&mut c.size)),
        14 => heap.binned.truncate(i % binned),
        15 => heap.binned.extend(heap.binned.get(i % binned).copied()),
        16 => pick(&mut heap.binned, i).into_iter().for_each(change),
        17 => heap.binned.reverse(),
        18 => pick(&mut heap.segments, i).into_iter().for_each(|s| change(&mut s.base)),
        19 => pick(&mut heap.segments, i).into_iter().for_each(|s| change(&mut s.size)),
        20 => pick(&mut heap.segments, i).into_iter().for_each(|s| change(&mut s.record)),
        21 => heap.segments.reverse(),
        22 => heap.segments.truncate(i % heap.segments.len().max(1)),
        _ => heap.direct.push(Direct { base: heap.segments.first().map_or(0, |s| s.end()).wrapping_sub(by), size: by }),
    }
}

const CALM: Policy = Policy { map_fails: 0, map_is_adjacent: 0, unmap_fails: 0, remap_fails: 0, remap_moves: 0 };

/// A segment left with 16 bytes of `top`, wholly free: newer builds unmap it, older ones keep it.
#[test]
fn the_release_check_is_recognized() {
    for variant in [ReleaseCheck::ToFoot, ReleaseCheck::ToRecord] {
        let mut pair = Pair::new(Twin::new(CALM, 1, variant, 255));
        pair.apply(&Op::FillTop(64));
        pair.alloc(1000); // the second segment
        pair.apply(&Op::FillTop(16));
        pair.alloc(70_000); // the third
        let segments = pair.model.totals().segments;
        pair.free(1);
        pair.free(1);
        assert_eq!(pair.model.variant(), None);
        pair.apply(&Op::CountDown(300));
        assert_eq!(pair.model.variant(), Some(variant));
        assert_eq!(pair.model.totals().segments, segments - u64::from(variant == ReleaseCheck::ToRecord));
        pair.compare();
    }
}

/// A system that would unmap a segment that the build is known to keep.
struct Unlike;

impl System for Unlike {
    fn map(&mut self, _: u64) -> Option<Addr> {
        None
    }
    fn unmap(&mut self, _: Addr, _: u64) -> bool {
        true
    }
    fn remap(&mut self, _: Addr, _: u64, _: u64) -> Option<Addr> {
        None
    }
    fn unmaps_next(&self, _: Addr, _: u64) -> bool {
        true
    }
}

/// A later call that does not fit the build is a contradiction, and the model does not panic after it.
#[test]
fn a_change_of_the_release_check_is_refused() {
    let mut pair = Pair::new(Twin::new(CALM, 1, ReleaseCheck::ToFoot, 255));
    pair.apply(&Op::FillTop(64));
    pair.alloc(1000);
    pair.apply(&Op::FillTop(16));
    pair.alloc(70_000);
    pair.free(1);
    pair.free(1);
    pair.apply(&Op::CountDown(300));
    pair.alloc(300);
    let (mut ptr, mut error) = (pair.blocks.last().unwrap().0, None);
    pair.alloc(40);
    while error.is_none() {
        error = pair.model.call(ptr, 300, 0, &mut Unlike).err();
        ptr = pair.model.call(0, 0, 300, &mut Unlike).unwrap().after.unwrap().ptr;
    }
    assert!(matches!(error, Some(Contradiction::Release { known: ReleaseCheck::ToFoot, .. })), "{error:?}");
    for &(ptr, size) in &pair.blocks {
        let _ = pair.model.call(ptr, size, 0, &mut Unlike);
        pair.model.totals();
    }
    pair.model.to_heap();
}

/// More segments than large frees between two looks at them; all alike, so that their chunks share a ring when the
/// system refuses to take some back.
#[test]
fn many_segments_come_and_go() {
    for unmap_fails in [0, 50, 100] {
        let mut pair = Pair::new(Twin::new(Policy { unmap_fails, ..CALM }, 1, ReleaseCheck::ToRecord, 255));
        (0..300).for_each(|_| pair.alloc(100_000));
        while pair.blocks.len() > 1 {
            pair.free(pair.blocks.len() / 2);
        }
        pair.compare();
        pair.apply(&Op::CountDown(300));
        pair.compare();
        pair.apply(&Op::CountDown(300));
        pair.keyframe();
    }
}

/// A system that maps everything at one address.
struct At(Addr);

impl System for At {
    fn map(&mut self, _: u64) -> Option<Addr> {
        Some(self.0)
    }
    fn unmap(&mut self, _: Addr, _: u64) -> bool {
        true
    }
    fn remap(&mut self, _: Addr, _: u64, _: u64) -> Option<Addr> {
        Some(self.0)
    }
    fn unmaps_next(&self, _: Addr, _: u64) -> bool {
        false
    }
}

#[test]
fn impossible_mappings_are_refused() {
    let heap = new_heap(1 << 40, 255);
    for base in
        [0, 1, 1 << 40, (1 << 40) - PAGE, (1 << 40) + PAGE, (1 << 47) - PAGE, 1 << 47, u64::MAX - 4095, u64::MAX]
    {
        let mut model = Allocator::from_heap(&heap).unwrap();
        for size in [131_000, 1 << 20] {
            let error = model.call(0, 0, size, &mut At(base)).unwrap_err();
            assert!(matches!(error, Contradiction::Mapping { base: b, .. } if b == base), "{error}");
        }
        assert_eq!(model.to_heap(), heap);
        let ptr = model.call(0, 0, 1 << 20, &mut At(1 << 30)).unwrap().after.unwrap().ptr;
        assert!(base == (1 << 40) - PAGE || model.call(ptr, 1 << 20, 1 << 21, &mut At(base)).is_err());
        assert!(model.block_at(ptr).is_some() || base == (1 << 40) - PAGE);
    }
}
