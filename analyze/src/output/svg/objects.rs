//! The objects of heaps as a picture: for each VM a sheet, with its kinds by bytes, garbage apart, and the largest by size.

use std::io::Write;

use anyhow::Result;

use super::bars::{Bars, Line};
use super::palette::{self, WHOLLY_FREE};
use super::panel::{Classes, Panel};
use super::scale::Unit;
use super::sheet::{self, BOLDER, Item, lines};
use crate::metrics::objects::{Kind, ObjectsReport, Place, VmObjects};
use crate::output::objects::words as say;
use crate::output::{Output, words};

/// So many kinds are drawn by size, the largest.
const BY_SIZE: usize = 4;
/// So many places of functions.
const PLACES: usize = 12;

/// Writes the picture, sheets one below the other.
pub fn write(report: &ObjectsReport, out: &mut dyn Write) -> Result<()> {
    let titles: Vec<String> = report.vms.iter().map(|vm| title(report, vm)).collect();
    let mut description: Vec<String> = Vec::new();
    for (title, vm) in titles.iter().zip(&report.vms) {
        description.push(format!(
            "{title}: {}. {}. {}.",
            say::moment(vm),
            say::all(&vm.objects),
            say::garbage(&vm.objects)
        ));
        description.extend(vm.objects.kinds.iter().map(|kind| format!("{}: {}.", kind.kind, figures(kind, vm))));
        let places = vm.objects.places.iter().flatten().take(PLACES);
        description.extend(places.map(|place| format!("{}: {}.", say::place(place, 60), of_place(place))));
    }
    description.push(format!("{}.", sheet::small_print(&report.verdict)));
    let sheets: Vec<Vec<Item>> = report.vms.iter().map(|vm| items(report, vm)).collect();
    let title = format!("What kind of objects fill the heap: {}", titles.join(", "));
    super::document(&title, &description.join("\n"), &sheets, out)
}

fn title(report: &ObjectsReport, vm: &VmObjects) -> String {
    words::name(&vm.title(&report.processes), 66)
}

fn items(report: &ObjectsReport, vm: &VmObjects) -> Vec<Item> {
    let objects = &vm.objects;
    let mut items = vec![Item::Gap(14), Item::Title(title(report, vm))];
    let state = format!("{}; {}", words::name(&words::build(&vm.vm), 80), say::moment(vm));
    for text in [state, say::all(objects), say::garbage(objects), say::tables(objects)] {
        items.extend(lines(&text, 14.0).map(Item::Text));
    }
    let problem = objects.problem.as_ref().map(|problem| format!("not all could be told apart: {problem}"));
    items.extend(problem.iter().flat_map(|problem| lines(problem, 14.0 * BOLDER)).map(Item::Warning));
    items.extend(sheet::warning(&report.verdict));
    items.push(Item::Gap(8));
    let (live, garbage) = (palette::of("used"), WHOLLY_FREE);
    items.push(Item::Names(vec![(live, "in use".to_owned()), (garbage, "garbage not yet collected".to_owned())]));
    let bar = |kind: &Kind| Line::Bar {
        name: kind.kind.to_owned(),
        parts: vec![(live, kind.all.bytes.saturating_sub(kind.garbage.bytes)), (garbage, kind.garbage.bytes)],
        outline: 0,
        figures: figures(kind, vm),
    };
    items.push(Item::Bars(Bars(objects.kinds.iter().map(bar).collect())));
    items.push(Item::Gap(8));
    let shown = &objects.kinds[..objects.kinds.len().min(BY_SIZE)];
    let classes = Classes::spanning(shown.iter().flat_map(|kind| kind.classes.iter().map(|class| class.size_from)));
    for (at, kind) in shown.iter().enumerate() {
        items.push(Item::Heading(live, format!("{} by size of block", kind.kind)));
        items.push(Item::Panel(Panel {
            unit: Unit::Bytes,
            axis: "bytes",
            colour: live,
            classes,
            values: kind.classes.iter().map(|class| (class.size_from, class.all.bytes)).collect(),
            whiskers: Vec::new(),
            named: at + 1 == shown.len(),
        }));
    }
    items.extend(objects.places.iter().flat_map(|all| places(all)));
    items.extend(sheet::foot(report.origin(), []));
    items
}

/// Where the functions were written that take most, closures and code apart.
fn places(places: &[Place]) -> Vec<Item> {
    let shown = &places[..places.len().min(PLACES)];
    let (closures, code) = (palette::of("segments"), palette::of("direct"));
    let bar = |place: &Place| {
        let [functions, protos] = [place.functions.all, place.protos.all];
        Line::Bar {
            // The end of a path says more than its start.
            name: say::place(place, 30),
            parts: vec![(closures, functions.bytes), (code, protos.bytes)],
            outline: 0,
            figures: of_place(place),
        }
    };
    vec![
        Item::Gap(8),
        Item::Section(say::places(places.len(), shown.len())),
        Item::Names(vec![(closures, "closures".to_owned()), (code, "their code".to_owned())]),
        Item::Bars(Bars(shown.iter().map(bar).collect())),
    ]
}

/// `12.3 MiB, 10,705 closures`
fn of_place(place: &Place) -> String {
    format!("{}, {}", words::bytes(place.bytes()), words::count(place.functions.all.count, "closure"))
}

/// `12.3 MiB, 45.6 %, 10,705`
fn figures(kind: &Kind, vm: &VmObjects) -> String {
    let (bytes, share) = (words::bytes(kind.all.bytes), words::share(kind.all.bytes, vm.objects.all.bytes));
    format!("{bytes}, {share}, {}", words::thousands(kind.all.count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::objects::sample;

    #[test]
    fn each_kind_has_a_bar_and_garbage_its_own_colour() {
        let report = sample::report();
        let mut bytes = Vec::new();
        write(&report, &mut bytes).unwrap();
        let svg = String::from_utf8(bytes).unwrap();
        super::super::tests::assert_well_formed(&svg);
        let kinds = &report.vms[0].objects.kinds;
        let with_garbage = kinds.iter().filter(|kind| kind.garbage.bytes > 0).count();
        let rectangles = |colour| svg.lines().filter(|line| line.starts_with("<rect") && line.contains(colour)).count();
        // One for the name of the colour.
        assert_eq!(rectangles("#D55E00"), with_garbage + 1);
        assert!(rectangles("#0072B2") > kinds.len());
        for kind in kinds {
            assert!(svg.contains(kind.kind));
        }
        assert!(svg.contains("handlers.lua:") && svg.contains("their code"));
    }
}
