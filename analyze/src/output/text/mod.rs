//! Text for a terminal, in 80 columns: first how far the figures can be trusted, then the figures.

mod histogram;
pub(super) mod verdict;

use std::io::{self, Write};

use comfy_table::{CellAlignment, ColumnConstraint, Table, Width, presets};
use shared::trace::meta::Process;

use super::words;
use super::{Options, Output};
use crate::metrics::population::Populations;
use crate::report::{Report, VmReport};

pub(super) use histogram::{BAR, bar, write as histogram};
pub(crate) use verdict::worst;
pub use verdict::write as verdict;
pub(super) use verdict::{brief, facts, judged};

/// Writes the verdict in brief, then each VM.
pub fn write(report: &Report, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    verdict::brief(report.origin(), options, out)?;
    for vm in &report.vms {
        writeln!(out)?;
        self::vm(vm, &report.processes, options, out)?;
    }
    if report.vms.is_empty() {
        writeln!(out, "\nNo VM has a heap to show.")?;
    }
    Ok(())
}

fn vm(vm: &VmReport, processes: &[Process], options: &Options, out: &mut dyn Write) -> io::Result<()> {
    paragraph(out, options, &options.bold(&words::name(&vm.title(processes), options.width)))?;
    paragraph(out, options, &words::name(&words::build(&vm.vm), options.width))?;
    paragraph(out, options, &words::moment(&vm.moment))?;
    if let Some(short_of) = words::short_of(&vm.moment) {
        paragraph(out, options, &short_of)?;
    }
    writeln!(out)?;
    let populations = &vm.populations;
    writeln!(out, "{}\n", table(populations).trim_fmt())?;
    paragraph(out, options, &balance(populations))?;
    paragraph(out, options, &collector(populations))?;
    for (name, population) in populations.named() {
        if population.buckets.len() > 1 || (population.all.count > 0 && matches!(name, "used" | "free")) {
            histogram::write(name, population, options, out)?;
        }
    }
    Ok(())
}

/// One row for each population that is there.
fn table(populations: &Populations) -> Table {
    let mut table = plain_table();
    table.set_header(["", "count", "bytes", "", "smallest", "largest", "of segments"]);
    let whole = populations.segments.all.bytes;
    for (name, population) in populations.named() {
        let direct = name == "direct";
        if direct && population.all.count == 0 {
            continue;
        }
        table.add_row([
            name.to_owned(),
            words::thousands(population.all.count),
            words::thousands(population.all.bytes),
            words::bytes(population.all.bytes),
            words::bytes(population.min),
            words::bytes(population.max),
            if direct { "apart".to_owned() } else { words::share(population.all.bytes, whole) },
        ]);
    }
    right_but_first(&mut table);
    table
}

/// `used + free + overhead = segments`, or by how much it is not.
fn balance(populations: &Populations) -> String {
    let Populations { used, free, segments, overhead, .. } = populations;
    let sum = used.all.bytes + free.all.bytes + overhead;
    let figures = format!(
        "used {} + free {} + overhead {}",
        words::thousands(used.all.bytes),
        words::thousands(free.all.bytes),
        words::thousands(*overhead)
    );
    let segments = segments.all.bytes;
    if sum == segments {
        format!("{figures} = segments {}", words::thousands(segments))
    } else {
        let off = words::count(sum.abs_diff(segments), "byte");
        format!("{figures} is {off} off segments {}: this is a bug of ljscope", words::thousands(segments))
    }
}

/// What `gc.total` is against the memory it lies in.
fn collector(populations: &Populations) -> String {
    let Populations { used, direct, gc_total, .. } = populations;
    let (count, bytes) = (used.all.count + direct.all.count, used.all.bytes + direct.all.bytes);
    let total = words::thousands(*gc_total);
    let place = if direct.all.count == 0 { "used" } else { "used + direct" };
    if bytes == *gc_total {
        return format!("gc.total {total} = {place}");
    }
    if bytes < *gc_total {
        let more = words::bytes(gc_total - bytes);
        return format!("gc.total {total} is {more} above {place}: the VM counts memory that is not in this heap");
    }
    let (rest, each) = (bytes - gc_total, (bytes - gc_total) as f64 / count.max(1) as f64);
    format!(
        "gc.total {total} is {} ({}) below {place}: chunk heads, rounding and the allocator's own, {each:.1} bytes each",
        words::bytes(rest),
        words::share(rest, bytes)
    )
}

/// A table without lines.
pub(super) fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table
}

/// Figures stand right, and columns two apart.
pub(super) fn right_but_first(table: &mut Table) {
    for (at, column) in table.column_iter_mut().enumerate() {
        if at > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
        column.set_padding((if at == 0 { 0 } else { 1 }, 1));
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(0)));
    }
}

/// Writes text, broken into lines.
pub(super) fn paragraph(out: &mut dyn Write, options: &Options, text: &str) -> io::Result<()> {
    for line in words::wrap(text, options.width) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

impl Options {
    /// Bold, if there are colours.
    pub(super) fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    /// With an SGR code, if there are colours. An empty text stays empty.
    pub(super) fn paint(&self, code: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    fn text(report: &Report, options: &Options) -> String {
        let mut bytes = Vec::new();
        write(report, options, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn starts_with_the_verdict_and_fits_80_columns() {
        let text = text(&sample::report(), &Options::default());
        assert!(text.starts_with("verified: 1,171,143 calls replayed, 0 contradictions;"));
        for line in text.lines() {
            assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line:?}");
        }
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let report = sample::report();
        let mut plain = text(&report, &Options { color: true, ..Options::default() });
        for code in ["\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[0m"] {
            assert!(plain.contains(code));
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, text(&report, &Options::default()));
    }

    #[test]
    fn figures_that_do_not_add_up_are_named() {
        let mut populations = sample::report().vms.remove(0).populations;
        assert!(balance(&populations).contains(" = segments "));
        populations.overhead += 1;
        assert!(balance(&populations).contains("1 byte off segments"));
        populations.gc_total = u64::MAX;
        assert!(collector(&populations).contains("above used + direct"));
    }
}
