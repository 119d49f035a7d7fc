//! Where memory goes as a picture: a sheet for each instance, and one for each process.

use std::cmp::Reverse;
use std::io::Write;

use anyhow::Result;
use plotters::style::RGBColor;
use shared::trace::breakdown::{Glibc, Slice, SliceKind};

use super::area::{self, Areas};
use super::bars::{Bars, Line};
use super::palette;
use super::panel::{Classes, Panel};
use super::pie::{self, Pies};
use super::scale::Unit;
use super::sheet::{self, BOLDER, Item, lines};
use crate::metrics::advice::{self, Advice};
use crate::metrics::breakdown::history::thin;
use crate::metrics::breakdown::instance::{Instance, Member};
use crate::metrics::breakdown::{Owner, ProcessMemory, Share, arenas, owners};
use crate::metrics::population::Population;
use crate::output::breakdown::words as say;
use crate::output::{Output, words};
use crate::report::BreakdownReport;

/// At most so many moments are drawn: more would be less than two pixels apart.
const MOMENTS: usize = 280;
/// At most so many slices have a bar of their own.
const LARGEST: usize = 14;

/// Writes the picture, sheets one below the other.
pub fn write(report: &BreakdownReport, out: &mut dyn Write) -> Result<()> {
    let mut sheets: Vec<Vec<Item>> = report.instances.iter().map(|one| instance(report, one)).collect();
    let processes = || report.processes.iter().zip(&report.advice);
    sheets.extend(processes().map(|(one, advice)| process(report, one, advice)));
    let titles: Vec<String> = report.processes.iter().map(title).collect();
    let mut description: Vec<String> = report.instances.iter().map(say::together).collect();
    for ((process, advice), title) in processes().zip(&titles) {
        description.push(format!("{title}: {}. {}.", say::moment(report, process), say::checks(&process.checks())));
        let shares = process.shares.iter();
        description.extend(shares.map(|share| {
            let resident = words::bytes(share.memory.resident);
            format!("{}: {resident} of {} mapped.", share.owner.label, words::bytes(share.memory.mapped))
        }));
        description.extend(advice.iter().map(|advice| format!("{}.", advice.finding)));
    }
    let description: Vec<String> = description.iter().map(|line| words::name(line, 2000)).collect();
    let title = format!("Where memory goes: {}", titles.join(", "));
    super::document(&title, &description.join("\n"), &sheets, out)
}

fn title(process: &ProcessMemory) -> String {
    words::name(&process.title(), 66)
}

/// The colour of an owner.
fn colour(share: &Share) -> RGBColor {
    palette::kind(share.owner.kind, share.shade)
}

fn advise(advice: &[Advice]) -> Vec<Item> {
    let mut items = Vec::new();
    for Advice { finding, action, .. } in advice {
        items.push(Item::Gap(6));
        items.extend(lines(&format!("{finding}. Advice: {action}."), 13.5).map(Item::Text));
    }
    items
}

fn process(report: &BreakdownReport, process: &ProcessMemory, advice: &[Advice]) -> Vec<Item> {
    let mut items = vec![Item::Gap(14), Item::Title(title(process))];
    items.extend(lines(&say::moment(report, process), 14.0).map(Item::Text));
    items.extend(lines(&say::checks(&process.checks()), 14.0).map(Item::Text));
    items.extend(sheet::warning(&report.verdict));
    for missing in &process.breakdown.missing {
        let text = format!("missing: {}", words::name(missing, 300));
        items.extend(lines(&text, 14.0 * BOLDER).map(Item::Warning));
    }
    items.extend([Item::Gap(10), Item::Pies(system(process))]);
    items.extend(lines(say::UNTOUCHED_MEANS, 12.0).map(Item::SmallPrint));
    let (pies, small) = application(process);
    items.extend([Item::Gap(10), Item::Pies(pies)]);
    let means = [say::CONVENTION_MEANS.to_owned()].into_iter().chain(small);
    items.extend(means.flat_map(|text| lines(&text, 12.0).collect::<Vec<_>>()).map(Item::SmallPrint));
    if process.history.looks.len() > 1 {
        items.extend(over_time(report, process));
    }
    items.extend([
        Item::Gap(10),
        Item::Section("the largest slices: resident, in a frame of what is mapped".to_owned()),
    ]);
    items.push(Item::Bars(largest(report, process)));
    items.extend(process.breakdown.glibc.iter().flat_map(chunks));
    items.extend(advise(advice));
    items.extend(sheet::foot(report.origin(), []));
    items
}

fn system(process: &ProcessMemory) -> Pies {
    let system = process.system();
    let row = |colour, name: &str, bytes| pie::Row { colour, name: name.to_owned(), bytes: vec![bytes] };
    Pies {
        titles: vec!["system level".to_owned()],
        rows: vec![
            row(palette::RESIDENT, "resident", system.resident),
            row(palette::SWAPPED, "swapped", system.swapped),
            row(palette::UNTOUCHED, say::UNTOUCHED, system.untouched),
        ],
    }
}

