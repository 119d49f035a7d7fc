//! How outputs say things of maps.

use super::TOLD;
use crate::metrics::map::grid::{Grid, Rest, Row};
use shared::trace::census::ObjectKind;

use crate::metrics::map::{Kinds, Map, Mapping, Mix, Purpose, Standing};
use crate::output::words::{bytes, count, share, thousands, time};
use crate::report::{Asked, VmMaps, Without};

/// `0x7f3a5c000000`
pub fn address(row: &Row) -> String {
    format!("{:#014x}", row.base)
}

/// `a row is 1.3 MiB of addresses, in 320 cells of 4.0 KiB`
pub fn scale(grid: &Grid) -> String {
    let cells = crate::metrics::map::grid::ROW_CELLS;
    format!("a full row is {} of addresses, in {cells} cells of {}", bytes(grid.row_bytes()), bytes(grid.cell))
}

/// `used 900 + own 80 + binned 10 + dv 0 + top 10 + overhead 64 = segments 1,064 in 1; direct 0`
pub fn sums(map: &Map) -> String {
    let Mix { used, own, binned, dv, top, overhead, direct, .. } = map.sum;
    let [used, own, binned, dv, top, overhead, direct] = [used, own, binned, dv, top, overhead, direct].map(thousands);
    let of = |purpose| map.mappings.iter().filter(|mapping| mapping.purpose == purpose).count() as u64;
    let blocks = match of(Purpose::Direct) {
        0 => String::new(),
        blocks => format!(" in {}", count(blocks, "block")),
    };
    format!(
        "used {used} + own {own} + binned {binned} + dv {dv} + top {top} + overhead {overhead} = {} in {}; direct \
         {direct}{blocks}",
        thousands(map.sum.segments()),
        count(of(Purpose::Segment), "segment"),
    )
}

/// What the blocks are, the largest kinds first: `string 1.2 MiB (40.0 %), table hash 800.0 KiB (26.7 %)`.
pub fn kinds(kinds: &Kinds) -> String {
    let found = kinds.largest();
    let all = found.iter().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
    let kinds = found.iter().map(|(kind, of_it)| format!("{} {} ({})", kind.name(), bytes(*of_it), share(*of_it, all)));
    format!("blocks by kind: {}", kinds.collect::<Vec<_>>().join(", "))
}

/// What lies in mappings that have no row; nothing if all have.
pub fn rest(rest: &Rest) -> Option<String> {
    let Mix { used, own, direct, .. } = rest.mix;
    (rest.mappings > 0).then(|| {
        format!(
            "and {} more, of {} in all: {} used, {} free, {} direct, {} the allocator's own",
            count(rest.mappings, "mapping"),
            bytes(rest.mix.mapped()),
            bytes(used),
            bytes(rest.mix.free()),
            bytes(direct),
            bytes(own.saturating_add(rest.mix.overhead)),
        )
    })
}

/// What keeps a segment that stands out: `nothing`, `96 B in 1 block`; with the kind of most of it, `96 B in 1 block: string`.
pub fn pinned_by(mapping: &Mapping) -> String {
    if mapping.standing == Standing::WhollyFree {
        return if mapping.kept_for_good { "nothing, but kept".to_owned() } else { "nothing".to_owned() };
    }
    let blocks = format!("{} in {}", bytes(mapping.pinned_by.bytes), count(mapping.pinned_by.count, "block"));
    let kinds = mapping.mix.kinds.largest();
    let most = kinds.iter().find(|(kind, _)| *kind != ObjectKind::Allocator);
    most.map_or(blocks.clone(), |(kind, _)| format!("{blocks}: {}", kind.name()))
}

/// A segment that stands out, in a line.
pub fn remark(mapping: &Mapping) -> String {
    let Mapping { base, size, free_runs, largest_free, .. } = *mapping;
    let free = mapping.mix.free();
    let runs = match free_runs {
        0 | 1 => String::new(),
        runs => format!(" in {} runs, the largest {}", thousands(runs), bytes(largest_free)),
    };
    let state = if mapping.mstate { " and the allocator's state" } else { "" };
    let standing = match mapping.standing {
        Standing::WhollyFree if mapping.kept_for_good => "wholly free, of the shape that older builds keep".to_owned(),
        Standing::WhollyFree => "wholly free".to_owned(),
        _ => format!("pinned by {}{state}", pinned_by(mapping)),
    };
    format!("{base:#014x}: {}, {standing}; {} ({}) free{runs}", bytes(size), bytes(free), share(free, size))
}

/// Segments that stand out, in sum: `3 segments of 384.0 KiB are wholly free; …`
pub fn remarkable(map: &Map) -> String {
    let sum = |standing: Standing| {
        let ours = map.mappings.iter().filter(move |mapping| mapping.standing == standing);
        ours.fold((0, 0, 0), |(count, size, used), mapping| {
            (count + 1, size + mapping.size, used + mapping.pinned_by.bytes)
        })
    };
    let mut parts = Vec::new();
    let (segments, size, _) = sum(Standing::WhollyFree);
    if segments > 0 {
        let are = if segments == 1 { "is" } else { "are" };
        parts.push(format!("{}, {}, {are} wholly free", count(segments, "segment"), bytes(size)));
    }
    let (segments, size, used) = sum(Standing::PinnedByLittle);
    if segments > 0 {
        let are = if segments == 1 { "is" } else { "are" };
        let segments = count(segments, "segment");
        parts.push(format!("{segments}, {}, {are} pinned by no more than {} of blocks", bytes(size), bytes(used)));
    }
    if parts.is_empty() { "no segment is wholly free or pinned by little".to_owned() } else { parts.join("; ") }
}

/// How many segments that stand out are told of each map of a VM.
pub fn told(vm: &VmMaps) -> usize {
    (TOLD / vm.maps.len().max(1)).max(2)
}

/// A moment without a map of its own.
pub fn without(Without { asked, why }: &Without) -> String {
    let asked = match asked {
        Asked::Default | Asked::End => "the end".to_owned(),
        Asked::Peak => "the peak".to_owned(),
        Asked::At(at) => time(*at),
    };
    format!("no map of {asked}: {why}")
}
