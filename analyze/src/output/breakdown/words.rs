//! How outputs say where memory goes.

use crate::metrics::breakdown::instance::{Instance, Member};
use crate::metrics::breakdown::{Check, ProcessMemory};
use crate::output::words::{bytes, count, duration, thousands, time};
use crate::report::BreakdownReport;

/// What is neither in RAM nor in swap.
pub const UNTOUCHED: &str = "untouched";
/// What that means.
pub const UNTOUCHED_MEANS: &str = "untouched: mapped, but neither resident nor in swap: never touched, or pages of files and zones that this process \
     has not in its page tables";
/// The title of the picture by resident memory.
pub const RESIDENT: &str = "application level, resident";
/// The title of the picture as OpenResty's articles draw it.
pub const CONVENTION: &str = "application level, mapped";
/// What that counts.
pub const CONVENTION_MEANS: &str =
    "mapped counts shared zones by what is loaded, and no address space that is only reserved";

/// `at 9.870 s, look 12 of 12; it took 4.2 ms`
pub fn moment(report: &BreakdownReport, process: &ProcessMemory) -> String {
    let number = process.history.looks.iter().position(|look| look.time == process.time).map_or(0, |at| at + 1);
    let asked = match report.asked {
        Some(_) if report.peak => ", when most was resident".to_owned(),
        Some(asked) if asked != process.time => format!(", the last one before {}", time(asked)),
        _ => String::new(),
    };
    let ended = match process.ended {
        Some(ended) => format!("; the process ended at {}", time(ended)),
        None => String::new(),
    };
    format!(
        "at {}, look {number} of {}{asked}; it took {}{ended}",
        time(process.time),
        thousands(process.looks),
        duration(process.took_ns)
    )
}

/// `the slices sum to VmSize and VmSwap to the byte; to VmRSS but for +8,192 bytes, ...`
pub fn checks(checks: &[Check]) -> String {
    let exact: Vec<String> = checks.iter().filter(|check| check.off() == 0).map(named).collect();
    let off: Vec<String> = checks
        .iter()
        .filter(|check| check.off() != 0)
        .map(|check| {
            let sign = if check.off() > 0 { "+" } else { "-" };
            let bytes = u64::try_from(check.off().unsigned_abs()).unwrap_or(u64::MAX);
            format!("{} but for {sign}{}", named(check), count(bytes, "byte"))
        })
        .collect();
    let exact = match exact.len() {
        0 => None,
        _ => Some(format!("{} to the byte", exact.join(", "))),
    };
    let counters = if off.is_empty() {
        ""
    } else {
        " (the kernel counts these apart from the mappings, some pages a processor behind, and time passes between two \
         readings)"
    };
    let all: Vec<String> = exact.into_iter().chain(off).collect();
    format!("the slices sum to {}{counters}", all.join("; to "))
}

fn named(check: &Check) -> String {
    format!("{} {}", check.name, thousands(check.kernel))
}

/// `nginx (pid 10) and 4 others, 2 generations`
pub fn instance(instance: &Instance) -> String {
    let others = count(instance.members.len() as u64 - 1, "other");
    let program = if instance.program.is_empty() { "process" } else { &instance.program };
    let generations = match instance.generations() {
        0 | 1 => String::new(),
        generations => format!(", {generations} generations by their start"),
    };
    format!("{program} (pid {}) and {others}{generations}", instance.root)
}

/// `together 12.3 MiB by PSS, shared pages counted once; their RSS sums to 45.6 MiB, 33.3 MiB too much`
pub fn together(instance: &Instance) -> String {
    let (pss, rss) = (instance.memory.pss, instance.memory.resident);
    let more = match rss.saturating_sub(pss) {
        0 => String::new(),
        more => format!(", {} more, for it counts a shared page once for each process", bytes(more)),
    };
    let apart = match instance.apart_ns {
        0 => String::new(),
        apart => format!("; the looks lie up to {} apart", duration(apart)),
    };
    format!(
        "together {} by PSS, which counts a page they share once; the sum of RSS is {}{more}{apart}",
        bytes(pss),
        bytes(rss)
    )
}

/// `generation 2, started 3.2 s before the recording`
pub fn generation(members: &[&Member], number: u64) -> String {
    let started = members.iter().map(|member| member.started_ms).min().unwrap_or(0);
    let distance = duration(started.unsigned_abs().saturating_mul(1_000_000));
    let when = if started < 0 { format!("{distance} before the recording") } else { format!("{distance} into it") };
    format!("generation {number}, started {when}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_to_the_byte() {
        let check = |name, kernel, slices| Check { name, kernel, slices };
        assert_eq!(
            checks(&[check("VmSize", 8192, 8192), check("VmSwap", 0, 0)]),
            "the slices sum to VmSize 8,192, VmSwap 0 to the byte"
        );
        let off = checks(&[check("VmSize", 8192, 8192), check("VmRSS", 8192, 4096), check("Pss", 1, 1000)]);
        assert!(off.contains("to VmRSS 8,192 but for -4,096 bytes; to Pss 1 but for +999 bytes (the kernel"), "{off}");
    }
}
