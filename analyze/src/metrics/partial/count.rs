//! A trace's figures as rows. A metric has classes in all of its rows or in none, so its rows sum to its total; rows of 0
//! are left out. Durations are in microseconds: those of many nodes and years still add up.

use std::borrow::Cow;
use std::sync::Arc;

use shared::trace::breakdown::Breakdown;
use thiserror::Error;

use super::classes::class;
use super::{Figure, Key, NO_CLASS, Partial, Who};
use crate::metrics::asks::Asks;
use crate::metrics::batch::{Counts, TraceResult, VmResult};
use crate::metrics::breakdown::kind_name;
use crate::metrics::fates::Fates;
use crate::metrics::growth::{Figures, Finding};
use crate::metrics::population::{Populations, Tally};
use crate::replay::costs::CostReport;
use crate::replay::verdict::{Judgement, Verdict};

/// No figure of one trace is larger: bytes of 1 PiB, or 35 years. So thousands of traces that lie do not make a sum
/// overflow, at which an engine may stop.
pub const MOST: u64 = 1 << 50;

/// A figure that no machine has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("it claims {metric} of {value}, which no machine has")]
pub struct Unbelievable {
    metric: &'static str,
    value: i128,
}

/// Rows in the making.
#[derive(Debug)]
pub struct Rows {
    partial: Partial,
    who: Arc<Who>,
    span: (i64, i64),
    wrong: Option<Unbelievable>,
}

impl Rows {
    /// Of a trace that was recorded from when to when, in nanoseconds since 1970.
    pub fn new(span: (i64, i64)) -> Rows {
        Rows { partial: Partial::default(), who: Arc::default(), span, wrong: None }
    }

    /// Whose the next rows are.
    pub fn of(&mut self, who: Who) {
        self.who = Arc::new(who);
    }

    /// All of them.
    ///
    /// # Errors
    /// A figure is larger than [`MOST`].
    pub fn finish(self) -> Result<Partial, Unbelievable> {
        self.wrong.map_or(Ok(self.partial), Err)
    }

    fn push(&mut self, metric: &'static str, name: &str, bucket: i64, value: impl Into<i128>) {
        let value = value.into();
        if value.unsigned_abs() > u128::from(MOST) || bucket < NO_CLASS {
            self.wrong.get_or_insert(Unbelievable { metric, value });
        } else if value != 0 {
            let key = Key { who: Arc::clone(&self.who), metric: Cow::Borrowed(metric), name: name.to_owned(), bucket };
            let (first_ns, last_ns) = self.span;
            self.partial.add(key, Figure { value: value as i64, first_ns, last_ns });
        }
    }

