//! The lives of blocks as a picture: for each VM a sheet, with what dies at what age by size, and the share that dies
//! young.

use std::io::Write;

use anyhow::Result;
use plotters::prelude::RGBColor;

use super::bars::{Bars, Line};
use super::curve::Curves;
use super::heat::Heat;
use super::palette;
use super::sheet::{self, Item, lines};
use crate::metrics::lives::{ClassLives, Figures, LifetimesReport, VmLifetimes};
use crate::metrics::resizes::Chain;
use crate::output::lifetimes::words as life_words;
use crate::output::rates::words as rate_words;
use crate::output::{Output, words};

/// Writes the picture, sheets one below the other.
pub fn write(report: &LifetimesReport, out: &mut dyn Write) -> Result<()> {
    let titles: Vec<String> = report.vms.iter().map(|vm| title(report, vm)).collect();
    let mut description: Vec<String> = Vec::new();
    for (title, vm) in titles.iter().zip(&report.vms) {
        let figures = &vm.figures;
        let parts = [life_words::basis(figures), life_words::turnover(figures), life_words::young(figures)];
        description.push(format!("{title}: {}. {}.", parts.join(". "), life_words::resizes(&figures.resizes)));
    }
    description.push(format!("{}.", sheet::small_print(&report.verdict)));
    let sheets: Vec<Vec<Item>> = report.vms.iter().map(|vm| items(report, vm)).collect();
    let title = format!("How long LuaJIT's blocks live: {}", titles.join(", "));
    super::document(&title, &description.join("\n"), &sheets, out)
}

fn title(report: &LifetimesReport, vm: &VmLifetimes) -> String {
    words::name(&life_words::heading(vm, &report.processes), 66)
}

/// What was seen to die, what lived on, and what died of unknown age.
const SEEN: &str = "used";
const ALIVE: &str = "segments";
const UNKNOWN: &str = "free";

fn items(report: &LifetimesReport, vm: &VmLifetimes) -> Vec<Item> {
    let figures = &vm.figures;
    let mut items = vec![Item::Gap(14), Item::Title(title(report, vm))];
    items.extend(lines(&life_words::basis(figures), 14.0).map(Item::Text));
    items.extend(lines(&life_words::turnover(figures), 14.0).map(Item::Text));
    items.extend(sheet::warning(&report.verdict));
    items.push(Item::Gap(8));
    if figures.is_still() {
        items.push(Item::Text("no block was born, died or was resized".to_owned()));
        items.extend(sheet::foot(report.origin(), []));
        return items;
    }
    items.push(Item::Section("What dies at what age, by size at birth".to_owned()));
    items.push(Item::Piece(Box::new(heat(figures))));
    let named = [(SEEN, "seen to die"), (ALIVE, "born, and alive at the end"), (UNKNOWN, "dead, but born before")];
    items.push(Item::Names(named.map(|(colour, name)| (palette::of(colour), name.to_owned())).into()));
    items.push(Item::Gap(10));
    items.push(Item::Section("The share that dies young".to_owned()));
    items.extend(lines(&life_words::young(figures), 14.0).map(Item::Text));
    if !figures.curve.is_empty() {
        let curve = |of: fn(&crate::metrics::lifetimes::DiedBy) -> crate::metrics::lifetimes::Share| {
            figures.curve.iter().map(|died| (died.age_ns, of(died))).collect()
        };
        let curves = [(palette::of("used"), curve(|d| d.of_bytes)), (palette::of("free"), curve(|d| d.of_blocks))];
        items.push(Item::Piece(Box::new(Curves(curves.into()))));
        let names = [("used", "of bytes, with its 95 % confidence interval"), ("free", "of blocks")];
        items.push(Item::Names(names.map(|(colour, name)| (palette::of(colour), name.to_owned())).into()));
    }
    items.push(Item::Gap(10));
    items.push(Item::Section("How blocks grow".to_owned()));
    items.extend(lines(&life_words::resizes(&figures.resizes), 14.0).map(Item::Text));
    items.extend(chains(figures));
    items.extend(sheet::foot(report.origin(), []));
    items
}

/// Blocks by how often they were resized: their bytes at birth and in the end.
fn chains(figures: &Figures) -> Vec<Item> {
    if figures.chains.is_empty() {
        return Vec::new();
    }
    let bar = |chain: &Chain| Line::Bar {
        name: format!("resized {} times", life_words::often(chain)).replace(" 1 times", " once"),
        parts: vec![
            (palette::of(SEEN), chain.first_bytes),
            (palette::of(ALIVE), chain.last_bytes.saturating_sub(chain.first_bytes)),
        ],
        outline: 0,
        figures: format!("{}, {:.1} times as large", words::count(chain.blocks, "block"), chain.ratio()),
    };
    let names = [(SEEN, "bytes at birth"), (ALIVE, "bytes by which they grew")];
    vec![
        Item::Bars(Bars(figures.chains.iter().map(bar).collect())),
        Item::Names(names.map(|(colour, name)| (palette::of(colour), name.to_owned())).into()),
    ]
}

/// Bytes by size and age; behind them those whose age at death is not known.
fn heat(figures: &Figures) -> Heat {
    let ages = life_words::ages(figures);
    let died = &figures.all.died[..ages];
    let until = |age| format!("to {}", rate_words::age(age));
    let heads = died.iter().map(|died| died.age_to_ns.map_or("older".to_owned(), until));
    let colours = vec![palette::of(SEEN); ages];
    let ends: [RGBColor; 2] = [palette::of(ALIVE), palette::of(UNKNOWN)];
    let row = |class: &ClassLives| {
        let died = class.died[..ages].iter().map(|died| died.bytes);
        (life_words::size(class), died.chain([class.alive.bytes, class.older_died.bytes]).collect())
    };
    Heat {
        title: "bytes, by the smallest size of a class and the age at death".to_owned(),
        heads: heads.chain(["alive", "unknown"].map(str::to_owned)).collect(),
        colours: colours.into_iter().chain(ends).collect(),
        rows: figures.classes.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::lifetimes::sample;

    #[test]
    fn each_figure_that_is_not_nothing_has_a_cell() {
        let report = sample::report();
        let mut bytes = Vec::new();
        write(&report, &mut bytes).unwrap();
        let svg = String::from_utf8(bytes).unwrap();
        super::super::tests::assert_well_formed(&svg);
        let figures = &report.vms[0].figures;
        let died: usize = figures.classes.iter().flat_map(|class| &class.died).filter(|died| died.bytes > 0).count();
        let cells = svg.lines().filter(|line| line.starts_with("<rect") && line.contains("#0072B2")).count();
        // And the names of the colours, of cells, curves and bars, and a bar for each chain.
        assert_eq!(cells, died + 3 + figures.chains.len());
        let lines = svg.lines().filter(|line| line.starts_with("<polyline") && line.contains("stroke-width=\"2\""));
        assert_eq!(lines.count(), 2);
    }
}
