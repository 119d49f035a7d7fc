//! The address space of a heap at a moment: what lies where, and what keeps it mapped.

pub mod grid;
mod kinds;
mod mapping;

use schemars::JsonSchema;
use serde::Serialize;
use shared::Addr;
use shared::heap::layout::{FENCEPOST, HEADER};
use shared::heap::{Chunk, Direct, Heap, Segment};
use shared::trace::census::{Census, ObjectKind};

use self::grid::Grid;
use super::breakdown::heap::within;

pub use kinds::{By, GROUPS, Group, Kinds};
pub use mapping::{Mapping, Purpose, Standing};

/// Bytes by what they are to the allocator. In JSON, kinds without a byte are left out.
///
/// Of a whole heap, `used + own` are the used chunks, `binned + dv + top` the free ones, and everything but `direct` is in
/// segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default)]
pub struct Mix {
    /// Chunks of blocks that are handed out.
    #[serde(rename = "used_bytes", skip_serializing_if = "is_zero")]
    pub used: u64,
    /// Free chunks in bins.
    #[serde(rename = "binned_bytes", skip_serializing_if = "is_zero")]
    pub binned: u64,
    /// The designated victim: the free chunk that small blocks are cut from.
    #[serde(rename = "dv_bytes", skip_serializing_if = "is_zero")]
    pub dv: u64,
    /// The free chunk at the end of the segment that grows.
    #[serde(rename = "top_bytes", skip_serializing_if = "is_zero")]
    pub top: u64,
    /// The allocator's own chunks: its state, segment records, fenceposts.
    #[serde(rename = "own_bytes", skip_serializing_if = "is_zero")]
    pub own: u64,
    /// What lies in segments outside of any chunk.
    #[serde(rename = "overhead_bytes", skip_serializing_if = "is_zero")]
    pub overhead: u64,
    /// Blocks mapped on their own.
    #[serde(rename = "direct_bytes", skip_serializing_if = "is_zero")]
    pub direct: u64,
    /// Used, direct and the allocator's own bytes by kind of object, if that was asked for.
    #[serde(skip_serializing_if = "Kinds::is_empty")]
    pub kinds: Kinds,
}

fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

/// What a byte is to the allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`Mix::used`]
    Used,
    /// [`Mix::binned`]
    Binned,
    /// [`Mix::dv`]
    Dv,
    /// [`Mix::top`]
    Top,
    /// [`Mix::own`]
    Own,
    /// [`Mix::overhead`]
    Overhead,
    /// [`Mix::direct`]
    Direct,
}

impl Mix {
    /// Free bytes.
    pub fn free(&self) -> u64 {
        self.binned.saturating_add(self.dv).saturating_add(self.top)
    }

    /// Bytes in segments.
    pub fn segments(&self) -> u64 {
        let own = self.own.saturating_add(self.overhead);
        self.used.saturating_add(self.free()).saturating_add(own)
    }

    /// All mapped bytes.
    pub fn mapped(&self) -> u64 {
        self.segments().saturating_add(self.direct)
    }

    /// Adds other bytes.
    pub fn add(&mut self, other: &Mix) {
        for kind in KINDS {
            self.count(kind, other.of(kind));
        }
        self.kinds.add(&other.kinds);
    }

    /// The bytes of a kind.
    pub fn of(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Used => self.used,
            Kind::Binned => self.binned,
            Kind::Dv => self.dv,
            Kind::Top => self.top,
            Kind::Own => self.own,
            Kind::Overhead => self.overhead,
            Kind::Direct => self.direct,
        }
    }

    /// Adds bytes of a kind.
    pub fn count(&mut self, kind: Kind, bytes: u64) {
        let sum = match kind {
            Kind::Used => &mut self.used,
            Kind::Binned => &mut self.binned,
            Kind::Dv => &mut self.dv,
            Kind::Top => &mut self.top,
            Kind::Own => &mut self.own,
            Kind::Overhead => &mut self.overhead,
            Kind::Direct => &mut self.direct,
        };
        *sum = sum.saturating_add(bytes);
    }
}

