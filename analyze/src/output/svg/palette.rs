//! Colours and letters.

use plotters::prelude::{Color, FontDesc, FontFamily, FontStyle, RGBColor, TextStyle};
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// What is drawn on.
pub(super) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);
/// Text.
pub(super) const INK: RGBColor = RGBColor(0x1a, 0x1a, 0x1a);
/// Text that stands back.
pub(super) const FAINT: RGBColor = RGBColor(0x59, 0x59, 0x59);
/// Axes.
pub(super) const AXIS: RGBColor = RGBColor(0x8c, 0x8c, 0x8c);
/// Lines behind the bars.
pub(super) const GRID: RGBColor = RGBColor(0xe2, 0xe2, 0xe2);

/// The neutral colours as they are on dark paper. Bars keep theirs: they stand out from both.
const DARK: [(RGBColor, &str); 5] =
    [(PAPER, "#15181c"), (INK, "#ececec"), (FAINT, "#b0b4b8"), (AXIS, "#868b90"), (GRID, "#33383d")];

/// A population's colour, of Okabe and Ito's set, which colour-blind people can tell apart; each has its own grey.
pub(super) fn of(population: &str) -> RGBColor {
    match population {
        "used" => RGBColor(0x00, 0x72, 0xb2),
        "free" => RGBColor(0xe6, 0x9f, 0x00),
        "segments" => RGBColor(0x00, 0x9e, 0x73),
        _ => RGBColor(0xcc, 0x79, 0xa7),
    }
}

/// The rules for dark screens. They name our own drawing only, so that it may stand inside of a page.
pub(super) fn style() -> String {
    let mut css = String::from("@media screen and (prefers-color-scheme: dark) {\n");
    for (RGBColor(red, green, blue), dark) in DARK {
        for attribute in ["fill", "stroke"] {
            let light = format!("{attribute}=\"#{red:02X}{green:02X}{blue:02X}\"");
            css.push_str(&format!(".ljscope [{light}] {{ {attribute}: {dark} }}\n"));
        }
    }
    css.push_str("}\n");
    css
}

/// Letters so many pixels high, their middle at the given height.
pub(super) fn letters(pixels: f64, colour: RGBColor, at: HPos) -> TextStyle<'static> {
    styled(FontStyle::Normal, pixels, colour, at)
}

/// The same in bold.
pub(super) fn bold(pixels: f64, colour: RGBColor, at: HPos) -> TextStyle<'static> {
    styled(FontStyle::Bold, pixels, colour, at)
}

fn styled(style: FontStyle, pixels: f64, colour: RGBColor, at: HPos) -> TextStyle<'static> {
    // The SVG backend divides sizes by 1.24.
    let font = FontDesc::new(FontFamily::SansSerif, pixels * 1.24, style);
    TextStyle { font, color: colour.to_backend_color(), pos: Pos::new(at, VPos::Center) }
}

/// How wide text may get. The reader's font is unknown: this is DejaVu Sans, one of the widest.
pub(super) fn width(text: &str, pixels: f64) -> f64 {
    let em = |c: char| match c {
        '.' | ',' | ' ' | 'i' => 0.32,
        'M' => 0.87,
        _ => 0.64,
    };
    text.chars().map(em).sum::<f64>() * pixels
}
