//! A table whose cells are the stronger coloured the larger the figure in them.

use anyhow::Result;
use plotters::prelude::{Color, PathElement, RGBColor, Rectangle};
use plotters::style::text_anchor::HPos;

use super::palette::{self, FAINT, GRID, INK};
use super::scale::{self, Unit};
use super::sheet::Piece;
use super::{Area, MARGIN, WIDTH};

/// Pixels of a row, of the heads above, and for the names of rows.
const ROW: i32 = 22;
const NAMES: i32 = 76;
/// The widest a column gets, and the room before those that stand apart.
const WIDEST: i32 = 84;
const APART: i32 = 14;
/// The smallest text.
const SMALL: f64 = 12.0;
/// How strong the colour of the smallest and of the largest figure is: text must be legible on either paper.
const STRENGTH: (f64, f64) = (0.06, 0.6);

/// The table.
pub(super) struct Heat {
    /// What stands above the names of rows and what the columns are, in a line above.
    pub(super) title: String,
    /// The heads of the columns.
    pub(super) heads: Vec<String>,
    /// The colour of each column. From one colour to another, columns stand apart.
    pub(super) colours: Vec<RGBColor>,
    /// The rows: a name, and as many figures as there are columns.
    pub(super) rows: Vec<(String, Vec<u64>)>,
}

impl Piece for Heat {
    fn height(&self) -> u32 {
        (self.rows.len() as i32 * ROW + 2 * ROW + 6) as u32
    }

    fn draw(&self, area: &Area) -> Result<()> {
        let (left, right) = (MARGIN as i32, (WIDTH - MARGIN) as i32);
        let letters = |colour, at| palette::letters(SMALL, colour, at);
        area.draw_text(&self.title, &letters(FAINT, HPos::Left), (left, ROW / 2))?;
        let columns = self.columns(left + NAMES, right);
        for (head, (from, to)) in self.heads.iter().zip(&columns) {
            area.draw_text(head, &letters(FAINT, HPos::Center), ((from + to) / 2, ROW + ROW / 2))?;
        }
        let largest = self.rows.iter().flat_map(|(_, figures)| figures.iter().copied()).max().unwrap_or(0).max(1);
        for (at, (name, figures)) in self.rows.iter().enumerate() {
            let (top, bottom) = ((at as i32 + 2) * ROW, (at as i32 + 3) * ROW);
            area.draw_text(name, &letters(INK, HPos::Left), (left, (top + bottom) / 2))?;
            for ((figure, (from, to)), colour) in figures.iter().zip(&columns).zip(&self.colours) {
                let corners = [(*from, top), (to - 1, bottom - 1)];
                if *figure == 0 {
                    area.draw(&PathElement::new([(*from, bottom - 1), (to - 1, bottom - 1)], GRID))?;
                    continue;
                }
                // The root: small figures are many, and not nothing.
                let part = (*figure as f64 / largest as f64).sqrt();
                let strength = STRENGTH.0 + part * (STRENGTH.1 - STRENGTH.0);
                area.draw(&Rectangle::new(corners, colour.mix(strength).filled()))?;
                let text = scale::short(Unit::Bytes, *figure);
                area.draw_text(&text, &letters(INK, HPos::Center), ((from + to) / 2, (top + bottom) / 2))?;
            }
        }
        Ok(())
    }
}

impl Heat {
    /// Where each column begins and ends.
    fn columns(&self, left: i32, right: i32) -> Vec<(i32, i32)> {
        let apart = |at: usize| at > 0 && self.colours[at] != self.colours[at - 1];
        let gaps = (0..self.colours.len()).filter(|at| apart(*at)).count() as i32;
        let width = ((right - left - gaps * APART) / (self.colours.len() as i32).max(1)).min(WIDEST);
        let mut x = left;
        let place = |at| {
            x += if apart(at) { APART } else { 0 };
            x += width;
            (x - width, x)
        };
        (0..self.colours.len()).map(place).collect()
    }
}
