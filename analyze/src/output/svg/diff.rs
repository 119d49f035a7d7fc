//! A comparison as a picture: for each pair of VMs a sheet with its populations by size, B filled and A as an outline
//! over it; for each pair of processes one with what each owner has.

use std::io::Write;

use anyhow::Result;

use super::bars::{Bars, Line};
use super::palette::{self, RESIDENT};
use super::panel::{Classes, Panel};
use super::scale::Unit;
use super::sheet::{self, BOLDER, Item, lines};
use crate::metrics::diff::{ClassPair, DiffReport, Figure, ProcessPair, Side, VmPair};
use crate::metrics::objects::Growth;
use crate::metrics::population::Tally;
use crate::output::diff::words as diff_words;
use crate::output::words;
use crate::replay::verdict::Judgement;

/// Writes the picture, sheets one below the other.
pub fn write(report: &DiffReport, out: &mut dyn Write) -> Result<()> {
    let sides =
        [("A", &report.a), ("B", &report.b)].map(|(name, side)| words::name(&diff_words::side(name, side), 120));
    let mut sheets = vec![head(report, &sides)];
    let mut description = sides.to_vec();
    for pair in &report.vms {
        sheets.push(vm(report, pair));
        description.push(format!("{}.", words::name(&diff_words::title(report, pair), 200)));
        description.extend(pair.figures().iter().map(sentence));
    }
    for pair in &report.processes {
        sheets.push(process(pair));
        description.push(format!("{}.", words::name(&diff_words::process_title(pair), 200)));
        description.extend(pair.figures().iter().map(sentence));
    }
    description.extend(verdicts(report));
    let title = format!("LuaJIT heaps compared: {}", sides.join(", "));
    super::document(&title, &description.join("\n"), &sheets, out)
}

/// `used bytes: 9,792,208 in A, 11,792,208 in B, +2,000,000 (+20.4 %).`
fn sentence(figure: &Figure) -> String {
    let [a, b] = [figure.a, figure.b].map(|value| diff_words::amount(figure.unit, value));
    let change = (diff_words::change(figure), diff_words::relative(figure));
    let change = if change.0 == "0" { "no change".to_owned() } else { format!("{} ({})", change.0, change.1) };
    format!("{}: {a} in A, {b} in B, {change}.", diff_words::name(figure))
}

fn verdicts(report: &DiffReport) -> [String; 2] {
    [("A", &report.a), ("B", &report.b)].map(|(name, side)| format!("{name} {}.", sheet::small_print(&side.verdict)))
}

/// What is compared, how far it can be trusted, and what is not compared.
fn head(report: &DiffReport, sides: &[String; 2]) -> Vec<Item> {
    let mut items = vec![Item::Gap(14)];
    items.extend(sides.iter().flat_map(|side| lines(side, 18.0 * BOLDER)).map(Item::Title));
    for (side, verdict) in [&report.a, &report.b].into_iter().zip(verdicts(report)) {
        items.extend(verdict_lines(side, &verdict));
    }
    let left_out = report.left_out.iter().map(|why| format!("not compared: {}", words::name(why, 300)));
    for line in diff_words::alone(report).into_iter().chain(left_out) {
        items.extend(lines(&line, 14.0 * BOLDER).map(Item::Warning));
    }
    if report.is_empty() {
        items.push(Item::Text("no difference".to_owned()));
    }
    items.push(Item::Rule);
    items
}

fn verdict_lines(side: &Side, verdict: &str) -> Vec<Item> {
    if matches!(side.verdict.judgement(), Judgement::Verified | Judgement::Consistent) {
        lines(verdict, 12.0).map(Item::SmallPrint).collect()
    } else {
        lines(verdict, 14.0 * BOLDER).map(Item::Warning).collect()
    }
}

