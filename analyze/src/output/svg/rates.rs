//! Rates as a picture: for each process and VM a sheet, with what is allocated a second by size class.

use std::io::Write;

use anyhow::Result;

use super::palette;
use super::panel::{Classes, Panel};
use super::scale::Unit;
use super::sheet::{self, BOLDER, Item, lines};
use crate::metrics::rates::{ClassRates, Rate};
use crate::output::rates::words as rate_words;
use crate::output::{Output, words};
use crate::report::{RatesReport, Section};

/// Writes the picture, sheets one below the other.
pub fn write(report: &RatesReport, out: &mut dyn Write) -> Result<()> {
    let titles: Vec<String> = report.sections.iter().map(|section| title(report, section)).collect();
    let mut description: Vec<String> = Vec::new();
    for (title, section) in titles.iter().zip(&report.sections) {
        description.push(format!("{title}: {}. {}.", rate_words::basis(&section.rates), heading(section)));
        description.push(format!("{}.", rate_words::lifetimes(section)));
    }
    description.push(format!("{}.", sheet::small_print(&report.verdict)));
    let sheets: Vec<Vec<Item>> = report.sections.iter().map(|section| items(report, section)).collect();
    let title = format!("What LuaJIT's allocator is asked for: {}", titles.join(", "));
    super::document(&title, &description.join("\n"), &sheets, out)
}

fn title(report: &RatesReport, section: &Section) -> String {
    words::name(&section.title(&report.processes), 66)
}

fn items(report: &RatesReport, section: &Section) -> Vec<Item> {
    let mut items = vec![Item::Gap(14), Item::Title(title(report, section))];
    items.extend(lines(&rate_words::basis(&section.rates), 14.0).map(Item::Text));
    items.extend(lines(&calls(section), 14.0).map(Item::Text));
    items.extend(sheet::warning(&report.verdict));
    if let Some(warning) = rate_words::drowned(&section.rates) {
        items.extend(lines(&warning, 14.0 * BOLDER).map(Item::Warning));
    }
    items.push(Item::Gap(8));
    items.push(Item::Heading(palette::of("used"), heading(section)));
    if !section.rates.classes.is_empty() {
        items.extend(panels(&section.rates.classes));
    }
    items.push(Item::Gap(8));
    items.extend(lines(&rate_words::lifetimes(section), 14.0).map(Item::Text));
    items.extend(sheet::foot(report.origin(), []));
    items
}

/// `12,345 calls a second: 6,000 allocations, 345 resizes, 6,000 frees`
fn calls(section: &Section) -> String {
    let number = |rate: &Rate| rate_words::number(rate.per_second);
    let rates = &section.rates;
    format!(
        "{} calls a second: {} allocations, {} resizes, {} frees; {} freed a second",
        number(&rates.calls),
        number(&rates.allocs),
        number(&rates.resizes),
        number(&rates.frees),
        rate_words::bytes(rates.freed.per_second),
    )
}

/// `allocated: 12.3 MiB a second (11.9 MiB to 12.8 MiB)`
fn heading(section: &Section) -> String {
    let rate = &section.rates.allocated;
    let interval = match (rate.low, rate.high) {
        (Some(low), Some(high)) => {
            format!(" ({} to {}, 95 % confidence)", rate_words::bytes(low), rate_words::bytes(high))
        }
        _ => String::new(),
    };
    format!("allocated: {} a second{interval}", rate_words::bytes(rate.per_second))
}

/// Allocations above bytes, over the same classes.
fn panels(classes: &[ClassRates]) -> [Item; 2] {
    let panel = |unit, axis, of: fn(&ClassRates) -> Rate, named| {
        let whole = |value: f64| value.round().max(0.0) as u64;
        let rates = classes.iter().map(|class| (class.size_from, of(class))).filter(|(_, rate)| rate.per_second > 0.0);
        let whisker = |(size, rate): (u64, Rate)| Some((size, whole(rate.low?), whole(rate.high?)));
        Item::Panel(Panel {
            unit,
            axis,
            colour: palette::of("used"),
            classes: Classes::spanning(classes.iter().map(|class| class.size_from)),
            values: rates.clone().map(|(size, rate)| (size, whole(rate.per_second))).collect(),
            whiskers: rates.filter_map(whisker).collect(),
            named,
        })
    };
    [
        panel(Unit::Count, "allocations/s", |class| class.allocs, false),
        panel(Unit::Bytes, "bytes/s", |class| class.allocated, true),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::rates::sample;

    #[test]
    fn each_class_has_two_bars_and_each_estimate_a_whisker() {
        for estimated in [true, false] {
            let report = sample::report(estimated);
            let mut bytes = Vec::new();
            write(&report, &mut bytes).unwrap();
            let svg = String::from_utf8(bytes).unwrap();
            super::super::tests::assert_well_formed(&svg);
            let classes = &report.sections[0].rates.classes;
            let shown = classes.iter().map(|class| {
                usize::from(class.allocs.per_second > 0.0) + usize::from(class.allocated.per_second > 0.0)
            });
            let shown: usize = shown.sum();
            let bars = svg.lines().filter(|line| line.starts_with("<rect") && line.contains("#0072B2")).count();
            // And a swatch for the heading.
            assert_eq!(bars, report.sections.len() * (shown + 1));
            let strokes = svg.lines().filter(|line| line.starts_with("<polyline") && line.contains("#1A1A1A")).count();
            assert_eq!(strokes, if estimated { report.sections.len() * shown * 3 } else { 0 });
        }
    }
}
