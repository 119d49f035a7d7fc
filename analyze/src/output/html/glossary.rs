//! What the figures mean, and what to make of them: said on hover, on tap and on focus, and listed at the page's end.

/// A figure's name, what it counts, and what to do about it.
pub(super) struct Term {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) advice: &'static str,
}

const fn term(name: &'static str, meaning: &'static str, advice: &'static str) -> Term {
    Term { name, meaning, advice }
}

/// In the order of the list at the page's end. Names are those of the columns of CSV and Parquet.
pub(super) const TERMS: [Term; 62] = [
    term(
        "used",
        "Chunks in use inside segments, header included: blocks handed out, and the allocator's own records.",
        "If it grows without end, look at growth and lifetimes: something is kept.",
    ),
    term(
        "free",
        "Free chunks inside segments: in bins, the designated victim, and top.",
        "Much of it for long means fragmentation, or a peak that has passed: the map shows what keeps segments from being \
         returned.",
    ),
    term("segments", "Memory mapped from the system for chunks.", "It shrinks only when a whole segment is free."),
    term("direct", "Blocks of 128 KiB and more, mapped on their own; in no segment.", "Large strings and tables."),
    term("overhead", "What lies in a segment outside of any chunk.", "It is 64 bytes and 8 for each further segment."),
    term(
        "gc_total",
        "Bytes the collector counts: the payload of all blocks.",
        "The saw's teeth are collector cycles; a rising foot is growth.",
    ),
    term(
        "resident",
        "What of a process's memory is in RAM, as the kernel counts it.",
        "RSS; breakdown says whose it is.",
    ),
    term("swapped", "What of it is in swap.", "Swapping makes every collector cycle slow."),
    term(
        "pss",
        "Resident bytes, those shared with other processes divided among them.",
        "Sums over processes are true.",
    ),
    term("mapped", "Addresses that are mapped, touched or not.", "It costs nothing until it is touched."),
    term("population", "Which chunks are counted: used, free, segments, direct.", ""),
    term("size_from", "The smallest size a class counts: a power of two, or of exact chunk sizes the size itself.", ""),
    term("size_to", "The largest size a class counts.", ""),
    term("count", "How many.", ""),
    term("bytes", "Their bytes, headers included.", ""),
    term("quantity", "What is counted a second, or whose share it is.", ""),
    term(
        "basis",
        "exact: every call was recorded; estimate: windows speak for the rest.",
        "Estimates carry an interval.",
    ),
    term("value", "The figure: of a rate, a second; of a lifetime, the share that died by that age.", ""),
    term("low", "The interval's lower end: the true figure lies in it 95 times of 100.", "Wide? Record longer."),
    term("high", "The interval's upper end.", ""),
    term("observed", "What was in fact recorded.", ""),
    term("age_ns", "How long after its birth.", ""),
    term("time_ns", "Time from the start of the recording.", ""),
    term("kind", "Whose memory it is, in a word; of blocks, what kind of object.", ""),
    term(
        "garbage",
        "What the collector has found dead and not freed yet; at rest none is known.",
        "Much of it: the collector lags behind.",
    ),
    term("place", "Where functions were written: file and line, if the recorder was asked for names.", ""),
    term("owner", "Whose memory it is.", ""),
    term("vm", "A Lua VM, by its number in the trace: nginx has one a worker for http, and one for stream.", ""),
    term("pid", "The process, as the host numbers it.", ""),
    term("label", "What the VM is for.", ""),
    term("alloc", "Calls that ask for a new block.", ""),
    term("freed", "Bytes given back.", ""),
    term("resize", "Calls that make a block larger or smaller.", "Tables and buffers that grow double their size."),
    term(
        "fragmentation",
        "Free bytes inside segments as a share of them.",
        "Above a third for long is worth a look at the map.",
    ),
    term("turnover", "Bytes allocated a second against live bytes.", "High: short-lived garbage; the collector works."),
    term("censored", "Blocks whose end, or birth, was not seen: they lived at least so long.", ""),
    term("from_ns", "When it begins, from the start of the recording.", ""),
    term("to_ns", "When it ends.", ""),
    term("recorded_ns", "How much of that time calls were recorded.", "Between windows nothing is known of calls."),
    term("allocated", "Bytes asked for in new blocks.", ""),
    term("grown", "Bytes that resizes added.", ""),
    term("shrunk", "Bytes that resizes took away.", ""),
    term("gc_cycles", "Collector cycles that ended: gc_total had fallen and rises again.", ""),
    term("gaps", "Places where calls are missing.", "What follows a gap is right again from the next snapshot on."),
    term("windows", "Stretches of time in which every call was recorded.", ""),
    term(
        "net",
        "What became more, less what became fewer; below 0 if it shrank.",
        "Between two exact heaps: no estimate.",
    ),
    term("chance", "How likely it is, between 0 and 1, that a class does not grow: what is seen are swings.", ""),
    term(
        "points",
        "The heaps that tell whether something grows: those at the ends of collector cycles, or the starts of windows.",
        "With fewer than 8 nothing can be told: record longer.",
    ),
    term(
        "finding",
        "suspect: it grew from cycle to cycle; levelled: hardly any more in the later half; swings: no more than it swings; \
         steady: it hardly changed.",
        "A cache that still fills looks the same as a leak: record again when it should be full.",
    ),
    term(
        "samples",
        "Sampled calls that a share rests on.",
        "Below some ten it says little: sample more calls, or longer.",
    ),
    term(
        "share",
        "The part among all samples, between 0 and 1, by what they weigh; low and high are its interval.",
        "",
    ),
    term(
        "amount",
        "That share of the sum over all recorded calls, which is known: bytes asked for, calls, or bytes still in use.",
        "",
    ),
    term("base", "The first address.", ""),
    term("own", "The allocator's own records: its state, segment records, fenceposts.", ""),
    term("binned", "Free chunks in bins.", ""),
    term("dv", "The designated victim: the free chunk that small requests are cut from next.", ""),
    term("top", "The free chunk at the first segment's end, from which fresh memory is cut.", ""),
    term("free_runs", "Stretches of free memory without a used chunk in between.", "Many small ones: fragmentation."),
    term("largest_free", "The largest of them: no larger block fits.", ""),
    term("pinned_by", "What keeps a segment mapped that is otherwise free.", "Few bytes that pin much: fragmentation."),
    term(
        "standing",
        "A segment's: wholly free, pinned by little, or nothing of note.",
        "Wholly free ones go back to the system at the allocator's next check, but for some builds: see kept_for_good.",
    ),
    term(
        "kept_for_good",
        "A wholly free segment that this build never returns.",
        "Builds before LuaJIT's commit 9b5e837a of 2024-04-19 keep such segments: upgrade.",
    ),
];

