//! Maps as JSON: one object, the verdict first.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;
use shared::{Addr, Nanos};

use crate::metrics::map::grid::{Grid, Row};
use crate::metrics::map::{Cell, Map, Mapping, Mix};
use crate::output::Output;
use crate::output::json::{self, Head, MomentFacts, VmFacts};
use crate::report::{MapReport, Moment, VmMaps, Without};

/// The address space of heaps.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Document<'a> {
    /// What every document begins with.
    #[serde(flatten)]
    head: Head,
    /// The VMs asked for.
    vms: Vec<MapsFacts<'a>>,
}

/// A VM's maps.
#[derive(Debug, Serialize, JsonSchema)]
struct MapsFacts<'a> {
    /// The VM.
    vm: VmFacts,
    /// Bytes of a cell, a power of two.
    cell_bytes: u64,
    /// The maps, in the order they were asked for. All have the same rows.
    maps: Vec<MapFacts<'a>>,
    /// Moments that have no map of their own.
    without: Vec<WithoutFacts<'a>>,
}

/// A heap's address space at a moment. The bytes of the mappings sum to `sum`, and so do those of the cells and of `rest`.
#[derive(Debug, Serialize, JsonSchema)]
struct MapFacts<'a> {
    /// The moment.
    moment: MomentFacts,
    /// All bytes of segments.
    segment_bytes: u64,
    /// All free bytes: in bins, the designated victim and top.
    free_bytes: u64,
    /// All mapped bytes by what they are.
    sum: Mix,
    /// Every segment and direct block, ascending by address.
    mappings: &'a [Mapping],
    /// Stretches of addresses.
    rows: Vec<RowFacts>,
    /// What has no row: if there are many stretches, the smallest.
    rest: RestFacts,
}

/// A stretch of addresses.
#[derive(Debug, Serialize, JsonSchema)]
struct RowFacts {
    /// Its first address.
    base: Addr,
    /// Its bytes, mapped or not.
    bytes: u64,
    /// It goes on from the row before.
    goes_on: bool,
    /// The cells with a mapped byte, equal ones side by side together.
    cells: Vec<CellFacts>,
}

/// A stretch of `cell_bytes` addresses, or some of them side by side that have the same in them.
#[derive(Debug, Serialize, JsonSchema)]
struct CellFacts {
    /// The first address.
    base: Addr,
    /// How many cells: each has its part of the bytes.
    cells: u64,
    /// What of all of them is mapped.
    #[serde(flatten)]
    mix: Mix,
}

/// What has no row.
#[derive(Debug, Serialize, JsonSchema)]
struct RestFacts {
    /// Segments and direct blocks.
    mappings: u64,
    /// Their bytes.
    #[serde(flatten)]
    mix: Mix,
}

/// A moment without a map of its own.
#[derive(Debug, Serialize, JsonSchema)]
struct WithoutFacts<'a> {
    /// What was asked for: `default`, `end`, `peak` or `at`.
    asked: &'a str,
    /// With `at`, the time asked for.
    asked_time_ns: Option<Nanos>,
    /// Why there is none.
    why: &'a str,
}

/// Writes the document.
pub(super) fn write(report: &MapReport, out: &mut dyn Write) -> io::Result<()> {
    let vms = report.vms.iter().map(|vm| facts(report, vm)).collect();
    json::document(&Document { head: Head::of(report.origin()), vms }, out)
}

fn facts<'a>(report: &MapReport, vm: &'a VmMaps) -> MapsFacts<'a> {
    MapsFacts {
        vm: VmFacts::of(vm.number, &vm.vm, &report.processes),
        cell_bytes: vm.grid.cell,
        maps: vm.maps.iter().map(|map| map_facts(&vm.grid, map)).collect(),
        without: vm.without.iter().map(without).collect(),
    }
}

fn map_facts<'a>(grid: &Grid, (moment, map): &'a (Moment, Map)) -> MapFacts<'a> {
    let equal = |a: &Cell, b: &Cell| a.mix == b.mix && a.base + grid.cell == b.base;
    let facts = |cells: &[Cell]| CellFacts {
        base: cells.first().map_or(0, |first| first.base),
        cells: cells.len() as u64,
        mix: cells.iter().map(|cell| &cell.mix).collect(),
    };
    let row = |row: &Row| RowFacts {
        base: row.base,
        bytes: row.cells * grid.cell,
        goes_on: row.goes_on,
        cells: grid.cells(row, map).chunk_by(equal).map(facts).collect(),
    };
    let rest = grid.rest(map);
    MapFacts {
        moment: MomentFacts::of(moment),
        segment_bytes: map.sum.segments(),
        free_bytes: map.sum.free(),
        sum: map.sum,
        mappings: &map.mappings,
        rows: grid.rows.iter().map(row).collect(),
        rest: RestFacts { mappings: rest.mappings, mix: rest.mix },
    }
}

fn without(Without { asked, why }: &Without) -> WithoutFacts<'_> {
    let (asked, asked_time_ns) = json::asked(*asked);
    WithoutFacts { asked, asked_time_ns, why }
}
