//! A chart over time: areas one upon the other and lines over them, with holes where nothing is known. Charts of the same
//! time stand one below the other, and only the last one's axis is labelled.

use anyhow::Result;
use plotters::chart::ChartContext;
use plotters::coord::cartesian::Cartesian2d;
use plotters::prelude::{
    ChartBuilder, Circle, Color, LabelAreaPosition, PathElement, Polygon, RGBColor, Rectangle, SVGBackend,
};
use plotters::style::text_anchor::HPos;
use shared::Nanos;

use super::palette::{self, AXIS, FAINT, GRID};
use super::scale::{self, Axis, Unit};
use super::{Area, MARGIN};

/// Pixels for the labels of the y axis, behind the last moment, above the plot, and for the labels of the x axis.
pub(super) const LEFT: u32 = 76;
pub(super) const RIGHT: u32 = 34;
pub(super) const ABOVE: u32 = 10;
pub(super) const X_LABELS: u32 = 26;
/// The strip below a plot, and what keeps it apart.
const STRIP: u32 = 7;
const APART: u32 = 3;
/// The smallest text.
const SMALL: f64 = 12.0;

/// A chart over time.
pub(super) struct Series {
    /// What stands at the y axis, and what it counts.
    pub(super) axis: &'static str,
    pub(super) unit: Unit,
    /// Pixels of the plot.
    pub(super) plot: u32,
    /// From when to when each value is, ascending.
    pub(super) spans: Vec<(Nanos, Nanos)>,
    /// From the lowest to the highest, each upon the one before.
    pub(super) areas: Vec<Layer>,
    /// Over them.
    pub(super) lines: Vec<Layer>,
    /// Stretches behind all of it.
    pub(super) shades: Vec<Shade>,
    /// Moments with a tick from the upper edge.
    pub(super) marks: Vec<(RGBColor, Nanos)>,
    /// Below the plot: how much of each span is recorded, between 0 and 1.
    pub(super) strip: Option<(RGBColor, Vec<f64>)>,
    /// Whether the time is written below.
    pub(super) labelled: bool,
}

/// Values over time, one for each span; none where it is not known.
pub(super) struct Layer {
    pub(super) colour: RGBColor,
    pub(super) values: Vec<Option<u64>>,
    /// How far the value reached down and up, if it is to be shown.
    pub(super) reach: Vec<Option<(u64, u64)>>,
}

/// A stretch that is coloured from top to bottom.
pub(super) struct Shade {
    pub(super) colour: RGBColor,
    /// Between 0 and 1.
    pub(super) opacity: f64,
    pub(super) span: (Nanos, Nanos),
}

/// A plot over time: the moment 0 is its left edge, in nanoseconds of [`Time::unit`].
pub(super) type Plot<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Axis, Axis>>;

/// How a time is written at an axis: ticks are round in the recording's time, whatever the plot begins with.
pub(super) struct Time {
    from: Nanos,
    /// Nanoseconds of a unit.
    pub(super) unit: f64,
    name: &'static str,
    end: f64,
}

impl Time {
    pub(super) fn new(from: Nanos, to: Nanos) -> Time {
        let span = to.saturating_sub(from);
        let (unit, name) = match span / 1_000_000_000 {
            0..5 => (1e6, "ms"),
            5..600 => (1e9, "s"),
            600..36_000 => (60e9, "min"),
            _ => (3600e9, "h"),
        };
        Time { from, unit, name, end: (span as f64 / unit).max(f64::MIN_POSITIVE) }
    }

    /// Where a moment stands.
    pub(super) fn place(&self, time: Nanos) -> f64 {
        (time.saturating_sub(self.from) as f64 / self.unit).min(self.end)
    }

    fn start(&self) -> f64 {
        self.from as f64 / self.unit
    }

    /// Round times, from the left edge on.
    fn ticks(&self) -> Vec<f64> {
        let steps = scale::ticks(Unit::Count, self.end as u64);
        let step = steps.get(1).copied().unwrap_or(1.0);
        let first = (self.start() / step).ceil();
        let ticks = (0..).map(|at| (first + f64::from(at)) * step - self.start());
        ticks.take_while(|tick| *tick <= self.end).take(steps.len() + 2).collect()
    }

