//! Who allocates as a picture: what is known, the largest callers in words, and a flame graph of all stacks below. The `inferno`
//! crate lays that out; its script shows a part of it larger and searches, in a picture of its own. Within a page there is
//! none: what a frame is shows on hover all the same.

use std::io::Write;

use anyhow::{Context, Result};
use inferno::flamegraph::color::{PaletteMap, parse_hex_color};
use inferno::flamegraph::{self, Options, TextTruncateDirection};
use plotters::style::RGBColor;

use super::sheet::{self, Item, lines};
use super::{MARGIN, Overlay, WIDTH};
use crate::metrics::sites::{By, Code, Named, SitesReport, VmSites};
use crate::output::sites::words as say;
use crate::output::{Output, words};

/// Who looks at a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Somebody who has opened it alone.
    Alone,
    /// Somebody who reads a page that it is in.
    Page,
}

/// So many callers are put into words.
const CALLERS: usize = 5;
/// So many operations and sites are in the description.
const DESCRIBED: usize = 10;
/// Frames narrower than this part of the picture, in percent, are left out.
const NARROWEST: f64 = 0.1;
/// Left and right of the frames, `inferno` leaves so many pixels empty.
const PAD: u32 = 10;
/// Pixels of its letters.
const LETTERS: usize = 11;

/// Colours of frames, light enough for dark letters on any paper.
const COLOURS: [(Code, &str, RGBColor); 5] = [
    (Code::Luajit, "LuaJIT", RGBColor(0x7f, 0xbc, 0xe6)),
    (Code::Lua, "Lua", RGBColor(0xf2, 0xb8, 0x4b)),
    (Code::Other, "other files", RGBColor(0x74, 0xcf, 0xae)),
    (Code::Compiled, "compiled code", RGBColor(0xe6, 0xa8, 0xcb)),
    (Code::Unknown, "unknown", RGBColor(0xc4, 0xca, 0xd0)),
];

/// Writes the picture.
pub fn write(report: &SitesReport, reader: Reader, out: &mut dyn Write) -> Result<()> {
    let titles: Vec<String> = report.vms.iter().map(|vm| title(report, vm)).collect();
    let flames = flames(report, reader)?;
    let mut items = head(report);
    let top = sheet::height(&items);
    items.push(Item::Gap(flames.height));
    items.extend(sheet::foot(
        report.origin(),
        report.modules.iter().map(|module| words::name(&say::module(module), 300)),
    ));
    let elements = match flames.elements.is_empty() {
        true => String::new(),
        false => format!(
            "<svg class=\"flames\" x=\"{}\" y=\"{top}\" width=\"{}\" height=\"{}\" \
             xmlns:fg=\"http://github.com/jonhoo/inferno\">{}</svg>",
            MARGIN - PAD,
            flames.width,
            flames.height,
            flames.elements
        ),
    };
    let is_interactive = reader == Reader::Alone && !elements.is_empty();
    let over = Overlay {
        attributes: if is_interactive { " onload=\"init(evt)\"" } else { "" },
        style: include_str!("flames.css"),
        elements,
    };
    super::overlaid(&format!("Who allocates: {}", titles.join(", ")), &description(report), &[items], &over, out)
}

fn title(report: &SitesReport, vm: &VmSites) -> String {
    words::name(&vm.title(&report.processes), 66)
}

/// What stands above the flames.
fn head(report: &SitesReport) -> Vec<Item> {
    let mut items = vec![Item::Gap(14)];
    for vm in &report.vms {
        items.push(Item::Title(title(report, vm)));
        let basis = format!("{}; {}", words::name(&words::build(&vm.vm), 80), say::basis(report.by, &vm.basis));
        items.extend(lines(&basis, 14.0).map(Item::Text));
        items.extend(say::doubt(vm).map(Item::Warning));
        items.push(Item::Gap(6));
        for caller in vm.callers.iter().take(CALLERS) {
            let said = words::name(&say::sentence(report.by, caller), 240);
            items.extend(lines(&said, 14.0).map(Item::Text));
        }
        items.push(Item::Gap(8));
    }
    items.extend(sheet::warning(&report.verdict));
    items.push(Item::Names(COLOURS.map(|(_, name, colour)| (colour, name.to_owned())).to_vec()));
    items
}

