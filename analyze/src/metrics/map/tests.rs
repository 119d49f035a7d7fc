use proptest::collection::vec;
use proptest::prelude::*;
use shared::heap::Direct;
use shared::heap::layout::{GRANULARITY, OLD_FOOT, PAGE, TOP_FOOT};
use shared::trace::census::Label;

use super::grid::{LEAST_CELL, ROW_CELLS, ROWS};
use super::*;
use crate::metrics::breakdown::VmHeap;
use crate::metrics::breakdown::heap::tests::heap as five_segments;
use crate::metrics::population::{Populations, Tally};

/// Any heap: its first segment holds the allocator's state and `top`, chunks fill the others up to record and fenceposts.
fn heaps() -> impl Strategy<Value = Heap> {
    let segment = (0..40u64, vec((4..600u64, any::<bool>()), 0..80), 3..5u64);
    let direct = (0..40u64, 1..200u64);
    (vec(segment, 1..6), vec(direct, 0..4), any::<prop::sample::Index>()).prop_map(|(segments, direct, dv)| {
        let mut heap = Heap::default();
        let mut next = 0x7f00_0000_0000;
        for (at, (hole, chunks, granules)) in segments.into_iter().enumerate() {
            let base = next + hole * PAGE;
            next = base + granules * GRANULARITY;
            segment_of(&mut heap, (base, next), chunks, at == 0);
        }
        for (hole, pages) in direct {
            let base = next + hole * PAGE;
            heap.direct.push(Direct { base, size: pages * PAGE });
            next = base + pages * PAGE;
        }
        let free: Vec<Addr> =
            heap.chunks.iter().filter(|chunk| !chunk.used && chunk.addr != heap.top).map(|chunk| chunk.addr).collect();
        if !free.is_empty() {
            heap.dv = *dv.get(&free);
        }
        heap
    })
}

fn segment_of(heap: &mut Heap, (base, end): (Addr, Addr), chunks: Vec<(u64, bool)>, first: bool) {
    let mut addr = base;
    let mut push = |size: u64, used: bool| {
        heap.chunks.push(Chunk { addr, size, used });
        addr += size;
        addr
    };
    if first {
        heap.mstate = base + HEADER;
        push(880, true);
    }
    let mut free = false;
    let mut reached = base;
    for (eighths, used) in chunks {
        // Free chunks never touch.
        free = !used && !free;
        reached = push(eighths * 8, !free);
    }
    reached = reached.max(base + if first { 880 } else { 0 });
    if free {
        reached = push(32, true);
    }
    if first {
        push(end - TOP_FOOT - reached, false);
        heap.top = reached;
        heap.segments.push(Segment { base, size: end - base, record: base + 856 });
        return;
    }
    let record = end - TOP_FOOT;
    if record > reached {
        push(record - reached, false);
    }
    push(32, true);
    while push(FENCEPOST, true) < end - OLD_FOOT {}
    heap.segments.push(Segment { base, size: end - base, record: record + HEADER });
}

