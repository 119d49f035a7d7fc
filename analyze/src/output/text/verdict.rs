//! The verdict: in brief before the figures, or in full on its own.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::Options;
use crate::output::words;
use crate::replay::costs::ProcessCost;
use crate::replay::verdict::{Judgement, Verdict};
use crate::report::Origin;

/// How many of a kind the brief form lists.
const BRIEF: usize = 3;

/// Writes the judgement and only what speaks against it, and what the recording cost.
pub(in crate::output) fn brief(report: Origin<'_>, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    head(report, options, out)?;
    facts(&brief_rows(report).1, options, out)
}

/// What the judgement rests on, in a line; then by name what speaks against it, and what the recording cost.
pub(in crate::output) fn brief_rows(report: Origin<'_>) -> (String, Vec<(&'static str, String)>) {
    let mut rows = findings(report.verdict, BRIEF);
    rows.extend(windows(report.verdict));
    rows.extend([("trace", trace(report)), ("cost", cost(report))]);
    rows.extend(costs(report.verdict, BRIEF));
    (words::replayed(report.verdict), rows)
}

/// Writes all that is known about how far a trace can be trusted.
pub fn write(report: Origin<'_>, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    head(report, options, out)?;
    facts(&findings(report.verdict, usize::MAX), options, out)?;
    let Verdict { calls, calls_replayed, calls_not_replayed, calls_before_first_keyframe, .. } = *report.verdict;
    let Verdict { keyframes, keyframes_compared, .. } = *report.verdict;
    let part = |part, whole| format!("{} of {}", words::thousands(part), words::thousands(whole));
    let against = |differ, all| format!("{} compared, {} differ", words::thousands(all), words::thousands(differ));
    let Verdict { chunks_compared, chunks_differing, direct_compared, direct_differing, .. } = *report.verdict;
    let mut rows = vec![
        (
            "replayed",
            format!(
                "{} calls; {} not, {} of them before a VM's first keyframe",
                part(calls_replayed, calls),
                words::thousands(calls_not_replayed),
                words::thousands(calls_before_first_keyframe),
            ),
        ),
        (
            "compared",
            format!(
                "{} keyframes; one with nothing replayed before it has nothing to be compared with",
                part(keyframes_compared, keyframes)
            ),
        ),
        ("chunks", against(chunks_differing, chunks_compared)),
        ("direct", against(direct_differing, direct_compared)),
        ("lost", format!("{}, in {}", words::count(report.verdict.calls_lost, "hit"), gaps(report.verdict))),
    ];
    rows.extend(windows(report.verdict));
    if report.verdict.followed > 0 {
        rows.push(("mapped", words::followed(report.verdict)));
    }
    if let Some(check) = &report.verdict.release_check {
        rows.push(("build", format!("releases wholly free segments as builds {check} do")));
    }
    if let Some(ended) = &report.verdict.ended {
        rows.push(("ended", words::name(ended, 500)));
    }
    rows.extend([("trace", trace(report)), ("cost", cost(report))]);
    rows.extend(costs(report.verdict, usize::MAX));
    facts(&rows, options, out)
}

/// What was recorded in windows, if it was.
fn windows(verdict: &Verdict) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if verdict.windows.all > 0 {
        rows.push(("windows", words::windows(&verdict.windows)));
    }
    if verdict.calls_counted > 0 {
        let calls = words::count(verdict.calls_counted, "call");
        rows.push(("counted", format!("{calls} in windows without a keyframe: counted, not replayed")));
    }
    rows
}

/// The judgement, and what it rests on.
fn head(report: Origin<'_>, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    judged(report.verdict.judgement(), &words::replayed(report.verdict), options, out)
}

/// A judgement in its colour, and what it rests on.
pub(in crate::output) fn judged(
    judgement: Judgement,
    text: &str,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    let word = words::judgement(judgement);
    let code = match judgement {
        Judgement::Verified | Judgement::Consistent => "32",
        Judgement::Incomplete => "33",
        Judgement::Contradicted => "31",
    };
    for (at, line) in words::wrap(&format!("{word}: {text}"), options.width).iter().enumerate() {
        match line.strip_prefix(word) {
            Some(rest) if at == 0 => writeln!(out, "{}{rest}", options.paint(code, word))?,
            _ => writeln!(out, "{line}")?,
        }
    }
    Ok(())
}

