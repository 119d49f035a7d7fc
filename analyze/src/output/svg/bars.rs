//! Bars from left to right, each of several parts, with its name before it and its figures behind it.

use anyhow::Result;
use plotters::prelude::{Color, RGBColor, Rectangle};
use plotters::style::text_anchor::HPos;

use super::palette::{self, AXIS, INK};
use super::pie::fitting;
use super::{Area, MARGIN, WIDTH};

/// Pixels of a row, of a bar in it, for names, for figures at least, and between a bar and its figures.
const ROW: i32 = 22;
const BAR: i32 = 14;
const NAME: i32 = 216;
const FIGURES: i32 = 172;
const APART: f64 = 12.0;
/// The smallest text.
const SMALL: f64 = 12.0;

/// Bars on one scale.
pub(super) struct Bars(pub(super) Vec<Line>);

/// A row.
pub(super) enum Line {
    /// What the bars below have in common.
    Heading(String),
    Bar {
        name: String,
        parts: Vec<(RGBColor, u64)>,
        /// A frame of this length around the bar.
        outline: u64,
        figures: String,
    },
}

impl Bars {
    /// Pixels from top to bottom.
    pub(super) fn height(&self) -> u32 {
        (self.0.len() as i32 * ROW + 4) as u32
    }

    /// Draws on an area of that height.
    pub(super) fn draw(&self, area: &Area) -> Result<()> {
        let (left, right) = (MARGIN as i32, (WIDTH - MARGIN) as i32);
        let start = left + NAME;
        let figures = self.0.iter().map(Line::figures).fold(f64::from(FIGURES), f64::max);
        let room = f64::from(right - start) - figures;
        let longest = self.0.iter().map(Line::length).fold(1.0, f64::max);
        let place = |value: f64| start + (value / longest * room).round() as i32;
        let letters = |at| palette::letters(SMALL, INK, at);
        for (at, line) in self.0.iter().enumerate() {
            let middle = at as i32 * ROW + ROW / 2;
            match line {
                Line::Heading(text) => {
                    let text = fitting(text, f64::from(right - left) / 1.12);
                    area.draw_text(&text, &palette::bold(SMALL, INK, HPos::Left), (left, middle))?;
                }
                Line::Bar { name, parts, outline, figures } => {
                    area.draw_text(&fitting(name, f64::from(NAME - 10)), &letters(HPos::Left), (left, middle))?;
                    let (top, bottom) = (middle - BAR / 2, middle + BAR / 2);
                    let mut from = 0.0;
                    for (colour, value) in parts.iter().filter(|(_, value)| *value > 0) {
                        let to = from + *value as f64;
                        area.draw(&Rectangle::new([(place(from), top), (place(to), bottom)], colour.filled()))?;
                        from = to;
                    }
                    if *outline > 0 {
                        area.draw(&Rectangle::new([(start, top), (place(*outline as f64), bottom)], AXIS))?;
                    }
                    area.draw_text(figures, &letters(HPos::Right), (right, middle))?;
                }
            }
        }
        Ok(())
    }
}

impl Line {
    /// Pixels that its figures take, and the room before them.
    fn figures(&self) -> f64 {
        match self {
            Line::Heading(_) => 0.0,
            Line::Bar { figures, .. } => palette::width(figures, SMALL) + APART,
        }
    }

    fn length(&self) -> f64 {
        match self {
            Line::Heading(_) => 0.0,
            Line::Bar { parts, outline, .. } => {
                let sum: f64 = parts.iter().map(|(_, value)| *value as f64).sum();
                sum.max(*outline as f64)
            }
        }
    }
}