/// The owners, and the names of those that are small in both pies, which are one there.
fn application(process: &ProcessMemory) -> (Pies, Option<String>) {
    let shares: Vec<&Share> =
        process.shares.iter().filter(|share| share.memory.resident > 0 || share.by_convention() > 0).collect();
    let pies: Vec<Vec<u64>> = shares.iter().map(|share| vec![share.memory.resident, share.by_convention()]).collect();
    let small: Vec<Vec<bool>> =
        (0..2).map(|pie| owners::below(&pies.iter().map(|bytes| bytes[pie]).collect::<Vec<_>>())).collect();
    let small: Vec<bool> = (0..shares.len()).map(|at| small[0][at] && small[1][at]).collect();
    let rows = shares.iter().zip(pies).map(|(share, bytes)| (colour(share), share.owner.label.clone(), bytes));
    let (rows, names) = grouped(rows.collect(), &small);
    let rows = rows.into_iter().map(|(colour, name, bytes)| pie::Row { colour, name, bytes }).collect();
    (Pies { titles: vec![say::RESIDENT.to_owned(), say::CONVENTION.to_owned()], rows }, names)
}

/// A colour, a name, and figures.
type Row = (RGBColor, String, Vec<u64>);

/// Makes one row of the small ones, if there are several, and tells their names.
fn grouped(rows: Vec<Row>, small: &[bool]) -> (Vec<Row>, Option<String>) {
    if small.iter().filter(|small| **small).count() < 2 {
        return (rows, None);
    }
    let (mut kept, mut names, mut sums) = (Vec::new(), Vec::new(), Vec::new());
    for (row, small) in rows.into_iter().zip(small) {
        if !small {
            kept.push(row);
            continue;
        }
        names.push(row.1);
        sums.resize(row.2.len(), 0u64);
        sums.iter_mut().zip(row.2).for_each(|(sum, bytes)| *sum = sum.saturating_add(bytes));
    }
    kept.push((palette::SMALL, format!("{} small ones", names.len()), sums));
    (kept, Some(format!("small: {}", names.iter().map(|name| words::name(name, 40)).collect::<Vec<_>>().join(", "))))
}

fn over_time(report: &BreakdownReport, process: &ProcessMemory) -> Vec<Item> {
    let history = &process.history;
    let kept = thin(&history.looks, MOMENTS);
    let times = kept.iter().map(|at| history.looks[*at].time).collect();
    let owners: Vec<(Owner, Vec<u64>)> = history
        .by_owner(&report.vms)
        .into_iter()
        .map(|(owner, row)| (owner, kept.iter().map(|at| row[*at].resident).collect::<Vec<u64>>()))
        .filter(|(_, bytes)| bytes.iter().any(|bytes| *bytes > 0))
        .collect();
    let most: Vec<u64> = owners.iter().map(|(_, bytes)| bytes.iter().copied().max().unwrap_or(0)).collect();
    let small = owners::below(&most);
    let rows = owners.into_iter().map(|(owner, bytes)| {
        let known = process.shares.iter().find(|share| share.owner == owner);
        (known.map_or(palette::kind(owner.kind, 0), colour), owner.label, bytes)
    });
    let (rows, names) = grouped(rows.collect(), &small);
    let looks = words::thousands(process.looks);
    let heading = if kept.len() < history.looks.len() {
        format!("resident over time, {} of {looks} looks: the highest of those that fall together", kept.len())
    } else {
        format!("resident over time, {looks} looks")
    };
    let rows = rows.into_iter().map(|(colour, name, bytes)| area::Row { colour, name, bytes }).collect();
    let mut items = vec![Item::Gap(10), Item::Section(heading), Item::Areas(Areas { times, rows })];
    items.extend(names.iter().flat_map(|names| lines(names, 12.0)).map(Item::SmallPrint));
    items
}

