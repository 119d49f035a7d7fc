//! The tables below a process: every slice, the arenas, the zones, the VMs, and how it came to that.

use std::cmp::Reverse;
use std::io::{self, Write};

use shared::trace::breakdown::{Arena, Memory, Slice, SliceKind, Zone};

use super::text::{NAME, finish};
use crate::metrics::breakdown::arenas::populations;
use crate::metrics::breakdown::{ProcessMemory, VmMemory, owners};
use crate::output::text::{histogram, paragraph, plain_table};
use crate::output::{Options, words};
use crate::report::BreakdownReport;

/// Writes those that have a row.
pub(super) fn write(
    report: &BreakdownReport,
    process: &ProcessMemory,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    slices(report, process, out)?;
    if let Some(glibc) = &process.breakdown.glibc {
        if !glibc.arenas.is_empty() {
            arenas(&glibc.arenas, out)?;
        }
        let mapped = words::count(glibc.mapped.count, "block");
        paragraph(out, options, &format!("mapped on their own: {mapped}, {}", words::bytes(glibc.mapped.bytes)))?;
        for (name, population) in populations(glibc).iter().filter(|(_, population)| population.all.count > 0) {
            histogram(name, population, options, out)?;
        }
    }
    if !process.breakdown.zones.is_empty() {
        zones(process, out)?;
    }
    for vm in &process.vms {
        writeln!(out)?;
        self::vm(vm, options, out)?;
    }
    if process.history.looks.len() > 1 {
        over_time(report, process, out)?;
    }
    Ok(())
}

fn amounts(memory: &Memory) -> [String; 4] {
    [memory.mapped, memory.resident, memory.swapped, memory.pss].map(words::bytes)
}

/// Every slice below its owner, the largest first.
fn slices(report: &BreakdownReport, process: &ProcessMemory, out: &mut dyn Write) -> io::Result<()> {
    let mut table = plain_table();
    table.set_header(["slices", "mapped", "resident", "swapped", "PSS"]);
    for share in &process.shares {
        let is_ours = |slice: &&Slice| owners::owner(slice, &report.vms) == share.owner;
        let mut slices: Vec<&Slice> = process.breakdown.slices.iter().filter(is_ours).collect();
        slices.sort_by_key(|slice| Reverse((slice.memory.resident, slice.memory.mapped)));
        let row = |name: String, memory: &Memory| [name].into_iter().chain(amounts(memory)).collect::<Vec<_>>();
        table.add_row(row(words::name(&share.owner.label, NAME), &share.memory));
        // A VM's one slice is called as its owner is.
        let same = slices.len() == 1 && matches!(share.owner.kind, SliceKind::Luajit | SliceKind::JitCode);
        for slice in slices.into_iter().filter(|_| !same) {
            let name = if slice.name.is_empty() { "no name" } else { &slice.name };
            table.add_row(row(format!("  {}", words::name(name, NAME - 2)), &slice.memory));
        }
    }
    let sum: Memory = process.breakdown.slices.iter().map(|slice| slice.memory).sum();
    table.add_row(["all".to_owned()].into_iter().chain(amounts(&sum)));
    writeln!(out)?;
    finish(table, None, out)
}

fn arenas(arenas: &[Arena], out: &mut dyn Write) -> io::Result<()> {
    let mut table = plain_table();
    table.set_header(["arena", "system", "used", "bins", "fast", "tcache", "top", "overhead"]);
    for arena in arenas {
        let Arena { number, system, used, bins, fastbins, tcache, top, overhead, .. } = arena;
        let name = if *number == 0 { "main".to_owned() } else { number.to_string() };
        let figures = [*system, used.bytes, bins.bytes, fastbins.bytes, tcache.bytes, *top, *overhead];
        table.add_row([name].into_iter().chain(figures.map(words::bytes)));
    }
    writeln!(out)?;
    finish(table, None, out)
}

fn zones(process: &ProcessMemory, out: &mut dyn Write) -> io::Result<()> {
    let mut table = plain_table();
    table.set_header(["zones", "size", "resident", "pages", "free", "slots", "used"]);
    let slices = &process.breakdown.slices;
    for Zone { name, module, size, pages, free_pages, slots } in &process.breakdown.zones {
        let is_zone = |slice: &&Slice| owners::is_zone(slice, name);
        let resident: Memory = slices.iter().filter(is_zone).map(|slice| slice.memory).sum();
        let sum = |of: fn(&shared::trace::breakdown::Slot) -> u64| slots.iter().map(of).fold(0, u64::saturating_add);
        let or_unknown = |figure: u64| if *pages == 0 { "?".to_owned() } else { words::thousands(figure) };
        let module = module.trim_start_matches("ngx_").trim_end_matches("_module");
        let name = if module.is_empty() { name.clone() } else { format!("{name} ({module})") };
        table.add_row([
            words::name(&name, 26),
            words::bytes(*size),
            words::bytes(resident.resident),
            or_unknown(*pages),
            or_unknown(*free_pages),
            or_unknown(sum(|slot| slot.total)),
            or_unknown(sum(|slot| slot.used)),
        ]);
    }
    writeln!(out)?;
    finish(table, None, out)
}

fn vm(vm: &VmMemory, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let label = if vm.vm.label.is_empty() { String::new() } else { format!("{}, ", vm.vm.label) };
    let title = format!("VM {}: {label}{}", vm.number, words::build(&vm.vm));
    paragraph(out, options, &words::name(&title, options.width))?;
    let Some(heap) = &vm.heap else {
        return paragraph(out, options, "the trace has no keyframe of it that can be read, so its heap is not known");
    };
    let number = words::thousands;
    let text = format!(
        "keyframe at {}: used {} + free {} + overhead {} = segments {}; {}, {} bytes; gc.total {}",
        words::time(heap.keyframe_ns),
        number(heap.used.bytes),
        number(heap.free.bytes),
        number(heap.overhead),
        number(heap.segments.bytes),
        words::count(heap.direct.count, "direct block"),
        number(heap.direct.bytes),
        number(heap.gc_total),
    );
    paragraph(out, options, &text)?;
    let mut text = format!(
        "largest free chunk {}, {} of {} wholly free",
        number(heap.largest_free),
        number(heap.wholly_free.count),
        words::count(heap.segments.count, "segment")
    );
    match vm.pages {
        Some(pages) if pages.keyframe > 0 => text.push_str(&format!(
            "; whole pages in free chunks{} {}, of them resident {}",
            match pages.keyframe {
                same if heap.is_of(same) => String::new(),
                other => format!(" at the keyframe at {}", words::time(other)),
            },
            number(pages.free),
            number(pages.free_resident)
        )),
        _ => text.push_str("; which of its free pages are resident is not known"),
    }
    paragraph(out, options, &text)
}

/// What each owner had resident from the first look to the last.
fn over_time(report: &BreakdownReport, process: &ProcessMemory, out: &mut dyn Write) -> io::Result<()> {
    let mut table = plain_table();
    table.set_header(["resident, over time", "first", "least", "most", "last"]);
    for (owner, row) in process.history.by_owner(&report.vms) {
        let resident = || row.iter().map(|memory| memory.resident);
        let ends = [resident().next(), resident().min(), resident().max(), resident().next_back()];
        let figures = ends.map(|bytes| words::bytes(bytes.unwrap_or(0)));
        table.add_row([words::name(&owner.label, NAME)].into_iter().chain(figures));
    }
    writeln!(out)?;
    finish(table, None, out)
}