/// The trace's name, and how it was made.
fn trace(report: Origin<'_>) -> String {
    let parts = words::parts(&report.verdict.parts);
    format!("{}, {parts}{}", words::name(report.source, 200), words::name(&words::recording(report.header), 200))
}

/// What is missing or wrong, worst first, at most `most` of a kind.
fn findings(verdict: &Verdict, most: usize) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    let at = |time, vm| format!("at {}, VM {vm}", words::time(time));
    let contradictions = verdict.contradictions.iter();
    let contradictions =
        contradictions.map(|c| format!("{}, call {}: {}", at(c.time_ns, c.vm), words::thousands(c.call), c.what));
    list(&mut rows, "contradiction", contradictions, most);
    list(&mut rows, "differs", verdict.differing.iter().cloned(), most);
    list(&mut rows, "damaged", verdict.damage.iter().cloned(), most);
    list(&mut rows, "truncated", verdict.truncated.iter().cloned(), most);
    if !verdict.parts_missing.is_empty() {
        let parts = verdict.parts_missing.iter().take(10).map(u64::to_string).collect::<Vec<_>>().join(", ");
        let more = if verdict.parts_missing.len() > 10 { " and more" } else { "" };
        rows.push(("not there", format!("part {parts}{more} of the recording")));
    }
    list(&mut rows, "part", verdict.parts_broken.iter().cloned(), most);
    let hits = |lost| if lost == 0 { String::new() } else { format!(", {} lost", words::count(lost, "hit")) };
    let places =
        verdict.gaps.iter().map(|gap| format!("{}{}: {}", at(gap.time_ns, gap.vm), hits(gap.lost), gap.reason));
    list(&mut rows, "gap", places, most);
    if verdict.calls_lost > 0 {
        rows.push(("lost", format!("{} in all, in {}", words::count(verdict.calls_lost, "hit"), gaps(verdict))));
    }
    let missed = verdict.calls_out_of_reach();
    if missed > 0 {
        rows.push(("not replayed", format!("{}: {}", words::count(missed, "call"), out_of_reach(verdict))));
    }
    if verdict.followed_differing > 0 {
        rows.push(("mapped", words::followed(verdict)));
    }
    let unknown = verdict
        .without_keyframe
        .iter()
        .map(|vm| format!("VM {vm} never got a keyframe: its heap is not known, and its calls can only be counted"));
    list(&mut rows, "no keyframe", unknown, most);
    missed_keyframes(&mut rows, verdict, most);
    if verdict.calls_unattributed > 0 {
        rows.push(("unknown", format!("{} of no VM in the trace", words::count(verdict.calls_unattributed, "hit"))));
    }
    rows
}

/// What is most wrong with a trace, in a line: nothing, unless it is incomplete or contradicted.
pub(crate) fn worst(verdict: &Verdict) -> Option<String> {
    let wrong = matches!(verdict.judgement(), Judgement::Incomplete | Judgement::Contradicted);
    let (name, text) = findings(verdict, 1).into_iter().next().filter(|_| wrong)?;
    Some(format!("{name}: {text}"))
}

/// Which calls a replay cannot take, as far as the trace has such.
fn out_of_reach(verdict: &Verdict) -> String {
    let reasons = [
        (!verdict.gaps.is_empty() || !verdict.parts_broken.is_empty(), "behind a gap"),
        (!verdict.contradictions.is_empty(), "behind a contradiction"),
        (!verdict.damage.is_empty(), "in or behind a damaged frame"),
    ];
    let there = reasons.into_iter().filter(|(there, _)| *there).map(|(_, reason)| reason);
    there.collect::<Vec<_>>().join(" or ")
}

fn gaps(verdict: &Verdict) -> String {
    words::count(verdict.gaps.len() as u64, "gap")
}

