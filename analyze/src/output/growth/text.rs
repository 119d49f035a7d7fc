//! What grows as text, in 80 columns: first how far it can be trusted.

use std::io::{self, Write};

use super::words as say;
use crate::metrics::growth::{Change, ClassGrowth, Figures, GrowthReport};
use crate::output::text::{brief, paragraph, plain_table, right_but_first};
use crate::output::{Options, Output, words};

/// Writes the verdict in brief, then each VM.
pub(super) fn write(report: &GrowthReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    brief(report.origin(), options, out)?;
    for vm in &report.vms {
        let figures = &vm.figures;
        writeln!(out)?;
        let title = words::name(&say::heading(vm, &report.processes), options.width);
        paragraph(out, options, &options.bold(&title))?;
        for moment in say::moments(vm) {
            paragraph(out, options, &moment)?;
        }
        paragraph(out, options, &say::whole(vm))?;
        writeln!(out)?;
        paragraph(out, options, &say::suspects(figures))?;
        if figures.suspects().count() > 0 {
            paragraph(out, options, say::CAVEAT)?;
        }
        if say::changed(figures).count() > 0 {
            writeln!(out)?;
            table(figures, out)?;
        }
        writeln!(out)?;
        let legend = Some(say::legend(figures)).filter(|legend| !legend.is_empty() && !figures.are_too_few());
        for said in [say::unchanged(figures), legend, say::sureness(figures)].into_iter().flatten() {
            paragraph(out, options, &said)?;
        }
    }
    if report.vms.is_empty() {
        writeln!(out, "\nNo VM has a heap to show.")?;
    }
    Ok(())
}

/// A row for each class, and one for the heap as a whole.
fn table(figures: &Figures, out: &mut dyn Write) -> io::Result<()> {
    let mut table = plain_table();
    table.set_header(["from size", "chunks", "bytes", "in all", "a second", "95 % interval", ""]);
    let row = |name: String, change: &Change, finding: &str| {
        [
            name,
            say::signed(change.net_count),
            say::signed_bytes(change.net_bytes),
            words::bytes(change.to.bytes),
            say::a_second(change.trend.as_ref()),
            say::interval(change.trend.as_ref()),
            finding.to_owned(),
        ]
    };
    for class @ ClassGrowth { finding, change, .. } in say::changed(figures) {
        table.add_row(row(say::name(class), change, say::finding(*finding)));
    }
    table.add_row(row("all".to_owned(), &figures.all, ""));
    right_but_first(&mut table);
    if let Some(column) = table.column_mut(6) {
        column.set_cell_alignment(comfy_table::CellAlignment::Left);
    }
    writeln!(out, "{}", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::growth::sample;

    fn text(report: &GrowthReport) -> String {
        let mut bytes = Vec::new();
        write(report, &Options::default(), &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn starts_with_the_verdict_and_fits_80_columns() {
        let mut report = sample::report();
        for empty in [false, true] {
            if empty {
                report.vms.clear();
            }
            let text = text(&report);
            assert!(text.starts_with("verified: "));
            assert_eq!(text.contains("suspect: it grew from cycle to cycle"), !empty, "{text}");
            assert_eq!(text.contains("a cache that still fills"), !empty, "{text}");
            for line in text.lines() {
                assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line:?}");
            }
        }
    }

    #[test]
    fn too_few_cycles_accuse_nobody() {
        let text = text(&sample::short()).replace('\n', " ");
        assert!(
            text.contains("too few collector cycles to tell whether something leaks: 5 seen, 8 are needed; record"),
            "{text}"
        );
        assert!(!text.contains("suspect") && text.contains("too few"), "{text}");
    }
}