fn vm(report: &DiffReport, pair: &VmPair) -> Vec<Item> {
    let title = words::name(&diff_words::title(report, pair), 120);
    let mut items: Vec<Item> = lines(&title, 18.0 * BOLDER).map(Item::Title).collect();
    for (name, one) in [("A", &pair.a), ("B", &pair.b)] {
        items.extend(lines(&format!("{name} {}", words::moment(&one.moment)), 14.0).map(Item::Text));
        items.extend(diff_words::short_of(name, &one.moment).iter().flat_map(|why| lines(why, 14.0)).map(Item::Text));
    }
    items.push(Item::SmallPrint("bars: B; outlines: A".to_owned()));
    let figures = pair.figures();
    let of = |name: &str| figures.iter().find(|figure| figure.name == name).map(sentence);
    for name in ["gc_total", "calls_per_s", "allocated_per_s"] {
        items.extend(of(name).iter().flat_map(|sentence| lines(sentence, 14.0)).map(Item::Text));
    }
    items.push(Item::Gap(8));
    items.extend(pair.kinds.iter().flat_map(kinds));
    let all = pair.classes();
    let spanned = Classes::spanning(all.iter().flat_map(|(_, classes)| classes.iter().map(|class| class.size_from)));
    for (name, classes) in all {
        if classes.is_empty() {
            continue;
        }
        items.push(Item::Heading(palette::of(name), of(&format!("{name}_bytes")).unwrap_or_default()));
        items.extend(of(&format!("{name}_count")).map(Item::Text));
        items.extend(panels(name, &classes, spanned));
        items.push(Item::Gap(8));
    }
    items.push(Item::Rule);
    items
}

/// The kinds of objects of both sides, those first that grew most.
fn kinds(kinds: &Growth) -> Vec<Item> {
    let mut bars = vec![Line::Heading(diff_words::kinds(kinds))];
    bars.extend(kinds.kinds.iter().map(|kind| Line::Bar {
        name: kind.kind.to_owned(),
        parts: vec![(palette::of("used"), kind.after.bytes)],
        outline: kind.before.bytes,
        figures: format!("{} to {}", words::bytes(kind.before.bytes), words::bytes(kind.after.bytes)),
    }));
    vec![Item::Bars(Bars(bars)), Item::Gap(8)]
}

/// Counts above bytes, over the same classes.
fn panels(name: &str, classes: &[ClassPair], spanned: Classes) -> [Item; 2] {
    let things = match name {
        "segments" => "segments",
        "direct" => "blocks",
        _ => "chunks",
    };
    let panel = |unit, axis, of: fn(&Tally) -> u64, named| {
        let values = |side: fn(&ClassPair) -> &Tally| {
            let there = classes.iter().map(|class| (class.size_from, of(side(class))));
            there.filter(|(_, value)| *value > 0).collect::<Vec<_>>()
        };
        let panel = Panel {
            unit,
            axis,
            colour: palette::of(name),
            classes: spanned,
            values: values(|class| &class.b),
            whiskers: Vec::new(),
            named,
        };
        Item::Overlaid(panel, values(|class| &class.a))
    };
    [panel(Unit::Count, things, |tally| tally.count, false), panel(Unit::Bytes, "bytes", |tally| tally.bytes, true)]
}

fn process(pair: &ProcessPair) -> Vec<Item> {
    let title = words::name(&diff_words::process_title(pair), 120);
    let mut items: Vec<Item> = lines(&title, 18.0 * BOLDER).map(Item::Title).collect();
    for figure in pair.figures() {
        items.extend(lines(&sentence(&figure), 14.0).map(Item::Text));
    }
    items.push(Item::Gap(8));
    let mut bars = vec![Line::Heading("resident, by owner; bars: B, outlines: A".to_owned())];
    for (owner, a, b) in pair.owners().into_iter().filter(|(_, a, b)| a.resident + b.resident > 0) {
        bars.push(Line::Bar {
            name: owner.label,
            parts: vec![(RESIDENT, b.resident)],
            outline: a.resident,
            figures: format!("{} to {}", words::bytes(a.resident), words::bytes(b.resident)),
        });
    }
    items.push(Item::Bars(Bars(bars)));
    items.push(Item::Rule);
    items
}
