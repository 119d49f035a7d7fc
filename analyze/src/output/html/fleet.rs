//! The page of a fleet: what could be trusted first, then sums and quantiles, who differs, what regressed, what failed.

use std::io::Write;

use anyhow::{Context, Result};
use polars::prelude::DataFrame;

use super::glossary::FLEET;
use super::{begin, card, drawing, end, judged, navigation, tables, terms, text};
use crate::metrics::partial::fleet::summary::{Sums, owners, sums};
use crate::metrics::partial::fleet::{Fleet, Group, builds, peers};
use crate::output::partial::fleet::{self as rows, TROUBLES, WHOLE};
use crate::output::svg::write_fleet;
use crate::output::words;

/// All of a page.
#[derive(Debug)]
pub struct Page<'a> {
    /// What the data set is called.
    pub source: String,
    /// In how many files it is.
    pub files: u64,
    /// What is in it.
    pub fleet: &'a Fleet,
}

/// A section: its anchor, its heading, what it answers and how, and its rows.
struct Section {
    id: &'static str,
    title: &'static str,
    question: &'static str,
    rows: DataFrame,
    /// What is said if there are none.
    none: &'static str,
}

/// Writes the page.
pub fn write(page: &Page<'_>, out: &mut dyn Write) -> Result<()> {
    let fleet = page.fleet;
    let whole = sums(fleet, |_| Group::default()).remove(&Group::default()).unwrap_or_default();
    let sections = sections(fleet)?;
    let mut html = begin(&format!("LuaJIT heaps of a fleet: {}", words::name(&page.source, 80)))?;
    verdict(page, &whole, &mut html)?;
    navigation(sections.iter().map(|section| (section.id, section.title)), &mut html)?;
    figures(fleet, &whole, &mut html)?;
    for Section { id, title, question, rows, none } in sections {
        html.push_str(&format!("<section id=\"{id}\"><h2>{title}</h2>\n<p class=\"faint\">{}</p>\n", text(question)));
        match rows.height() {
            0 => html.push_str(&format!("<p>{}</p>\n", text(none))),
            _ => tables::write(&rows, "the data set", true, &mut html)?,
        }
        html.push_str("</section>\n");
    }
    terms(&FLEET, &mut html)?;
    end(&words::name(&page.source, 200), &mut html)?;
    out.write_all(html.as_bytes()).context("cannot write the page")
}

