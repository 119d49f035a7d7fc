//! How outputs say how long blocks live.

use crate::metrics::lives::{ClassLives, DiedAt, Figures, VmLifetimes};
use crate::metrics::rates::Basis;
use crate::metrics::resizes::{Chain, ResizeSums};
use crate::output::rates::words as rate_words;
use crate::output::words;
use crate::report::title;
use shared::trace::meta::Process;

/// `VM 1: http VM of nginx (pid 123)`
pub fn heading(vm: &VmLifetimes, processes: &[Process]) -> String {
    format!("VM {}: {}", vm.number, title(&vm.vm, processes))
}

/// What the figures are of: `every call of 4.06 s was recorded`, `12 windows of 240.1 ms in all, between which nothing
/// is known; 2 left out`.
pub fn basis(figures: &Figures) -> String {
    let observed = words::duration(figures.observed_ns);
    match figures.basis {
        Basis::Exact => format!("every call of {observed} was recorded"),
        Basis::Estimate => {
            let left_out = match figures.windows_left_out {
                0 => String::new(),
                windows => format!("; {} left out: no keyframe, losses, or cut off", words::count(windows, "window")),
            };
            let windows = words::count(figures.windows, "window");
            format!("{windows} of {observed} in all, between which nothing is known{left_out}")
        }
    }
}

/// `turnover: 24.1 MiB are born a second, 9.0 MiB live on average: all is replaced 2.7 times a second`
pub fn turnover(figures: &Figures) -> String {
    let turnover = &figures.turnover;
    let born = rate_words::bytes(turnover.born.per_second);
    let (Some(live), Some(times)) = (turnover.live_bytes, turnover.per_second) else {
        return format!("turnover: {born} are born a second; how much lives is not known");
    };
    let interval = match (turnover.low, turnover.high) {
        (Some(low), Some(high)) => {
            format!(" ({} to {}, 95 % confidence)", rate_words::number(low), rate_words::number(high))
        }
        _ => String::new(),
    };
    format!(
        "turnover: {born} are born a second, {} live on average: as much is born as lives {} times a second{interval}",
        rate_words::bytes(live),
        rate_words::number(times),
    )
}

/// `resizes: 1,200 grew by 2.1 MiB, …; 700 moved, for which 1.2 MiB were copied`
pub fn resizes(sums: &ResizeSums) -> String {
    if sums.all() + sums.failed == 0 {
        return "resizes: none".to_owned();
    }
    let failed = if sums.failed > 0 { format!(", {} failed", words::thousands(sums.failed)) } else { String::new() };
    format!(
        "resizes: {} grew by {}, {} shrank by {}, {} found room enough{failed}; {} moved ({}), for which {} were copied",
        words::thousands(sums.grew),
        words::bytes(sums.grown_bytes),
        words::thousands(sums.shrank),
        words::bytes(sums.shrunk_bytes),
        words::thousands(sums.kept),
        words::thousands(sums.moved),
        words::share(sums.moved, sums.all()),
        words::bytes(sums.copied_bytes),
    )
}

/// Blocks whose chain of resizes is not known from the start.
pub fn older(sums: &ResizeSums) -> Option<String> {
    let blocks = words::count(sums.older_blocks, "block");
    (sums.older_blocks > 0).then(|| format!("{blocks} resized were born before and are not in the table"))
}

/// How often: `1`, `4 - 7`.
pub fn often(chain: &Chain) -> String {
    if chain.resizes_from == chain.resizes_to {
        chain.resizes_from.to_string()
    } else {
        format!("{} - {}", words::thousands(chain.resizes_from), words::thousands(chain.resizes_to))
    }
}

/// Ages: `64 us`, `1 s`; of the oldest `older`.
pub fn until(died: &DiedAt) -> String {
    died.age_to_ns.map_or("older".to_owned(), rate_words::age)
}

/// How many of the ages need to be shown: up to the oldest that any class has.
pub fn ages(figures: &Figures) -> usize {
    figures.all.died.iter().rposition(|died| died.count > 0).map_or(0, |at| at + 1)
}

/// A size class by its smallest size, or `all`.
pub fn size(class: &ClassLives) -> String {
    if class.size_from == 0 { "all".to_owned() } else { words::size_class(class.size_from) }
}

/// The young dead in a sentence: `of the bytes born, 61.0 % die within 1 ms, …`.
pub fn young(figures: &Figures) -> String {
    let died = &figures.all.lifetimes.died;
    if died.is_empty() {
        return "how long blocks live is not known: none was followed for long enough".to_owned();
    }
    let share = died.iter().map(|died| {
        let of = &died.of_bytes;
        format!("{} within {}", rate_words::share(of.share), rate_words::age(died.age_ns))
    });
    format!("of the bytes born, die {}", share.collect::<Vec<_>>().join(", "))
}
