//! Bars over size classes: how many, or how many bytes.

use anyhow::Result;
use plotters::prelude::{ChartBuilder, Color, EmptyElement, LabelAreaPosition, PathElement, RGBColor, Rectangle, Text};
use plotters::style::text_anchor::HPos;

use super::palette::{self, AXIS, FAINT, GRID, INK};
use super::scale::{self, Axis, Unit};
use super::{Area, MARGIN};
use crate::metrics::population::Populations;
use crate::output::words;

/// Pixels for the labels of the y axis, and behind the last class, where the label of its end stands.
const LEFT: u32 = 76;
const RIGHT: u32 = 32;
/// Pixels of a panel: the room above it, that for bars, and below it that for the labels of the x axis.
const ABOVE: u32 = 6;
const PLOT: u32 = 104;
const X_LABELS: u32 = 24;
/// The smallest text.
const SMALL: f64 = 12.0;
/// Of a class's width, what its bar takes, and the most pixels it takes.
const BAR: f64 = 0.76;
const WIDEST: f64 = 64.0;
/// Fewer classes than these would make bars like walls.
const FEWEST: u32 = 10;

/// The size classes of a sheet: all its panels have the same, so that they can be compared down the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Classes {
    /// The first class counts sizes from 2 to this power.
    first: u32,
    count: u32,
}

/// What a panel shows.
pub(super) struct Panel {
    pub(super) unit: Unit,
    /// Stands at the y axis.
    pub(super) axis: &'static str,
    pub(super) colour: RGBColor,
    pub(super) classes: Classes,
    /// The value of each bucket.
    pub(super) values: Vec<(u64, u64)>,
    /// How far a bucket's value may reach down and up.
    pub(super) whiskers: Vec<(u64, u64, u64)>,
    /// Whether the classes are named below.
    pub(super) named: bool,
}

/// A value to be written above its bar, in pixels: the bar's middle and top, and half the text's width.
struct Label {
    text: String,
    middle: f64,
    top: f64,
    half: f64,
}

impl Classes {
    /// All classes from the smallest size to the largest in a heap.
    pub(super) fn of(populations: &Populations) -> Classes {
        let named = populations.named();
        Classes::spanning(named.iter().flat_map(|(_, population)| population.buckets.keys().copied()))
    }

    /// All classes from the smallest bucket to the largest.
    pub(super) fn spanning(buckets: impl Iterator<Item = u64>) -> Classes {
        let (mut first, mut last) = (u32::MAX, 0);
        for exponent in buckets.map(exponent) {
            (first, last) = (first.min(exponent), last.max(exponent));
        }
        let first = first.min(last);
        let count = (last + 1 - first).max(FEWEST);
        Classes { first: first.min(64 - count), count }
    }

    /// Where a bucket's class begins on the x axis; it is 1 wide.
    fn place(&self, bucket: u64) -> f64 {
        f64::from(exponent(bucket) - self.first)
    }

    /// What stands at an edge between classes.
    fn edge(&self, place: f64) -> String {
        1u64.checked_shl(self.first + place as u32).map_or(String::new(), words::size_class)
    }

    /// Every edge, or every other one and so on, as far as the labels need that.
    fn edges(&self, class_width: f64) -> Vec<f64> {
        let widest = (0..=self.count).map(|at| palette::width(&self.edge(f64::from(at)), SMALL)).fold(0.0, f64::max);
        let step = ((widest + 8.0) / class_width).ceil().max(1.0) as usize;
        (0..=self.count).step_by(step).map(f64::from).collect()
    }
}

/// Bucket 0, which no real heap has, falls in the class of 1.
fn exponent(bucket: u64) -> u32 {
    bucket.checked_ilog2().unwrap_or(0)
}

impl Panel {
    /// Pixels from top to bottom.
    pub(super) fn height(&self) -> u32 {
        ABOVE + PLOT + if self.named { X_LABELS } else { 0 }
    }

    /// Draws on an area of that height; over the bars, outlines of other values.
    pub(super) fn draw(&self, area: &Area, outlines: &[(u64, u64)]) -> Result<()> {
        let plot_width = f64::from(area.dim_in_pixel().0 - MARGIN - LEFT - RIGHT);
        let class_width = plot_width / f64::from(self.classes.count);
        let bars = self.values.iter().chain(outlines).map(|(_, value)| *value);
        let max = bars.chain(self.whiskers.iter().map(|(.., high)| *high)).max().unwrap_or(0);
        let ticks = scale::ticks(self.unit, max);
        // Room for a value above the highest bar, or for the last tick.
        let highest = (max as f64 * f64::from(PLOT) / (f64::from(PLOT) - SMALL - 8.0)).max(1.0);
        let end = f64::from(self.classes.count);

        let mut chart = ChartBuilder::on(area)
            .margin_left(MARGIN)
            .margin_right(RIGHT)
            .margin_top(ABOVE)
            .set_label_area_size(LabelAreaPosition::Left, LEFT)
            .set_label_area_size(LabelAreaPosition::Bottom, self.height() - ABOVE - PLOT)
            .build_cartesian_2d(Axis { end, ticks: self.classes.edges(class_width) }, Axis { end: highest, ticks })?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID)
            .axis_style(AXIS)
            .label_style(palette::letters(SMALL, FAINT, HPos::Center))
            .axis_desc_style(palette::letters(SMALL, FAINT, HPos::Center))
            .y_desc(self.axis)
            .x_label_formatter(&|place| self.classes.edge(*place))
            .y_label_formatter(&|value| scale::tick_label(self.unit, *value, max))
            .draw()?;

