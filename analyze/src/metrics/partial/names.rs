//! What is counted, by name.

/// Every metric there is. Those with `_by_` in their name count whoever has that figure, by its fine [`class`](super::classes::class).
pub const METRICS: [&str; 77] = [
    "traces_verified",
    "traces_consistent",
    "traces_incomplete",
    "traces_contradicted",
    "traces_failed",
    "files",
    "file_bytes",
    "duration_us",
    "trace_calls",
    "calls_replayed",
    "calls_not_replayed",
    "calls_lost",
    "contradictions",
    "gaps",
    "keyframes",
    "keyframes_compared",
    "keyframes_missed",
    "chunks_compared",
    "chunks_differing",
    "direct_compared",
    "direct_differing",
    "damaged",
    "windows",
    "windows_lossy",
    "processes",
    "elapsed_us",
    "cost_us",
    "pauses",
    "paused_us",
    "hits",
    "processes_by_longest_pause_us",
    "processes_by_worst_minute_ppm",
    "mapped_bytes",
    "resident_bytes",
    "swapped_bytes",
    "pss_bytes",
    "vms",
    "calls",
    "heaps",
    "heaps_unknown",
    "used_count",
    "used_bytes",
    "free_count",
    "free_bytes",
    "segments_count",
    "segments_bytes",
    "direct_count",
    "direct_bytes",
    "overhead_bytes",
    "gc_total",
    "peak_bytes",
    "growth_bytes",
    "vms_by_used_bytes",
    "vms_by_free_bytes",
    "vms_by_segments_bytes",
    "vms_by_direct_bytes",
    "vms_by_gc_total",
    "vms_by_peak_bytes",
    "observed_us",
    "asked_count",
    "asked_bytes",
    "resizes",
    "frees",
    "freed_bytes",
    "net_count",
    "net_bytes",
    "suspects",
    "born_count",
    "born_bytes",
    "alive_count",
    "alive_bytes",
    "older_died_count",
    "older_died_bytes",
    "died_count",
    "died_bytes",
    "resized",
    "resized_bytes",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_here_once_and_in_the_readme() {
        let readme = include_str!("../../../../README.md");
        for (at, metric) in METRICS.iter().enumerate() {
            assert!(readme.contains(&format!("`{metric}`")), "the README has no {metric}");
            assert!(!METRICS[..at].contains(metric), "{metric} is here twice");
        }
    }
}
