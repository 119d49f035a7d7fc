//! How outputs say what the objects of a heap are.

use crate::metrics::objects::{Growth, Large, Objects, Place, Slots, VmObjects};
use crate::output::words;

/// `at 4.060 s, a keyframe, copied from the process; one of 3 censuses`
pub fn moment(vm: &VmObjects) -> String {
    let others = match vm.censuses {
        0 | 1 => String::new(),
        all => format!("; one of {} censuses", words::thousands(all)),
    };
    format!("at {}, a keyframe, copied from the process{others}", words::time(vm.time))
}

/// `17,000 blocks of 9.3 MiB in use, 1.0 MiB of them mapped directly; 0.0 % unknown`
pub fn all(objects: &Objects) -> String {
    let Objects { all, direct, unknown, .. } = objects;
    let direct = match direct.count {
        0 => String::new(),
        _ => format!(", {} of them mapped directly", words::bytes(direct.bytes)),
    };
    let unknown = words::share(unknown.bytes, all.bytes);
    format!("{} of {} in use{direct}; {unknown} unknown", words::count(all.count, "block"), words::bytes(all.bytes))
}

/// What is known of garbage: `garbage not yet collected: 1,200 blocks, 300.0 KiB (3.1 %); the collector was sweeping strings`.
pub fn garbage(objects: &Objects) -> String {
    let at = match &*objects.collector {
        "pause" => "the collector was at rest",
        "propagate" => "the collector was marking",
        "atomic" => "the collector was ending its marking",
        "sweepstring" => "the collector was sweeping strings",
        "sweep" => "the collector was sweeping",
        "finalize" => "the collector was calling finalizers",
        _ => "what the collector was doing is not known",
    };
    match objects.garbage.count {
        0 => format!("garbage not yet collected: none that is known; {at}"),
        count => format!(
            "garbage not yet collected: {}, {} ({}); {at}",
            words::count(count, "block"),
            words::bytes(objects.garbage.bytes),
            words::share(objects.garbage.bytes, objects.all.bytes)
        ),
    }
}

/// `tables: of 54,000 array slots 64.3 % are used, 1.2 MiB are not; of 24,000 hash slots 95.0 %, 28.0 KiB`
pub fn tables(objects: &Objects) -> String {
    let slots = |slots: &Slots, kind: &str| {
        if slots.slots == 0 {
            return format!("no {kind} slots");
        }
        let looked = slots.slots.saturating_sub(slots.not_looked_at);
        let rest = match slots.not_looked_at {
            0 => String::new(),
            slots => format!(", {} not looked at", words::thousands(slots)),
        };
        format!(
            "of {} {} are used, {} unused{rest}",
            words::count(slots.slots, &format!("{kind} slot")),
            words::share(slots.used, looked),
            words::bytes(slots.unused_bytes)
        )
    };
    format!("tables: {}; {}", slots(&objects.tables.array, "array"), slots(&objects.tables.hash, "hash"))
}

/// `strings: 1.2 MiB of text, 400.0 KiB of headers and rounding`
pub fn strings(objects: &Objects) -> String {
    let strings = &objects.strings;
    format!(
        "strings: {} of text, {} of headers and rounding",
        words::bytes(strings.text_bytes),
        words::bytes(strings.overhead_bytes)
    )
}

/// Used slots of a large table's part: `90 of 128`, `? of 128`, `-`.
pub fn part(used: Option<u64>, slots: u64) -> String {
    if slots == 0 {
        return "-".to_owned();
    }
    let used = used.map_or_else(|| "?".to_owned(), words::thousands);
    format!("{used} of {}", words::thousands(slots))
}

/// The parts of a large table: array, hash.
pub fn parts(large: &Large) -> [String; 2] {
    [part(large.array_used, large.array_slots), part(large.hash_used, large.hash_slots)]
}

/// Where functions were written, in so many columns: `handlers.lua:12`.
pub fn place(place: &Place, width: usize) -> String {
    place.name().map_or_else(|| "C, or not known".to_owned(), |name| words::name(&name, width))
}

/// `120 places of functions, by bytes`, with how many of them are left out.
pub fn places(all: usize, shown: usize) -> String {
    let less = if all > shown { format!(", the largest {shown}") } else { String::new() };
    format!("{} of functions by bytes of closures and their code{less}", words::count(all as u64, "place"))
}

/// `growth since 0.010 s, in 4.05 s`
pub fn growth(growth: &Growth) -> String {
    let took = words::duration(growth.to_ns.saturating_sub(growth.from_ns));
    format!("growth since {}, in {took}", words::time(growth.from_ns))
}

/// A change with its sign: `+1.2 MiB`, `-40 B`, `0 B`.
pub fn change(number: i64, say: impl Fn(u64) -> String) -> String {
    let sign = match number {
        0 => "",
        1.. => "+",
        _ => "-",
    };
    format!("{sign}{}", say(number.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_have_a_sign_and_parts_may_be_unknown() {
        assert_eq!([5, 0, -40].map(|number| change(number, words::bytes)), ["+5 B", "0 B", "-40 B"]);
        assert_eq!(part(Some(9), 1000), "9 of 1,000");
        assert_eq!(part(None, 8), "? of 8");
        assert_eq!(part(Some(0), 0), "-");
    }
}
