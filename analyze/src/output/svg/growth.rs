//! What grows as a picture: for each VM a sheet with a bar for each size class, and the curves of the heap and of what may
//! leak over the collector's cycles.

use std::io::Write;

use anyhow::Result;
use plotters::prelude::RGBColor;
use shared::Nanos;

use super::net::{Bar, Net};
use super::palette;
use super::scale::Unit;
use super::series::{Layer, Series};
use super::sheet::{self, Item, lines};
use crate::metrics::growth::{Basis, Change, ClassGrowth, Finding, GrowthReport, VmGrowth};
use crate::output::growth::words as say;
use crate::output::{Output, words};

/// Curves of so many suspects are drawn, of those that grew most.
const CURVES: usize = 3;

/// Writes the picture, sheets one below the other.
pub fn write(report: &GrowthReport, out: &mut dyn Write) -> Result<()> {
    let titles: Vec<String> = report.vms.iter().map(|vm| title(report, vm)).collect();
    let described = titles.iter().zip(&report.vms).map(|(title, vm)| {
        let [from, to] = say::moments(vm);
        format!("{title}: {from}. {to}. {}. {}.", say::whole(vm), say::suspects(&vm.figures))
    });
    let verdict = format!("{}.", sheet::small_print(&report.verdict));
    let description: Vec<String> = described.chain([verdict]).collect();
    let sheets: Vec<Vec<Item>> = report.vms.iter().map(|vm| items(report, vm)).collect();
    super::document(&format!("What grows: {}", titles.join(", ")), &description.join("\n"), &sheets, out)
}

fn title(report: &GrowthReport, vm: &VmGrowth) -> String {
    words::name(&say::heading(vm, &report.processes), 66)
}

fn items(report: &GrowthReport, vm: &VmGrowth) -> Vec<Item> {
    let figures = &vm.figures;
    let mut items = vec![Item::Gap(14), Item::Title(title(report, vm))];
    for said in say::moments(vm).into_iter().chain([say::whole(vm)]) {
        items.extend(lines(&said, 14.0).map(Item::Text));
    }
    items.extend(sheet::warning(&report.verdict));
    items.push(Item::Gap(8));
    items.push(Item::Section("Net growth by size".to_owned()));
    items.extend(lines(&say::suspects(figures), 14.0).map(Item::Text));
    items.push(Item::Gap(4));
    items.push(Item::Piece(Box::new(Net(say::changed(figures).map(bar).collect()))));
    items.push(Item::Names(names(figures.suspects().count() > 0)));
    items.extend(curves(vm));
    let caveat = (figures.suspects().count() > 0).then(|| say::CAVEAT.to_owned());
    let legend = Some(say::legend(figures)).filter(|legend| !legend.is_empty() && !figures.are_too_few());
    let print = [caveat, say::unchanged(figures), legend, say::sureness(figures)];
    items.extend(sheet::foot(report.origin(), print.into_iter().flatten()));
    items
}

fn bar(class: &ClassGrowth) -> Bar {
    let change = &class.change;
    let (bytes, count) = (say::signed_bytes(change.net_bytes), say::signed(change.net_count));
    let is_suspect = class.finding == Finding::Suspect;
    let speed = match &change.trend {
        Some(trend) if is_suspect => format!(", {} a second", say::a_second(Some(trend))),
        _ => String::new(),
    };
    Bar {
        name: say::name(class),
        colour: if change.net_bytes < 0 { palette::of("segments") } else { colour(class.finding) },
        change: change.net_bytes,
        figures: format!("{bytes} ({count}){speed}: {}", say::finding(class.finding)),
        is_bold: is_suspect,
    }
}

fn colour(finding: Finding) -> RGBColor {
    if finding == Finding::Suspect { palette::SUSPECT } else { palette::of("used") }
}

/// What the colours stand for.
fn names(has_suspects: bool) -> Vec<(RGBColor, String)> {
    let suspect = has_suspects.then(|| (palette::SUSPECT, "suspect: it grew from cycle to cycle".to_owned()));
    let others = [("used", "grew"), ("segments", "shrank")];
    let others = others.map(|(colour, name)| (palette::of(colour), name.to_owned()));
    suspect.into_iter().chain(others).collect()
}

/// The heap, and below it the suspects, over time.
fn curves(vm: &VmGrowth) -> Vec<Item> {
    let figures = &vm.figures;
    if figures.all.curve.len() < 2 {
        return Vec::new();
    }
    let when = match figures.basis {
        Basis::CycleEnds => "at the ends of collector cycles",
        Basis::Windows => "at the starts of windows, garbage included",
    };
    let mut items = vec![Item::Gap(10), Item::Section(format!("Live blocks {when}"))];
    let all = (palette::of("used"), "all".to_owned(), &figures.all);
    let suspects = figures.suspects().take(CURVES);
    let suspects = suspects.map(|class| (palette::SUSPECT, say::name(class), &class.change));
    let curves: Vec<(RGBColor, String, &Change)> = [all].into_iter().chain(suspects).collect();
    let last = curves.len() - 1;
    for (at, (colour, name, change)) in curves.into_iter().enumerate() {
        items.push(Item::Gap(6));
        items.push(Item::Names(vec![(colour, name)]));
        items.push(Item::Series(curve((vm.from.time, vm.to.time), colour, change, at == last)));
    }
    items
}

/// A curve over the whole period, the points where they are.
fn curve((from, to): (Nanos, Nanos), colour: RGBColor, change: &Change, labelled: bool) -> Series {
    let points = change.curve.iter().map(|level| (level.time_ns, Some(level.bytes)));
    let points: Vec<(Nanos, Option<u64>)> = [(from, None)].into_iter().chain(points).chain([(to, None)]).collect();
    Series {
        axis: "bytes",
        unit: Unit::Bytes,
        plot: 64,
        spans: points.iter().map(|(time, _)| (*time, *time)).collect(),
        areas: Vec::new(),
        lines: vec![Layer { colour, values: points.iter().map(|(_, bytes)| *bytes).collect(), reach: Vec::new() }],
        shades: Vec::new(),
        marks: Vec::new(),
        strip: None,
        labelled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::growth::sample;

    fn svg(report: &GrowthReport) -> String {
        let mut bytes = Vec::new();
        write(report, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn each_class_has_a_bar_and_each_suspect_a_curve() {
        let report = sample::report();
        let svg = svg(&report);
        super::super::tests::assert_well_formed(&svg);
        let figures = &report.vms[0].figures;
        let suspects = figures.suspects().count();
        let count = |what: &str, colour: &str| {
            svg.lines().filter(|line| line.starts_with(what) && line.contains(colour)).count()
        };
        assert_eq!(suspects, 1);
        // A bar, what the colour stands for, and the name of the curve.
        assert_eq!(count("<rect", "fill=\"#D55E00\""), 3 * suspects);
        assert_eq!(count("<polyline", "stroke=\"#D55E00\""), suspects);
        assert_eq!(count("<polyline", "stroke=\"#0072B2\""), 1);
        let shrank = figures.classes.iter().filter(|class| class.change.net_bytes < 0).count();
        assert_eq!(count("<rect", "fill=\"#009E73\""), shrank + 1);
    }

    #[test]
    fn no_cycles_and_no_vms_are_drawn() {
        let mut report = sample::short();
        report.vms[0].figures.all.curve.clear();
        report.vms[0].figures.classes.clear();
        super::super::tests::assert_well_formed(&svg(&report));
        report.vms.clear();
        super::super::tests::assert_well_formed(&svg(&report));
    }
}
