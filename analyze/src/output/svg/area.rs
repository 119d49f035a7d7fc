//! Memory over time: areas one upon the other, and their names beside them in the same order.

use anyhow::Result;
use plotters::prelude::{Color, Polygon, RGBColor, Rectangle};
use plotters::style::text_anchor::HPos;
use shared::Nanos;

use super::palette::{self, INK};
use super::pie::fitting;
use super::scale::Unit;
use super::series::{self, ABOVE, Time, X_LABELS};
use super::{Area, MARGIN, WIDTH};

/// Pixels for the areas, and for the names beside them.
const PLOT: u32 = 180;
const NAMES: u32 = 200;
const ROW: i32 = 18;
/// The smallest text.
const SMALL: f64 = 12.0;

/// Areas over time.
pub(super) struct Areas {
    /// The moments, ascending.
    pub(super) times: Vec<Nanos>,
    /// From the lowest to the highest; each as long as there are moments.
    pub(super) rows: Vec<Row>,
}

/// An area.
pub(super) struct Row {
    pub(super) colour: RGBColor,
    pub(super) name: String,
    pub(super) bytes: Vec<u64>,
}

impl Areas {
    /// Pixels from top to bottom.
    pub(super) fn height(&self) -> u32 {
        let names = self.rows.len() as u32 * ROW as u32 + ABOVE;
        (ABOVE + PLOT + X_LABELS).max(names)
    }

    /// Draws on an area of that height.
    pub(super) fn draw(&self, area: &Area) -> Result<()> {
        let (Some(first), Some(last)) = (self.times.first(), self.times.last()) else { return Ok(()) };
        let sums: Vec<f64> = (0..self.times.len()).map(|at| self.below(self.rows.len(), at)).collect();
        let highest = sums.iter().copied().fold(1.0, f64::max);
        let time = Time::new(0, last.saturating_sub(*first));
        let (plot, names) = area.split_horizontally(WIDTH - NAMES);
        let below = self.height() - ABOVE - PLOT;
        let mut chart = series::axes(&plot, &time, (Unit::Bytes, "resident", highest), below, true)?;
        let x = |at: usize| time.place(self.times[at].saturating_sub(*first));
        for (number, row) in self.rows.iter().enumerate() {
            let upper = (0..self.times.len()).map(|at| (x(at), self.below(number + 1, at)));
            let lower = (0..self.times.len()).rev().map(|at| (x(at), self.below(number, at)));
            let outline: Vec<(f64, f64)> = upper.chain(lower).collect();
            chart.draw_series([Polygon::new(outline, row.colour.filled())])?;
        }
        for (at, row) in self.rows.iter().rev().enumerate() {
            let middle = ABOVE as i32 + at as i32 * ROW + ROW / 2;
            names.draw(&Rectangle::new([(0, middle - 6), (12, middle + 6)], row.colour.filled()))?;
            let name = fitting(&row.name, f64::from(NAMES - MARGIN - 20));
            names.draw_text(&name, &palette::letters(SMALL, INK, HPos::Left), (20, middle))?;
        }
        Ok(())
    }

    /// The first so many rows together at a moment.
    fn below(&self, rows: usize, at: usize) -> f64 {
        self.rows[..rows].iter().map(|row| row.bytes[at] as f64).sum()
    }
}
