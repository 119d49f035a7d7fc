//! The objects of heaps as text, in 80 columns: first how far they can be trusted.

use std::collections::BTreeMap;
use std::io::{self, Write};

use comfy_table::CellAlignment;

use super::words as say;
use crate::metrics::objects::{Growth, Objects, ObjectsReport, Place};
use crate::metrics::population::Tally;
use crate::output::text::{bar, brief, paragraph, plain_table, right_but_first};
use crate::output::{Options, Output, words};

/// The longest bar has at least and at most so many columns.
const BAR: std::ops::RangeInclusive<usize> = 4..=24;
/// So many kinds are shown by size, the largest.
const BY_SIZE: usize = 6;
/// So many of the largest objects are shown.
const LARGEST: usize = 5;
/// So many places of functions, in so many columns.
const PLACES: usize = 10;
const PLACE: usize = 38;

/// Writes the verdict in brief, then each VM.
pub(super) fn write(report: &ObjectsReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    brief(report.origin(), options, out)?;
    for vm in &report.vms {
        let objects = &vm.objects;
        writeln!(out)?;
        let title = words::name(&vm.title(&report.processes), options.width);
        paragraph(out, options, &options.bold(&title))?;
        paragraph(out, options, &words::name(&words::build(&vm.vm), options.width))?;
        paragraph(out, options, &say::moment(vm))?;
        paragraph(out, options, &say::all(objects))?;
        if let Some(problem) = &objects.problem {
            paragraph(out, options, &options.bold(&format!("not all could be told apart: {problem}")))?;
        }
        paragraph(out, options, &say::garbage(objects))?;
        writeln!(out)?;
        kinds(objects, options, out)?;
        writeln!(out)?;
        sizes(objects, options, out)?;
        writeln!(out)?;
        paragraph(out, options, &say::tables(objects))?;
        paragraph(out, options, &say::strings(objects))?;
        largest(objects, options, out)?;
        if let Some(all) = &objects.places {
            writeln!(out)?;
            places(all, options, out)?;
        }
        if let Some(growth) = &vm.growth {
            writeln!(out)?;
            grown(growth, options, out)?;
        }
    }
    for number in &report.without {
        writeln!(out)?;
        paragraph(out, options, &format!("VM {number} has no census until this moment."))?;
    }
    Ok(())
}

/// A row for each kind, with garbage apart, and their sum.
fn kinds(objects: &Objects, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let has_garbage = objects.garbage.count > 0;
    let row = |name: &str, all: Tally, garbage: Tally| {
        let mut cells = vec![name.to_owned(), words::thousands(all.count), words::thousands(all.bytes)];
        cells.extend([words::bytes(all.bytes), words::share(all.bytes, objects.all.bytes)]);
        cells
            .extend(has_garbage.then(|| if garbage.count == 0 { "-".to_owned() } else { words::bytes(garbage.bytes) }));
        cells
    };
    let mut rows: Vec<Vec<String>> = objects.kinds.iter().map(|kind| row(kind.kind, kind.all, kind.garbage)).collect();
    rows.push(row("all", objects.all, objects.garbage));
    let head: Vec<&str> =
        ["", "count", "bytes", "", "share"].into_iter().chain(has_garbage.then_some("garbage")).collect();
    let widths = (0..head.len()).map(|at| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        // Two columns between columns.
        cells.chain([head[at].len()]).max().unwrap_or(0) + 2
    });
    let room = options.width.saturating_sub(widths.sum()).clamp(*BAR.start(), *BAR.end());
    let largest = objects.kinds.iter().map(|kind| kind.all.bytes).max().unwrap_or(0);
    let bars = objects.kinds.iter().map(|kind| options.paint("2", &bar(kind.all.bytes, largest, room)));

    let mut table = plain_table();
    table.set_header(head.iter().chain(&[""]));
    for (cells, bar) in rows.into_iter().zip(bars.chain([String::new()])) {
        table.add_row(cells.into_iter().chain([bar]));
    }
    right_but_first(&mut table);
    if let Some(bars) = table.column_mut(head.len()) {
        bars.set_cell_alignment(CellAlignment::Left);
    }
    writeln!(out, "{}", table.trim_fmt())
}