/// glibc's chunks by size, used and free on the same classes.
fn chunks(glibc: &Glibc) -> Vec<Item> {
    let populations = arenas::populations(glibc);
    if populations.iter().all(|(_, population)| population.all.count == 0) {
        return Vec::new();
    }
    let classes = Classes::spanning(populations.iter().flat_map(|(_, population)| population.buckets.keys().copied()));
    let panel = |(at, (name, population)): (usize, &(&'static str, Population))| {
        Item::Panel(Panel {
            unit: Unit::Bytes,
            axis: name,
            colour: palette::kind(SliceKind::SystemAllocator, at as u64),
            classes,
            values: population.buckets.iter().map(|(bucket, tally)| (*bucket, tally.bytes)).collect(),
            whiskers: Vec::new(),
            named: at + 1 == populations.len(),
        })
    };
    let heading = Item::Section("glibc's chunks in all arenas, bytes by size".to_owned());
    let panels = populations.iter().enumerate().map(panel);
    [Item::Gap(10), heading].into_iter().chain(panels).collect()
}

/// A bar for each of the largest slices by mapped bytes.
fn largest(report: &BreakdownReport, process: &ProcessMemory) -> Bars {
    let slices = process.breakdown.slices.iter().filter(|slice| slice.kind != SliceKind::Reserved);
    let mut slices: Vec<&Slice> = slices.collect();
    slices.sort_by_key(|slice| Reverse((slice.memory.mapped, slice.memory.resident)));
    let lines = slices.into_iter().take(LARGEST).map(|slice| {
        let owner = owners::owner(slice, &report.vms);
        let share = process.shares.iter().find(|share| share.owner == owner);
        let colour = share.map_or(palette::kind(owner.kind, 0), colour);
        let file = slice.name.rsplit('/').next().unwrap_or_default();
        let name = match slice.kind {
            SliceKind::SharedZone => format!("zone {}", slice.name),
            SliceKind::Text => format!("text of {file}"),
            SliceKind::FileData => format!("data of {file}"),
            SliceKind::Stack => format!("stack of {}", slice.name),
            SliceKind::SystemAllocator | SliceKind::Kernel => slice.name.clone(),
            _ => owner.label,
        };
        let (resident, mapped) = (words::bytes(slice.memory.resident), words::bytes(slice.memory.mapped));
        Line::Bar {
            name,
            parts: vec![(colour, slice.memory.resident)],
            outline: slice.memory.mapped,
            figures: format!("{resident} of {mapped}"),
        }
    });
    Bars(lines.collect())
}

fn instance(report: &BreakdownReport, instance: &Instance) -> Vec<Item> {
    let mut items = vec![Item::Gap(14), Item::Title(words::name(&say::instance(instance), 66))];
    items.extend(lines(&say::together(instance), 14.0).map(Item::Text));
    items.extend(sheet::warning(&report.verdict));
    items.extend([Item::Gap(10), Item::Section("each process: PSS by owner, in a frame of RSS".to_owned())]);
    let mut bars = Vec::new();
    for generation in 0..=instance.generations() {
        let members: Vec<&Member> = instance.of(generation).collect();
        if generation > 0 && instance.generations() > 1 && !members.is_empty() {
            bars.push(Line::Heading(say::generation(&members, generation)));
        }
        bars.extend(members.into_iter().map(member));
    }
    let parts = |of: fn(&Share) -> u64| by_owner(instance, of);
    items.push(Item::Bars(Bars(bars)));
    items.extend([Item::Gap(8), Item::Section("all together, on a scale of their own".to_owned())]);
    let bar = |name: &str, parts: Vec<(RGBColor, u64)>, sum| Line::Bar {
        name: name.to_owned(),
        parts,
        outline: 0,
        figures: words::bytes(sum),
    };
    items.push(Item::Bars(Bars(vec![
        bar("PSS: shared pages once", parts(|share| share.memory.pss), instance.memory.pss),
        bar("RSS: once a process", parts(|share| share.memory.resident), instance.memory.resident),
    ])));
    items.push(Item::Names(names(instance)));
    items.extend(advise(&advice::of_instance(instance)));
    items.extend(sheet::foot(report.origin(), []));
    items
}

fn member(member: &Member) -> Line {
    let role = if member.role.is_empty() { "process" } else { &member.role };
    Line::Bar {
        name: format!("{role} {}", member.pid),
        parts: member.shares.iter().map(|share| (colour(share), share.memory.pss)).collect(),
        outline: member.memory.resident,
        figures: format!("{} of {}", words::bytes(member.memory.pss), words::bytes(member.memory.resident)),
    }
}

/// The owners' sums over all members, in the order of their kinds.
fn by_owner(instance: &Instance, of: fn(&Share) -> u64) -> Vec<(RGBColor, u64)> {
    let mut sums: Vec<(&Owner, RGBColor, u64)> = Vec::new();
    for share in instance.members.iter().flat_map(|member| &member.shares) {
        match sums.iter_mut().find(|(owner, ..)| *owner == &share.owner) {
            Some((_, _, sum)) => *sum = sum.saturating_add(of(share)),
            None => sums.push((&share.owner, colour(share), of(share))),
        }
    }
    sums.sort_by_key(|(owner, ..)| *owner);
    sums.into_iter().map(|(_, colour, sum)| (colour, sum)).collect()
}

/// What the colours stand for: those that have any resident page.
fn names(instance: &Instance) -> Vec<(RGBColor, String)> {
    let shares = instance.members.iter().flat_map(|member| &member.shares);
    let mut names: Vec<(&Owner, RGBColor)> =
        shares.filter(|share| share.memory.resident > 0).map(|share| (&share.owner, colour(share))).collect();
    names.sort_by_key(|(owner, _)| *owner);
    names.dedup_by_key(|(owner, _)| *owner);
    names.into_iter().map(|(owner, colour)| (colour, words::name(&owner.label, 40))).collect()
}