/// By the definition, word for word.
fn naive(heap: &Heap, cell: u64) -> Vec<Cell> {
    let mut cells: std::collections::BTreeMap<Addr, Mix> = Default::default();
    for direct in &heap.direct {
        for word in (direct.base..direct.base + direct.size).step_by(8) {
            cells.entry(word / cell * cell).or_default().direct += 8;
        }
    }
    let records: Vec<Addr> = heap.segments.iter().map(|segment| segment.record - HEADER).collect();
    for segment in &heap.segments {
        for word in (segment.base..segment.end()).step_by(8) {
            let at = heap.chunks.partition_point(|chunk| chunk.addr <= word);
            let chunk = at.checked_sub(1).map(|at| heap.chunks[at]);
            let mix = cells.entry(word / cell * cell).or_default();
            *match chunk.filter(|chunk| word < chunk.addr + chunk.size) {
                None => &mut mix.overhead,
                Some(Chunk { addr, .. }) if addr == heap.top => &mut mix.top,
                Some(Chunk { addr, .. }) if addr == heap.dv => &mut mix.dv,
                Some(Chunk { used: false, .. }) => &mut mix.binned,
                Some(Chunk { size: 8, .. }) => &mut mix.own,
                Some(Chunk { addr, .. }) if addr + HEADER == heap.mstate || records.contains(&addr) => &mut mix.own,
                Some(_) => &mut mix.used,
            } += 8;
        }
    }
    cells.into_iter().map(|(base, mix)| Cell { base, mix }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn cells_agree_with_their_naive_twin(heap in heaps(), exponent in 9..22u32) {
        let cell = 1 << exponent;
        let map = Map::in_cells(&heap, cell);
        prop_assert_eq!(&map.cells, &naive(&heap, cell));
        prop_assert_eq!(Map::in_cells(&heap, cell / 16).coarsened(cell), map);
    }

    #[test]
    fn every_byte_is_counted_once(heap in heaps()) {
        let map = Map::of(&heap);
        let of = |mix: Mix| (mix.used + mix.own, mix.free(), mix.overhead, mix.segments(), mix.direct);
        let Populations { used, free, segments, direct, overhead, .. } = Populations::of(&heap);
        let all = (used.all.bytes, free.all.bytes, overhead, segments.all.bytes, direct.all.bytes);
        prop_assert_eq!(of(map.sum), all);
        prop_assert_eq!(map.cells.iter().map(|cell| &cell.mix).collect::<Mix>(), map.sum);
        for mapping in &map.mappings {
            prop_assert_eq!(mapping.mix.mapped(), mapping.size);
        }
        prop_assert_eq!(map.mappings.iter().map(|mapping| mapping.free_runs).sum::<u64>(), free.all.count);
        prop_assert_eq!(map.mappings.iter().map(|mapping| mapping.largest_free).max(), Some(free.max));
        // The breakdown counts the same segments.
        let figures = VmHeap::of(&heap, (0, 0));
        let tally = |of: fn(&Mapping) -> bool| {
            let ours = map.mappings.iter().filter(|mapping| of(mapping));
            ours.fold(Tally::default(), |sum, mapping| Tally { count: sum.count + 1, bytes: sum.bytes + mapping.size })
        };
        prop_assert_eq!(tally(|mapping| mapping.standing == Standing::WhollyFree), figures.wholly_free);
        prop_assert_eq!(tally(|mapping| mapping.kept_for_good), figures.kept_for_good);
    }

    #[test]
    fn rows_are_bounded_and_hold_everything_but_the_rest(heaps in vec(heaps(), 1..5)) {
        let maps: Vec<Map> = heaps.iter().map(Map::of).collect();
        let grid = Grid::of(maps.iter());
        prop_assert!(!grid.rows.is_empty() && grid.rows.len() <= ROWS && grid.cell >= LEAST_CELL);
        prop_assert!(grid.rows.iter().all(|row| row.cells <= ROW_CELLS && row.base.is_multiple_of(grid.cell)));
        prop_assert!(grid.rows.windows(2).all(|two| grid.end(&two[0]) <= two[1].base));
        for map in maps.iter().map(|map| map.coarsened(grid.cell)) {
            let shown = grid.rows.iter().flat_map(|row| grid.cells(row, &map)).map(|cell| &cell.mix);
            prop_assert_eq!(shown.chain([&grid.rest(&map).mix]).collect::<Mix>(), map.sum);
        }
    }
}

#[test]
fn segments_that_stand_out_are_told_apart() {
    let heap = five_segments();
    let map = Map::of(&heap);
    let room = GRANULARITY - TOP_FOOT;
    let standing: Vec<(Standing, bool)> =
        map.mappings.iter().map(|mapping| (mapping.standing, mapping.kept_for_good)).collect();
    let expected = [
        (Standing::Ordinary, false),
        (Standing::WhollyFree, false),
        (Standing::WhollyFree, true),
        (Standing::PinnedByLittle, false),
        (Standing::Ordinary, false),
    ];
    assert_eq!(standing, expected);
    let pinned = map.mappings[3];
    assert_eq!(
        (pinned.pinned_by, pinned.free_runs, pinned.largest_free),
        (Tally { count: 1, bytes: 96 }, 1, room - 96)
    );
    // Those with the most free bytes come first.
    let order: Vec<Addr> = map.remarkable().iter().map(|mapping| mapping.base).collect();
    assert_eq!(order, [0x10_0000, 0x20_0000, 0x30_0000]);
}

#[test]
fn many_stretches_leave_a_rest_of_the_smallest() {
    let direct = |at: u64| Direct { base: 0x10_0000_0000 + (at << 30), size: PAGE * (at + 1) };
    let heap = Heap { direct: (0..1000).map(direct).collect(), ..Heap::default() };
    let map = Map::of(&heap);
    let grid = Grid::of([&map].into_iter());
    let rest = grid.rest(&map);
    assert!(grid.rows.len() <= ROWS && grid.rows.len() >= ROWS / 2, "{}", grid.rows.len());
    let shown = 1000 - rest.mappings;
    assert_eq!(shown, ROWS as u64 * 3 / 4);
    assert_eq!(rest.mix.direct, (1..=1000 - shown).sum::<u64>() * PAGE);
}

#[test]
fn a_huge_heap_has_no_more_cells_than_a_sheet() {
    let direct = Direct { base: 1 << 40, size: 1 << 39 };
    let map = Map::of(&Heap { direct: vec![direct], ..Heap::default() });
    assert!(map.cells.len() as u64 <= ROWS as u64 * ROW_CELLS, "{}", map.cells.len());
    assert_eq!(map.sum.direct, 1 << 39);
}

#[test]
fn strange_heaps_are_mapped() {
    let mut heap = Heap::default();
    assert_eq!(Map::of(&heap).sum, Mix::default());
    assert_eq!(Grid::of([&Map::of(&heap)].into_iter()).rows, []);
    heap.segments = vec![Segment { base: u64::MAX - 10, size: 10, record: 0 }; 2];
    heap.chunks = vec![Chunk { addr: 0, size: 8, used: false }];
    heap.direct = vec![Direct { base: 8, size: u64::MAX }];
    let map = Map::of(&heap);
    let grid = Grid::of([&map].into_iter());
    assert!(grid.rows.len() <= ROWS && map.cells.len() < 100_000, "{} cells", map.cells.len());
}

#[test]
fn kinds_of_objects_sum_to_used_own_and_direct() {
    let mut heap = five_segments();
    heap.direct = vec![Direct { base: 1 << 40, size: 3 * GRANULARITY }];
    let blocks = heap.chunks.iter().filter(|chunk| chunk.used).count() + 1;
    let labels: Vec<Label> = (0..blocks).map(|at| Label { kind: ObjectKind::ALL[at % 17], garbage: false }).collect();
    let mut census = Census { labels, ..Census::default() };
    let map = Map::by_kind(&heap, &census).unwrap();
    let kinds = |mix: &Mix| mix.kinds.largest().iter().map(|(_, bytes)| bytes).sum::<u64>();
    let mixes = map.mappings.iter().map(|mapping| &mapping.mix).chain(map.cells.iter().map(|cell| &cell.mix));
    for mix in mixes.chain([&map.sum]) {
        assert_eq!(kinds(mix), mix.used + mix.own + mix.direct);
    }
    let last = map.mappings.last().unwrap();
    let kind = ObjectKind::ALL[(blocks - 1) % 17];
    assert_eq!(last.mix.kinds.largest(), [(kind, 3 * GRANULARITY)]);
    // Otherwise it is the same map.
    let plain = Map::of(&heap);
    assert_eq!(Mix { kinds: Kinds::default(), ..map.sum }, plain.sum);
    census.labels.pop();
    assert!(Map::by_kind(&heap, &census).is_err());
}
