//! Who allocates as text, in 80 columns: first how far it can be trusted.

use std::io::{self, Write};

use comfy_table::CellAlignment;

use super::words as say;
use crate::metrics::sites::{By, Row, SitesReport};
use crate::output::text::{bar, brief, paragraph, plain_table, right_but_first};
use crate::output::{Options, Output, words};

/// So many operations, sites and callers are shown, the largest.
const OPERATIONS: usize = 12;
const SITES: usize = 20;
const CALLERS: usize = 3;
/// Columns of the longest bar.
const BAR: usize = 10;
/// A site's name stands on lines of its own, set in by so much.
const INDENT: &str = "    ";

/// Writes the verdict in brief, then each VM, then where names come from.
pub(super) fn write(report: &SitesReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    brief(report.origin(), options, out)?;
    for vm in &report.vms {
        writeln!(out)?;
        paragraph(out, options, &options.bold(&words::name(&vm.title(&report.processes), options.width)))?;
        paragraph(out, options, &words::name(&words::build(&vm.vm), options.width))?;
        paragraph(out, options, &say::basis(report.by, &vm.basis))?;
        if let Some(doubt) = say::doubt(vm) {
            paragraph(out, options, &options.bold(&doubt))?;
        }
        if vm.sites.is_empty() {
            continue;
        }
        writeln!(out)?;
        for caller in vm.callers.iter().take(CALLERS) {
            paragraph(out, options, &words::name(&say::sentence(report.by, caller), 400))?;
        }
        writeln!(out)?;
        table("what LuaJIT did", &vm.operations, OPERATIONS, report.by, options, out)?;
        writeln!(out)?;
        table("for whom", &vm.sites, SITES, report.by, options, out)?;
    }
    for number in &report.without {
        writeln!(out)?;
        paragraph(out, options, &format!("VM {number} has no stacks."))?;
    }
    if !report.modules.is_empty() {
        writeln!(out)?;
        paragraph(out, options, "where names come from")?;
        for module in &report.modules {
            paragraph(out, options, &words::name(&say::module(module), 400))?;
        }
    }
    Ok(())
}

/// The largest rows, each with its name below where names are long.
fn table(title: &str, rows: &[Row], most: usize, by: By, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let shown = &rows[..rows.len().min(most)];
    let widest = shown.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let below = widest > 24;
    let largest = (shown.first().map_or(0.0, |row| row.share.share) * 1e6) as u64;
    let mut table = plain_table();
    table.set_header([if below { "" } else { title }, "share", "95 % interval", "amount", "samples", ""]);
    for row in shown {
        let share = &row.share;
        table.add_row([
            if below { String::new() } else { words::name(&row.name, 24) },
            say::percent(share.share),
            say::interval(share),
            say::amount(by, share.amount),
            words::thousands(share.samples),
            options.paint("2", &bar((share.share * 1e6) as u64, largest, BAR)),
        ]);
    }
    right_but_first(&mut table);
    if let Some(bars) = table.column_mut(5) {
        bars.set_cell_alignment(CellAlignment::Left);
    }
    let text = table.trim_fmt();
    if !below {
        writeln!(out, "{text}")?;
    } else {
        let mut lines = text.lines();
        paragraph(out, options, title)?;
        writeln!(out, "{}", lines.next().unwrap_or_default())?;
        for (line, row) in lines.zip(shown) {
            writeln!(out, "{line}")?;
            let narrow = Options { width: options.width - INDENT.len(), ..*options };
            for line in words::wrap(&words::name(&row.name, 3 * narrow.width), narrow.width) {
                writeln!(out, "{INDENT}{}", words::name(&line, narrow.width))?;
            }
        }
    }
    if rows.len() > most {
        writeln!(out, "and {} more", words::thousands((rows.len() - most) as u64))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sites::sample;

    #[test]
    fn starts_with_the_verdict_and_fits_80_columns() {
        let mut report = sample::report();
        report.without = vec![7];
        report.vms[0].sites[1].name = "long_names_without_spaces_".repeat(9);
        let mut bytes = Vec::new();
        write(&report, &Options::default(), &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("verified: "));
        for said in
            ["what LuaJIT did", "for whom", "string interning, from @/app", "VM 7 has no stacks", "where names come"]
        {
            assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(said), "{said} is not in {text}");
        }
        for line in text.lines() {
            assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line:?}");
        }
    }
}
