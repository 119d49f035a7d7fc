//! One VM's sheet: what it is, its populations, and how far that can be trusted: in small print below if all of it was
//! verified, else in bold above.

use anyhow::Result;
use plotters::prelude::{Color, PathElement, Rectangle};
use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;

use super::area::Areas;
use super::bars::Bars;
use super::cells::Cells;
use super::palette::{self, FAINT, GRID, INK};
use super::panel::{Classes, Panel};
use super::pie::Pies;
use super::scale::Unit;
use super::series::Series;
use super::{Area, MARGIN, WIDTH};
use crate::metrics::population::{Population, Populations};
use crate::output::{Output, words};
use crate::replay::verdict::{Judgement, Verdict};
use crate::report::{Origin, Report, VmReport};

/// How much wider bold letters are.
pub(super) const BOLDER: f64 = 1.12;

/// What stands on a sheet, from top to bottom.
pub(super) enum Item {
    Title(String),
    Text(String),
    Warning(String),
    SmallPrint(String),
    Heading(RGBColor, String),
    Panel(Panel),
    /// With outlines of other values over its bars.
    Overlaid(Panel, Vec<(u64, u64)>),
    Section(String),
    Pies(Pies),
    Areas(Areas),
    Series(Series),
    Bars(Bars),
    Cells(Cells),
    Names(Vec<(RGBColor, String)>),
    Gap(u32),
    Rule,
    Piece(Box<dyn Piece>),
}

/// What stands on the sheets of one command only.
pub(super) trait Piece {
    /// Pixels from top to bottom.
    fn height(&self) -> u32;
    /// Draws on an area of that height.
    fn draw(&self, area: &Area) -> Result<()>;
}

impl Item {
    fn height(&self) -> u32 {
        match self {
            Item::Title(_) => 30,
            Item::Text(_) | Item::Warning(_) => 20,
            Item::SmallPrint(_) => 17,
            Item::Heading(..) => 26,
            Item::Panel(panel) | Item::Overlaid(panel, _) => panel.height(),
            Item::Section(_) => 26,
            Item::Pies(pies) => pies.height(),
            Item::Areas(areas) => areas.height(),
            Item::Series(series) => series.height(),
            Item::Bars(bars) => bars.height(),
            Item::Cells(cells) => cells.height(),
            Item::Names(names) => NAMES_ROW * places(names).last().map_or(0, |(_, row)| row + 1),
            Item::Gap(pixels) => *pixels,
            Item::Rule => 13,
            Item::Piece(piece) => piece.height(),
        }
    }

    fn draw(&self, area: &Area) -> Result<()> {
        let middle = self.height() as i32 / 2;
        let right = (WIDTH - MARGIN) as i32;
        let left = MARGIN as i32;
        match self {
            Item::Title(text) => area.draw_text(text, &palette::bold(18.0, INK, HPos::Left), (left, middle))?,
            Item::Text(text) => area.draw_text(text, &palette::letters(14.0, INK, HPos::Left), (left, middle))?,
            Item::Warning(text) => area.draw_text(text, &palette::bold(14.0, INK, HPos::Left), (left, middle))?,
            Item::SmallPrint(text) => {
                area.draw_text(text, &palette::letters(12.0, FAINT, HPos::Left), (left, middle))?
            }
            Item::Heading(colour, text) => {
                area.draw(&Rectangle::new([(left, middle - 6), (left + 12, middle + 6)], colour.filled()))?;
                area.draw_text(text, &palette::bold(14.0, INK, HPos::Left), (left + 20, middle))?;
            }
            Item::Panel(panel) => panel.draw(area, &[])?,
            Item::Overlaid(panel, outlines) => panel.draw(area, outlines)?,
            Item::Section(text) => area.draw_text(text, &palette::bold(14.0, INK, HPos::Left), (left, middle))?,
            Item::Pies(pies) => pies.draw(area)?,
            Item::Areas(areas) => areas.draw(area)?,
            Item::Series(series) => series.draw(area)?,
            Item::Bars(bars) => bars.draw(area)?,
            Item::Cells(cells) => cells.draw(area)?,
            Item::Names(names) => draw_names(area, names)?,
            Item::Gap(_) => {}
            Item::Piece(piece) => piece.draw(area)?,
            Item::Rule => area.draw(&PathElement::new([(left, middle), (right, middle)], GRID))?,
        }
        Ok(())
    }
}