/// What is said of fleets alone.
pub(super) const FLEET: [Term; 16] = [
    term("service", "What the traces were said to be of, or the program of a trace's first process.", ""),
    term(
        "build",
        "What the traces were said to be of, or the build id of the process's executable.",
        "Name releases: analyze partial --build NAME.",
    ),
    term("day", "The day in UTC on which a recording was started.", ""),
    term("not_whole", "Traces that failed, are contradicted or incomplete.", "The last table has the reasons."),
    term("used_p50", "Half of the VMs have so many bytes in use or less: the lower end of a class of 12.5 %.", ""),
    term(
        "used_p99",
        "Of a hundred VMs 99 have so many bytes in use or less, likewise.",
        "Far above the median? See the workers.",
    ),
    term(
        "free_ppm",
        "Free bytes inside segments, as a share of those.",
        "Above a third for long: look at the map of one.",
    ),
    term(
        "suspects",
        "Size classes of VMs that grew from one collector cycle to the next.",
        "analyze growth on those traces.",
    ),
    term("asked_bytes_per_second", "Bytes asked for in a second that was recorded, on average over VMs.", ""),
    term("cost_ppm", "What recording cost the processes, as a share of their time.", ""),
    term("size_p50_by_bytes", "Half of all bytes are in size classes up to this one.", ""),
    term("deviations", "How far a figure is from its peers' median, in scaled median absolute deviations.", ""),
    term("peers", "How many are compared, this one included.", ""),
    term(
        "larger",
        "In what share of pairs, of a VM of each build, this build's figure is the larger one.",
        "Half: no difference.",
    ),
    term(
        "regresses",
        "The median is larger by a tenth or more, and three pairs of four agree.",
        "Look at what the build changed.",
    ),
    term("change_ppm", "By how much the median is larger than before.", ""),
];

/// What columns add to the name of a figure: which of its values, and in what.
const ENDINGS: [&str; 8] = ["_per_second", "_first", "_min", "_max", "_last", "_bytes", "_calls", "_count"];

/// What a name means; nothing if it speaks for itself.
pub(super) fn of(name: &str) -> Option<&'static Term> {
    let known = TERMS.iter().chain(&FLEET).find(|term| term.name == name);
    known.or_else(|| ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).and_then(of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_is_explained_once() {
        let all = || TERMS.iter().chain(&FLEET);
        let names: BTreeSet<&str> = all().map(|term| term.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(all().all(|term| term.meaning.ends_with('.')));
        assert!(of("used").is_some() && of("trace").is_none());
        assert_eq!(of("freed_bytes_per_second").map(|term| term.name), Some("freed"));
    }
}
