//! How outputs say things: numbers, sizes, times, verdicts.

use bytesize::ByteSize;
use shared::Nanos;
use shared::trace::meta::{Header, Vm};

use crate::replay::costs::CostReport;
use crate::replay::verdict::{Judgement, Verdict, Windows};
use crate::report::{Asked, Moment};

/// `1,171,143`
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 call`, `2,000 calls`
pub fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// `744 B`, `79.4 MiB`
pub fn bytes(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// The same in about three characters, as `ls -h` shows sizes: `280`, `23K`, `1.5M`.
pub fn short_bytes(bytes: u64) -> String {
    super::svg::short(super::svg::Unit::Bytes, bytes)
}

/// Units of memory, each 1024 of the one before.
pub const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A bucket's lower bound: `64 B`, `128 KiB`. Nothing is rounded, because it is a power of two.
pub fn size_class(bucket: u64) -> String {
    let exponent = bucket.checked_ilog2().unwrap_or(0) / 10;
    format!("{} {}", bucket >> (10 * exponent), UNITS[exponent as usize])
}

/// The sizes a bucket counts: `64 B - 127 B`, `512 KiB - <1 MiB`.
pub fn size_range(bucket: u64) -> String {
    let last = last_of(bucket);
    let end = match last.checked_add(1) {
        Some(end) if end > 1024 => format!("<{}", size_class(end)),
        Some(_) => format!("{last} B"),
        None => "more".to_owned(),
    };
    format!("{} - {end}", size_class(bucket))
}

/// The largest size that a bucket counts.
pub fn last_of(bucket: u64) -> u64 {
    bucket + bucket.saturating_sub(1)
}

/// `59.4 %`; nothing of nothing is `-`.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

/// A time in the trace, in seconds from its start: `3,723.041 s`.
pub fn time(time: Nanos) -> String {
    let millis = time.saturating_add(500_000) / 1_000_000;
    format!("{}.{:03} s", thousands(millis / 1000), millis % 1000)
}

/// How long something took: `870 ns`, `41.2 ms`, `9.87 s`, `2 h 05 min`.
pub fn duration(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} us", nanos as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", nanos as f64 / 1e6),
        1_000_000_000..60_000_000_000 => format!("{:.2} s", nanos as f64 / 1e9),
        60_000_000_000..3_600_000_000_000 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A build in a few words: `LuaJIT 2.1.1731601260, GC64`.
pub fn build(vm: &Vm) -> String {
    let version = if vm.build.is_empty() { "LuaJIT of unknown version" } else { &vm.build };
    format!("{version}, {}", if vm.gc64 { "GC64" } else { "not GC64" })
}

/// A moment, and how its heap is known: `at 9.871 s, the end of the trace; 1,234 calls after a keyframe`.
pub fn moment(moment: &Moment) -> String {
    let asked = match moment.asked {
        Asked::Default => "",
        Asked::End if moment.between_windows && moment.calls_since_keyframe == 0 => "",
        Asked::End if moment.between_windows => ", the end of the last window",
        Asked::End => ", the end of the trace",
        Asked::Peak => ", the peak",
        Asked::At(asked) if asked != moment.time => &format!(", the last call before {}", time(asked)),
        Asked::At(_) => "",
    };
    let known = match moment.calls_since_keyframe {
        0 => "a keyframe, copied from the process".to_owned(),
        calls => format!("{} after a keyframe", count(calls, "call")),
    };
    format!("at {}{asked}; {known}", time(moment.time))
}

/// Why a moment is not the one asked for: `recorded in windows; …`, `not the moment asked for: calls are missing`.
pub fn short_of(moment: &Moment) -> Option<String> {
    let short_of = moment.short_of.as_ref()?;
    Some(if moment.between_windows { short_of.clone() } else { format!("not the moment asked for: {short_of}") })
}

/// `12 windows, 11 from a keyframe on, 3 of them to another one`
pub fn windows(windows: &Windows) -> String {
    let Windows { all, with_keyframe, proven, lossy } = *windows;
    let lossy = if lossy > 0 { format!(", {} with losses", thousands(lossy)) } else { String::new() };
    format!(
        "{}, {} from a keyframe on, {} of these up to another one{lossy}; calls between windows are left out",
        count(all, "window"),
        thousands(with_keyframe),
        thousands(proven),
    )
}

/// `mapped bytes between windows: 1 of 12 stretches differ`
pub fn followed(verdict: &Verdict) -> String {
    let Verdict { followed, followed_differing, .. } = *verdict;
    let stretches = format!("{} of {}", thousands(followed_differing), count(followed, "stretch"));
    let stretches = stretches.replace("stretchs", "stretches");
    format!("mapped bytes between windows: {stretches} differ{}", if followed_differing == 1 { "s" } else { "" })
}

/// The verdict in a word.
pub fn judgement(judgement: Judgement) -> &'static str {
    match judgement {
        Judgement::Verified => "verified",
        Judgement::Consistent => "consistent",
        Judgement::Incomplete => "incomplete",
        Judgement::Contradicted => "contradicted",
    }
}

/// What was replayed and compared, in a sentence that goes with the [`judgement`].
pub fn replayed(verdict: &Verdict) -> String {
    if !verdict.without_keyframe.is_empty() && verdict.keyframes == 0 {
        let counted = match verdict.calls_counted {
            0 => String::new(),
            calls => format!("; {} in windows counted", count(calls, "call")),
        };
        return format!("no heap is known, for there is no keyframe{counted}");
    }
    if verdict.calls == 0 && verdict.keyframes == 0 {
        return "no calls to replay, and no heap in the trace".to_owned();
    }
    if verdict.calls == 0 && verdict.keyframes_compared == 0 {
        return "no calls to replay, the heap is shown as it was copied".to_owned();
    }
    let contradictions = count(verdict.contradictions.len() as u64, "contradiction");
    let calls = format!("{} replayed, {contradictions}", count(verdict.calls_replayed, "call"));
    if verdict.keyframes_compared == 0 {
        return format!("{calls}; no second keyframe to compare with");
    }
    let direct = match verdict.direct_compared {
        0 => String::new(),
        blocks => format!(" and {}", count(blocks, "direct block")),
    };
    let differ = verdict.chunks_differing + verdict.direct_differing;
    let others = match verdict.differing.len() {
        0 => String::new(),
        1 => ", so does 1 other figure".to_owned(),
        figures => format!(", so do {figures} other figures"),
    };
    format!(
        "{calls}; {}{direct} at {} compared, {} {}{others}",
        count(verdict.chunks_compared, "chunk"),
        count(verdict.keyframes_compared, "keyframe"),
        thousands(differ),
        if differ == 1 { "differs" } else { "differ" },
    )
}

/// The recorder tells what it cost in any minute; a shorter recording has none.
const MINUTE: u64 = 60_000_000_000;

/// `1.31 s of the target's 94.4 s (1.4 %), worst minute 1.62 %: 24 pauses of 23.3 ms in all, …`
pub fn paid(cost: &CostReport, whose: &str) -> String {
    let CostReport { elapsed_ns, pauses, paused_ns, longest_pause_ns, hit_ns, hits, target_ns, .. } = *cost;
    let hits = match (hits, hit_ns) {
        (0, _) => String::new(),
        (hits, 0) => format!(", {} not measured", count(hits, "hit")),
        (hits, each) => format!(", {} of {}", count(hits, "hit"), duration(each)),
    };
    let longest = if pauses > 1 { format!(", the longest {}", duration(longest_pause_ns)) } else { String::new() };
    let worst = match cost.worst_minute_ppm {
        ppm if ppm > 0 && elapsed_ns >= MINUTE => format!(", worst minute {:.2} %", ppm as f64 / 1e4),
        _ => String::new(),
    };
    format!(
        "{} of {whose}{} ({}){worst}: {} of {} in all{longest}{hits}",
        duration(target_ns),
        duration(elapsed_ns),
        share(target_ns, elapsed_ns),
        count(pauses, "pause"),
        duration(paused_ns),
    )
}