        let half = (class_width * BAR).min(WIDEST) / class_width / 2.0;
        // A bar is at least a pixel high: few is not none.
        let least = highest / f64::from(PLOT);
        let bar = |(bucket, value): &(u64, u64)| {
            let middle = self.classes.place(*bucket) + 0.5;
            [(middle - half, (*value as f64).max(least)), (middle + half, 0.0)]
        };
        chart.draw_series(self.values.iter().map(|value| Rectangle::new(bar(value), self.colour.filled())))?;
        chart.draw_series(outlines.iter().map(|value| Rectangle::new(bar(value), INK)))?;
        for (bucket, low, high) in &self.whiskers {
            let (middle, low, high) = (self.classes.place(*bucket) + 0.5, *low as f64, *high as f64);
            let serif = |value| vec![(middle - half / 3.0, value), (middle + half / 3.0, value)];
            let strokes = [vec![(middle, low), (middle, high)], serif(low), serif(high)];
            chart.draw_series(strokes.map(|stroke| PathElement::new(stroke, INK)))?;
        }
        if !self.named {
            chart.draw_series([PathElement::new([(0.0, 0.0), (end, 0.0)], AXIS)])?;
        }

        let height = |value: u64| value as f64 / highest * f64::from(PLOT);
        let labels = self.values.iter().map(|(bucket, value)| {
            let text = scale::short(self.unit, *value);
            let middle = (self.classes.place(*bucket) + 0.5) * class_width;
            let half = palette::width(&text, SMALL) / 2.0;
            let whisker = self.whiskers.iter().find(|(other, ..)| other == bucket).map_or(0, |(.., high)| *high);
            let outline = outlines.iter().find(|(other, _)| other == bucket).map_or(0, |(_, value)| *value);
            // Inside an outline, if that leaves room.
            let inside = height(outline) - height(*value) > SMALL + 6.0;
            let top = height(if inside { *value } else { whisker.max(outline).max(*value) });
            // Clear of the y axis, and of the whisker.
            Label { text, middle: middle.max(half + 3.0), top, half }
        });
        let style = palette::letters(SMALL, INK, HPos::Center);
        chart.draw_series(fitting(labels.collect(), half * class_width).into_iter().map(|label| {
            let at = (label.middle / class_width, label.top / f64::from(PLOT) * highest);
            EmptyElement::at(at) + Text::new(label.text, (0, -9), style.clone())
        }))?;
        Ok(())
    }
}

/// The labels that touch neither another one nor another bar; of two that do, the higher one stays.
fn fitting(mut labels: Vec<Label>, half_bar: f64) -> Vec<Label> {
    let bars: Vec<(f64, f64)> = labels.iter().map(|label| (label.middle, label.top)).collect();
    labels.sort_by(|a, b| b.top.total_cmp(&a.top));
    let mut kept: Vec<Label> = Vec::new();
    for label in labels {
        let reaches = |middle: f64, half: f64| (middle - label.middle).abs() < half + label.half + 3.0;
        let on_bar = bars
            .iter()
            .any(|(middle, top)| *middle != label.middle && *top > label.top + 1.0 && reaches(*middle, half_bar));
        let on_label =
            kept.iter().any(|other| other.top - label.top < SMALL + 3.0 && reaches(other.middle, other.half));
        if !on_bar && !on_label {
            kept.push(label);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(text: &str, middle: f64, top: f64) -> Label {
        Label { text: text.to_owned(), middle, top, half: 15.0 }
    }

    #[test]
    fn labels_keep_clear_of_bars_and_of_each_other() {
        let labels =
            vec![label("low", 0.0, 5.0), label("high", 20.0, 80.0), label("even", 40.0, 80.0), label("far", 99.0, 1.0)];
        let kept: Vec<String> = fitting(labels, 8.0).into_iter().map(|label| label.text).collect();
        assert_eq!(kept, ["high", "far"]);
    }

    #[test]
    fn classes_span_all_populations() {
        let mut populations = Populations::default();
        assert_eq!(Classes::of(&populations), Classes { first: 0, count: FEWEST });
        populations.used = [48].into_iter().collect();
        populations.segments = [1 << 20].into_iter().collect();
        let classes = Classes::of(&populations);
        assert_eq!(classes, Classes { first: 5, count: 16 });
        assert_eq!((classes.place(32), classes.edge(0.0), classes.edge(16.0)), (0.0, "32 B".into(), "2 MiB".into()));
        assert_eq!(classes.edges(30.0).len(), 9);
        populations.free = [u64::MAX].into_iter().collect();
        assert_eq!(Classes::of(&populations).edge(59.0), "");
    }
}
