//! JSON as lj-alloc-stats prints it, with everything else we know under one more key, `ljscope`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use shared::trace::meta::Header;

use super::words::last_of;
use crate::metrics::population::{Population, Populations};
use crate::replay::verdict::{Judgement, Verdict};
use crate::report::{Asked, Moment, Report, VmReport};

/// Writes one object if the report is of one VM, else an array of them. `compat` leaves out the key `ljscope`.
pub fn write(report: &Report, compat: bool, out: &mut dyn Write) -> io::Result<()> {
    let stats = stats(report, compat);
    match stats.as_slice() {
        [one] => serde_json::to_writer_pretty(&mut *out, one)?,
        all => serde_json::to_writer_pretty(&mut *out, all)?,
    }
    out.write_all(b"\n")
}

/// The objects, one for each VM of the report.
pub fn stats(report: &Report, compat: bool) -> Vec<Stats> {
    report.vms.iter().map(|vm| Stats::new(report, vm, compat)).collect()
}

/// A VM's heap, with the names and types of lj-alloc-stats. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Chunks by size.
    pub distributions: Distributions,
    /// Memory mapped from the system for chunks.
    pub segments: Summary,
    /// Chunks in use, inside segments.
    pub used: Summary,
    /// `luajit_GC_managed` less `used.sum`: what the collector counts in blocks that were mapped on their own, less
    /// what chunks are larger than asked for. Negative if the latter is more.
    pub luajit_big_chunks: i64,
    /// What the collector counts: `gc.total`.
    #[serde(rename = "luajit_GC_managed")]
    pub luajit_gc_managed: u64,
    /// Free chunks: in bins, the designated victim and top.
    pub free: Summary,
    /// What lj-alloc-stats does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ljscope: Option<Box<Ljscope>>,
}

/// Counts by size, ascending. Their sums are the populations' counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Distributions {
    /// Of segments.
    pub segments: Vec<Bar>,
    /// Of free chunks.
    pub free: Vec<Bar>,
    /// Of chunks in use.
    pub used: Vec<Bar>,
}

/// How many have a size in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bar {
    /// How many.
    pub count: u64,
    /// The bucket's lower bound, a power of two: `"64"` counts sizes from 64 to 127.
    pub key: String,
}

/// A population's figures; all 0 if it is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The smallest size.
    pub min: u64,
    /// The largest size.
    pub max: u64,
    /// How many.
    pub count: u64,
    /// All sizes together.
    pub sum: u64,
}

/// What ljscope adds: where the figures come from, how far they can be trusted, and the rest of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ljscope {
    /// The trace's name.
    pub source: String,
    /// The recording.
    pub recording: Recording,
    /// The VM.
    pub vm: VmFacts,
    /// The moment its heap is shown at.
    pub moment: MomentFacts,
    /// How far the trace can be trusted.
    pub verdict: VerdictFacts,
    /// The populations by name: `used`, `free`, `segments`, and `direct` for blocks mapped on their own.
    /// `used.bytes + free.bytes + overhead_bytes == segments.bytes`.
    pub populations: BTreeMap<String, PopulationFacts>,
    /// What lies in segments outside of chunks.
    pub overhead_bytes: u64,
    /// What the collector counts.
    pub gc_total: u64,
}

/// Where, when and how a trace was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recording {
    /// Program and version that wrote the trace.
    pub writer: String,
    /// `snapshot` or `full`.
    pub mode: String,
    /// Wall-clock start, nanoseconds since 1970 UTC. All other times count from here.
    pub started_unix_ns: u64,
    /// The host's name.
    pub host: String,
    /// Its kernel's release.
    pub kernel: String,
    /// Its architecture.
    pub arch: String,
}

/// What a VM is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VmFacts {
    /// Its number in the trace.
    pub number: u32,
    /// `http`, `stream`, or the program's name.
    pub label: String,
    /// The process it lives in.
    pub pid: u32,
    /// That process's program, if the trace tells.
    pub program: Option<String>,
    /// `_G.jit.version`; empty if it could not be read.
    pub build: String,
    /// 64-bit object references.
    pub gc64: bool,
}

/// A moment, and how the heap at it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MomentFacts {
    /// Time of the last call before it, or of the keyframe.
    pub time_ns: u64,
    /// What was asked for: `default`, `end`, `peak` or `at`.
    pub asked: String,
    /// With `at`, the time asked for.
    pub asked_time_ns: Option<u64>,
    /// Calls replayed since the keyframe before; 0 if this is the keyframe itself.
    pub calls_since_keyframe: u64,
    /// Why this is not the moment that was asked for, if it is not.
    pub short_of: Option<String>,
}

/// The verdict, with its judgement in a word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerdictFacts {
    /// The judgement.
    pub judgement: Judgement,
    /// What it is based on.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A population with counts and bytes by size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PopulationFacts {
    /// How many.
    pub count: u64,
    /// All sizes together.
    pub bytes: u64,
    /// The smallest size, 0 if there are none.
    pub min: u64,
    /// The largest size.
    pub max: u64,
    /// By size, ascending.
    pub buckets: Vec<Bucket>,
}

/// What a population has of a range of sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// The smallest size that is counted here, a power of two.
    pub size_from: u64,
    /// The largest size that is counted here.
    pub size_to: u64,
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
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
        let process = report.processes.iter().find(|process| process.pid == vm.vm.pid);
        let populations = vm.populations.named();
        Ljscope {
            source: report.source.clone(),
            recording: Recording::of(&report.header),
            vm: VmFacts {
                number: vm.number,
                label: vm.vm.label.clone(),
                pid: vm.vm.pid,
                program: process.map(|process| process.program.clone()),
                build: vm.vm.build.clone(),
                gc64: vm.vm.gc64,
            },
            moment: MomentFacts::of(&vm.moment),
            verdict: VerdictFacts { judgement: report.verdict.judgement(), verdict: report.verdict.clone() },
            populations: populations.map(|(name, population)| (name.to_owned(), PopulationFacts::of(population))).into(),
            overhead_bytes: vm.populations.overhead,
            gc_total: vm.populations.gc_total,
        }
    }
}

impl Recording {
    fn of(header: &Header) -> Recording {
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

impl MomentFacts {
    fn of(moment: &Moment) -> MomentFacts {
        let (asked, asked_time_ns) = match moment.asked {
            Asked::Default => ("default", None),
            Asked::End => ("end", None),
            Asked::Peak => ("peak", None),
            Asked::At(time) => ("at", Some(time)),
        };
        MomentFacts {
            time_ns: moment.time,
            asked: asked.to_owned(),
            asked_time_ns,
            calls_since_keyframe: moment.calls_since_keyframe,
            short_of: moment.short_of.clone(),
        }
    }
}

impl PopulationFacts {
    fn of(population: &Population) -> PopulationFacts {
        let bucket = |(size_from, tally): (&u64, &crate::metrics::population::Tally)| Bucket {
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
