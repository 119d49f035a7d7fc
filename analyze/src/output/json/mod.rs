//! JSON as lj-alloc-stats prints it, with everything else we know under one more key, `ljscope`.

mod types;

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;
use shared::Nanos;
use shared::trace::meta::{Header, Process, Vm};

use super::words::last_of;
use crate::metrics::population::{Population, Populations, Tally};
use crate::report::{Asked, Moment, Origin, Report, VmReport};

pub use types::*;

/// Writes one object if the report is of one VM, else an array of them. `compat` leaves out the key `ljscope`.
pub fn write(report: &Report, compat: bool, out: &mut dyn Write) -> io::Result<()> {
    let stats = stats(report, compat);
    match stats.as_slice() {
        [one] => serde_json::to_writer_pretty(&mut *out, one)?,
        all => serde_json::to_writer_pretty(&mut *out, all)?,
    }
    out.write_all(b"\n")
}

/// What the document of every command but `stats` begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Head {
    /// How far the rest can be trusted.
    pub verdict: VerdictFacts,
    /// The trace's name.
    pub source: String,
    /// The recording.
    pub recording: Recording,
}

impl Head {
    /// What a report begins with.
    pub fn of(origin: Origin<'_>) -> Head {
        let verdict = VerdictFacts { judgement: origin.verdict.judgement(), verdict: origin.verdict.clone() };
        Head { verdict, source: origin.source.to_owned(), recording: Recording::of(origin.header) }
    }
}

/// Writes a document, and a line's end.
pub fn document(document: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    out.write_all(b"\n")
}

/// The objects, one for each VM of the report.
pub fn stats(report: &Report, compat: bool) -> Vec<Stats> {
    report.vms.iter().map(|vm| Stats::new(report, vm, compat)).collect()
}

impl Stats {
    fn new(report: &Report, vm: &VmReport, compat: bool) -> Stats {
        let Populations { used, free, segments, gc_total, .. } = &vm.populations;
        Stats {
            distributions: Distributions { segments: bars(segments), free: bars(free), used: bars(used) },
            segments: Summary::of(segments),
            used: Summary::of(used),
            // Two's complement: right for every difference below 2^63 bytes.
            luajit_big_chunks: gc_total.wrapping_sub(used.all.bytes).cast_signed(),
            luajit_gc_managed: *gc_total,
            free: Summary::of(free),
            ljscope: (!compat).then(|| Box::new(Ljscope::new(report, vm))),
        }
    }
}

fn bars(population: &Population) -> Vec<Bar> {
    population.buckets.iter().map(|(bucket, tally)| Bar { count: tally.count, key: bucket.to_string() }).collect()
}

impl Summary {
    fn of(population: &Population) -> Summary {
        let Population { all, min, max, .. } = population;
        Summary { min: *min, max: *max, count: all.count, sum: all.bytes }
    }
}

impl Ljscope {
    fn new(report: &Report, vm: &VmReport) -> Ljscope {
        let populations = vm.populations.named();
        Ljscope {
            source: report.source.clone(),
            recording: Recording::of(&report.header),
            vm: VmFacts::of(vm.number, &vm.vm, &report.processes),
            moment: MomentFacts::of(&vm.moment),
            verdict: VerdictFacts { judgement: report.verdict.judgement(), verdict: report.verdict.clone() },
            populations: populations
                .map(|(name, population)| (name.to_owned(), PopulationFacts::of(population)))
                .into(),
            overhead_bytes: vm.populations.overhead,
            gc_total: vm.populations.gc_total,
        }
    }
}

impl Recording {
    /// What a header says.
    pub fn of(header: &Header) -> Recording {
        Recording {
            writer: header.writer.clone(),
            mode: header.mode.clone(),
            started_unix_ns: header.started_unix_ns,
            host: header.host.clone(),
            kernel: header.kernel.clone(),
            arch: header.arch.clone(),
        }
    }
}

