//! Shares that grow with age, each with its confidence interval: ages on a scale of powers of ten.

use anyhow::Result;
use plotters::prelude::{ChartBuilder, Color, LabelAreaPosition, PathElement, Polygon, RGBColor};
use plotters::style::text_anchor::HPos;
use shared::Nanos;
use shared::trace::calls::TICK;

use super::palette::{self, AXIS, FAINT, GRID};
use super::scale::Axis;
use super::sheet::Piece;
use super::{Area, MARGIN};
use crate::metrics::lifetimes::Share;
use crate::output::rates::words as rate_words;

/// Pixels for the labels of the y axis, the curves, what is above and below them.
const LEFT: u32 = 76;
const PLOT: u32 = 150;
const ABOVE: u32 = 8;
const X_LABELS: u32 = 26;
const RIGHT: u32 = 34;
/// The smallest text.
const SMALL: f64 = 12.0;

/// The curves.
pub(super) struct Curves(pub(super) Vec<(RGBColor, Vec<(Nanos, Share)>)>);

impl Piece for Curves {
    fn height(&self) -> u32 {
        ABOVE + PLOT + X_LABELS
    }

    fn draw(&self, area: &Area) -> Result<()> {
        let oldest = self.0.iter().filter_map(|(_, points)| Some(points.last()?.0)).max().unwrap_or(TICK);
        let end = place(oldest).max(1.0);
        let tens = (0..).map(|power| 100_000u64 * 10u64.pow(power)).take_while(|age| place(*age) <= end);
        let ages: Vec<Nanos> = [TICK].into_iter().chain(tens.filter(|age| *age >= 1_000_000)).collect();
        let label = |at: &f64| {
            let age = ages.iter().find(|age| (place(**age) - at).abs() < 1e-9);
            age.map_or(String::new(), |age| rate_words::age(*age))
        };
        let mut chart = ChartBuilder::on(area)
            .margin_left(MARGIN)
            .margin_right(RIGHT)
            .margin_top(ABOVE)
            .set_label_area_size(LabelAreaPosition::Left, LEFT)
            .set_label_area_size(LabelAreaPosition::Bottom, X_LABELS)
            .build_cartesian_2d(
                Axis { end, ticks: ages.iter().map(|age| place(*age)).collect() },
                Axis { end: 1.0, ticks: vec![0.0, 0.25, 0.5, 0.75, 1.0] },
            )?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .axis_style(AXIS)
            .label_style(palette::letters(SMALL, FAINT, HPos::Center))
            .axis_desc_style(palette::letters(SMALL, FAINT, HPos::Center))
            .y_desc("dead by an age")
            .x_label_formatter(&label)
            .y_label_formatter(&|share| format!("{:.0} %", share * 100.0))
            .draw()?;
        for (colour, points) in &self.0 {
            let at = |of: fn(&Share) -> f64| points.iter().map(move |(age, share)| (place(*age), of(share)));
            let band: Vec<(f64, f64)> = at(|share| share.low).chain(at(|share| share.high).rev()).collect();
            chart.draw_series([Polygon::new(band, colour.mix(0.25).filled())])?;
            let line: Vec<(f64, f64)> = at(|share| share.share).collect();
            chart.draw_series([PathElement::new(line, colour.stroke_width(2))])?;
        }
        Ok(())
    }
}

/// Where an age stands: the power of ten over a tick.
fn place(age: Nanos) -> f64 {
    (age.max(TICK) as f64 / TICK as f64).log10()
}