    fn all(&mut self, figures: &[(&'static str, u64)]) {
        figures.iter().for_each(|(metric, value)| self.push(metric, "", NO_CLASS, *value));
    }

    /// A size or an age as a class is far below 2^63; a trace that says otherwise is not believed.
    fn in_class(&mut self, metric: &'static str, lower: u64, value: impl Into<i128>) {
        self.push(metric, "", i64::try_from(lower).unwrap_or(i64::MIN), value);
    }

    fn tally(&mut self, [count, bytes]: [&'static str; 2], lower: u64, tally: Tally) {
        self.in_class(count, lower, tally.count);
        self.in_class(bytes, lower, tally.bytes);
    }

    /// One more whose figure is in a fine [`class`].
    fn one_by(&mut self, metric: &'static str, figure: u64) {
        self.in_class(metric, class(figure), 1u64);
    }

    /// A trace that cannot be read, and why.
    pub fn failed(&mut self, reason: &str) {
        self.push("traces_failed", reason, NO_CLASS, 1u64);
    }

    /// A trace as a whole.
    pub fn trace(&mut self, result: &TraceResult, verdict: &Verdict) {
        let outcome = match result.judgement {
            Judgement::Verified => "traces_verified",
            Judgement::Consistent => "traces_consistent",
            Judgement::Incomplete => "traces_incomplete",
            Judgement::Contradicted => "traces_contradicted",
        };
        self.push(outcome, result.reason.as_deref().unwrap_or_default(), NO_CLASS, 1u64);
        let Counts {
            trace_calls,
            calls_replayed,
            calls_not_replayed,
            calls_lost,
            contradictions,
            gaps,
            keyframes,
            keyframes_compared,
            keyframes_missed,
            chunks_compared,
            chunks_differing,
            direct_compared,
            direct_differing,
            damaged,
        } = result.counts;
        self.all(&[
            ("files", result.files),
            ("file_bytes", result.bytes),
            ("duration_us", result.duration_ns / 1000),
            ("trace_calls", trace_calls),
            ("calls_replayed", calls_replayed),
            ("calls_not_replayed", calls_not_replayed),
            ("calls_lost", calls_lost),
            ("contradictions", contradictions),
            ("gaps", gaps),
            ("keyframes", keyframes),
            ("keyframes_compared", keyframes_compared),
            ("keyframes_missed", keyframes_missed),
            ("chunks_compared", chunks_compared),
            ("chunks_differing", chunks_differing),
            ("direct_compared", direct_compared),
            ("direct_differing", direct_differing),
            ("damaged", damaged),
            ("windows", verdict.windows.all),
            ("windows_lossy", verdict.windows.lossy),
        ]);
    }

    /// A process, and what its recording cost it.
    pub fn process(&mut self, cost: Option<&CostReport>) {
        self.all(&[("processes", 1)]);
        let Some(cost) = cost else { return };
        self.all(&[
            ("elapsed_us", cost.elapsed_ns / 1000),
            ("cost_us", cost.target_ns / 1000),
            ("pauses", cost.pauses),
            ("paused_us", cost.paused_ns / 1000),
            ("hits", cost.hits),
        ]);
        self.one_by("processes_by_longest_pause_us", cost.longest_pause_ns / 1000);
        self.one_by("processes_by_worst_minute_ppm", cost.worst_minute_ppm);
    }

    /// Where a process's memory went at its last look.
    pub fn memory(&mut self, breakdown: &Breakdown) {
        for slice in &breakdown.slices {
            let memory = &slice.memory;
            let amounts = [
                ("mapped_bytes", memory.mapped),
                ("resident_bytes", memory.resident),
                ("swapped_bytes", memory.swapped),
                ("pss_bytes", memory.pss),
            ];
            amounts.into_iter().for_each(|(metric, bytes)| self.push(metric, kind_name(slice.kind), NO_CLASS, bytes));
        }
    }

    /// A VM, and its heap if that is known.
    pub fn vm(&mut self, result: &VmResult, heap: Option<&Populations>) {
        self.all(&[("vms", 1), ("calls", result.calls)]);
        if let Some(why) = &result.heap_unknown {
            self.push("heaps_unknown", why, NO_CLASS, 1u64);
        }
        let Some(heap) = heap else { return };
        let peak = result.peak_bytes.unwrap_or_default();
        self.all(&[("heaps", 1), ("overhead_bytes", heap.overhead), ("gc_total", heap.gc_total), ("peak_bytes", peak)]);
        self.push("growth_bytes", "", NO_CLASS, result.growth_bytes.unwrap_or_default());
        let metrics = [
            ["used_count", "used_bytes"],
            ["free_count", "free_bytes"],
            ["segments_count", "segments_bytes"],
            ["direct_count", "direct_bytes"],
        ];
        for (metrics, (_, population)) in metrics.into_iter().zip(heap.named()) {
            population.buckets.iter().for_each(|(lower, tally)| self.tally(metrics, *lower, *tally));
        }
        self.one_by("vms_by_used_bytes", heap.used.all.bytes);
        self.one_by("vms_by_free_bytes", heap.free.all.bytes);
        self.one_by("vms_by_segments_bytes", heap.segments.all.bytes);
        self.one_by("vms_by_direct_bytes", heap.direct.all.bytes);
        self.one_by("vms_by_gc_total", heap.gc_total);
        self.one_by("vms_by_peak_bytes", peak);
    }

    /// What a VM was asked for in so many nanoseconds that were recorded.
    pub fn asks(&mut self, asks: &Asks, observed_ns: u64) {
        self.all(&[("resizes", asks.resizes), ("frees", asks.frees), ("observed_us", observed_ns / 1000)]);
        for (lower, class) in &asks.classes {
            self.in_class("asked_count", *lower, class.allocs);
            self.in_class("asked_bytes", *lower, class.allocated);
            self.in_class("freed_bytes", *lower, class.freed);
        }
    }

    /// What became of its blocks.
    pub fn fates(&mut self, fates: &Fates) {
        for (lower, class) in &fates.classes {
            self.tally(["born_count", "born_bytes"], *lower, class.ages.born());
            self.tally(["alive_count", "alive_bytes"], *lower, class.ages.alive());
            self.tally(["older_died_count", "older_died_bytes"], *lower, class.older_died);
        }
        for (lower, tally) in fates.ages().deaths_by_class() {
            self.tally(["died_count", "died_bytes"], lower, tally);
        }
        let sums = &fates.resizes.sums;
        let resized = [
            ("grew", sums.grew, sums.grown_bytes),
            ("shrank", sums.shrank, sums.shrunk_bytes),
            ("kept", sums.kept, 0),
            ("failed", sums.failed, 0),
            ("moved", sums.moved, sums.copied_bytes),
        ];
        for (name, count, bytes) in resized {
            self.push("resized", name, NO_CLASS, count);
            self.push("resized_bytes", name, NO_CLASS, bytes);
        }
    }

    /// What grew in it, by size class; direct blocks have class 0.
    pub fn growth(&mut self, figures: &Figures) {
        for class in &figures.classes {
            let lower = class.size_from as i64;
            self.push("net_count", class.population, lower, class.change.net_count);
            self.push("net_bytes", class.population, lower, class.change.net_bytes);
            self.push("suspects", class.population, lower, i64::from(class.finding == Finding::Suspect));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_no_machine_has_are_not_believed() {
        let mut rows = Rows::new((0, 0));
        rows.all(&[("files", MOST), ("calls_lost", 0)]);
        assert_eq!(rows.partial.0.len(), 1, "a row of 0 says nothing");
        rows.push("growth_bytes", "", NO_CLASS, -i128::from(MOST) - 1);
        let error = rows.finish().unwrap_err();
        assert_eq!(error.to_string(), format!("it claims growth_bytes of -{}, which no machine has", MOST + 1));
        let mut rows = Rows::new((0, 0));
        rows.tally(["used_count", "used_bytes"], u64::MAX, Tally { count: 1, bytes: 1 });
        assert!(rows.finish().is_err());
    }

    #[test]
    fn what_a_heap_holds_adds_up() {
        let heap = Populations { used: [40, 50, 100].into_iter().collect(), ..Populations::default() };
        let result = &crate::output::batch::sample::trace("a.ljt", 1).processes[0].vms[0];
        let mut rows = Rows::new((5, 7));
        rows.vm(result, Some(&heap));
        rows.of(Who { vm: 2, ..Who::default() });
        rows.vm(result, None);
        let partial = rows.finish().unwrap();
        assert_eq!((partial.sum("used_bytes"), partial.sum("used_count")), (190, 3));
        assert_eq!((partial.sum("vms"), partial.sum("heaps"), partial.sum("vms_by_used_bytes")), (2, 1, 1));
        assert!(partial.0.values().all(|figure| (figure.first_ns, figure.last_ns) == (5, 7)));
    }
}
