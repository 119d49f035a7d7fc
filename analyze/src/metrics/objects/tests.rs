use super::*;
use shared::heap::{Chunk, Direct};
use shared::trace::census::{Label, TableFill};
use shared::trace::names::ProtoPlace;

/// A heap of such blocks, and what they are.
fn made(chunks: &[(u64, ObjectKind)], direct: &[(u64, ObjectKind)]) -> (Heap, Census) {
    let mut addr = 4096;
    let mut heap = Heap::default();
    for (size, _) in chunks {
        heap.chunks.push(Chunk { addr, size: *size, used: true });
        heap.chunks.push(Chunk { addr: addr + size, size: 32, used: false });
        addr += size + 32;
    }
    heap.direct = direct.iter().map(|(size, _)| Direct { base: 1 << 40, size: *size }).collect();
    let labels = chunks.iter().chain(direct).map(|(_, kind)| Label { kind: *kind, garbage: false }).collect();
    (heap, Census { labels, ..Census::default() })
}

#[test]
fn kinds_sum_to_all_and_garbage_is_apart() {
    let (heap, mut census) = made(
        &[(40, ObjectKind::String), (48, ObjectKind::String), (8, ObjectKind::Allocator), (64, ObjectKind::Unknown)],
        &[(135_168, ObjectKind::String)],
    );
    census.labels[1].garbage = true;
    census.strings = vec![10, 20, 131_072];
    let objects = Objects::of(&heap, &census, None).unwrap();
    assert_eq!(objects.all, Tally { count: 5, bytes: 135_328 });
    assert_eq!(objects.kinds.iter().map(|kind| kind.all.bytes).sum::<u64>(), objects.all.bytes);
    assert_eq!(objects.unknown, Tally { count: 1, bytes: 64 });
    assert_eq!(objects.garbage, Tally { count: 1, bytes: 48 });
    assert_eq!(objects.direct, Tally { count: 1, bytes: 135_168 });
    let strings = objects.kind(ObjectKind::String).unwrap();
    assert_eq!((strings.kind, strings.all.count), ("string", 3));
    let small = strings.classes[0];
    assert_eq!((small.size_from, small.all, small.garbage.bytes), (32, Tally { count: 2, bytes: 88 }, 48));
    assert_eq!(objects.longest_strings, [131_072, 20, 10]);
    assert_eq!(objects.strings.text_bytes + objects.strings.overhead_bytes, strings.all.bytes);
}

#[test]
fn slots_that_hold_nothing_are_counted() {
    let (heap, mut census) = made(&[(152, ObjectKind::Table), (72, ObjectKind::Table), (72, ObjectKind::Table)], &[]);
    census.tables = vec![
        // Grown out of its header.
        TableFill { inside: 10, array: 100, array_used: Some(90), apart: true, ..TableFill::default() },
        // Shrunk inside of it.
        TableFill { inside: 10, array: 4, array_used: Some(3), hash: 8, hash_used: Some(5), ..TableFill::default() },
        TableFill { array: 50_000, array_used: None, apart: true, ..TableFill::default() },
    ];
    let objects = Objects::of(&heap, &census, None).unwrap();
    let Tables { array, hash } = objects.tables;
    let expected = Slots { slots: 110 + 10 + 50_000, used: 93, not_looked_at: 50_000, unused_bytes: (20 + 7) * 8 };
    assert_eq!(array, expected);
    assert_eq!(hash, Slots { slots: 8, used: 5, not_looked_at: 0, unused_bytes: 3 * 24 });
    let bytes: Vec<u64> = objects.largest_tables.iter().map(|large| large.bytes).collect();
    assert_eq!(bytes, [72 + 400_000, 152 + 800, 72 + 192]);
}

#[test]
fn growth_is_by_kind_and_may_be_negative() {
    let (heap, census) = made(&[(40, ObjectKind::Function), (64, ObjectKind::Upvalue)], &[]);
    let before = Objects::of(&heap, &census, None).unwrap();
    let (heap, census) = made(&[(40, ObjectKind::Function), (56, ObjectKind::Function)], &[]);
    let after = Objects::of(&heap, &census, None).unwrap();
    let growth = Growth::between((1, &before), (2, &after));
    let changes: Vec<_> = growth.kinds.iter().map(|kind| (kind.kind, kind.count, kind.bytes)).collect();
    assert_eq!(changes, [("function", 1, 56), ("upvalue", -1, -64)]);
}

#[test]
fn a_census_of_another_heap_is_refused() {
    let (heap, mut census) = made(&[(40, ObjectKind::Function)], &[]);
    census.labels.push(Label::default());
    assert!(Objects::of(&heap, &census, None).is_err_and(|why| why.contains("2 labels for 1 blocks")));
}

#[test]
fn functions_and_protos_are_counted_by_place() {
    let (function, proto) = (ObjectKind::Function, ObjectKind::Proto);
    let blocks = [(40, function), (200, proto), (48, function), (300, proto), (40, function), (32, ObjectKind::String)];
    let (heap, mut census) = made(&blocks, &[(140_000, proto)]);
    census.labels[2].garbage = true;
    census.strings = vec![7];
    census.protos = vec![3, 4, 5];
    let place = |chunk, first_line| Some(ProtoPlace { chunk, first_line });
    let names = Names {
        chunks: vec!["@/lua/a.lua".to_owned(), "=(string)".to_owned()],
        protos: vec![place(0, 12), place(1, 0), place(0, 12)],
        // Of the first proto, of the third, which has the same place, and one in C.
        functions: vec![Some(0), Some(2), None],
    };
    let objects = Objects::of(&heap, &census, Some(&names)).unwrap();
    let places = objects.places.as_ref().unwrap();
    let names_of: Vec<_> = places.iter().map(Place::name).collect();
    assert_eq!(names_of, [Some("/lua/a.lua:12".to_owned()), Some("(string)".to_owned()), None]);
    let (first, tally) = (&places[0], |count, bytes| Tally { count, bytes });
    assert_eq!((first.functions.all, first.functions.garbage), (tally(2, 88), tally(1, 48)));
    assert_eq!((first.protos.all, first.protos.garbage), (tally(2, 140_200), tally(0, 0)));
    assert_eq!((places[1].functions.all, places[1].protos.all), (tally(0, 0), tally(1, 300)));
    assert_eq!((places[2].functions.all, places[2].protos.all), (tally(1, 40), tally(0, 0)));
    // The places sum to the kinds.
    for (kind, made) in [(function, (|place| &place.functions) as fn(&Place) -> &Made), (proto, |place| &place.protos)]
    {
        let sum: u64 = places.iter().flat_map(|place| &made(place).classes).map(|class| class.all.bytes).sum();
        assert_eq!(Some(sum), objects.kind(kind).map(|kind| kind.all.bytes));
    }

    let of_another = Names { functions: vec![None], ..names };
    assert!(Objects::of(&heap, &census, Some(&of_another)).is_err_and(|why| why.contains("names of 1 functions")));
}
