//! Maps as a picture: for each VM a sheet, with a band for each moment.

use std::io::Write;

use anyhow::Result;

use super::cells::{Cells, layers};
use super::palette::{PINNED, WHOLLY_FREE};
use super::sheet::{self, BOLDER, Item, lines};
use crate::metrics::map::{By, Map};
use crate::output::map::words as map_words;
use crate::output::{Output, words};
use crate::report::{MapReport, Moment, VmMaps};

/// Writes the picture, sheets one below the other.
pub fn write(report: &MapReport, out: &mut dyn Write) -> Result<()> {
    let titles: Vec<String> = report.vms.iter().map(|vm| title(report, vm)).collect();
    let mut description: Vec<String> = Vec::new();
    for (title, vm) in titles.iter().zip(&report.vms) {
        description.push(format!("{title}: {}.", map_words::scale(&vm.grid)));
        for (moment, map) in &vm.maps {
            let (sums, remarkable) = (map_words::sums(map), map_words::remarkable(map));
            description.push(format!("{}: {sums}; {remarkable}.", words::moment(moment)));
            if report.by == By::Kind {
                description.push(format!("{}.", map_words::kinds(&map.sum.kinds)));
            }
        }
        description.extend(vm.without.iter().map(|without| format!("{}.", map_words::without(without))));
    }
    description.push(format!("{}.", sheet::small_print(&report.verdict)));
    let sheets: Vec<Vec<Item>> = report.vms.iter().map(|vm| items(report, vm)).collect();
    let title = format!("LuaJIT heap by address: {}", titles.join(", "));
    super::document(&title, &description.join("\n"), &sheets, out)
}

fn title(report: &MapReport, vm: &VmMaps) -> String {
    words::name(&vm.title(&report.processes), 66)
}

fn items(report: &MapReport, vm: &VmMaps) -> Vec<Item> {
    let mut items = vec![Item::Gap(14), Item::Title(title(report, vm))];
    let state = format!("{}; {}", words::name(&words::build(&vm.vm), 80), map_words::scale(&vm.grid));
    items.extend(lines(&state, 14.0).map(Item::Text));
    items.extend(sheet::warning(&report.verdict));
    items.push(Item::Gap(6));
    let marks = [(WHOLLY_FREE, "mark below: segment wholly free"), (PINNED, "mark below: segment pinned by little")];
    items.push(Item::Names(
        layers(report.by)
            .into_iter()
            .map(|layer| (layer.colour, layer.name))
            .chain(marks)
            .map(|(colour, name)| (colour, name.to_owned()))
            .collect(),
    ));
    for (moment, map) in &vm.maps {
        items.push(Item::Gap(10));
        items.extend(band(report.by, vm, moment, map));
    }
    items.push(Item::Gap(8));
    for without in &vm.without {
        items.extend(lines(&words::name(&map_words::without(without), 300), 14.0).map(Item::Text));
    }
    items.extend(sheet::foot(report.origin(), []));
    items
}

/// One moment.
fn band(by: By, vm: &VmMaps, moment: &Moment, map: &Map) -> Vec<Item> {
    let mut items: Vec<Item> = lines(&words::moment(moment), 14.0 * BOLDER).map(Item::Section).collect();
    if let Some(short_of) = words::short_of(moment) {
        items.extend(lines(&words::name(&short_of, 200), 14.0).map(Item::Text));
    }
    items.extend(lines(&map_words::sums(map), 14.0).map(Item::Text));
    if by == By::Kind {
        items.extend(lines(&map_words::kinds(&map.sum.kinds), 14.0).map(Item::Text));
    }
    items.push(Item::Cells(Cells::of(by, &vm.grid, map)));
    if let Some(rest) = map_words::rest(&vm.grid.rest(map)) {
        items.extend(lines(&rest, 14.0).map(Item::Text));
    }
    items.extend(lines(&map_words::remarkable(map), 14.0).map(Item::Text));
    let (remarkable, told) = (map.remarkable(), map_words::told(vm));
    for mapping in remarkable.iter().take(told) {
        items.extend(lines(&map_words::remark(mapping), 12.0).map(Item::SmallPrint));
    }
    if remarkable.len() > told {
        items.push(Item::SmallPrint(format!("and {} more", words::thousands((remarkable.len() - told) as u64))));
    }
    items
}

#[cfg(test)]
mod tests {
    use shared::heap::{Chunk, Heap, Segment};

    use super::*;
    use crate::output::sample;
    use crate::report::{Asked, Without};

    /// Maps of a heap of 24 MiB in which no cell is as its neighbour.
    fn report(maps: u64) -> MapReport {
        let sample = sample::report();
        let of_moment = |seed: u64| {
            let mut random = 0x9e37_79b9_7f4a_7c15_u64 + seed;
            let mut next = move |below: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % below
            };
            let (base, size) = (0x7f00_0000_0000, 24 << 20);
            let mut heap = Heap { segments: vec![Segment { base, size, record: 0 }], ..Heap::default() };
            let mut addr = base;
            while addr < base + size - 10_000 {
                let size = 32 + next(200) * 8;
                heap.chunks.push(Chunk { addr, size, used: heap.chunks.last().is_none_or(|last| !last.used) });
                addr += size;
            }
            (sample.vms[0].moment.clone(), Map::of(&heap))
        };
        let without = vec![Without { asked: Asked::Peak, why: "<&\"> ".repeat(90) }];
        let vm = VmMaps::new(1, sample.vms[0].vm.clone(), (0..maps).map(of_moment).collect(), without);
        let (source, header, processes) = (sample.source, sample.header, sample.processes);
        MapReport { source, header, processes, verdict: sample.verdict, by: By::Allocator, vms: vec![vm] }
    }

    #[test]
    fn however_many_moments_and_chunks_a_picture_is_small() {
        for maps in [1, 2, 24] {
            let mut bytes = Vec::new();
            write(&report(maps), &mut bytes).unwrap();
            let svg = String::from_utf8(bytes).unwrap();
            super::super::tests::assert_well_formed(&svg);
            assert!(svg.len() < 800_000, "{maps} maps: {} bytes", svg.len());
            assert!(svg.matches("<polygon").count() > 10 * maps as usize);
        }
    }

    #[test]
    fn a_report_without_maps_is_drawn() {
        let mut empty = report(0);
        let mut bytes = Vec::new();
        write(&empty, &mut bytes).unwrap();
        empty.vms.clear();
        write(&empty, &mut bytes).unwrap();
        assert!(String::from_utf8(bytes).unwrap().contains("no map of the peak"));
    }
}
