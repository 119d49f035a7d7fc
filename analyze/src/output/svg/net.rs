//! Bars from a common line: to the right what became more, to the left what became less.

use anyhow::Result;
use plotters::prelude::{Color, PathElement, RGBColor, Rectangle};
use plotters::style::text_anchor::HPos;

use super::palette::{self, AXIS, INK};
use super::pie::fitting;
use super::sheet::Piece;
use super::{Area, MARGIN, WIDTH};

/// Pixels of a row, of a bar in it, for names and for figures.
const ROW: i32 = 22;
const BAR: i32 = 14;
const NAME: i32 = 90;
const FIGURES: i32 = 376;
/// The smallest text.
const SMALL: f64 = 12.0;

/// Changes, on one scale.
pub(super) struct Net(pub(super) Vec<Bar>);

/// A row.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) colour: RGBColor,
    /// How much it changed.
    pub(super) change: i64,
    /// Stands behind the bars, in bold if it is to stand out.
    pub(super) figures: String,
    pub(super) is_bold: bool,
}

impl Piece for Net {
    fn height(&self) -> u32 {
        (self.0.len() as i32 * ROW + 4) as u32
    }

    fn draw(&self, area: &Area) -> Result<()> {
        let (left, right) = (MARGIN as i32, (WIDTH - MARGIN) as i32);
        let (start, end) = (left + NAME, right - FIGURES);
        let most = |sign: f64| self.0.iter().map(|bar| bar.change as f64 * sign).fold(0.0, f64::max);
        let (shrunk, grown) = (most(-1.0), most(1.0));
        let pixels = f64::from(end - start) / (shrunk + grown).max(1.0);
        let line = start + (shrunk * pixels).round() as i32;
        for (at, bar) in self.0.iter().enumerate() {
            let middle = at as i32 * ROW + ROW / 2;
            let name = fitting(&bar.name, f64::from(NAME - 10));
            area.draw_text(&name, &palette::letters(SMALL, INK, HPos::Left), (left, middle))?;
            // Little is not nothing.
            let length = (bar.change as f64 * pixels).round() as i32;
            let length = if length == 0 { bar.change.signum() as i32 } else { length };
            let corners = [(line.min(line + length), middle - BAR / 2), (line.max(line + length), middle + BAR / 2)];
            if length != 0 {
                area.draw(&Rectangle::new(corners, bar.colour.filled()))?;
            }
            let style = if bar.is_bold { palette::bold } else { palette::letters };
            area.draw_text(&bar.figures, &style(SMALL, INK, HPos::Left), (end + 16, middle))?;
        }
        let bottom = self.0.len() as i32 * ROW;
        area.draw(&PathElement::new([(line, 0), (line, bottom)], AXIS))?;
        Ok(())
    }
}