/// What the picture shows, for those who cannot see it.
fn description(report: &SitesReport) -> String {
    let mut said = Vec::new();
    for vm in &report.vms {
        said.push(format!("{}: {}.", title(report, vm), say::basis(report.by, &vm.basis)));
        for row in vm.operations.iter().take(DESCRIBED).chain(vm.sites.iter().take(DESCRIBED)) {
            let (share, interval) = (say::percent(row.share.share), say::interval(&row.share));
            said.push(format!("{}: {share} ({interval}).", words::name(&row.name, 200)));
        }
    }
    said.push(format!("{}.", sheet::small_print(&report.verdict)));
    said.join("\n")
}

/// A flame graph as elements of a picture.
#[derive(Debug, Default)]
struct Flames {
    elements: String,
    width: u32,
    height: u32,
}

/// Draws the stacks of all VMs.
fn flames(report: &SitesReport, reader: Reader) -> Result<Flames> {
    let (folded, mut palette) = folded(report);
    if folded.is_empty() {
        return Ok(Flames::default());
    }
    let width = WIDTH - 2 * MARGIN + 2 * PAD;
    let mut options = Options::default();
    options.image_width = Some(width as usize);
    options.min_width = NARROWEST;
    options.font_size = LETTERS;
    options.font_width = 0.56;
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.count_name = if report.by == By::Calls { "calls" } else { "bytes" }.to_owned();
    options.name_type = String::new();
    options.palette_map = Some(&mut palette);
    // Letters stay dark on what was found.
    options.search_color = "#f0e442".parse().map_err(anyhow::Error::msg)?;
    let mut drawing = Vec::new();
    flamegraph::from_lines(&mut options, folded.iter().map(String::as_str), &mut drawing)
        .context("cannot draw the flame graph")?;
    let drawing = String::from_utf8(drawing).context("a flame graph is text")?;
    // Of the whole drawing we need the frames, and the script; what is around them, we have of our own.
    let height: u32 = between(&drawing, " height=\"", "\"")
        .and_then(|height| height.parse().ok())
        .context("a flame graph is high")?;
    let frames = drawing.find("<svg id=\"frames\"").context("a flame graph has frames")?;
    let frames = drawing[frames..].strip_suffix("</svg>").context("a flame graph ends")?;
    let script = between(&drawing, "<script type=\"text/ecmascript\">", "</script>").context("it has a script")?;
    let elements = match reader {
        Reader::Page => frames.to_owned(),
        Reader::Alone => {
            let (right, above, below) = (width - PAD, LETTERS + 4, height - 8);
            format!(
                "<script type=\"text/ecmascript\">{script}</script>\n\
                 <text id=\"unzoom\" class=\"tool hide\" x=\"{PAD}\" y=\"{above}\">All of it</text>\
                 <text id=\"search\" class=\"tool\" x=\"{right}\" y=\"{above}\">Search</text>\
                 <text id=\"details\" class=\"said\" x=\"{PAD}\" y=\"{below}\"> </text>\
                 <text id=\"matched\" class=\"said\" x=\"{right}\" y=\"{below}\"> </text>{frames}"
            )
        }
    };
    Ok(Flames { elements, width, height })
}

