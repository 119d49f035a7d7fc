//! Colours and letters.

use plotters::prelude::{Color, FontDesc, FontFamily, FontStyle, RGBColor, TextStyle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use shared::trace::breakdown::SliceKind;

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

/// What lies in a heap: blocks, direct ones, and free chunks have their population's colour; `dv` and `top`, which are free,
/// have neighbours of it. What is the allocator's own is grey.
pub(super) const DV: RGBColor = RGBColor(0xa8, 0x6a, 0x00);
pub(super) const TOP: RGBColor = RGBColor(0xf0, 0xe4, 0x42);
pub(super) const OWN: RGBColor = RGBColor(0x6b, 0x6b, 0x6b);
/// Groups of kinds of objects, in the order of `metrics::map::GROUPS`: none is that of a mark.
pub(super) const GROUPS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xf0, 0xe4, 0x42),
    RGBColor(0xa8, 0x96, 0x7c),
    RGBColor(0x88, 0x22, 0x55),
];
/// Marks of segments that stand out.
pub(super) const WHOLLY_FREE: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
pub(super) const PINNED: RGBColor = RGBColor(0x00, 0x9e, 0x73);

/// What the system does for memory: these colours are of no owner.
pub(super) const RESIDENT: RGBColor = RGBColor(0x5f, 0x6f, 0x82);
pub(super) const SWAPPED: RGBColor = RGBColor(0x88, 0x22, 0x55);
pub(super) const UNTOUCHED: RGBColor = RGBColor(0xc9, 0xcf, 0xd6);
/// Over time: where a collector's cycle ends, and where calls are lost.
pub(super) const CYCLE: RGBColor = RGBColor(0x88, 0x22, 0x55);
pub(super) const LOST: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
/// What may leak.
pub(super) const SUSPECT: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
/// Owners too small to be drawn on their own.
pub(super) const SMALL: RGBColor = RGBColor(0xa8, 0x96, 0x7c);

/// Of a colour, what the first of a kind has, the second and so on, in hundredths. Lighter ones would come too near to
/// other kinds.
const SHADES: [u64; 4] = [100, 66, 83, 50];

/// A kind's colour, the same in every picture: Okabe and Ito's seven, and greys. Others of the kind are darker.
pub(super) fn kind(kind: SliceKind, shade: u64) -> RGBColor {
    let RGBColor(red, green, blue) = match kind {
        SliceKind::Luajit => RGBColor(0x00, 0x72, 0xb2),
        SliceKind::JitCode => RGBColor(0x56, 0xb4, 0xe9),
        SliceKind::SystemAllocator => RGBColor(0xe6, 0x9f, 0x00),
        SliceKind::SharedZone => RGBColor(0x00, 0x9e, 0x73),
        SliceKind::Text => RGBColor(0xcc, 0x79, 0xa7),
        SliceKind::FileData => RGBColor(0xf0, 0xe4, 0x42),
        SliceKind::Stack => RGBColor(0xd5, 0x5e, 0x00),
        SliceKind::Kernel => RGBColor(0x6b, 0x6b, 0x6b),
        SliceKind::Reserved => RGBColor(0xb8, 0xb8, 0xb8),
        SliceKind::Other => RGBColor(0x94, 0x94, 0x94),
    };
    let shade = SHADES[(shade % SHADES.len() as u64) as usize];
    let darker = |part: u8| (u64::from(part) * shade / 100) as u8;
    RGBColor(darker(red), darker(green), darker(blue))
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
