//! What a picture shows: what is written in it, bars, and curves.

use analyze::output::words;

use crate::shown::{Shown, between, plain};

/// Bars over size classes, from left to right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Panel {
    /// What stands at its axis.
    pub(crate) axis: String,
    /// What each bar shows.
    pub(crate) values: Vec<u64>,
}

/// A curve over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Curve {
    /// What stands at its axis.
    pub(crate) axis: &'static str,
    /// As in `#0072B2`.
    pub(crate) colour: &'static str,
    /// An area from the axis up has steps, a line has points.
    pub(crate) is_area: bool,
    /// Its values where they are known.
    pub(crate) values: Vec<u64>,
}

/// Something drawn.
#[derive(Debug)]
enum Mark {
    /// In pixels; ticks and what stands at axes are `faint`.
    Text { y: i32, size: u32, faint: bool, middle: bool, turned: bool, text: String },
    /// A filled box, in pixels.
    Bar { x: u32, height: u32 },
    /// A line, a dot, or the upper edge of an area: how far down its points are, in pixels.
    Curve { colour: String, is_area: bool, points: Vec<i32> },
}

/// What a picture shows.
#[derive(Debug)]
pub(crate) struct Picture {
    /// Its description, for those who cannot see it.
    pub(crate) described: Shown,
    /// What is written in it, ticks left out.
    pub(crate) drawn: Shown,
    marks: Vec<Mark>,
}

impl Picture {
    /// Reads an SVG as we write them: each element on a line of its own, its text below.
    pub(crate) fn of(svg: &str) -> Picture {
        let description = between(svg, "<desc>", "</desc>").unwrap_or_default();
        let mut marks = Vec::new();
        for element in svg.split("\n<") {
            let attribute = |name: &str| between(element, &format!(" {name}=\""), "\"").unwrap_or_default();
            let pixels = |name: &str| attribute(name).parse().unwrap_or_default();
            let points =
                || attribute("points").split_whitespace().filter_map(|point| point.split_once(',')?.1.parse().ok());
            if element.starts_with("text ") {
                marks.push(Mark::Text {
                    y: attribute("y").parse().unwrap_or_default(),
                    size: pixels("font-size"),
                    faint: attribute("fill") == "#595959",
                    middle: attribute("text-anchor") == "middle",
                    turned: !attribute("transform").is_empty(),
                    text: plain(element.split_once(">\n").map_or("", |(_, text)| text)),
                });
            } else if element.starts_with("rect ") && attribute("fill") != "none" {
                marks.push(Mark::Bar { x: pixels("x"), height: pixels("height") });
            } else if element.starts_with("polygon ") && attribute("opacity") == "1" {
                let points = points().take(points().count() / 2).collect();
                marks.push(Mark::Curve { colour: attribute("fill").to_owned(), is_area: true, points });
            } else if element.starts_with("polyline ") && attribute("stroke-width") == "2" {
                let colour = attribute("stroke").to_owned();
                marks.push(Mark::Curve { colour, is_area: false, points: points().collect() });
            } else if element.starts_with("circle ") {
                let points = vec![attribute("cy").parse().unwrap_or_default()];
                marks.push(Mark::Curve { colour: attribute("fill").to_owned(), is_area: false, points });
            }
        }
        let drawn = marks.iter().filter_map(|mark| match mark {
            Mark::Text { faint: false, text, .. } => Some(text.as_str()),
            // Small print is in sentences, ticks are not.
            Mark::Text { faint: true, middle: false, turned: false, text, .. } if text.split(' ').count() > 2 => {
                Some(text.as_str())
            }
            _ => None,
        });
        let drawn = Shown::of(&drawn.collect::<Vec<_>>().join(" "));
        Picture { described: Shown::of(&plain(description)), drawn, marks }
    }

