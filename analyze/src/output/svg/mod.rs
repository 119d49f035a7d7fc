//! A picture: for each VM a sheet with the populations by size. No scripts, no font files, the same bytes each time;
//! right on light and on dark paper.

mod area;
mod bars;
mod breakdown;
mod cells;
mod curve;
mod diff;
mod fleet;
mod growth;
mod heat;
mod lifetimes;
mod map;
mod net;
mod objects;
mod palette;
mod panel;
mod pie;
mod rates;
pub(in crate::output) mod scale;
mod series;
mod sheet;
mod sites;
mod timeline;

use std::io::Write;

use anyhow::{Context, Result};
use plotters::prelude::{DrawingArea, IntoDrawingArea, SVGBackend};

use self::palette::PAPER;
use self::sheet::Item;
use super::words;
use crate::report::{Report, VmReport};

pub use breakdown::write as write_breakdown;
pub use diff::write as write_diff;
pub use fleet::write as write_fleet;
pub use growth::write as write_growth;
pub use lifetimes::write as write_lifetimes;
pub use map::write as write_map;
pub use objects::write as write_objects;
pub use rates::write as write_rates;
pub(super) use scale::{Unit, short};
pub use sites::{Reader, write as write_sites};
pub use timeline::write as write_timeline;

/// Pixels across. Printed 17 cm wide, a pixel is 0.54 points and the smallest text, of 12 pixels, 6.4.
const WIDTH: u32 = 900;

/// Pixels left empty at the sides.
const MARGIN: u32 = 24;

/// An area to draw on, in pixels.
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Writes the picture, sheets one below the other.
pub fn write(report: &Report, out: &mut dyn Write) -> Result<()> {
    let sheets: Vec<Vec<Item>> = report.vms.iter().map(|vm| sheet::items(report, vm)).collect();
    document(&title(report), &description(report), &sheets, out)
}

/// Writes a picture of sheets, with what it is of and what it shows in words.
fn document(title: &str, description: &str, sheets: &[Vec<Item>], out: &mut dyn Write) -> Result<()> {
    overlaid(title, description, sheets, &Overlay::default(), out)
}

/// What another drawer has drawn, as SVG.
#[derive(Debug, Default)]
struct Overlay {
    /// Attributes of the whole picture.
    attributes: &'static str,
    /// Rules for its own elements.
    style: &'static str,
    /// Elements over the sheets.
    elements: String,
}

/// The same with something over the sheets.
fn overlaid(title: &str, description: &str, sheets: &[Vec<Item>], over: &Overlay, out: &mut dyn Write) -> Result<()> {
    let drawing = draw(sheets)?;
    // The backend knows no such elements: they follow its opening tag.
    let (opening, rest) = drawing.split_once('>').context("the drawing has no opening tag")?;
    let (rest, end) = rest.split_at(rest.rfind("</svg>").context("the drawing has no end")?);
    writeln!(out, "{opening} class=\"ljscope\" role=\"img\"{}>", over.attributes)?;
    writeln!(out, "<title>{}</title>", escape(title))?;
    writeln!(out, "<desc>{}</desc>", escape(description))?;
    write!(out, "<style>\n{}{}</style>{rest}{}{end}", palette::style(), over.style, over.elements)?;
    Ok(())
}

fn draw(sheets: &[Vec<Item>]) -> Result<String> {
    let height: u32 = sheets.iter().map(|items| sheet::height(items)).sum();
    let mut drawing = String::new();
    {
        let root = SVGBackend::with_string(&mut drawing, (WIDTH, height.max(1))).into_drawing_area();
        root.fill(&PAPER)?;
        let mut rest = root;
        for (at, items) in sheets.iter().enumerate() {
            let (area, below) = rest.split_vertically(sheet::height(items));
            sheet::draw(&area, items).with_context(|| format!("cannot draw sheet {}", at + 1))?;
            rest = below;
        }
        rest.present()?;
    }
    Ok(drawing)
}

/// What a picture is of, in a line.
fn title(report: &Report) -> String {
    let titles: Vec<String> = report.vms.iter().map(|vm| sheet_title(report, vm)).collect();
    format!("LuaJIT heap by size: {}", titles.join(", "))
}

/// What a picture shows, for those who cannot see it.
fn description(report: &Report) -> String {
    let mut lines = Vec::new();
    for vm in &report.vms {
        lines.push(format!("{}: {}. {}.", sheet_title(report, vm), words::moment(&vm.moment), sheet::totals(vm)));
        for (name, population) in vm.populations.named() {
            lines.push(format!("{}.", sheet::heading(name, population, vm)));
        }
    }
    lines.push(format!("{}.", sheet::small_print(&report.verdict)));
    lines.join("\n")
}

fn sheet_title(report: &Report, vm: &VmReport) -> String {
    words::name(&vm.title(&report.processes), 66)
}

/// Text as XML takes it.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::population::Populations;
    use crate::output::sample;

    fn svg(report: &Report) -> String {
        let mut bytes = Vec::new();
        write(report, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Checks that elements nest and attributes are quoted; not a parser, but enough for what we write.
    pub(super) fn assert_well_formed(xml: &str) {
        assert!(xml.chars().all(|c| c == '\n' || !c.is_control()), "control character");
        let mut open = Vec::new();
        for piece in xml.split('<').skip(1) {
            let (tag, text) = piece.split_once('>').expect("a tag ends");
            assert!(!text.contains('>'), "{text}");
            assert!(text.split('&').skip(1).all(|entity| entity.find(';').is_some_and(|at| at < 5)), "{text}");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if tag.ends_with('/') => {}
                None => open.push(tag.split(' ').next().unwrap()),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn each_bucket_has_one_bar_for_its_count_and_one_for_its_bytes() {
        let report = sample::report();
        let svg = svg(&report);
        assert_well_formed(&svg);
        for (name, colour) in ["used", "free", "segments", "direct"].map(|name| (name, palette::of(name))) {
            let populations =
                report.vms.iter().flat_map(|vm| vm.populations.named()).filter(|(other, _)| *other == name);
            let shown: Vec<usize> = populations.map(|(_, p)| p.buckets.len()).filter(|buckets| *buckets > 0).collect();
            let fill = format!("fill=\"#{:02X}{:02X}{:02X}\"", colour.0, colour.1, colour.2);
            // And one swatch for each heading.
            let drawn = svg.lines().filter(|line| line.starts_with("<rect") && line.contains(&fill)).count();
            assert_eq!(drawn, 2 * shown.iter().sum::<usize>() + shown.len(), "{name}");
        }
    }

    #[test]
    fn the_same_report_gives_the_same_bytes() {
        assert_eq!(svg(&sample::report()), svg(&sample::report()));
    }

    #[test]
    fn strange_reports_are_drawn() {
        let mut report = sample::report();
        report.vms[0].vm.label = "<&\">'\u{1}\u{1b}[31m".repeat(40);
        report.vms[1].populations = Populations::default();
        assert_well_formed(&svg(&report));
        report.vms[1].populations.used = [0, 1, u64::MAX / 2].into_iter().collect();
        assert_well_formed(&svg(&report));
        report.vms.clear();
        assert_well_formed(&svg(&report));
    }
}
