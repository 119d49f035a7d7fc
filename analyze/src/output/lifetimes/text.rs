//! The lives of blocks as text, in 80 columns: first how far they can be trusted.

use std::io::{self, Write};

use super::words as life_words;
use crate::metrics::lives::{ClassLives, Figures, LifetimesReport};
use crate::metrics::population::Tally;
use crate::output::rates::{died_table, words as rate_words};
use crate::output::text::{brief, paragraph, plain_table, right_but_first};
use crate::output::{Options, Output, words};

/// Writes the verdict in brief, then each VM.
pub(super) fn write(report: &LifetimesReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    brief(report.origin(), options, out)?;
    for vm in &report.vms {
        let figures = &vm.figures;
        writeln!(out)?;
        let title = words::name(&life_words::heading(vm, &report.processes), options.width);
        paragraph(out, options, &options.bold(&title))?;
        paragraph(out, options, &life_words::basis(figures))?;
        paragraph(out, options, &life_words::turnover(figures))?;
        writeln!(out)?;
        if figures.is_still() {
            paragraph(out, options, "no block was born, died or was resized")?;
            continue;
        }
        kinds(figures, out)?;
        young(figures, options, out)?;
        deaths(figures, options, out)?;
        resizes(figures, options, out)?;
    }
    if report.vms.is_empty() {
        writeln!(out, "\nNo VM has a heap to show.")?;
    }
    Ok(())
}

/// What is known of blocks, and what is not.
fn kinds(figures: &Figures, out: &mut dyn Write) -> io::Result<()> {
    let all = &figures.all;
    let dead = Tally { count: all.born.count - all.alive.count, bytes: all.born.bytes - all.alive.bytes };
    let rows = [
        ("born", all.born, "in a window"),
        ("  died", dead, "in it: their age is known"),
        ("  alive", all.alive, "at its end: how old they become is not known"),
        ("older, died", all.older_died, "born before it: at what age is not known"),
    ];
    let mut table = plain_table();
    table.set_header(["", "blocks", "bytes"]);
    for (name, tally, what) in rows {
        table.add_row([name, &words::thousands(tally.count), &words::bytes(tally.bytes), what]);
    }
    right_but_first(&mut table);
    if let Some(column) = table.column_mut(3) {
        column.set_cell_alignment(comfy_table::CellAlignment::Left);
    }
    writeln!(out, "{}", table.trim_fmt())
}

/// The share that dies young, of all and by size.
fn young(figures: &Figures, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let all = &figures.all.lifetimes;
    writeln!(out)?;
    if all.died.is_empty() {
        return paragraph(out, options, &life_words::young(figures));
    }
    paragraph(
        out,
        options,
        "the share that dies by an age, with 95 % confidence; what lived on is taken into account",
    )?;
    writeln!(out, "{}", died_table(all).trim_fmt())?;
    writeln!(out)?;
    paragraph(out, options, "of the bytes born in a size class, % dead by")?;
    let mut table = plain_table();
    let ages = all.died.iter().map(|died| rate_words::age(died.age_ns));
    table.set_header(["from size", "born"].map(str::to_owned).into_iter().chain(ages));
    for class in figures.classes.iter().filter(|class| class.born.count > 0) {
        let share = |at: usize| {
            let died = class.lifetimes.died.get(at);
            died.map_or("-".to_owned(), |died| format!("{:.1}", died.of_bytes.share * 100.0))
        };
        let shares = (0..all.died.len()).map(share);
        table.add_row([life_words::size(class), words::bytes(class.born.bytes)].into_iter().chain(shares));
    }
    right_but_first(&mut table);
    writeln!(out, "{}", table.trim_fmt())
}

/// What was seen to die, by size and age.
fn deaths(figures: &Figures, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let ages = life_words::ages(figures);
    writeln!(out)?;
    paragraph(out, options, "bytes seen to die, by age up to; then those that lived on, and dead of unknown age")?;
    let mut table = plain_table();
    let heads = figures.all.died[..ages].iter().map(life_words::until);
    let ends = ["alive", "unknown"].map(str::to_owned);
    table.set_header(["from size".to_owned()].into_iter().chain(heads).chain(ends));
    let row = |class: &ClassLives| {
        let died = class.died[..ages].iter().map(|died| died.bytes);
        let bytes = died.chain([class.alive.bytes, class.older_died.bytes]);
        [life_words::size(class)].into_iter().chain(bytes.map(words::short_bytes)).collect::<Vec<String>>()
    };
    figures.classes.iter().chain([&figures.all]).for_each(|class| {
        table.add_row(row(class));
    });
    right_but_first(&mut table);
    writeln!(out, "{}", table.trim_fmt())
}

/// How often and how far blocks grow.
fn resizes(figures: &Figures, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    paragraph(out, options, &life_words::resizes(&figures.resizes))?;
    if let Some(older) = life_words::older(&figures.resizes) {
        paragraph(out, options, &older)?;
    }
    if figures.chains.is_empty() {
        return Ok(());
    }
    let mut table = plain_table();
    table.set_header(["resized", "blocks", "alive", "bytes at birth", "in the end", "times as large"]);
    for chain in &figures.chains {
        table.add_row([
            life_words::often(chain),
            words::thousands(chain.blocks),
            words::thousands(chain.alive),
            words::bytes(chain.first_bytes),
            words::bytes(chain.last_bytes),
            format!("{:.1}", chain.ratio()),
        ]);
    }
    right_but_first(&mut table);
    writeln!(out, "{}", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::lifetimes::sample;

    #[test]
    fn starts_with_the_verdict_and_fits_80_columns() {
        let mut report = sample::report();
        for empty in [false, true] {
            if empty {
                report.vms.clear();
            }
            let mut bytes = Vec::new();
            write(&report, &Options::default(), &mut bytes).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.starts_with("verified: "));
            assert_eq!(text.contains("how old they become is not known"), !empty, "{text}");
            for line in text.lines() {
                assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line:?}");
            }
        }
    }
}