/// The bytes of the largest kinds by size class.
fn sizes(objects: &Objects, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let shown = &objects.kinds[..objects.kinds.len().min(BY_SIZE)];
    let mut by_size: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (at, kind) in shown.iter().enumerate() {
        for class in &kind.classes {
            by_size.entry(class.size_from).or_insert_with(|| vec![0; shown.len()])[at] = class.all.bytes;
        }
    }
    paragraph(out, options, "bytes by size of block, of the largest kinds")?;
    let mut table = plain_table();
    table.set_header(["from size"].into_iter().chain(shown.iter().map(|kind| kind.kind)));
    for (size, bytes) in by_size {
        let cells = bytes.into_iter().map(|bytes| if bytes == 0 { "-".to_owned() } else { words::short_bytes(bytes) });
        table.add_row([words::size_class(size)].into_iter().chain(cells));
    }
    right_but_first(&mut table);
    writeln!(out, "{}", table.trim_fmt())
}

/// The largest tables and the longest strings.
fn largest(objects: &Objects, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let longest: Vec<String> =
        objects.longest_strings.iter().take(LARGEST).map(|length| words::bytes(*length)).collect();
    if !longest.is_empty() {
        paragraph(out, options, &format!("longest strings: {}", longest.join(", ")))?;
    }
    if objects.largest_tables.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut table = plain_table();
    table.set_header(["largest tables", "array slots used", "hash slots used"]);
    for large in objects.largest_tables.iter().take(LARGEST) {
        let [array, hash] = say::parts(large);
        table.add_row([words::bytes(large.bytes), array, hash]);
    }
    right_but_first(&mut table);
    writeln!(out, "{}", table.trim_fmt())
}

/// Where the functions were written that take most.
fn places(places: &[Place], options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let shown = &places[..places.len().min(PLACES)];
    paragraph(out, options, &say::places(places.len(), shown.len()))?;
    let mut table = plain_table();
    table.set_header(["", "closures", "bytes", "protos", "bytes"]);
    for place in shown {
        let amounts = [place.functions.all, place.protos.all].map(|Tally { count, bytes }| match count {
            0 => ["-".to_owned(), "-".to_owned()],
            _ => [words::thousands(count), words::bytes(bytes)],
        });
        table.add_row([say::place(place, PLACE)].into_iter().chain(amounts.into_iter().flatten()));
    }
    right_but_first(&mut table);
    writeln!(out, "{}", table.trim_fmt())
}

/// What has changed, by kind; kinds that have not are left out.
fn grown(growth: &Growth, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    paragraph(out, options, &say::growth(growth))?;
    let mut table = plain_table();
    table.set_header(["", "count", "was", "is", "bytes"]);
    for kind in growth.kinds.iter().filter(|kind| kind.count != 0 || kind.bytes != 0) {
        table.add_row([
            kind.kind.to_owned(),
            say::change(kind.count, words::thousands),
            words::bytes(kind.before.bytes),
            words::bytes(kind.after.bytes),
            say::change(kind.bytes, words::bytes),
        ]);
    }
    right_but_first(&mut table);
    writeln!(out, "{}", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::objects::sample;

    #[test]
    fn starts_with_the_verdict_and_fits_80_columns() {
        let mut report = sample::report();
        for problem in [None, Some("97 of 100 objects do not fit their blocks".to_owned())] {
            report.vms[0].objects.problem = problem.clone();
            report.without = vec![7; usize::from(problem.is_some())];
            let mut bytes = Vec::new();
            write(&report, &Options::default(), &mut bytes).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.starts_with("verified: "));
            assert_eq!(text.contains("not all could be told apart: 97 of 100"), problem.is_some());
            assert_eq!(text.contains("VM 7 has no census"), problem.is_some());
            assert!(text.contains("garbage not yet collected: "));
            assert!(text.contains("places of functions by bytes of closures and their code, the largest 10"));
            for line in text.lines() {
                assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line:?}");
            }
        }
    }
}