    fn label(&self, place: f64) -> String {
        format!("{} {}", ((place + self.start()) * 10.0).round() / 10.0, self.name)
    }
}

/// The axes of a plot over time, `below` being the pixels below it.
pub(super) fn axes<'a>(
    area: &Area<'a>,
    time: &Time,
    (unit, axis, highest): (Unit, &str, f64),
    below: u32,
    labelled: bool,
) -> Result<Plot<'a>> {
    let most = highest.max(1.0);
    let time_ticks = if labelled { time.ticks() } else { Vec::new() };
    let mut chart = ChartBuilder::on(area)
        .margin_left(MARGIN)
        .margin_right(RIGHT)
        .margin_top(ABOVE)
        .set_label_area_size(LabelAreaPosition::Left, LEFT)
        .set_label_area_size(LabelAreaPosition::Bottom, below)
        .build_cartesian_2d(
            Axis { end: time.end, ticks: time_ticks },
            Axis { end: most * 1.04, ticks: scale::ticks(unit, most as u64) },
        )?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .axis_style(AXIS)
        .label_style(palette::letters(SMALL, FAINT, HPos::Center))
        .axis_desc_style(palette::letters(SMALL, FAINT, HPos::Center))
        .y_desc(axis)
        .x_label_formatter(&|place| time.label(*place))
        .y_label_formatter(&|value| scale::tick_label(unit, *value, most as u64))
        .draw()?;
    Ok(chart)
}

impl Series {
    /// Pixels from top to bottom.
    pub(super) fn height(&self) -> u32 {
        ABOVE + self.plot + self.below()
    }

    fn below(&self) -> u32 {
        let strip = if self.strip.is_some() { APART + STRIP + APART } else { 0 };
        strip + if self.labelled { X_LABELS } else { 0 }
    }

    /// Draws on an area of that height.
    pub(super) fn draw(&self, area: &Area) -> Result<()> {
        let (Some((from, _)), Some((_, to))) = (self.spans.first(), self.spans.last()) else { return Ok(()) };
        let time = Time::new(*from, *to);
        let highest = self.highest();
        let place = |(from, to): (Nanos, Nanos)| (time.place(from), time.place(to));
        // The shades lie below the mesh, which the axes draw.
        let (plot, _) = area.split_vertically(ABOVE + self.plot);
        let across = |at: f64, pixels: u32| at / time.end * f64::from(pixels - MARGIN - LEFT - RIGHT);
        let pixel = |at: f64| (MARGIN + LEFT) as i32 + across(at, area.dim_in_pixel().0).round() as i32;
        for Shade { colour, opacity, span } in &self.shades {
            let (from, to) = place(*span);
            let corners = [(pixel(from), ABOVE as i32), (pixel(to).max(pixel(from) + 1), (ABOVE + self.plot) as i32)];
            plot.draw(&Rectangle::new(corners, colour.mix(*opacity).filled()))?;
        }
        let mut chart = axes(area, &time, (self.unit, self.axis, highest), self.below(), self.labelled)?;
        self.stacked(&mut chart, &time)?;
        for line in &self.lines {
            self.line(&mut chart, &time, line)?;
        }
        let top = highest.max(1.0) * 1.04;
        let ticks = self.marks.iter().map(|(colour, at)| {
            let at = time.place(*at);
            PathElement::new([(at, top), (at, top * 0.95)], colour.stroke_width(2))
        });
        chart.draw_series(ticks)?;
        if let Some((colour, shares)) = &self.strip {
            // Below the times, which stand at the axis.
            let bottom = (self.height() - APART) as i32;
            let top = bottom - STRIP as i32;
            for (span, share) in self.spans.iter().zip(shares).filter(|(_, share)| **share > 0.0) {
                let (from, to) = place(*span);
                // Little is not nothing.
                let colour = colour.mix(share.clamp(0.15, 1.0));
                let corners = [(pixel(from), top), (pixel(to).max(pixel(from) + 1), bottom)];
                area.draw(&Rectangle::new(corners, colour.filled()))?;
            }
        }
        Ok(())
    }

