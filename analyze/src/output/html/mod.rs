//! One page for colleagues: the verdict in words, and each command's picture and rows. It needs nothing else, no
//! network, no fonts, and no script but for the tables' order.

pub mod fleet;
mod glossary;
mod tables;

use std::fmt::Write as _;
use std::io::Write;

use anyhow::{Context, Result};

use super::text::verdict::brief_rows;
use super::{Output, words};
use crate::metrics::population::Populations;
use crate::report::{Report, VmReport};

/// What a page may have, in bytes: it goes by mail.
pub const LIMIT: usize = 1_950_000;

/// A section of the page: a question, and what one command found about it.
pub struct Section<'a> {
    /// The command's name.
    pub command: &'static str,
    /// The heading.
    pub title: &'static str,
    /// What it answers.
    pub question: &'static str,
    /// What was found.
    pub found: &'a dyn Output,
}

/// All of a page.
pub struct Page<'a> {
    /// The heaps; the page begins with their figures.
    pub heaps: &'a Report,
    /// How many VMs there are beside those shown.
    pub others: usize,
    /// What the pictures are of, in order of importance.
    pub sections: Vec<Section<'a>>,
    /// What could not be found out, and why.
    pub without: Vec<(&'static str, String)>,
}

impl<'a> Page<'a> {
    /// Adds what a command found, or why it found nothing.
    pub fn add<O: Output>(
        &mut self,
        command: &'static str,
        title: &'static str,
        question: &'static str,
        found: Result<&'a O, &anyhow::Error>,
    ) {
        match found {
            Ok(found) => self.sections.push(Section { command, title, question, found }),
            Err(error) => self.without.push((command, format!("{error:#}"))),
        }
    }
}

/// Writes the page, of at most [`LIMIT`] bytes: what does not fit is named.
pub fn write(page: &Page<'_>, out: &mut dyn Write) -> Result<()> {
    let title = format!("LuaJIT heap report: {}", words::name(&page.heaps.source, 80));
    let mut head = begin(&title)?;
    verdict(page.heaps, &mut head)?;
    navigation(page.sections.iter().map(|section| (section.command, section.title)), &mut head)?;
    figures(page, &mut head)?;
    let tail = tail(page)?;
    let mut left = LIMIT.saturating_sub(head.len() + tail.len());
    let mut body = String::new();
    for section in &page.sections {
        self::section(section, &mut left, &mut body)?;
    }
    for piece in [head, body, tail] {
        out.write_all(piece.as_bytes()).context("cannot write the page")?;
    }
    Ok(())
}

/// The head of a page, up to what its verdict begins with.
fn begin(title: &str) -> Result<String> {
    let mut head = String::new();
    write!(
        head,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"generator\" content=\"ljscope {}\">\n<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n",
        env!("CARGO_PKG_VERSION"),
        text(title),
        include_str!("page.css"),
    )?;
    writeln!(head, "<header><h1>{}</h1>", text(title))?;
    Ok(head)
}

/// The end of the verdict, and where in the page is what: between the figures and what it all means, these sections.
fn navigation<'a>(sections: impl Iterator<Item = (&'a str, &'a str)>, head: &mut String) -> Result<()> {
    head.push_str("</header>\n<nav aria-label=\"Sections\"><ul>");
    for (id, title) in [("figures", "Figures")].into_iter().chain(sections).chain([("terms", "What it means")]) {
        write!(head, "<li><a href=\"#{id}\">{}</a></li>", text(title))?;
    }
    head.push_str("</ul></nav>\n<main>\n");
    Ok(())
}

/// The judgement, and what it rests on.
fn verdict(heaps: &Report, html: &mut String) -> Result<()> {
    let (replayed, facts) = brief_rows(heaps.origin());
    judged(words::judgement(heaps.verdict.judgement()), &replayed, facts, html)
}

/// A judgement in a word and in a sentence, and facts by name.
fn judged<N: AsRef<str>>(
    judgement: &str,
    sentence: &str,
    facts: impl IntoIterator<Item = (N, String)>,
    html: &mut String,
) -> Result<()> {
    write!(html, "<div class=\"verdict {judgement}\"><p><strong>{judgement}</strong>: {}</p>\n<dl>", text(sentence))?;
    for (name, fact) in facts {
        write!(html, "<dt>{}</dt><dd>{}</dd>", text(name.as_ref()), text(&fact))?;
    }
    html.push_str("</dl></div>\n");
    Ok(())
}

/// The figures of each VM.
fn figures(page: &Page<'_>, html: &mut String) -> Result<()> {
    html.push_str("<section id=\"figures\"><h2>Figures</h2>\n");
    for vm in &page.heaps.vms {
        let title = words::name(&vm.title(&page.heaps.processes), 90);
        let mut moment = words::moment(&vm.moment);
        if let Some(short_of) = words::short_of(&vm.moment) {
            write!(moment, "; {short_of}")?;
        }
        writeln!(html, "<h3>{}</h3>", text(&title))?;
        writeln!(html, "<p class=\"faint\">{}; {}</p>", text(&words::build(&vm.vm)), text(&moment))?;
        cards(vm, html)?;
    }
    if page.heaps.vms.is_empty() {
        html.push_str("<p>No VM has a heap to show.</p>\n");
    }
    if page.others > 0 {
        let others = words::count(page.others as u64, "smaller VM");
        writeln!(html, "<p>{others} left out: <code>analyze stats</code> has all, <code>--vm N</code> one.</p>")?;
    }
    for (what, why) in &page.without {
        writeln!(html, "<p class=\"faint\">No {what}: {}.</p>", text(why))?;
    }
    html.push_str("</section>\n");
    Ok(())
}

