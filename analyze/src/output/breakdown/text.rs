//! Where memory goes as text, in 80 columns: first how far the figures can be trusted.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table};

use super::{tables, words as say};
use crate::metrics::advice::{self, Advice};
use crate::metrics::breakdown::ProcessMemory;
use crate::metrics::breakdown::instance::Instance;
use crate::output::text::{bar, brief, paragraph, plain_table, right_but_first};
use crate::output::{Options, Output, words};
use crate::report::BreakdownReport;

/// The longest name in a table beside four columns of bytes.
pub(super) const NAME: usize = 34;
/// Columns of the longest bar behind a name, three figures, and two columns between each.
const BARS: usize = 9;

/// Writes the verdict in brief, then each instance as a whole, then each process.
pub(super) fn write(report: &BreakdownReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    brief(report.origin(), options, out)?;
    for instance in &report.instances {
        writeln!(out)?;
        self::instance(instance, options, out)?;
    }
    for (process, advice) in report.processes.iter().zip(&report.advice) {
        writeln!(out)?;
        self::process(report, process, advice, options, out)?;
    }
    Ok(())
}

fn instance(instance: &Instance, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    paragraph(out, options, &options.bold(&words::name(&say::instance(instance), options.width)))?;
    paragraph(out, options, &say::together(instance))?;
    let several = instance.generations() > 1;
    for generation in 1..=if several { instance.generations() } else { 0 } {
        let members: Vec<_> = instance.of(generation).collect();
        paragraph(out, options, &say::generation(&members, generation))?;
    }
    writeln!(out)?;
    let mut table = plain_table();
    table.set_header(["", "RSS", "PSS", "of all", ""]);
    let largest = instance.members.iter().map(|member| member.memory.pss).max().unwrap_or(0);
    for generation in 0..=instance.generations() {
        let members: Vec<_> = instance.of(generation).collect();
        if generation > 0 && several {
            table.add_row([format!("generation {generation}")]);
        }
        for member in members {
            let role = if member.role.is_empty() { "process" } else { &member.role };
            table.add_row([
                words::name(&format!("{role} {}", member.pid), NAME),
                words::bytes(member.memory.resident),
                words::bytes(member.memory.pss),
                words::share(member.memory.pss, instance.memory.pss),
                options.paint("2", &bar(member.memory.pss, largest, BARS)),
            ]);
        }
    }
    table.add_row([
        "all".to_owned(),
        words::bytes(instance.memory.resident),
        words::bytes(instance.memory.pss),
        words::share(instance.memory.pss, instance.memory.pss),
    ]);
    finish(table, Some(4), out)?;
    advise(&advice::of_instance(instance), options, out)
}

fn process(
    report: &BreakdownReport,
    process: &ProcessMemory,
    advice: &[Advice],
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    paragraph(out, options, &options.bold(&words::name(&process.title(), options.width)))?;
    paragraph(out, options, &say::moment(report, process))?;
    paragraph(out, options, &say::checks(&process.checks()))?;
    for missing in &process.breakdown.missing {
        paragraph(out, options, &format!("missing: {}", words::name(missing, 300)))?;
    }
    if process.vms.is_empty() {
        paragraph(out, options, "there is no Lua VM in it that is known")?;
    }
    writeln!(out)?;
    system(process, options, out)?;
    owners(process, options, out)?;
    advise(advice, options, out)?;
    tables::write(report, process, options, out)
}

fn system(process: &ProcessMemory, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let system = process.system();
    let all = process.breakdown.total.mapped;
    let mut table = plain_table();
    table.set_header(["system level", "bytes", "", "share", ""]);
    let rows = [("resident", system.resident), ("swapped", system.swapped), (say::UNTOUCHED, system.untouched)];
    let largest = rows.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    for (name, bytes) in rows {
        table.add_row([
            name.to_owned(),
            words::thousands(bytes),
            words::bytes(bytes),
            words::share(bytes, all),
            options.paint("2", &bar(bytes, largest, BARS)),
        ]);
    }
    table.add_row(["mapped".to_owned(), words::thousands(all), words::bytes(all), words::share(all, all)]);
    finish(table, Some(4), out)?;
    paragraph(out, options, say::UNTOUCHED_MEANS)?;
    writeln!(out)
}

fn owners(process: &ProcessMemory, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let all: u64 = process.shares.iter().map(|share| share.memory.resident).fold(0, u64::saturating_add);
    let largest = process.shares.iter().map(|share| share.memory.resident).max().unwrap_or(0);
    let mut table = plain_table();
    table.set_header([say::RESIDENT, "mapped", "resident", "share", ""]);
    for share in &process.shares {
        table.add_row([
            words::name(&share.owner.label, NAME),
            words::bytes(share.memory.mapped),
            words::bytes(share.memory.resident),
            words::share(share.memory.resident, all),
            options.paint("2", &bar(share.memory.resident, largest, BARS)),
        ]);
    }
    finish(table, Some(4), out)
}

/// Writes findings as a list.
fn advise(advice: &[Advice], options: &Options, out: &mut dyn Write) -> io::Result<()> {
    for Advice { finding, action, .. } in advice {
        writeln!(out)?;
        let text = format!("{finding}. Advice: {action}.");
        for (at, line) in words::wrap(&text, options.width.saturating_sub(2)).iter().enumerate() {
            writeln!(out, "{} {line}", if at == 0 { "*" } else { " " })?;
        }
    }
    Ok(())
}

/// Writes a table with figures right, and bars, if there are any, left.
pub(super) fn finish(mut table: Table, bars: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    right_but_first(&mut table);
    if let Some(bars) = bars.and_then(|at| table.column_mut(at)) {
        bars.set_cell_alignment(CellAlignment::Left);
    }
    writeln!(out, "{}", table.trim_fmt())
}