    /// What is wrong with its panels: each of those expected is there, in this order, with bars as high as their values
    /// are against the highest, and with these values written above as far as there is room.
    pub(crate) fn wrong_panels(&self, expected: &[Panel]) -> Vec<String> {
        let mut found: Vec<(&str, Vec<u32>, Vec<&str>)> = Vec::new();
        let mut is_open = false;
        for mark in &self.marks {
            match mark {
                Mark::Text { turned: true, text, .. } => {
                    found.push((text, Vec::new(), Vec::new()));
                    is_open = true;
                }
                Mark::Text { size: 14.., .. } => is_open = false,
                Mark::Text { faint: false, middle: true, text, .. } if is_open => {
                    found.last_mut().expect("one is open").2.push(text);
                }
                // Further to the left stand the colours of headings.
                Mark::Bar { x: 100.., height } if is_open => found.last_mut().expect("one is open").1.push(*height),
                _ => {}
            }
        }
        found.retain(|(axis, ..)| expected.iter().any(|panel| panel.axis == *axis));
        let mut wrong = Vec::new();
        if found.len() != expected.len() {
            wrong.push(format!("{} panels, not {}", found.len(), expected.len()));
        }
        for (Panel { axis, values }, (drawn, heights, labels)) in expected.iter().zip(&found) {
            let most = values.iter().copied().max().unwrap_or(0).max(1) as f64;
            let highest = heights.iter().copied().max().unwrap_or(0);
            // A bar is at least a pixel high.
            let expected = |value: u64| (value as f64 / most * f64::from(highest)).max(1.0);
            let right = |(value, height): (&u64, &u32)| (expected(*value) - f64::from(*height)).abs() <= 1.0;
            if axis != drawn || values.len() != heights.len() || !values.iter().zip(heights).all(right) {
                wrong.push(format!("{drawn}: bars {heights:?} are not {axis} {values:?}"));
            }
            let mut shown: Vec<String> = values.iter().map(|value| short(axis, *value)).collect();
            let top = values.iter().copied().max().map(|value| short(axis, value));
            let known = labels.iter().all(|label| {
                let at = shown.iter().position(|shown| shown == label);
                at.map(|at| shown.remove(at)).is_some()
            });
            let top_is_there = top.is_none_or(|top| labels.contains(&top.as_str()));
            if !known || !top_is_there {
                wrong.push(format!("{axis}: labels {labels:?} are not those of {values:?}"));
            }
        }
        wrong
    }

    /// What is wrong with its curves: of those expected, in this order of axes, each goes through its values.
    pub(crate) fn wrong_curves(&self, expected: &[Curve]) -> Vec<String> {
        let starts: Vec<usize> = (0..self.marks.len()).filter(|at| self.axis_at(*at).is_some()).collect();
        let plots = starts.iter().enumerate().map(|(number, start)| {
            let end = starts.get(number + 1).copied().unwrap_or(self.marks.len());
            (self.axis_at(*start).unwrap_or_default(), &self.marks[*start..end])
        });
        let mut plots = plots.filter(|(axis, _)| expected.iter().any(|curve| curve.axis == *axis));
        let mut wrong = Vec::new();
        for curves in expected.chunk_by(|one, other| one.axis == other.axis) {
            let Some((axis, marks)) = plots.next() else { return vec![format!("{} is not there", curves[0].axis)] };
            let ticks: Vec<(f64, i32)> = marks.iter().filter_map(tick).collect();
            let (Some((_, zero)), Some((top, at_top))) = (ticks.first(), ticks.last()) else { continue };
            let place = |value: u64| f64::from(*zero) - value as f64 / top * f64::from(zero - at_top);
            for Curve { colour, is_area, values, .. } in curves {
                let ours = marks.iter().filter_map(|mark| match mark {
                    Mark::Curve { colour: its, is_area: area, points } if its == colour && area == is_area => {
                        Some(points)
                    }
                    _ => None,
                });
                let points: Vec<i32> = ours.flatten().copied().collect();
                let each = if *is_area { 2 } else { 1 };
                let right = |(value, points): (&u64, &[i32])| {
                    points.iter().all(|point| (place(*value) - f64::from(*point)).abs() <= 1.0)
                };
                if points.len() != values.len() * each || !values.iter().zip(points.chunks(each)).all(right) {
                    wrong.push(format!("{axis}: the curve {colour} through {points:?} does not show {values:?}"));
                }
            }
        }
        wrong.extend(plots.map(|(axis, _)| format!("{axis}: one more than expected")));
        wrong
    }

    /// What stands at an axis, if a mark is that.
    fn axis_at(&self, at: usize) -> Option<&str> {
        match &self.marks[at] {
            Mark::Text { turned: true, text, .. } => Some(text),
            _ => None,
        }
    }
}

/// The value of a tick, and how far down it is: `200k`, `1.5 MiB`.
fn tick(mark: &Mark) -> Option<(f64, i32)> {
    let Mark::Text { y, faint: true, middle: false, turned: false, text, .. } = mark else { return None };
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text[..text.len() - unit.len()].parse().ok()?;
    let one = match unit.trim() {
        "k" => 1e3,
        "M" => 1e6,
        unit => 1024f64.powi(words::UNITS.iter().position(|other| *other == unit).unwrap_or(0) as i32),
    };
    Some((number * one, *y))
}

/// What stands above a bar: `8.1k` chunks, `379K` of bytes.
fn short(axis: &str, value: u64) -> String {
    if axis.starts_with("bytes") || axis.starts_with("glibc") {
        return words::short_bytes(value);
    }
    short_count(value)
}

/// `178`, `37k`, `1.2M`
pub(crate) fn short_count(value: u64) -> String {
    let (number, suffix) = match value {
        0..1_000 => return value.to_string(),
        1_000..999_500 => (value as f64 / 1e3, "k"),
        _ => (value as f64 / 1e6, "M"),
    };
    let exact = format!("{number:.1}");
    match exact.strip_suffix(".0") {
        Some(whole) => format!("{whole}{suffix}"),
        None if number >= 9.95 => format!("{number:.0}{suffix}"),
        None => format!("{exact}{suffix}"),
    }
}