/// A VM's populations, each with what it means.
fn cards(vm: &VmReport, html: &mut String) -> Result<()> {
    let Populations { used, free, segments, direct, overhead, gc_total } = &vm.populations;
    let count = |count: u64, noun: &str| words::count(count, noun);
    let rows = [
        ("used", used.all.bytes, count(used.all.count, "chunk")),
        ("free", free.all.bytes, count(free.all.count, "chunk")),
        ("segments", segments.all.bytes, count(segments.all.count, "segment")),
        ("direct", direct.all.bytes, count(direct.all.count, "block")),
        ("overhead", *overhead, "outside of chunks".to_owned()),
        ("gc_total", *gc_total, "counted by the collector".to_owned()),
    ];
    html.push_str("<dl class=\"figures\">");
    for (name, bytes, what) in rows {
        card(name, bytes, &what, html)?;
    }
    html.push_str("</dl>\n");
    Ok(())
}

/// An amount of memory, and what it consists of.
fn card(name: &str, bytes: u64, what: &str, html: &mut String) -> Result<()> {
    write!(html, "<div><dt>{}</dt><dd data-v=\"{bytes}\">{}", explained(name, name), words::bytes(bytes))?;
    write!(html, "<small>{} bytes, {what}</small></dd></div>", words::thousands(bytes))?;
    Ok(())
}

/// A section's picture and rows, as far as there is room.
fn section(section: &Section<'_>, left: &mut usize, html: &mut String) -> Result<()> {
    let mut picture = Vec::new();
    section.found.figure(&mut picture).with_context(|| format!("cannot draw {}", section.command))?;
    let picture = String::from_utf8(picture).context("a picture is text")?;
    let csv = format!("analyze {} --format csv", section.command);
    let mut table = String::new();
    tables::write(&section.found.rows()?, &csv, false, &mut table)?;
    let (command, title) = (section.command, text(section.title));
    write!(html, "<section id=\"{command}\"><h2>{title}</h2>\n<p class=\"faint\">{}</p>\n", text(section.question))?;
    let mut fits = |piece: &str| {
        let fits = piece.len() + ROOM <= *left;
        *left -= if fits { piece.len() } else { 0 };
        fits
    };
    let too_large = |what: &str, format: &str| {
        format!("<p>The {what} would make this page too large: <code>analyze {command} --format {format}</code>.</p>\n")
    };
    let drawing = drawing(&picture);
    if fits(drawing) {
        writeln!(html, "<figure>{drawing}</figure>")?;
    } else {
        html.push_str(&too_large("picture", "svg -o FILE"));
    }
    if fits(&table) {
        html.push_str(&table);
    } else {
        html.push_str(&too_large("table", "csv"));
    }
    html.push_str("</section>\n");
    *left = left.saturating_sub(ROOM);
    Ok(())
}

/// A picture for the middle of a page, where an XML declaration or the like has no place.
fn drawing(picture: &str) -> &str {
    picture.find("<svg").map_or("", |at| &picture[at..])
}

/// What a section takes beside its picture and its table, at most.
const ROOM: usize = 2000;

/// What the figures mean, and where the page comes from.
fn tail(page: &Page<'_>) -> Result<String> {
    let mut html = String::new();
    terms(&glossary::TERMS, &mut html)?;
    end(&words::name(&words::recording(&page.heaps.header), 200), &mut html)?;
    Ok(html)
}

/// What figures mean.
fn terms(terms: &[glossary::Term], html: &mut String) -> Result<()> {
    html.push_str("<section id=\"terms\"><h2>What it means</h2>\n<dl class=\"terms\">");
    for term in terms {
        write!(html, "<dt>{}</dt><dd>{} {}</dd>", term.name, text(term.meaning), text(term.advice))?;
    }
    html.push_str("</dl></section>\n");
    Ok(())
}

/// The end of a page, with where it comes from.
fn end(origin: &str, html: &mut String) -> Result<()> {
    writeln!(html, "</main>\n<footer>{}. Made by ljscope {}.</footer>", text(origin), env!("CARGO_PKG_VERSION"))?;
    write!(html, "<script>\n{}</script>\n</body>\n</html>\n", include_str!("page.js"))?;
    Ok(())
}

/// A name with its definition: on hover, on focus, and so on tap.
fn explained(name: &str, shown: &str) -> String {
    let Some(term) = glossary::of(name) else {
        return if shown == name { text(name) } else { String::new() };
    };
    let label = if shown == name { String::new() } else { format!(" aria-label=\"What is {name}?\"") };
    format!(
        " <span class=\"term\"><button type=\"button\"{label}>{}</button><span class=\"tip\" role=\"tooltip\">{} {}</span>\
         </span>",
        text(shown),
        text(term.meaning),
        text(term.advice)
    )
}

/// Text as HTML takes it.
fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