/// Pixels of a row of names, and between two of them.
const NAMES_ROW: u32 = 20;
const NAMES_APART: f64 = 40.0;

/// Where the names of colours stand: pixels from the left, and the row.
fn places(names: &[(RGBColor, String)]) -> Vec<(i32, u32)> {
    let (mut x, mut row) = (0.0, 0);
    let mut places = Vec::new();
    for (_, name) in names {
        let needs = palette::width(name, 12.0) + NAMES_APART;
        if x > 0.0 && x + needs > f64::from(WIDTH - 2 * MARGIN) {
            (x, row) = (0.0, row + 1);
        }
        places.push((MARGIN as i32 + x as i32, row));
        x += needs;
    }
    places
}

fn draw_names(area: &Area, names: &[(RGBColor, String)]) -> Result<()> {
    for ((colour, name), (x, row)) in names.iter().zip(places(names)) {
        let middle = (row * NAMES_ROW + NAMES_ROW / 2) as i32;
        area.draw(&Rectangle::new([(x, middle - 6), (x + 12, middle + 6)], colour.filled()))?;
        area.draw_text(name, &palette::letters(12.0, INK, HPos::Left), (x + 20, middle))?;
    }
    Ok(())
}

/// Pixels from top to bottom.
pub(super) fn height(items: &[Item]) -> u32 {
    items.iter().map(Item::height).sum()
}

/// Draws a sheet on an area of that height.
pub(super) fn draw(area: &Area, items: &[Item]) -> Result<()> {
    let mut rest = area.clone();
    for item in items {
        let (own, below) = rest.split_vertically(item.height());
        item.draw(&own)?;
        rest = below;
    }
    Ok(())
}

/// One VM's sheet.
pub(super) fn items(report: &Report, vm: &VmReport) -> Vec<Item> {
    let mut items = vec![Item::Gap(14), Item::Title(super::sheet_title(report, vm))];
    let mut state = format!("{}; {}", words::name(&words::build(&vm.vm), 80), words::moment(&vm.moment));
    if let Some(short_of) = words::short_of(&vm.moment) {
        state.push_str(&format!("; {}", words::name(&short_of, 150)));
    }
    items.extend(lines(&state, 14.0).map(Item::Text));
    items.extend(lines(&totals(vm), 14.0).map(Item::Text));
    items.extend(warning(&report.verdict));
    items.push(Item::Gap(8));
    let classes = Classes::of(&vm.populations);
    for (name, population) in vm.populations.named() {
        if name == "direct" && population.all.count == 0 {
            continue;
        }
        items.push(Item::Heading(palette::of(name), heading(name, population, vm)));
        if population.all.count > 0 {
            items.extend(panels(name, population, classes));
        }
        items.push(Item::Gap(8));
    }
    items.extend(foot(report.origin(), []));
    items
}

/// Counts above bytes, over the same classes.
fn panels(name: &str, population: &Population, classes: Classes) -> [Item; 2] {
    let (colour, buckets) = (palette::of(name), &population.buckets);
    let things = match name {
        "segments" => "segments",
        "direct" => "blocks",
        _ => "chunks",
    };
    [
        Item::Panel(Panel {
            unit: Unit::Count,
            axis: things,
            colour,
            classes,
            values: buckets.iter().map(|(bucket, tally)| (*bucket, tally.count)).collect(),
            named: false,
            whiskers: Vec::new(),
        }),
        Item::Panel(Panel {
            unit: Unit::Bytes,
            axis: "bytes",
            colour,
            classes,
            values: buckets.iter().map(|(bucket, tally)| (*bucket, tally.bytes)).collect(),
            named: true,
            whiskers: Vec::new(),
        }),
    ]
}