    fn highest(&self) -> f64 {
        let stacks = (0..self.spans.len()).map(|at| self.below_of(self.areas.len(), at).unwrap_or(0.0));
        let values = |line: &Layer| {
            let reached = line.reach.iter().flatten().map(|(_, high)| *high);
            line.values.iter().flatten().copied().chain(reached).max().unwrap_or(0) as f64
        };
        stacks.chain(self.lines.iter().map(values)).fold(1.0, f64::max)
    }

    /// The first so many areas together in a span, if they are known.
    fn below_of(&self, areas: usize, at: usize) -> Option<f64> {
        self.areas[..areas].iter().map(|area| area.values[at].map(|value| value as f64)).sum()
    }

    /// Each area as steps: what is known of a span holds for no other one.
    fn stacked(&self, chart: &mut Plot, time: &Time) -> Result<()> {
        for (number, area) in self.areas.iter().enumerate() {
            for known in runs(self.spans.len(), |at| self.below_of(self.areas.len(), at).is_some()) {
                let edge = |areas: usize, at: usize| {
                    let height = self.below_of(areas, at).unwrap_or(0.0);
                    let (from, to) = self.spans[at];
                    [(time.place(from), height), (time.place(to), height)]
                };
                let upper = known.clone().flat_map(|at| edge(number + 1, at));
                let lower = known.clone().rev().flat_map(|at| edge(number, at).into_iter().rev());
                let outline: Vec<(f64, f64)> = upper.chain(lower).collect();
                chart.draw_series([Polygon::new(outline, area.colour.filled())])?;
            }
        }
        Ok(())
    }

    /// A line through the middles of spans that are known; one alone is a dot.
    fn line(&self, chart: &mut Plot, time: &Time, line: &Layer) -> Result<()> {
        let middle = |at: usize| (time.place(self.spans[at].0) + time.place(self.spans[at].1)) / 2.0;
        for known in runs(line.reach.len(), |at| line.reach[at].is_some()) {
            let reach = |at: usize| line.reach[at].map_or((0.0, 0.0), |(low, high)| (low as f64, high as f64));
            let upper = known.clone().map(|at| (middle(at), reach(at).1));
            let lower = known.clone().rev().map(|at| (middle(at), reach(at).0));
            let outline: Vec<(f64, f64)> = upper.chain(lower).collect();
            chart.draw_series([Polygon::new(outline, line.colour.mix(0.35).filled())])?;
        }
        for known in runs(line.values.len(), |at| line.values[at].is_some()) {
            let points: Vec<(f64, f64)> = known.filter_map(|at| Some((middle(at), line.values[at]? as f64))).collect();
            match points[..] {
                [point] => chart.draw_series([Circle::new(point, 2, line.colour.filled())]).map(drop)?,
                _ => chart.draw_series([PathElement::new(points, line.colour.stroke_width(2))]).map(drop)?,
            }
        }
        Ok(())
    }
}

/// Neighbours for which something holds.
fn runs(count: usize, holds: impl Fn(usize) -> bool) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for at in (0..count).filter(|at| holds(*at)) {
        match runs.last_mut().filter(|run| run.end == at) {
            Some(run) => run.end += 1,
            None => runs.push(at..at + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_wherever_the_time_begins() {
        let second = 1_000_000_000;
        let labels = |from, to| {
            let time = Time::new(from, to);
            time.ticks().into_iter().map(|tick| time.label(tick)).collect::<Vec<_>>()
        };
        assert_eq!(labels(0, 14 * second), ["0 s", "5 s", "10 s"]);
        assert_eq!(labels(7 * second / 2, 13 * second), ["4 s", "6 s", "8 s", "10 s", "12 s"]);
        assert_eq!(labels(4_000_500_000, 4_003_000_000), ["4001 ms", "4002 ms", "4003 ms"]);
        assert_eq!(labels(0, 0).len(), 1);
        assert!(labels(0, Nanos::MAX).len() <= 7);
    }

    #[test]
    fn runs_end_at_holes() {
        assert_eq!(runs(6, |at| at != 2 && at != 5), [0..2, 3..5]);
        assert!(runs(0, |_| true).is_empty());
    }
}