/// Stacks in the form that `inferno` reads, the outermost frame first, and the colours of their frames.
fn folded(report: &SitesReport) -> (Vec<String>, PaletteMap) {
    let mut palette = PaletteMap::default();
    let mut colour = |name: &str, RGBColor(red, green, blue): RGBColor| {
        if let Some(colour) = parse_hex_color(&format!("#{red:02x}{green:02x}{blue:02x}")) {
            palette.insert(name, colour);
        }
    };
    let unknown = COLOURS[4].2;
    colour("", unknown);
    let mut folded = Vec::new();
    for vm in &report.vms {
        let several = (report.vms.len() > 1).then(|| plain(&vm.title(&report.processes)));
        several.iter().for_each(|name| colour(name, unknown));
        for stack in &vm.stacks {
            let mut line: Vec<String> = several.iter().cloned().collect();
            for frame in stack.frames.iter().rev().map(|frame| &vm.frames[*frame]) {
                let name = shown(frame);
                let own = COLOURS.iter().find(|(code, ..)| *code == frame.code);
                colour(&name, own.map_or(unknown, |(.., colour)| *colour));
                line.push(name);
            }
            let amount = stack.share.amount.round() as u64;
            if amount > 0 {
                folded.push(format!("{} {amount}", line.join(";")));
            }
        }
    }
    (folded, palette)
}

/// A frame's name, with its line where it is known.
fn shown(frame: &Named) -> String {
    let file = frame.file.as_deref().filter(|_| frame.code != Code::Lua);
    let file = file.map(|file| file.rsplit('/').next().unwrap_or(file));
    let line = match (file, frame.line) {
        (Some(file), Some(line)) => format!(" ({file}:{line})"),
        _ => String::new(),
    };
    plain(&format!("{}{line}{}", frame.name, if frame.inlined { " inlined" } else { "" }))
}

/// A name that stands between semicolons, and does not end like a number behind a name.
fn plain(name: &str) -> String {
    let name = words::name(name, 200).replace(';', ",");
    match name.rsplit_once(' ') {
        Some((first, last)) if !last.contains(|c: char| !(c.is_ascii_digit() || c == '.')) => {
            format!("{first}\u{a0}{last}")
        }
        _ => name,
    }
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sites::sample;

    fn svg(report: &SitesReport, reader: Reader) -> String {
        let mut bytes = Vec::new();
        write(report, reader, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn each_wide_frame_has_a_box_and_a_page_has_no_script() {
        let report = sample::report();
        let page = svg(&report, Reader::Page);
        super::super::tests::assert_well_formed(&page);
        assert!(!page.contains("<script") && !page.contains("onload") && !page.contains("id=\"search\""));
        let alone = svg(&report, Reader::Alone);
        for part in ["<script", " onload=\"init(evt)\"", "id=\"details\"", "id=\"unzoom\"", "id=\"matched\""] {
            assert_eq!(alone.matches(part).count(), 1, "{part}");
        }
        // Nothing is fetched from anywhere.
        assert!(!["href=", "src=", "url(", "@import"].iter().any(|part| alone.contains(part)));
        // Each stack has its leaf, and a box knows what it is of.
        let vm = &report.vms[0];
        for stack in vm.stacks.iter().filter(|stack| stack.share.share > NARROWEST) {
            let leaf = &vm.frames[stack.frames[0]].name;
            assert!(page.contains(&format!("<title>{leaf} (")), "{leaf}");
        }
        assert!(page.contains("<title>all (") && page.contains("#7FBCE6"));
    }

    #[test]
    fn strange_names_and_no_stacks_are_drawn() {
        let mut report = sample::report();
        for frame in &mut report.vms[0].frames {
            frame.name = "<&;>\"'\u{1}\u{1b}[31m 12 13".to_owned();
        }
        super::super::tests::assert_well_formed(&svg(&report, Reader::Page));
        report.vms[0].stacks.clear();
        assert!(!svg(&report, Reader::Alone).contains("<script"));
        report.vms.clear();
        super::super::tests::assert_well_formed(&svg(&report, Reader::Page));
    }

    #[test]
    fn the_same_report_gives_the_same_bytes() {
        assert_eq!(svg(&sample::report(), Reader::Alone), svg(&sample::report(), Reader::Alone));
    }
}
