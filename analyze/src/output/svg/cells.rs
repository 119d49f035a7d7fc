//! The address space as rows of cells: in each cell what lies in it, one kind upon the other; below it, where segments begin
//! and end.

use anyhow::Result;
use plotters::prelude::{Color, PathElement, Polygon, RGBColor, Rectangle};
use plotters::style::text_anchor::HPos;

use super::palette::{self, AXIS, DV, FAINT, GRID, INK, OWN, PINNED, TOP, UNTOUCHED, WHOLLY_FREE};
use super::scale::{self, Unit};
use super::{Area, MARGIN, WIDTH};
use crate::metrics::map::grid::{Grid, ROW_CELLS, Row};
use crate::metrics::map::{By, Cell, GROUPS, Map, Mix, Standing};
use crate::output::map::words as map_words;
use crate::output::words;

/// Pixels of a cell, and in front of the first one, where addresses stand.
const CELL: i32 = 2;
const ADDRESS: i32 = 116;
/// Pixels of a row: the cells, the marks below them, and all of it.
const CELLS: i32 = 13;
const MARK: i32 = 3;
const ROW: i32 = 20;
/// Pixels for the names of columns, and for the labels of the axis.
const ABOVE: i32 = 22;
const X_LABELS: i32 = 24;
/// The smallest text.
const SMALL: f64 = 12.0;

/// What lies in cells, from the lowest layer to the highest: its colour, its name, and its bytes in a cell.
pub(super) struct Layer {
    pub(super) colour: RGBColor,
    pub(super) name: &'static str,
    of: Box<dyn Fn(&Mix) -> u64>,
}

/// The layers of a map.
pub(super) fn layers(by: By) -> Vec<Layer> {
    let layer = |colour, name, of: fn(&Mix) -> u64| Layer { colour, name, of: Box::new(of) };
    let own = layer(OWN, "the allocator's own", |mix| mix.own + mix.overhead);
    match by {
        By::Allocator => vec![
            layer(palette::of("used"), "used", |mix| mix.used),
            own,
            layer(palette::of("direct"), "direct block", |mix| mix.direct),
            layer(palette::of("free"), "free, in bins", |mix| mix.binned),
            layer(DV, "free: dv", |mix| mix.dv),
            layer(TOP, "free: top", |mix| mix.top),
        ],
        By::Kind => {
            let groups = GROUPS.iter().zip(palette::GROUPS);
            let groups = groups.map(|(group, colour)| Layer {
                colour,
                name: group.name,
                of: Box::new(|mix| group.of(&mix.kinds)),
            });
            groups.chain([own, layer(UNTOUCHED, "free", Mix::free)]).collect()
        }
    }
}

/// A map.
pub(super) struct Cells {
    cell: u64,
    layers: Vec<Layer>,
    rows: Vec<Line>,
}

/// A row.
struct Line {
    address: String,
    goes_on: bool,
    /// How many cells it has.
    length: i32,
    /// The share that is used.
    used: String,
    /// The cells with a mapped byte: their places, and their layers' heights in pixels.
    cells: Vec<(i32, Vec<i32>)>,
    /// Where segments and direct blocks lie, in pixels.
    marks: Vec<(i32, i32, Standing)>,
}

impl Cells {
    /// A map in the rows of a sheet.
    pub(super) fn of(by: By, grid: &Grid, map: &Map) -> Cells {
        let layers = layers(by);
        let rows = grid.rows.iter().map(|row| Line::of(&layers, grid, row, map)).collect();
        Cells { cell: grid.cell, layers, rows }
    }

    /// Pixels from top to bottom.
    pub(super) fn height(&self) -> u32 {
        (ABOVE + self.rows.len() as i32 * ROW + X_LABELS) as u32
    }

    /// Draws on an area of that height.
    pub(super) fn draw(&self, area: &Area) -> Result<()> {
        let (left, right) = (MARGIN as i32, (WIDTH - MARGIN) as i32);
        let letters = |colour, at| palette::letters(SMALL, colour, at);
        area.draw_text("address", &letters(FAINT, HPos::Left), (left, 8))?;
        area.draw_text("used", &letters(FAINT, HPos::Right), (right, 8))?;
        for (at, line) in self.rows.iter().enumerate() {
            let top = ABOVE + at as i32 * ROW;
            let middle = top + CELLS / 2;
            let colour = if line.goes_on { FAINT } else { INK };
            area.draw_text(&line.address, &letters(colour, HPos::Left), (left, middle))?;
            area.draw_text(&line.used, &letters(INK, HPos::Right), (right, middle))?;
            line.draw(&self.layers, area, top + CELLS)?;
        }
        self.axis(area, ABOVE + self.rows.len() as i32 * ROW)
    }

    /// How far cells are from the start of their row.
    fn axis(&self, area: &Area, top: i32) -> Result<()> {
        let whole = self.cell.saturating_mul(ROW_CELLS);
        let (from, to) = (place(0), place(ROW_CELLS as i32));
        area.draw(&PathElement::new([(from, top), (to, top)], AXIS))?;
        for tick in scale::ticks(Unit::Bytes, whole) {
            let x = from + (tick / whole as f64 * f64::from(to - from)).round() as i32;
            area.draw(&PathElement::new([(x, top), (x, top + 4)], AXIS))?;
            let label = match tick {
                0.0 => "+ 0".to_owned(),
                _ => format!("+ {}", scale::tick_label(Unit::Bytes, tick, whole)),
            };
            area.draw_text(&label, &palette::letters(SMALL, FAINT, HPos::Center), (x, top + 13))?;
        }
        Ok(())
    }
}