impl VmFacts {
    /// What a trace says of a VM.
    pub fn of(number: u32, vm: &Vm, processes: &[Process]) -> VmFacts {
        let process = processes.iter().find(|process| process.pid == vm.pid);
        VmFacts {
            number,
            label: vm.label.clone(),
            pid: vm.pid,
            program: process.map(|process| process.program.clone()),
            build: vm.build.clone(),
            gc64: vm.gc64,
        }
    }
}

impl MomentFacts {
    /// A moment that a heap is known at.
    pub fn of(moment: &Moment) -> MomentFacts {
        let (asked, asked_time_ns) = asked(moment.asked);
        MomentFacts {
            time_ns: moment.time,
            asked: asked.to_owned(),
            asked_time_ns,
            calls_since_keyframe: moment.calls_since_keyframe,
            short_of: moment.short_of.clone(),
            between_windows: moment.between_windows,
        }
    }
}

/// What was asked for in a word, and the time with `at`.
pub fn asked(asked: Asked) -> (&'static str, Option<Nanos>) {
    match asked {
        Asked::Default => ("default", None),
        Asked::End => ("end", None),
        Asked::Peak => ("peak", None),
        Asked::At(time) => ("at", Some(time)),
    }
}

impl PopulationFacts {
    /// A population with its buckets.
    pub fn of(population: &Population) -> PopulationFacts {
        let bucket = |(size_from, tally): (&u64, &Tally)| Bucket {
            size_from: *size_from,
            size_to: last_of(*size_from),
            count: tally.count,
            bytes: tally.bytes,
        };
        PopulationFacts {
            count: population.all.count,
            bytes: population.all.bytes,
            min: population.min,
            max: population.max,
            buckets: population.buckets.iter().map(bucket).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;
    use serde_json::Value;

    fn text(report: &Report, compat: bool) -> String {
        let mut bytes = Vec::new();
        write(report, compat, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn distributions_sum_to_counts_and_bytes() {
        for stats in stats(&sample::report(), false) {
            let Distributions { segments, free, used } = &stats.distributions;
            for (bars, summary) in [(segments, &stats.segments), (free, &stats.free), (used, &stats.used)] {
                assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), summary.count);
                assert!(bars.is_sorted_by_key(|bar| bar.key.parse::<u64>().unwrap()));
            }
            let ours = stats.ljscope.unwrap();
            for population in ours.populations.values() {
                assert_eq!(population.buckets.iter().map(|bucket| bucket.bytes).sum::<u64>(), population.bytes);
            }
            assert_eq!(stats.used.sum + stats.free.sum + ours.overhead_bytes, stats.segments.sum);
        }
    }

    #[test]
    fn compatible_form_has_the_published_names_in_order() {
        let mut report = sample::report();
        report.vms.truncate(1);
        report.vms[0].populations.gc_total = 1000;
        let text = text(&report, true);
        let keys = ["distributions", "segments", "free", "used"].map(|key| text.find(&format!("\"{key}\"")));
        assert!(keys.is_sorted() && keys[0].is_some());
        let value: Value = serde_json::from_str(&text).unwrap();
        let mut names: Vec<&String> = value.as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, ["distributions", "free", "luajit_GC_managed", "luajit_big_chunks", "segments", "used"]);
        assert!(value["distributions"]["used"][0]["key"].is_string());
        assert!(value["luajit_big_chunks"].as_i64().unwrap() < 0);
        assert!(text.ends_with("}\n"));
    }

    #[test]
    fn one_vm_is_an_object_and_more_or_none_are_an_array() {
        let mut report = sample::report();
        let value: Value = serde_json::from_str(&text(&report, false)).unwrap();
        assert_eq!(value.as_array().unwrap().len(), report.vms.len());
        assert_eq!(value[0]["ljscope"]["verdict"]["judgement"], "verified");
        report.vms.clear();
        assert_eq!(text(&report, false), "[]\n");
    }
}