/// Adds the first `most` items, and how many there are besides.
fn list(
    rows: &mut Vec<(&'static str, String)>,
    name: &'static str,
    items: impl ExactSizeIterator<Item = String>,
    most: usize,
) {
    let more = items.len().saturating_sub(most);
    rows.extend(items.take(most).map(|item| (name, words::name(&item, 500))));
    if more > 0 {
        rows.push((name, format!("and {} more: `analyze verify` lists all", words::thousands(more as u64))));
    }
}

/// Keyframes that were to be taken and were not: how many, and why, the most frequent reasons first.
fn missed_keyframes(rows: &mut Vec<(&'static str, String)>, verdict: &Verdict, most: usize) {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for missed in &verdict.missed {
        *reasons.entry(&missed.reason).or_default() += 1;
    }
    let mut reasons: Vec<(&str, u64)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
    let lines = reasons.iter().map(|(reason, number)| format!("{}: {reason}", words::count(*number, "keyframe")));
    list(rows, "missed", lines, most);
}

/// What the recording cost the target, and its recorder.
fn cost(report: Origin<'_>) -> String {
    let Some(cost) = report.verdict.cost else {
        return "not known, the recording has no proper end".to_owned();
    };
    let target = if report.verdict.processes.is_empty() { "the target's " } else { "the targets' time in " };
    format!("{}; the recorder itself ran {}", words::paid(&cost, target), words::duration(cost.recorder_cpu_ns))
}

/// What it cost each process, if there are several: those that paid most first.
fn costs(verdict: &Verdict, most: usize) -> Vec<(&'static str, String)> {
    let mut processes: Vec<&ProcessCost> = verdict.processes.iter().collect();
    processes.sort_by_key(|process| std::cmp::Reverse(process.cost.target_ns));
    let lines = processes.iter().map(|process| {
        format!("{} (pid {}): {}", words::name(&process.program, 40), process.pid, words::paid(&process.cost, "its "))
    });
    let mut rows = Vec::new();
    list(&mut rows, "", lines, most);
    rows
}

/// Writes rows of a name and a text, indented below the judgement.
pub(in crate::output) fn facts(rows: &[(&str, String)], options: &Options, out: &mut dyn Write) -> io::Result<()> {
    const NAME: usize = 13;
    for (name, text) in rows {
        let mut name = *name;
        for line in words::wrap(text, options.width.saturating_sub(NAME + 3).max(20)) {
            writeln!(out, "  {name:NAME$} {line}")?;
            name = "";
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;
    use crate::replay::run::ContradictionAt;
    use crate::replay::verdict::GapAt;
    use crate::report::Report;

    fn text(report: &Report, write: impl Fn(Origin<'_>, &Options, &mut dyn Write) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        write(crate::output::Output::origin(report), &Options::default(), &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_clean_trace_has_little_to_say() {
        let text = text(&sample::report(), brief);
        assert!(text.lines().skip(2).all(|line| line.starts_with("  ")), "{text}");
        assert!(!text.contains("lost") && !text.contains("not replayed"));
    }

    #[test]
    fn trouble_comes_first_and_in_full_on_request() {
        let mut report = sample::report();
        let what = "a block was returned that is in use".to_owned();
        let contradiction = ContradictionAt { vm: 2, time_ns: 3_210_000_000, call: 77, what };
        report.verdict.contradictions = vec![contradiction; 5];
        report.verdict.gaps = vec![GapAt { vm: 1, time_ns: 1_000_000_000, lost: 9, reason: "ring full".to_owned() }];
        report.verdict.calls_lost = 9;
        report.verdict.truncated = Some("no trailer at byte 77".to_owned());
        let brief = text(&report, brief);
        assert!(brief.starts_with("contradicted: "));
        assert_eq!(brief.matches("call 77").count(), BRIEF);
        for part in ["and 2 more", "at 1.000 s, VM 1, 9 hits lost: ring full", "no trailer", "9 hits in all, in 1 gap"]
        {
            assert!(brief.contains(part), "{part}: {brief}");
        }
        assert_eq!(text(&report, write).matches("call 77").count(), 5);
    }
}
