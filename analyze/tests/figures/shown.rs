//! What documents for people say: text with figures in it.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

/// Units that stand behind a figure, after a space.
const UNITS: [&str; 12] = ["B", "KiB", "MiB", "GiB", "TiB", "%", "ns", "us", "ms", "s", "min", "h"];

/// Figures that stand one after the other, with nothing but words between.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// The words before the first of them; none if they may stand anywhere.
    pub(crate) after: String,
    pub(crate) figures: Vec<String>,
}

/// That `figures` stand behind `after`.
pub(crate) fn said<S: Into<String>>(after: &str, figures: impl IntoIterator<Item = S>) -> Said {
    Said { after: after.to_owned(), figures: figures.into_iter().map(Into::into).collect() }
}

/// A text, and the figures in it with the places where they begin.
#[derive(Debug)]
pub(crate) struct Shown {
    text: String,
    figures: Vec<(usize, String)>,
}

impl Shown {
    /// Reads a text. Lines may be broken anywhere: a space is a space.
    pub(crate) fn of(text: &str) -> Shown {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut figures = Vec::new();
        let mut at = 0;
        while let Some((start, figure)) = next_figure(&text, at) {
            at = start + figure.len();
            figures.push((start, figure.to_owned()));
        }
        Shown { text, figures }
    }

    /// Whether something is said.
    pub(crate) fn says(&self, Said { after, figures }: &Said) -> bool {
        let there = |at: usize| {
            let first = self.figures.partition_point(|(start, _)| *start < at);
            let next = self.figures[first..].iter().map(|(_, figure)| figure);
            next.take(figures.len()).eq(figures)
        };
        if after.is_empty() {
            return self.figures.iter().any(|(start, _)| there(*start));
        }
        self.text.match_indices(after.as_str()).any(|(at, _)| there(at + after.len()))
    }

    /// All figures.
    pub(crate) fn all(&self) -> Vec<String> {
        self.figures.iter().map(|(_, figure)| figure.clone()).collect()
    }

    /// The figures that are not among those known, and do not stand in a name or a date.
    pub(crate) fn unknown(&self, names: &[&str], known: &BTreeSet<String>) -> Vec<String> {
        let mut text = self.text.clone();
        while let Some(date) = between(&text, ", started ", " UTC") {
            text = text.replace(&format!(", started {date} UTC"), "");
        }
        let has_both = |name: &&&str| name.contains(char::is_alphabetic) && name.contains(|c: char| c.is_ascii_digit());
        let mut names: Vec<&&str> = names.iter().filter(has_both).collect();
        // One name may be a part of another.
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        for name in names {
            text = text.replace(*name, "NAME");
        }
        let is_known =
            |figure: &String| known.contains(figure.trim_start_matches(['+', '-'])) || known.contains(figure);
        Shown::of(&text).all().into_iter().filter(|figure| !is_known(figure)).collect()
    }
}

impl Display for Shown {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The next figure from a place on: `1,234`, `-5.0`, `12.3 KiB`, `4.5M`. Digits in names are none.
fn next_figure(text: &str, from: usize) -> Option<(usize, &str)> {
    let bytes = text.as_bytes();
    let in_name =
        |at: usize| text[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "._-+/".contains(c));
    let mut at = from;
    loop {
        at += text[at..].find(|c: char| c.is_ascii_digit())?;
        let signed = at > 0 && matches!(bytes[at - 1], b'+' | b'-');
        let start = if signed { at - 1 } else { at };
        let end = at + text[at..].find(|c: char| !(c.is_ascii_digit() || ".,".contains(c))).unwrap_or(text.len() - at);
        let end = at + text[at..end].trim_end_matches(['.', ',']).len();
        let tail = text[end..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len() - end);
        let suffix = &text[end..end + tail];
        if in_name(start) || suffix.len() > 1 {
            at = end + tail;
            continue;
        }
        if !suffix.is_empty() {
            return Some((start, &text[start..end + tail]));
        }
        let unit = text[end..].strip_prefix(' ').and_then(|rest| {
            let word = rest.split(|c: char| !(c.is_alphabetic() || c == '%')).next()?;
            UNITS.contains(&word).then_some(1 + word.len())
        });
        return Some((start, &text[start..end + unit.unwrap_or(0)]));
    }
}

/// What stands between two marks.
pub(crate) fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|(inner, _)| inner)
}

/// Text that was written for XML or HTML.
pub(crate) fn plain(text: &str) -> String {
    let text = text.trim().replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    text.replace("&apos;", "'").replace("&amp;", "&")
}

#[test]
fn figures_are_told_from_names() {
    let figures = |text| Shown::of(text).figures.into_iter().map(|(_, figure)| figure).collect::<Vec<_>>();
    assert_eq!(figures("used 1,234 (5.0 %), each 8 B to 64.0\nKiB."), ["1,234", "5.0 %", "8 B", "64.0 KiB"]);
    assert_eq!(figures("x86_64 libm.so.6 0x7ff6 8.1k +9 -2.5 MiB"), ["8.1k", "+9", "-2.5 MiB"]);
    let shown = Shown::of("free: 1 B; used: 2 B, all 3 B");
    assert!(shown.says(&said("used:", ["2 B", "3 B"])) && !shown.says(&said("used:", ["3 B"])));
}
