//! How maps are laid out: rows of cells, the same for all moments of a sheet, so that a row is the same addresses in each.

use shared::Addr;

use super::{Cell, Map, Mix};

/// The most rows of a sheet.
pub const ROWS: usize = 48;
/// The most cells of a row.
pub const ROW_CELLS: u64 = 320;
/// The least bytes of a cell: some chunks.
pub const LEAST_CELL: u64 = 512;
/// The least rows that a map has room for, however many share a sheet.
const LEAST_ROWS: usize = 6;

/// A stretch of addresses that is drawn as one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its first address, a multiple of a cell.
    pub base: Addr,
    /// Its cells, at most [`ROW_CELLS`].
    pub cells: u64,
    /// It goes on from the row before.
    pub goes_on: bool,
}

/// The rows of a sheet. Where a stretch of addresses without a hole (of a cell or more) is longer than a row, it goes on
/// in the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grid {
    /// Bytes of a cell, a power of two.
    pub cell: u64,
    /// The rows, ascending by address.
    pub rows: Vec<Row>,
}

/// What a map has outside of the rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rest {
    /// Segments and direct blocks.
    pub mappings: u64,
    /// Their bytes.
    pub mix: Mix,
}

impl Grid {
    /// Rows for maps that share a sheet.
    pub fn of<'a>(maps: impl Iterator<Item = &'a Map> + Clone) -> Grid {
        let rows = ROWS.div_ceil(maps.clone().count().max(1)).max(LEAST_ROWS);
        // Cells cannot be cut.
        let least = maps.clone().map(|map| map.cell).max().unwrap_or(LEAST_CELL);
        let ranges: Vec<(Addr, u64)> =
            maps.flat_map(|map| &map.mappings).map(|mapping| (mapping.base, mapping.size)).collect();
        Grid::over(&ranges, rows, least)
    }

    /// At most so many rows over ranges of addresses, which may overlap, in cells as small as that allows. Of more
    /// stretches than fit, the largest ones have rows.
    pub(super) fn over(ranges: &[(Addr, u64)], rows: usize, least_cell: u64) -> Grid {
        let mut sorted = ranges.to_vec();
        sorted.sort_unstable();
        let mut cell = least_cell;
        loop {
            let mut stretches = stretches(&sorted, cell);
            // Some rows are left for long ones to go on in.
            let shown = (rows * 3 / 4).max(1);
            if stretches.len() > shown {
                stretches.sort_by_key(|(base, cells)| (std::cmp::Reverse(*cells), *base));
                stretches.truncate(shown);
                stretches.sort_unstable();
            }
            let needed: u64 = stretches.iter().map(|(_, cells)| cells.div_ceil(ROW_CELLS)).sum();
            if needed <= rows as u64 || cell > u64::MAX / 2 {
                let rows = stretches.into_iter().flat_map(|(base, cells)| cut(base, cells, cell)).collect();
                return Grid { cell, rows };
            }
            cell *= 2;
        }
    }

    /// Bytes of a full row.
    pub fn row_bytes(&self) -> u64 {
        self.cell.saturating_mul(ROW_CELLS)
    }

    /// The cells of a map in a row. The map has this grid's cells.
    pub fn cells<'a>(&self, row: &Row, map: &'a Map) -> &'a [Cell] {
        map.cells_in(row.base, self.end(row))
    }

    /// The first address behind a row.
    pub fn end(&self, row: &Row) -> Addr {
        row.base.saturating_add(row.cells.saturating_mul(self.cell))
    }

    /// What a map has outside of the rows.
    pub fn rest(&self, map: &Map) -> Rest {
        let mut rest = Rest::default();
        for mapping in &map.mappings {
            let before = self.rows.partition_point(|row| row.base <= mapping.base);
            let shown = before.checked_sub(1).is_some_and(|at| mapping.base < self.end(&self.rows[at]));
            if !shown {
                rest.mappings += 1;
                rest.mix.add(&mapping.mix);
            }
        }
        rest
    }
}

/// Where sorted ranges lie: first addresses and numbers of cells, with a hole of at least a cell between two.
fn stretches(sorted: &[(Addr, u64)], cell: u64) -> Vec<(Addr, u64)> {
    let mut stretches: Vec<(Addr, u64)> = Vec::new();
    for (base, size) in sorted {
        let first = base / cell;
        let end = base.saturating_add(*size).div_ceil(cell).max(first + 1);
        match stretches.last_mut() {
            Some((from, cells)) if first <= *from / cell + *cells => *cells = (*cells).max(end - *from / cell),
            _ => stretches.push((first * cell, end - first)),
        }
    }
    stretches
}

/// A stretch as rows.
fn cut(base: Addr, cells: u64, cell: u64) -> impl Iterator<Item = Row> {
    (0..cells.div_ceil(ROW_CELLS)).map(move |number| Row {
        base: base.saturating_add((number * ROW_CELLS).saturating_mul(cell)),
        cells: (cells - number * ROW_CELLS).min(ROW_CELLS),
        goes_on: number > 0,
    })
}
