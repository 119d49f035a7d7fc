//! One VM's sheet: what it is, its populations, and how far that can be trusted: in small print below if all of it was
//! verified, else in bold above.

use anyhow::Result;
use plotters::prelude::{Color, PathElement, Rectangle};
use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;

use super::palette::{self, FAINT, GRID, INK};
use super::panel::{Classes, Panel};
use super::scale::Unit;
use super::{Area, MARGIN, WIDTH};
use crate::metrics::population::{Population, Populations};
use crate::output::words;
use crate::replay::verdict::{Judgement, Verdict};
use crate::report::{Report, VmReport};

/// How much wider bold letters are.
const BOLDER: f64 = 1.12;

/// What stands on a sheet, from top to bottom.
enum Item {
    Title(String),
    Text(String),
    Warning(String),
    SmallPrint(String),
    Heading(RGBColor, String),
    Panel(Panel),
    Gap(u32),
    Rule,
}

impl Item {
    fn height(&self) -> u32 {
        match self {
            Item::Title(_) => 30,
            Item::Text(_) | Item::Warning(_) => 20,
            Item::SmallPrint(_) => 17,
            Item::Heading(..) => 26,
            Item::Panel(panel) => panel.height(),
            Item::Gap(pixels) => *pixels,
            Item::Rule => 13,
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
            Item::Panel(panel) => panel.draw(area)?,
            Item::Gap(_) => {}
            Item::Rule => area.draw(&PathElement::new([(left, middle), (right, middle)], GRID))?,
        }
        Ok(())
    }
}

/// Pixels from top to bottom.
pub(super) fn height(report: &Report, vm: &VmReport) -> u32 {
    items(report, vm).iter().map(Item::height).sum()
}

/// Draws a sheet on an area of that height.
pub(super) fn draw(area: &Area, report: &Report, vm: &VmReport) -> Result<()> {
    let mut rest = area.clone();
    for item in items(report, vm) {
        let (own, below) = rest.split_vertically(item.height());
        item.draw(&own)?;
        rest = below;
    }
    Ok(())
}

fn items(report: &Report, vm: &VmReport) -> Vec<Item> {
    let mut items = vec![Item::Gap(14), Item::Title(super::sheet_title(report, vm))];
    let mut state = format!("{}; {}", words::name(&words::build(&vm.vm), 80), words::moment(&vm.moment));
    if let Some(short_of) = &vm.moment.short_of {
        state.push_str(&format!("; not the moment asked for: {}", words::name(short_of, 120)));
    }
    items.extend(lines(&state, 14.0).map(Item::Text));
    items.extend(lines(&totals(vm), 14.0).map(Item::Text));
    let verdict = small_print(&report.verdict);
    let trusted = matches!(report.verdict.judgement(), Judgement::Verified | Judgement::Consistent);
    if !trusted {
        items.extend(lines(&verdict, 14.0 * BOLDER).map(Item::Warning));
    }
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
    items.push(Item::Rule);
    if trusted {
        items.extend(lines(&verdict, 12.0).map(Item::SmallPrint));
    }
    let trace = format!("{}: {}", words::name(&report.source, 80), words::name(&words::recording(&report.header), 200));
    items.extend(lines(&trace, 12.0).map(Item::SmallPrint));
    items.push(Item::Gap(16));
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
        }),
        Item::Panel(Panel {
            unit: Unit::Bytes,
            axis: "bytes",
            colour,
            classes,
            values: buckets.iter().map(|(bucket, tally)| (*bucket, tally.bytes)).collect(),
            named: true,
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
    let missed = verdict.calls_not_replayed - verdict.calls_before_first_keyframe;
    if missed > 0 {
        print.push_str(&format!("; {} not replayed", words::count(missed, "call")));
    }
    if verdict.truncated.is_some() {
        print.push_str("; the trace is truncated");
    }
    if !verdict.damage.is_empty() {
        print.push_str("; the trace is damaged");
    }
    print
}

/// Text broken to the sheet's width.
fn lines(text: &str, pixels: f64) -> impl Iterator<Item = String> {
    let letters = f64::from(WIDTH - 2 * MARGIN) / (pixels * 0.54);
    words::wrap(text, letters as usize).into_iter()
}
