//! How outputs say what grows.

use shared::trace::meta::Process;

use crate::metrics::growth::trend::{FEWEST, Trend};
use crate::metrics::growth::{Basis, ClassGrowth, Figures, Finding, VmGrowth};
use crate::output::words;
use crate::report::title;

/// What no figure can tell apart.
pub const CAVEAT: &str = "a cache that still fills looks the same as a leak: record again, or longer, when it should be \
                          full";

/// `VM 1: http VM of nginx (pid 123)`
pub fn heading(vm: &VmGrowth, processes: &[Process]) -> String {
    format!("VM {}: {}", vm.number, title(&vm.vm, processes))
}

/// Both moments, each in a sentence.
pub fn moments(vm: &VmGrowth) -> [String; 2] {
    [("from", &vm.from), ("to", &vm.to)].map(|(name, moment)| {
        let short_of = words::short_of(moment).map_or(String::new(), |why| format!("; {why}"));
        format!("{name}: {}{short_of}", words::moment(moment))
    })
}

/// `the heap grew by 3.1 MiB, from 9.3 MiB to 12.4 MiB, in 9.20 s`
pub fn whole(vm: &VmGrowth) -> String {
    let all = &vm.figures.all;
    let [from, to] = [all.from, all.to].map(|tally| words::bytes(tally.bytes));
    let time = words::duration(vm.to.time.saturating_sub(vm.from.time));
    let by = words::bytes(all.net_bytes.unsigned_abs());
    match all.net_bytes {
        0 => format!("used and direct blocks are as large as before, {to}, {time} later"),
        1.. => format!("used and direct blocks grew by {by}, from {from} to {to}, in {time}"),
        _ => format!("used and direct blocks shrank by {by}, from {from} to {to}, in {time}"),
    }
}

/// `2 suspects of 12 size classes: 64 B, 128 B; they grew from one collector cycle to the next, …`
pub fn suspects(figures: &Figures) -> String {
    let names: Vec<String> = figures.suspects().map(name).collect();
    if figures.are_too_few() {
        let (what, instead) = match figures.basis {
            Basis::CycleEnds => ("collector cycle", "record longer"),
            Basis::Windows => ("window", "record longer, or in mode full"),
        };
        return format!(
            "too few {what}s to tell whether something leaks: {} seen, {FEWEST} are needed; {instead}",
            words::thousands(figures.points)
        );
    }
    let tested = match figures.tested {
        0 => return "no suspect: the live blocks of each size are the same each time".to_owned(),
        1 => "1 size class".to_owned(),
        tested => format!("{tested} size classes"),
    };
    match &names[..] {
        [] => format!("no suspect: of {tested} tested, none grew {}", basis(figures)),
        [one] => format!("1 suspect of {tested} tested: {one}; it grew {}", basis(figures)),
        all => {
            format!("{} suspects of {tested} tested: {}; each grew {}", all.len(), all.join(", "), basis(figures))
        }
    }
}

/// What a suspect has done.
fn basis(figures: &Figures) -> String {
    let every = match figures.every {
        1 => String::new(),
        every => format!(" (one of {every})"),
    };
    let (points, matters) = (words::thousands(figures.points), words::bytes(figures.matters_bytes));
    let how = |step: &str| format!("from {step} to {step}, by more than it swings and by {matters} or more in all");
    match figures.basis {
        Basis::CycleEnds => format!("{}, as the ends of {points} collector cycles{every} tell", how("cycle")),
        Basis::Windows => format!(
            "{}, as the starts of {points} windows{every} tell, garbage included: too few collector cycles were \
             recorded whole",
            how("window")
        ),
    }
}

/// How sure that is.
pub fn sureness(figures: &Figures) -> Option<String> {
    let sure = "tested at 5 %, all classes together: about as often a heap that only swings is accused, more often one that \
                wanders for long; the intervals are of 95 %";
    (!figures.are_too_few()).then(|| sure.to_owned())
}

/// The classes to which something happened.
pub fn changed(figures: &Figures) -> impl Iterator<Item = &ClassGrowth> {
    figures.classes.iter().filter(|class| !class.change.is_still())
}

/// `3 size classes did not change`
pub fn unchanged(figures: &Figures) -> Option<String> {
    match figures.classes.len() - changed(figures).count() {
        0 => None,
        1 => Some("1 size class did not change".to_owned()),
        still => Some(format!("{still} size classes did not change")),
    }
}

/// What the findings of a table mean; those that are there.
pub fn legend(figures: &Figures) -> String {
    let matters = words::bytes(figures.matters_bytes);
    let mut findings: Vec<Finding> = changed(figures).map(|class| class.finding).collect();
    findings.sort_unstable();
    findings.dedup();
    let said = findings.into_iter().map(|finding| {
        let what = match finding {
            Finding::Suspect => "it grew from cycle to cycle".to_owned(),
            Finding::Levelled => "it grew, but hardly any more in the later half".to_owned(),
            Finding::Swings => "it grew, but no more than it swings".to_owned(),
            Finding::Steady => format!("it changed by less than {matters}"),
            Finding::Shrank => "it became smaller".to_owned(),
            Finding::TooFew => "too few points to tell".to_owned(),
        };
        format!("{}: {what}", self::finding(finding))
    });
    said.collect::<Vec<String>>().join("; ")
}

/// In a word or two.
pub fn finding(finding: Finding) -> &'static str {
    match finding {
        Finding::Suspect => "suspect",
        Finding::Levelled => "levelled",
        Finding::Swings => "swings",
        Finding::Steady => "steady",
        Finding::Shrank => "shrank",
        Finding::TooFew => "too few",
    }
}

/// A class: `64 B`, `direct`.
pub fn name(class: &ClassGrowth) -> String {
    if class.size_from == 0 { class.population.to_owned() } else { words::size_class(class.size_from) }
}

/// `+1,234`, `-5`, `0`
pub fn signed(number: i64) -> String {
    format!("{}{}", sign(number), words::thousands(number.unsigned_abs()))
}

/// `+3.1 MiB`
pub fn signed_bytes(bytes: i64) -> String {
    format!("{}{}", sign(bytes), words::bytes(bytes.unsigned_abs()))
}

/// `+210K`; nothing of nothing known is `-`.
pub fn a_second(trend: Option<&Trend>) -> String {
    trend.map_or("-".to_owned(), |trend| short(trend.bytes_per_second))
}

/// `+190K to +230K`
pub fn interval(trend: Option<&Trend>) -> String {
    trend.map_or("-".to_owned(), |trend| format!("{} to {}", short(trend.low), short(trend.high)))
}

/// Signed, in about four characters.
fn short(bytes: f64) -> String {
    let rounded = bytes.round() as i64;
    format!("{}{}", sign(rounded), words::short_bytes(rounded.unsigned_abs()))
}

fn sign(number: i64) -> &'static str {
    match number {
        0 => "",
        1.. => "+",
        _ => "-",
    }
}