/// Which parts of a recording a trace is: `part 3 of a `, `parts 1 to 3 of a `; nothing if it is all of it.
pub fn parts(parts: &[u64]) -> String {
    match parts {
        [] => String::new(),
        [one] => format!("part {one} of a "),
        [first, .., last] => format!("parts {first} to {last} of a "),
    }
}

/// Where and when: `full recording on web-1 (Linux 6.1.0 x86_64), started 2026-11-22 05:00:00 UTC`.
pub fn recording(header: &Header) -> String {
    let host = if header.host.is_empty() { "an unnamed host" } else { &header.host };
    let started = match started(header) {
        Some(started) => format!(", started {started}"),
        None => String::new(),
    };
    format!("{} recording on {host} (Linux {} {}){started}", header.mode, header.kernel, header.arch)
}

/// When a recording was started, if its header says.
fn started(header: &Header) -> Option<String> {
    let time = jiff::Timestamp::from_nanosecond(i128::from(header.started_unix_ns)).ok()?;
    (header.started_unix_ns != 0).then(|| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// A name from a trace, fit for a terminal and for XML: without control characters, and cut in its middle if it has
/// more than `longest` characters.
pub fn name(name: &str, longest: usize) -> String {
    let plain: Vec<char> = name.chars().map(|c| if c.is_control() || !is_xml(c) { '?' } else { c }).collect();
    if plain.len() <= longest {
        return plain.into_iter().collect();
    }
    let tail = longest.saturating_sub(1) / 2;
    let head = longest.saturating_sub(1 + tail);
    plain[..head].iter().chain(&['…']).chain(&plain[plain.len() - tail..]).collect()
}

/// XML 1.0 excludes two characters that are no control characters.
fn is_xml(c: char) -> bool {
    !matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Breaks text at spaces into lines of at most `width` characters; a longer word stands alone.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators() {
        assert_eq!([0, 999, 1000, 1_171_143].map(thousands), ["0", "999", "1,000", "1,171,143"]);
        assert_eq!((count(1, "call"), count(2000, "call")), ("1 call".into(), "2,000 calls".into()));
    }

    #[test]
    fn buckets_have_exact_names() {
        assert_eq!(
            [0, 8, 512, 1024, 1 << 19, 1 << 63].map(size_class),
            ["0 B", "8 B", "512 B", "1 KiB", "512 KiB", "8 EiB"]
        );
        let ranges =
            ["0 B - 0 B", "64 B - 127 B", "512 B - 1023 B", "1 KiB - <2 KiB", "512 KiB - <1 MiB", "8 EiB - more"];
        assert_eq!([0, 64, 512, 1024, 1 << 19, 1 << 63].map(size_range), ranges);
    }

    #[test]
    fn times_keep_what_matters() {
        let spans = [870, 41_200_000, 9_870_000_000, 61_000_000_000, 7_500_000_000_000];
        assert_eq!(spans.map(duration), ["870 ns", "41.2 ms", "9.87 s", "1 min 01 s", "2 h 05 min"]);
        assert_eq!(time(3_723_041_000_000), "3,723.041 s");
    }

    #[test]
    fn long_names_are_cut_and_control_characters_replaced() {
        assert_eq!(name("a\u{1b}[31mb\u{ffff}", 20), "a?[31mb?");
        assert_eq!(name("abcdefghij", 7), "abc…hij");
    }

    #[test]
    fn lines_are_broken_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("extraordinary", 5), ["extraordinary"]);
    }
}