/// All kinds.
pub const KINDS: [Kind; 7] = [Kind::Used, Kind::Own, Kind::Overhead, Kind::Direct, Kind::Binned, Kind::Dv, Kind::Top];

impl<'a> FromIterator<&'a Mix> for Mix {
    fn from_iter<T: IntoIterator<Item = &'a Mix>>(mixes: T) -> Self {
        let mut sum = Mix::default();
        mixes.into_iter().for_each(|mix| sum.add(mix));
        sum
    }
}

/// What lies in a cell: a stretch of addresses of the map's [`Map::cell`] bytes that starts at a multiple of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Its first address.
    pub base: Addr,
    /// The mapped bytes in it.
    pub mix: Mix,
}

/// A heap's address space. Its size does not depend on the number of chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// Bytes of a cell, a power of two.
    pub cell: u64,
    /// Every cell with a mapped byte, ascending by address.
    pub cells: Vec<Cell>,
    /// Every segment and direct block, ascending by address.
    pub mappings: Vec<Mapping>,
    /// All bytes: the sum of the cells, and of the mappings.
    pub sum: Mix,
}

impl Map {
    /// The map of a heap, in cells as fine as a sheet has room for.
    pub fn of(heap: &Heap) -> Map {
        Map::in_cells(heap, Grid::over(&ranges(heap), grid::ROWS, grid::LEAST_CELL).cell)
    }

    /// The same with bytes by kind of object.
    ///
    /// # Errors
    /// If the census is of another heap.
    pub fn by_kind(heap: &Heap, census: &Census) -> Result<Map, String> {
        let used = heap.chunks.iter().filter(|chunk| chunk.used).map(|chunk| chunk.addr);
        let blocks: Vec<Addr> = used.chain(heap.direct.iter().map(|direct| direct.base)).collect();
        if blocks.len() != census.labels.len() {
            return Err(format!("a census has {} labels for {} blocks", census.labels.len(), blocks.len()));
        }
        let mut objects: Objects = blocks.into_iter().zip(census.labels.iter().map(|label| label.kind)).collect();
        objects.sort_unstable();
        Ok(Map::made(heap, Grid::over(&ranges(heap), grid::ROWS, grid::LEAST_CELL).cell, &objects))
    }

    /// The map of a heap in cells of so many bytes, a power of two.
    pub fn in_cells(heap: &Heap, cell: u64) -> Map {
        Map::made(heap, cell, &Vec::new())
    }

    fn made(heap: &Heap, cell: u64, objects: &Objects) -> Map {
        let object = |addr| Some(objects[objects.binary_search_by_key(&addr, |(block, _)| *block).ok()?].1);
        let mut cells = Cells { cell, cells: Vec::new() };
        let first = heap.segments.first();
        let mut mapped: Vec<Mapped> = heap.segments.iter().map(Mapped::Segment).collect();
        mapped.extend(heap.direct.iter().map(Mapped::Direct));
        mapped.sort_by_key(Mapped::base);
        let mapping = |mapped: &Mapped| match mapped {
            Mapped::Segment(segment) => {
                let mut mapping = Mapping::segment(heap, segment, first == Some(*segment));
                pieces(heap, segment, |addr, size, kind| {
                    let object = object(addr);
                    mapping.count(size, kind, object);
                    cells.count(addr, size, kind, object);
                });
                mapping.judge(&heap.chunks, segment);
                mapping
            }
            Mapped::Direct(direct) => {
                let object = object(direct.base);
                cells.count(direct.base, direct.size, Kind::Direct, object);
                Mapping::direct(direct, object)
            }
        };
        let mappings: Vec<Mapping> = mapped.iter().map(mapping).collect();
        let sum = mappings.iter().map(|mapping| &mapping.mix).collect();
        Map { cell, cells: cells.cells, mappings, sum }
    }

