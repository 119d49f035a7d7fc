//! The shape of the JSON. What is renamed here is renamed for every reader of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::replay::verdict::{Judgement, Verdict};

/// A VM's heap, with the names and types of lj-alloc-stats. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Distributions {
    /// Of segments.
    pub segments: Vec<Bar>,
    /// Of free chunks.
    pub free: Vec<Bar>,
    /// Of chunks in use.
    pub used: Vec<Bar>,
}

/// How many have a size in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Bar {
    /// How many.
    pub count: u64,
    /// The bucket's lower bound, a power of two: `"64"` counts sizes from 64 to 127.
    pub key: String,
}

/// A population's figures; all 0 if it is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Recording {
    /// Program and version that wrote the trace.
    pub writer: String,
    /// `snapshot`, `sample` or `full`.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
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
    /// That is so by design: calls between windows are not recorded.
    pub between_windows: bool,
}

/// The verdict, with its judgement in a word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VerdictFacts {
    /// The judgement.
    pub judgement: Judgement,
    /// What it is based on.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A population with counts and bytes by size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
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