impl Line {
    fn of(layers: &[Layer], grid: &Grid, row: &Row, map: &Map) -> Line {
        let cells = grid.cells(row, map);
        let index = |addr: u64| ((addr - row.base) / grid.cell) as i32;
        let sum: Mix = cells.iter().map(|cell| &cell.mix).collect();
        let end = grid.end(row);
        let pixel = |addr: u64| place(0) + ((addr - row.base) as f64 / grid.cell as f64 * f64::from(CELL)) as i32;
        let inside = map.mappings.iter().filter(|mapping| mapping.base < end && mapping.end() > row.base);
        let marks = inside.map(|mapping| {
            let (from, to) = (pixel(mapping.base.max(row.base)), pixel(mapping.end().min(end)));
            // Neighbours do not touch.
            (from, if mapping.end() <= end { (to - 2).max(from) } else { to - 1 }, mapping.standing)
        });
        Line {
            address: map_words::address(row),
            goes_on: row.goes_on,
            length: row.cells as i32,
            used: words::share(sum.used + sum.direct, sum.mapped()),
            cells: cells.iter().map(|Cell { base, mix }| (index(*base), heights(layers, mix, grid.cell))).collect(),
            marks: marks.collect(),
        }
    }

    /// Draws the cells on a line, and the marks below it.
    fn draw(&self, layers: &[Layer], area: &Area, bottom: i32) -> Result<()> {
        area.draw(&PathElement::new([(place(0), bottom), (place(self.length) - 1, bottom)], GRID))?;
        // Each one from the line up, the highest first: what covers it has the edge between them.
        for (layer, Layer { colour, .. }) in layers.iter().enumerate().rev() {
            for run in
                self.cells.chunk_by(|(a, below), (b, above)| a + 1 == *b && (below[layer] > 0) == (above[layer] > 0))
            {
                if run[0].1[layer] > 0 {
                    area.draw(&Polygon::new(outline(run, layer, bottom), colour.filled()))?;
                }
            }
        }
        for (from, to, standing) in &self.marks {
            let (colour, height) = match standing {
                Standing::Ordinary => (AXIS, 1),
                Standing::WhollyFree => (WHOLLY_FREE, MARK),
                Standing::PinnedByLittle => (PINNED, MARK),
            };
            area.draw(&Rectangle::new([(*from, bottom + 2), (*to, bottom + 2 + height)], colour.filled()))?;
        }
        Ok(())
    }
}

/// Where a cell begins.
fn place(cell: i32) -> i32 {
    MARGIN as i32 + ADDRESS + cell * CELL
}

/// How high the layers of a cell are: in proportion to its bytes, but nothing that is there is invisible.
fn heights(layers: &[Layer], mix: &Mix, cell: u64) -> Vec<i32> {
    let parts: Vec<u64> = layers.iter().map(|layer| (layer.of)(mix)).collect();
    let height = |bytes: u64| (bytes as f64 / cell as f64 * f64::from(CELLS)).round() as i32;
    let mut heights: Vec<i32> = parts.iter().map(|bytes| height(*bytes).max(i32::from(*bytes > 0))).collect();
    let there = parts.iter().filter(|bytes| **bytes > 0).count() as i32;
    let most = height(mix.mapped()).max(there);
    // The highest one gives what rounding took too much.
    while heights.iter().sum::<i32>() > most {
        let highest = (0..layers.len()).max_by_key(|layer| heights[*layer]).unwrap_or(0);
        heights[highest] -= 1;
    }
    heights
}

/// The outline of a layer and of those below it, over cells side by side.
fn outline(run: &[(i32, Vec<i32>)], layer: usize, bottom: i32) -> Vec<(i32, i32)> {
    let mut outline: Vec<(i32, i32)> = Vec::new();
    for (at, heights) in run {
        let y = bottom - heights[..=layer].iter().sum::<i32>();
        match outline.last_mut() {
            Some(last) if last.1 == y => last.0 = place(at + 1),
            _ => outline.extend([(place(*at), y), (place(at + 1), y)]),
        }
    }
    let ends = outline.first().zip(outline.last()).map(|(first, last)| [(last.0, bottom), (first.0, bottom)]);
    outline.extend(ends.into_iter().flatten());
    outline
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_there_is_invisible_and_nothing_is_higher_than_a_cell() {
        let few = Mix { used: 8, own: 32, overhead: 8, binned: 65_000, dv: 40, top: 448, ..Mix::default() };
        let heights = |mix: &Mix, cell| heights(&layers(By::Allocator), mix, cell);
        assert_eq!(heights(&few, 1 << 16), [1, 1, 0, 9, 1, 1]);
        assert_eq!(heights(&Mix { used: 1 << 16, ..Mix::default() }, 1 << 16), [CELLS, 0, 0, 0, 0, 0]);
        assert_eq!(heights(&Mix { binned: 1 << 15, ..Mix::default() }, 1 << 16)[3], 7);
        assert_eq!(heights(&Mix::default(), 512), [0; 6]);
    }

    #[test]
    fn an_outline_has_corners_only_where_heights_change() {
        let of = |used: i32, free: i32| vec![used, 0, 0, free, 0, 0];
        let run = [(0, of(3, 10)), (1, of(3, 10)), (2, of(5, 8))];
        let used = outline(&run, 0, 100);
        let (a, b, c) = (place(0), place(2), place(3));
        assert_eq!(used, [(a, 97), (b, 97), (b, 95), (c, 95), (c, 100), (a, 100)]);
        assert_eq!(outline(&run, 3, 100), [(a, 87), (c, 87), (c, 100), (a, 100)]);
    }
}
