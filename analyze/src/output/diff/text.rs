//! A comparison as text, in 80 columns: first how far both sides can be trusted.

use std::io::{self, Write};

use comfy_table::Table;

use super::words as diff_words;
use crate::metrics::diff::{ClassPair, DiffReport, Figure, ProcessPair, Side, VmPair};
use crate::metrics::objects::Growth;
use crate::output::text::{brief, paragraph, plain_table, right_but_first};
use crate::output::{Options, words};

/// The most characters of an owner's name.
const NAME: usize = 26;

/// Writes both verdicts in brief, then what differs.
pub(super) fn write(report: &DiffReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    side("A", &report.a, options, out)?;
    writeln!(out)?;
    side("B", &report.b, options, out)?;
    writeln!(out)?;
    for line in diff_words::alone(report).into_iter().chain(report.left_out.iter().map(|why| left_out(why))) {
        paragraph(out, options, &line)?;
    }
    if report.is_empty() {
        return writeln!(out, "{}", options.bold("no difference"));
    }
    if report.vms.len() + report.processes.len() > 1 {
        writeln!(out, "{}", options.bold("In all"))?;
        figures(&report.totals(), out)?;
    }
    for pair in &report.vms {
        vm(report, pair, options, out)?;
    }
    for pair in &report.processes {
        process(pair, options, out)?;
    }
    Ok(())
}

fn left_out(why: &str) -> String {
    format!("not compared: {}", words::name(why, 400))
}

fn side(name: &str, side: &Side, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    paragraph(out, options, &options.bold(&diff_words::side(name, side)))?;
    brief(side.origin(), options, out)
}

fn vm(report: &DiffReport, pair: &VmPair, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    let title = words::name(&diff_words::title(report, pair), 200);
    paragraph(out, options, &options.bold(&title))?;
    for (name, one) in [("A", &pair.a), ("B", &pair.b)] {
        paragraph(out, options, &format!("{name} {}", words::moment(&one.moment)))?;
        if let Some(why) = diff_words::short_of(name, &one.moment) {
            paragraph(out, options, &why)?;
        }
    }
    writeln!(out)?;
    let all = pair.figures();
    figures(&all, out)?;
    if all.iter().any(|figure| figure.apart == Some(false) && figure.change().value() != 0.0) {
        paragraph(out, options, "~ the 95 % confidence intervals overlap: this may be no change")?;
    }
    if let Some(kinds) = &pair.kinds {
        writeln!(out)?;
        self::kinds(kinds, options, out)?;
    }
    for (name, classes) in pair.classes() {
        if classes.iter().any(|class| class.a != class.b) {
            writeln!(out)?;
            self::classes(name, &classes, out)?;
        }
    }
    Ok(())
}

/// A row for each figure that is not nothing on both sides.
fn figures(figures: &[Figure], out: &mut dyn Write) -> io::Result<()> {
    let mut table = plain_table();
    table.set_header(["", "A", "B", "change", ""]);
    for figure in figures.iter().filter(|figure| figure.a.value() != 0.0 || figure.b.value() != 0.0) {
        let unsure = figure.apart == Some(false) && figure.change().value() != 0.0;
        table.add_row([
            diff_words::name(figure),
            diff_words::amount(figure.unit, figure.a),
            diff_words::amount(figure.unit, figure.b),
            diff_words::change(figure),
            format!("{}{}", if unsure { "~" } else { "" }, diff_words::relative(figure)),
        ]);
    }
    finish(table, out)
}

/// The kinds of objects that differ, those first that grew most.
fn kinds(kinds: &Growth, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    paragraph(out, options, &diff_words::kinds(kinds))?;
    let mut table = plain_table();
    table.set_header(["", "count A", "count B", "bytes A", "bytes B", "change", ""]);
    for kind in kinds.kinds.iter().filter(|kind| kind.before != kind.after) {
        let [change, relative] = diff_words::bytes_change(kind.before.bytes, kind.after.bytes);
        table.add_row([
            kind.kind.to_owned(),
            words::thousands(kind.before.count),
            words::thousands(kind.after.count),
            words::bytes(kind.before.bytes),
            words::bytes(kind.after.bytes),
            change,
            relative,
        ]);
    }
    finish(table, out)
}

/// The classes that differ.
fn classes(name: &str, classes: &[ClassPair], out: &mut dyn Write) -> io::Result<()> {
    let mut table = plain_table();
    table.set_header([&format!("{name} from"), "count A", "count B", "bytes A", "bytes B", "change", ""]);
    for ClassPair { size_from, a, b } in classes.iter().filter(|class| class.a != class.b) {
        let [change, relative] = diff_words::bytes_change(a.bytes, b.bytes);
        table.add_row([
            words::size_class(*size_from),
            words::thousands(a.count),
            words::thousands(b.count),
            words::bytes(a.bytes),
            words::bytes(b.bytes),
            change,
            relative,
        ]);
    }
    finish(table, out)
}

fn process(pair: &ProcessPair, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    paragraph(out, options, &options.bold(&words::name(&diff_words::process_title(pair), 200)))?;
    let at = |name: &str, time| format!("{name} at {}", words::time(time));
    writeln!(out, "{}, {}\n", at("A", pair.a.time), at("B", pair.b.time))?;
    figures(&pair.figures(), out)?;
    let owners = pair.owners();
    let mut table = plain_table();
    table.set_header(["resident, by owner", "A", "B", "change", ""]);
    for (owner, a, b) in owners.iter().filter(|(_, a, b)| a.resident + b.resident > 0) {
        let [change, relative] = diff_words::bytes_change(a.resident, b.resident);
        table.add_row([
            words::name(&owner.label, NAME),
            words::bytes(a.resident),
            words::bytes(b.resident),
            change,
            relative,
        ]);
    }
    writeln!(out)?;
    finish(table, out)
}

fn finish(mut table: Table, out: &mut dyn Write) -> io::Result<()> {
    right_but_first(&mut table);
    writeln!(out, "{}", table.trim_fmt())
}