/// `used: 50,035 chunks, 40.0 MiB (51.2 % of the segments), each 8 B to 254.0 KiB`
pub(super) fn heading(name: &str, population: &Population, vm: &VmReport) -> String {
    let Population { all, min, max, .. } = population;
    if all.count == 0 {
        return format!("{name}: none");
    }
    let things = match name {
        "segments" => words::thousands(all.count),
        "direct" => format!("{}, apart from the segments", words::count(all.count, "block")),
        _ => words::count(all.count, "chunk"),
    };
    let whole = vm.populations.segments.all.bytes;
    let share = match name {
        "used" | "free" => format!(" ({} of the segments)", words::share(all.bytes, whole)),
        _ => String::new(),
    };
    let sizes = match all.count {
        1 => String::new(),
        _ if min == max => format!(", each {}", words::bytes(*min)),
        _ => format!(", each {} to {}", words::bytes(*min), words::bytes(*max)),
    };
    format!("{name}: {things}, {}{share}{sizes}", words::bytes(all.bytes))
}

/// How the populations make up the heap, in a line.
pub(super) fn totals(vm: &VmReport) -> String {
    let Populations { used, free, segments, direct, overhead, gc_total } = &vm.populations;
    let equal = if used.all.bytes + free.all.bytes + overhead == segments.all.bytes { "=" } else { "is not" };
    format!(
        "used {} + free {} + overhead {} {equal} segments {}; direct {}; gc.total {}",
        words::bytes(used.all.bytes),
        words::bytes(free.all.bytes),
        words::bytes(*overhead),
        words::bytes(segments.all.bytes),
        words::bytes(direct.all.bytes),
        words::bytes(*gc_total),
    )
}

/// The verdict: `verified: 1,171,143 calls replayed, …; 0 lost`.
pub(super) fn small_print(verdict: &Verdict) -> String {
    let mut print = format!("{}: {}", words::judgement(verdict.judgement()), words::replayed(verdict));
    print.push_str(&format!("; {} lost", words::thousands(verdict.calls_lost)));
    let missed = verdict.calls_out_of_reach();
    if missed > 0 {
        print.push_str(&format!("; {} not replayed", words::count(missed, "call")));
    }
    if verdict.windows.all > 0 {
        print.push_str(&format!("; {}", words::windows(&verdict.windows)));
    }
    if verdict.followed_differing > 0 {
        print.push_str(&format!("; {}", words::followed(verdict)));
    }
    if !verdict.parts_missing.is_empty() || !verdict.parts_broken.is_empty() {
        print.push_str("; parts of the recording are missing");
    }
    if verdict.truncated.is_some() {
        print.push_str("; the trace is truncated");
    }
    if !verdict.damage.is_empty() {
        print.push_str("; the trace is damaged");
    }
    print
}

fn is_trusted(verdict: &Verdict) -> bool {
    matches!(verdict.judgement(), Judgement::Verified | Judgement::Consistent)
}

/// What stands above the figures of a trace that is not to be trusted: why.
pub(super) fn warning(verdict: &Verdict) -> impl Iterator<Item = Item> + use<> {
    let warning = (!is_trusted(verdict)).then(|| small_print(verdict));
    warning.into_iter().flat_map(|print| lines(&print, 14.0 * BOLDER)).map(Item::Warning)
}

/// What a sheet ends with, in small print: what there is to be said of its figures, the verdict if it is no warning, and
/// the trace.
pub(super) fn foot(of: Origin<'_>, said: impl IntoIterator<Item = String>) -> Vec<Item> {
    let verdict = is_trusted(of.verdict).then(|| small_print(of.verdict));
    let trace = format!("{}: {}", words::name(of.source, 80), words::name(&words::recording(of.header), 200));
    let print = said.into_iter().chain(verdict).chain([trace]);
    let print = print.flat_map(|said| lines(&said, 12.0)).map(Item::SmallPrint);
    [Item::Rule].into_iter().chain(print).chain([Item::Gap(16)]).collect()
}

/// Text broken to the sheet's width.
pub(super) fn lines(text: &str, pixels: f64) -> impl Iterator<Item = String> + use<> {
    let letters = f64::from(WIDTH - 2 * MARGIN) / (pixels * 0.54);
    words::wrap(text, letters as usize).into_iter()
}
