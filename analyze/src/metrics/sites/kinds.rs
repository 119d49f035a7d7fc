//! What LuaJIT was doing where its functions have no names: what kind of object the census has found the blocks to be that
//! calls from the same place have made, of those that were still there.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek};

use shared::heap::layout::HEADER;
use shared::trace::census::ObjectKind;
use shared::trace::frame::Kind;
use shared::trace::reader::Trace;
use shared::{Addr, Nanos};

use crate::replay::Plan;

/// Fewer blocks than this do not tell ...
const ENOUGH: u64 = 3;
/// ... and so large a part of them must be of one kind, in percent.
const MOST: u64 = 80;

/// The kind of each block of a VM that was at one of these addresses when a census was taken, at the keyframe that was begun
/// at that time. Those that cannot be read are left out.
pub(super) fn at_census<R: Read + Seek>(
    trace: &Trace<R>,
    plan: &Plan,
    (vm, time): (u32, Nanos),
    wanted: &[(Addr, usize)],
) -> Vec<(usize, ObjectKind)> {
    let same = |head: &shared::trace::frame::Head| head.vm == vm && head.start == time;
    let census = plan.censuses.iter().find(|frame| same(&frame.head)).and_then(|frame| trace.census(frame).ok());
    let keyframe = trace.frames.iter().find(|frame| frame.head.kind == Kind::Keyframe && same(&frame.head));
    let heap = keyframe.and_then(|frame| trace.keyframe(frame).ok()).map(|keyframe| keyframe.heap);
    let (Some(census), Some(heap)) = (census, heap) else { return Vec::new() };
    let mut samples: HashMap<Addr, Vec<usize>> = HashMap::new();
    wanted.iter().for_each(|(addr, sample)| samples.entry(*addr).or_default().push(*sample));
    let used = heap.chunks.iter().filter(|chunk| chunk.used).map(|chunk| chunk.addr);
    let blocks = used.chain(heap.direct.iter().map(|direct| direct.base)).map(|addr| addr.wrapping_add(HEADER));
    let labelled = blocks.zip(&census.labels).filter(|(_, label)| label.kind != ObjectKind::Unknown);
    let told = labelled.filter_map(|(addr, label)| Some((samples.remove(&addr)?, label.kind)));
    told.flat_map(|(samples, kind)| samples.into_iter().map(move |sample| (sample, kind))).collect()
}

/// What nameless operations are called, by their places: `string (by census)`. `made` are places with the kinds of blocks that
/// calls from there have made.
pub(super) fn names<'a>(made: impl Iterator<Item = (&'a str, ObjectKind)>) -> HashMap<&'a str, String> {
    let mut counts: HashMap<&str, BTreeMap<ObjectKind, u64>> = HashMap::new();
    for (place, kind) in made {
        *counts.entry(place).or_default().entry(kind).or_default() += 1;
    }
    let told = |(place, kinds): (&'a str, BTreeMap<ObjectKind, u64>)| {
        let all: u64 = kinds.values().sum();
        let (kind, most) = kinds.into_iter().max_by_key(|(_, count)| *count)?;
        (most >= ENOUGH && most * 100 >= all * MOST).then(|| (place, format!("{} (by census)", kind.name())))
    };
    counts.into_iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_by_what_nearly_all_of_its_blocks_are() {
        let made = |place, kind, count| std::iter::repeat_n((place, kind), count);
        let all = made("+0x1", ObjectKind::String, 8)
            .chain(made("+0x1", ObjectKind::Table, 2))
            .chain(made("+0x2", ObjectKind::Table, 7))
            .chain(made("+0x2", ObjectKind::Function, 2))
            .chain(made("+0x3", ObjectKind::TableHash, 2));
        let names = names(all);
        assert_eq!(names.get("+0x1").map(String::as_str), Some("string (by census)"));
        assert_eq!((names.get("+0x2"), names.get("+0x3")), (None, None), "not clear, and too few");
    }
}