/// What was verified, lost and contradicted.
fn verdict(page: &Page<'_>, whole: &Sums, html: &mut String) -> Result<()> {
    let amount = |metric: &str| u64::try_from(whole.sum(metric)).unwrap_or_default();
    let [verified, consistent] = WHOLE.map(amount);
    let [incomplete, contradicted, failed] = TROUBLES.map(amount);
    let doubled = page.fleet.doubled();
    // As of many traces at once: what failed makes the whole incomplete.
    let judgement = match (contradicted, incomplete + failed + doubled, consistent) {
        (1.., ..) => "contradicted",
        (_, 1.., _) => "incomplete",
        (_, _, 1..) => "consistent",
        _ => "verified",
    };
    let traces = verified + consistent + incomplete + contradicted + failed;
    let [some, more, less, wrong, not] = [verified, consistent, incomplete, contradicted, failed].map(words::thousands);
    let sentence = format!(
        "{}: {some} verified, {more} consistent, {less} incomplete, {wrong} contradicted, {not} failed",
        words::count(traces, "trace")
    );
    let n = |metric: &str| words::thousands(amount(metric));
    let day = |ns: i64| {
        let time = jiff::Timestamp::from_nanosecond(i128::from(ns)).ok();
        time.map_or_else(String::new, |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
    };
    let mut facts = vec![
        (
            "replayed",
            format!("{} of {} calls, {} contradictions", n("calls_replayed"), n("trace_calls"), n("contradictions")),
        ),
        (
            "compared",
            format!(
                "{} chunks and {} direct blocks at {} keyframes; {} and {} differ",
                n("chunks_compared"),
                n("direct_compared"),
                n("keyframes_compared"),
                n("chunks_differing"),
                n("direct_differing"),
            ),
        ),
        (
            "lost",
            format!("{} calls in {} gaps; {} keyframes missed", n("calls_lost"), n("gaps"), n("keyframes_missed")),
        ),
    ];
    if let Some(share) = whole.ratio("cost_us", "elapsed_us", 1_000_000) {
        let (cost, all) = (amount("cost_us"), amount("elapsed_us"));
        let [cost, all] = [cost, all].map(|us| words::duration(us.saturating_mul(1000)));
        facts.push(("cost", format!("{cost} of the processes' {all} ({:.2} %)", share as f64 / 1e4)));
    }
    if let Some((first, last)) = page.fleet.span() {
        facts.push(("recorded", format!("from {} to {}", day(first), day(last))));
    }
    if doubled > 0 {
        let traces = words::count(doubled, "trace");
        facts.push((
            "doubled",
            format!("the rows of {traces} are there more than once: all figures count them so often"),
        ));
    }
    let rows = words::count(page.fleet.rows, "row");
    facts.push(("data set", format!("{rows} in {}", words::count(page.files, "Parquet file"))));
    judged(judgement, &sentence, facts, html)
}

/// All heaps together.
fn figures(fleet: &Fleet, whole: &Sums, html: &mut String) -> Result<()> {
    let amount = |metric: &str| u64::try_from(whole.sum(metric)).unwrap_or_default();
    let heaps = words::count(amount("heaps"), "VM");
    html.push_str("<section id=\"figures\"><h2>Figures</h2>\n");
    html.push_str(&format!("<p class=\"faint\">The heaps of {heaps} together, each as its trace ended.</p>\n"));
    html.push_str("<dl class=\"figures\">");
    for (name, bytes, count, thing) in [
        ("used", "used_bytes", "used_count", "chunk"),
        ("free", "free_bytes", "free_count", "chunk"),
        ("segments", "segments_bytes", "segments_count", "segment"),
        ("direct", "direct_bytes", "direct_count", "block"),
    ] {
        card(name, amount(bytes), &words::count(amount(count), thing), html)?;
    }
    card("overhead", amount("overhead_bytes"), "outside of chunks", html)?;
    card("gc_total", amount("gc_total"), "counted by the collectors", html)?;
    html.push_str("</dl>\n");
    let mut picture = Vec::new();
    write_fleet(fleet, &mut picture).context("cannot draw the fleet")?;
    let picture = String::from_utf8(picture).context("a picture is text")?;
    if !picture.is_empty() {
        html.push_str(&format!("<figure>{}</figure>\n", drawing(&picture)));
    }
    html.push_str("</section>\n");
    Ok(())
}

fn sections(fleet: &Fleet) -> Result<Vec<Section>> {
    let days = sums(fleet, |group| group);
    let by_build = sums(fleet, |group| Group { day: String::new(), ..group });
    Ok(vec![
        Section {
            id: "services",
            title: "Services",
            question: "Totals and quantiles by service, build and day. Quantiles are over VMs, each counted in each trace, \
                       and known to 12.5 %: they come from classes and are the lower ends of theirs.",
            rows: rows::groups(fleet, &days)?,
            none: "There are no traces.",
        },
        Section {
            id: "builds",
            title: "Builds",
            question: "Each build against the one before, as they were first seen. A figure regresses if its median over VMs \
                       has grown by a tenth or more, it is larger in three of four pairs of a VM of each build, and there are \
                       four VMs or more of both.",
            rows: rows::steps(&builds::steps(fleet))?,
            none: "No service has two builds whose heaps are known.",
        },
        Section {
            id: "workers",
            title: "Workers",
            question: "VMs that differ most from their peers: those of the same service, build, role and label. A figure \
                       stands out from 3.5 deviations from the peers' median on: the scaled median absolute deviation, and at \
                       least 2 % of the median heap. Fewer than four peers say nothing.",
            rows: rows::differing(&peers::workers(fleet))?,
            none: "None stands out.",
        },
        Section {
            id: "nodes",
            title: "Nodes",
            question: "Nodes that differ most from those with the same service and build, by the mean over their VMs and the \
                       same statistic.",
            rows: rows::differing(&peers::nodes(fleet))?,
            none: "None stands out.",
        },
        Section {
            id: "sizes",
            title: "Sizes",
            question: "How large chunks are that live, are free, and are asked for: size classes, by number and by bytes. A class \
                       is named by its smallest size, a power of two.",
            rows: rows::sizes(&by_build)?,
            none: "No heap is known.",
        },
        Section {
            id: "ages",
            title: "Lifetimes",
            question: "How old blocks became whose birth and death were seen, to the power of two below. Windows are short: \
                       those that lived on, or were there before, are counted apart.",
            rows: rows::ages(&by_build)?,
            none: "No block was followed.",
        },
        Section {
            id: "memory",
            title: "All memory",
            question: "Where the memory of processes goes, at the last look at each; each process counts in each trace.",
            rows: rows::owners(&owners(fleet))?,
            none: "No trace has looked at it.",
        },
        Section {
            id: "failed",
            title: "Not whole",
            question: "Traces that failed, are contradicted or incomplete, and why.",
            rows: rows::troubles(&fleet.troubles)?,
            none: "All traces are whole.",
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::super::glossary;
    use super::*;
    use crate::metrics::partial::fleet::sample;

    fn page(fleet: &Fleet) -> String {
        let mut bytes = Vec::new();
        write(&Page { source: "<fleet>".to_owned(), files: 3, fleet }, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn columns_that_need_it_are_explained() {
        let fleet = sample::fleet(&[("a", &[100, 300])]);
        let unexplained = |name: &str| glossary::of(name).is_none();
        for column in ["used_p50", "deviations", "larger", "regresses", "not_whole", "size_p50_by_bytes", "change_ppm"]
        {
            assert!(!unexplained(column), "{column}");
        }
        assert!(page(&fleet).contains("&lt;fleet&gt;"));
        assert!(FLEET.iter().all(|term| term.meaning.ends_with('.')));
    }

    #[test]
    fn an_empty_fleet_says_so() {
        let html = page(&Fleet::default());
        for none in ["There are no traces.", "None stands out.", "All traces are whole.", "0 traces:"] {
            assert!(html.contains(none), "{none}");
        }
    }
}