    /// The same in cells that are as large or larger.
    pub fn coarsened(&self, cell: u64) -> Map {
        let cell = cell.max(self.cell);
        let mut cells: Vec<Cell> = Vec::new();
        for Cell { base, mix } in &self.cells {
            let base = base & !(cell - 1);
            match cells.last_mut().filter(|last| last.base == base) {
                Some(last) => last.mix.add(mix),
                None => cells.push(Cell { base, mix: *mix }),
            }
        }
        Map { cell, cells, ..self.clone() }
    }

    /// The cells in a range of addresses.
    pub fn cells_in(&self, from: Addr, to: Addr) -> &[Cell] {
        let before = |addr: Addr| self.cells.partition_point(|cell| cell.base < addr);
        self.cells.get(before(from)..before(to)).unwrap_or_default()
    }

    /// Segments that stand out: wholly free, or pinned by little; those with the most free bytes first.
    pub fn remarkable(&self) -> Vec<&Mapping> {
        let mut found: Vec<&Mapping> =
            self.mappings.iter().filter(|mapping| mapping.standing != Standing::Ordinary).collect();
        found.sort_by_key(|mapping| (std::cmp::Reverse(mapping.mix.free()), mapping.base));
        found
    }
}

/// Addresses of chunks in use and direct blocks, ascending, and what they are.
type Objects = Vec<(Addr, ObjectKind)>;

/// Where a heap lies.
fn ranges(heap: &Heap) -> Vec<(Addr, u64)> {
    let ranges = heap.segments.iter().map(|segment| (segment.base, segment.size));
    ranges.chain(heap.direct.iter().map(|direct| (direct.base, direct.size))).collect()
}

/// What is mapped.
enum Mapped<'a> {
    Segment(&'a Segment),
    Direct(&'a Direct),
}

impl Mapped<'_> {
    fn base(&self) -> Addr {
        match self {
            Mapped::Segment(segment) => segment.base,
            Mapped::Direct(direct) => direct.base,
        }
    }
}

/// Tells each piece of a segment: its chunks, and what lies outside of them.
fn pieces(heap: &Heap, segment: &Segment, mut tell: impl FnMut(Addr, u64, Kind)) {
    let Segment { base, size, .. } = *segment;
    let end = base.saturating_add(size);
    let mut reached = base;
    for chunk in within(&heap.chunks, segment) {
        let next = chunk.addr.saturating_add(chunk.size).min(end);
        if chunk.addr > reached {
            tell(reached, chunk.addr - reached, Kind::Overhead);
        }
        reached = reached.max(chunk.addr);
        if next > reached {
            tell(reached, next - reached, kind(heap, segment, chunk));
            reached = next;
        }
    }
    if end > reached {
        tell(reached, end - reached, Kind::Overhead);
    }
}

/// What a chunk of a segment is to the allocator.
fn kind(heap: &Heap, segment: &Segment, chunk: &Chunk) -> Kind {
    let of_block = |header: Addr| header.wrapping_sub(HEADER) == chunk.addr;
    match chunk.used {
        true if chunk.size == FENCEPOST || of_block(heap.mstate) || of_block(segment.record) => Kind::Own,
        true => Kind::Used,
        false if chunk.addr == heap.top => Kind::Top,
        false if chunk.addr == heap.dv => Kind::Dv,
        false => Kind::Binned,
    }
}

/// Cells being filled, at ascending addresses.
struct Cells {
    cell: u64,
    cells: Vec<Cell>,
}

impl Cells {
    fn count(&mut self, addr: Addr, size: u64, kind: Kind, object: Option<ObjectKind>) {
        let (mut addr, mut left) = (addr, size);
        while left > 0 {
            let base = addr & !(self.cell - 1);
            let here = left.min(self.cell - (addr - base));
            if self.cells.last().is_none_or(|last| last.base != base) {
                self.cells.push(Cell { base, mix: Mix::default() });
            }
            if let Some(last) = self.cells.last_mut() {
                last.mix.count(kind, here);
                object.into_iter().for_each(|object| last.mix.kinds.count(object, here));
            }
            left -= here;
            addr = addr.wrapping_add(here);
        }
    }
}

#[cfg(test)]
mod tests;
