//! Pies of the same rows side by side, and one legend that has the names: no label can lie on another.

use std::f64::consts::TAU;

use anyhow::Result;
use plotters::prelude::{Circle, Color, PathElement, Polygon, RGBColor, Rectangle};
use plotters::style::text_anchor::HPos;

use super::palette::{self, FAINT, INK, PAPER};
use super::{Area, MARGIN, WIDTH};
use crate::output::words;

/// Pixels of a pie, and around it.
const RADIUS: i32 = 84;
const BESIDE: i32 = 28;
/// A title may be wider than its pie by so much at each side.
const WIDER: i32 = 8;
/// The widest legend of one pie: figures should not stand far from their names.
const NARROW: i32 = 320;
/// Pixels above a pie, for its title.
const ABOVE: i32 = 26;
/// Pixels of a row of the legend, and of its columns from the right: a share, and bytes.
const ROW: i32 = 19;
const SHARE: i32 = 56;
const BYTES: i32 = 76;
/// The smallest text.
const SMALL: f64 = 12.0;

/// Pies, one for each title.
pub(super) struct Pies {
    pub(super) titles: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// What has a slice in each pie.
pub(super) struct Row {
    pub(super) colour: RGBColor,
    pub(super) name: String,
    /// Bytes, as many as there are pies.
    pub(super) bytes: Vec<u64>,
}

impl Pies {
    /// Pixels from top to bottom.
    pub(super) fn height(&self) -> u32 {
        let legend = (self.rows.len() as i32 + 1) * ROW;
        (ABOVE + (2 * RADIUS).max(legend) + 12) as u32
    }

    /// Draws on an area of that height.
    pub(super) fn draw(&self, area: &Area) -> Result<()> {
        let left = MARGIN as i32;
        for (at, title) in self.titles.iter().enumerate() {
            let centre = (left + WIDER + RADIUS + at as i32 * (2 * RADIUS + BESIDE), ABOVE + RADIUS);
            area.draw_text(title, &palette::bold(SMALL, INK, HPos::Center), (centre.0, 10))?;
            self.pie(area, at, centre)?;
        }
        self.legend(area, left + WIDER + self.titles.len() as i32 * (2 * RADIUS + BESIDE))
    }

    fn pie(&self, area: &Area, pie: usize, centre: (i32, i32)) -> Result<()> {
        let value = |row: &Row| row.bytes.get(pie).copied().unwrap_or(0) as f64;
        let sum: f64 = self.rows.iter().map(value).sum();
        let rim = |turn: f64, radius: f64| {
            let (x, y) = ((turn * TAU).sin() * radius, -(turn * TAU).cos() * radius);
            (centre.0 + x.round() as i32, centre.1 + y.round() as i32)
        };
        let mut borders = Vec::new();
        let mut from = 0.0;
        for row in self.rows.iter().filter(|row| value(row) > 0.0) {
            let share = value(row) / sum;
            // A point every two pixels of the rim.
            let steps = (share * TAU * f64::from(RADIUS) / 2.0).ceil().max(1.0);
            let arc = (0..=steps as u32).map(|step| rim(from + share * f64::from(step) / steps, f64::from(RADIUS)));
            area.draw(&Polygon::new([centre].into_iter().chain(arc).collect::<Vec<_>>(), row.colour.filled()))?;
            borders.push(from);
            from += share;
        }
        if borders.len() > 1 {
            for border in borders {
                area.draw(&PathElement::new([centre, rim(border, f64::from(RADIUS) + 1.0)], PAPER))?;
            }
        }
        // Points stand on whole pixels: a ring makes the rim round.
        area.draw(&Circle::new(centre, RADIUS, PAPER.stroke_width(2)))?;
        if sum == 0.0 {
            area.draw_text("nothing", &palette::letters(SMALL, FAINT, HPos::Center), centre)?;
        }
        Ok(())
    }

    fn legend(&self, area: &Area, left: i32) -> Result<()> {
        let right = (WIDTH - MARGIN) as i32;
        let right = if self.titles.len() == 1 { right.min(left + NARROW) } else { right };
        let pies = self.titles.len() as i32;
        let end = |pie: i32| right - (pies - 1 - pie) * (SHARE + BYTES);
        let letters = |at| palette::letters(SMALL, INK, at);
        if pies > 1 {
            for (pie, title) in self.titles.iter().enumerate() {
                let title = title.rsplit(' ').next().unwrap_or(title);
                let style = palette::letters(SMALL, FAINT, HPos::Right);
                area.draw_text(title, &style, (end(pie as i32) - SHARE, ABOVE))?;
            }
        }
        let room = f64::from(end(0) - SHARE - BYTES - left - 20);
        for (at, row) in self.rows.iter().enumerate() {
            let middle = ABOVE + ROW * (at as i32 + 1);
            area.draw(&Rectangle::new([(left, middle - 6), (left + 12, middle + 6)], row.colour.filled()))?;
            area.draw_text(&fitting(&row.name, room), &letters(HPos::Left), (left + 20, middle))?;
            for pie in 0..self.titles.len() {
                let value = row.bytes.get(pie).copied().unwrap_or(0);
                let whole = self
                    .rows
                    .iter()
                    .filter_map(|row| row.bytes.get(pie))
                    .fold(0, |sum: u64, one| sum.saturating_add(*one));
                let end = end(pie as i32);
                area.draw_text(&words::share(value, whole), &letters(HPos::Right), (end, middle))?;
                area.draw_text(&words::bytes(value), &letters(HPos::Right), (end - SHARE, middle))?;
            }
        }
        Ok(())
    }
}

/// A name cut to so many pixels of the smallest text.
pub(super) fn fitting(name: &str, room: f64) -> String {
    let mut longest = name.chars().count();
    let mut cut = words::name(name, longest);
    while longest > 1 && palette::width(&cut, SMALL) > room {
        longest -= 1;
        cut = words::name(name, longest);
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_their_room() {
        assert_eq!(fitting("HTTP LuaJIT Allocator", 500.0), "HTTP LuaJIT Allocator");
        let cut = fitting(&"zone".repeat(40), 100.0);
        assert!(palette::width(&cut, SMALL) <= 100.0 && cut.contains('…'), "{cut}");
        assert_eq!(fitting("", 0.0), "");
    }

    #[test]
    fn the_legend_has_room() {
        let row = || Row { colour: INK, name: String::new(), bytes: vec![1] };
        let pies = |rows: usize| Pies { titles: vec![String::new()], rows: (0..rows).map(|_| row()).collect() };
        assert_eq!(pies(1).height(), pies(3).height());
        assert!(pies(20).height() as i32 >= 20 * ROW + ABOVE);
    }
}
