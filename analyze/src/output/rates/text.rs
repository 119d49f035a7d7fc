//! Rates as text, in 80 columns: first how far they can be trusted.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table};

use super::words as rate_words;
use crate::metrics::lifetimes::Lifetimes;
use crate::metrics::rates::{Basis, ClassRates, Rate};
use crate::output::text::{BAR, bar, brief, paragraph, plain_table, right_but_first};
use crate::output::{Options, Output, words};
use crate::report::{RatesReport, Section};

/// Writes the verdict in brief, then each process and VM.
pub(super) fn write(report: &RatesReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    brief(report.origin(), options, out)?;
    for section in &report.sections {
        writeln!(out)?;
        let title = words::name(&section.title(&report.processes), options.width);
        paragraph(out, options, &options.bold(&title))?;
        paragraph(out, options, &rate_words::basis(&section.rates))?;
        if section.rates.basis == Basis::Estimate && section.hit_ns == 0 {
            paragraph(out, options, "what a hit costs is not known: the figures may be too low")?;
        }
        if let Some(warning) = rate_words::drowned(&section.rates) {
            paragraph(out, options, &warning)?;
        }
        writeln!(out)?;
        sums(section, out)?;
        classes(section, options, out)?;
        lifetimes(section, options, out)?;
    }
    if report.sections.is_empty() {
        writeln!(out, "\nNo process has rates to show.")?;
    }
    Ok(())
}

/// The figures of all sizes.
fn sums(section: &Section, out: &mut dyn Write) -> io::Result<()> {
    let mut table = plain_table();
    let estimated = section.rates.calls.low.is_some();
    let intervals: &[&str] = if estimated { &["from", "to"] } else { &[] };
    table.set_header(["", "a second"].iter().chain(intervals).chain(&["recorded"]));
    for (name, rate) in section.rates.named() {
        let is_bytes = matches!(name, "allocated" | "freed");
        let shown = |value: f64| if is_bytes { rate_words::bytes(value) } else { rate_words::number(value) };
        let name = match name {
            "calls" => name.to_owned(),
            "allocated" | "freed" => format!("{name} bytes"),
            kind => format!("  {kind}"),
        };
        let ends = [rate.low, rate.high].into_iter().flatten().map(shown);
        let observed = if is_bytes { words::bytes(rate.observed) } else { words::thousands(rate.observed) };
        table.add_row([name, shown(rate.per_second)].into_iter().chain(ends).chain([observed]));
    }
    right_but_first(&mut table);
    writeln!(out, "{}", table.trim_fmt())
}

/// What is allocated, by size.
fn classes(section: &Section, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let shown: Vec<&ClassRates> =
        section.rates.classes.iter().filter(|class| class.allocs.observed + class.allocated.observed > 0).collect();
    if shown.is_empty() {
        return Ok(());
    }
    let rows: Vec<Vec<String>> = shown.iter().map(|class| row(class)).collect();
    let estimated = section.rates.calls.low.is_some();
    let head: &[&str] = if estimated {
        &["allocated", "allocs/s", "bytes/s", "from", "to"]
    } else {
        &["allocated", "allocs/s", "bytes/s"]
    };
    let widest =
        |at: usize| rows.iter().map(|row| row[at].as_str()).chain([head[at]]).map(|cell| cell.chars().count()).max();
    let widths: usize = (0..head.len()).filter_map(widest).sum();
    // Two columns between columns.
    let room = options.width.saturating_sub(widths + head.len() * 2).clamp(*BAR.start(), *BAR.end());
    let whole = |rate: &Rate| rate.per_second.round().max(0.0) as u64;
    let largest = shown.iter().map(|class| whole(&class.allocated)).max().unwrap_or(0);
    let mut table = plain_table();
    table.set_header(head.iter().copied().chain([""]));
    for (row, class) in rows.into_iter().zip(shown) {
        let bar = options.paint("2", &bar(whole(&class.allocated), largest, room));
        table.add_row(row.into_iter().chain([bar]));
    }
    right_but_first(&mut table);
    if let Some(bars) = table.column_mut(head.len()) {
        bars.set_cell_alignment(CellAlignment::Left);
    }
    writeln!(out, "\n{}", table.trim_fmt())
}

fn row(class: &ClassRates) -> Vec<String> {
    let ends = [class.allocated.low, class.allocated.high].into_iter().flatten().map(rate_words::bytes);
    let size = words::size_range(class.size_from);
    let figures = [rate_words::number(class.allocs.per_second), rate_words::bytes(class.allocated.per_second)];
    [size].into_iter().chain(figures).chain(ends).collect()
}

/// How long blocks live.
fn lifetimes(section: &Section, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let lifetimes = &section.lifetimes;
    writeln!(out)?;
    if section.windows_without_lifetimes > 0 {
        let windows = words::count(section.windows_without_lifetimes, "window");
        let text = format!("{windows} without a keyframe left out of lifetimes: no addresses are known in them");
        paragraph(out, options, &text)?;
    }
    if lifetimes.died.is_empty() {
        return paragraph(out, options, &rate_words::lifetimes(section));
    }
    let text = format!(
        "lifetimes of {} whose birth was seen; {} were alive at the end of {}; ages are good to 64 us",
        words::count(lifetimes.births, "block"),
        words::thousands(lifetimes.censored),
        if section.rates.basis == Basis::Estimate { "their window" } else { "the trace" },
    );
    paragraph(out, options, &text)?;
    writeln!(out, "{}", died_table(lifetimes).trim_fmt())
}

/// The share that dies by an age, a row for each.
pub(in crate::output) fn died_table(lifetimes: &Lifetimes) -> Table {
    let mut table = plain_table();
    table.set_header(["died by", "of blocks", "from - to", "of bytes", "from - to"]);
    for died in &lifetimes.died {
        table.add_row([
            rate_words::age(died.age_ns),
            rate_words::share(died.of_blocks.share),
            rate_words::interval(&died.of_blocks),
            rate_words::share(died.of_bytes.share),
            rate_words::interval(&died.of_bytes),
        ]);
    }
    right_but_first(&mut table);
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::rates::sample;

    #[test]
    fn starts_with_the_verdict_and_fits_80_columns() {
        for estimated in [true, false] {
            let mut bytes = Vec::new();
            write(&sample::report(estimated), &Options::default(), &mut bytes).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.starts_with("verified: "));
            assert!(text.contains(if estimated { "estimate from 40 windows" } else { "exact: every call" }), "{text}");
            for line in text.lines() {
                assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line:?}");
            }
        }
    }
}
