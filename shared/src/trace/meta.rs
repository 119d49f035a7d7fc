//! The payloads that are JSON: what a trace says about itself. Readers ignore fields they do not know, and take
//! missing ones for empty.

use serde::{Deserialize, Serialize};

use super::BadPayload;
use super::pack::{pack_one, unpack_one};
use crate::{Addr, Nanos};

/// First frame: where, when and how the recording was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Program and version that wrote the trace.
    pub writer: String,
    /// Wall-clock start, nanoseconds since 1970 UTC. All other times count from here.
    pub started_unix_ns: u64,
    /// The clock behind all times, and its reading at the start.
    pub clock: String,
    /// That reading, in nanoseconds.
    pub clock_start_ns: u64,
    /// The host's name.
    pub host: String,
    /// The host's kernel release.
    pub kernel: String,
    /// The host's architecture.
    pub arch: String,
    /// How it was recorded: `snapshot` or `full`.
    pub mode: String,
    /// The recorder's options that shaped the trace, by name.
    pub options: std::collections::BTreeMap<String, String>,
}

/// A recorded process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Its id, as the recorder sees it.
    pub pid: u32,
    /// The name of its executable's file.
    pub program: String,
    /// Its command line.
    pub command: Vec<String>,
    /// The executable's path as the target sees it.
    pub exe: String,
    /// The executable's build id, in hex; empty if it has none.
    pub build_id: String,
}

/// A Lua VM; the frame's `vm` is its number. A later frame for the same number replaces an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vm {
    /// The process it lives in.
    pub pid: u32,
    /// `http`, `stream`, or the program's name.
    pub label: String,
    /// `_G.jit.version`; empty if it could not be read.
    pub build: String,
    /// 64-bit object references.
    pub gc64: bool,
    /// Its `malloc_state`.
    pub mstate: Addr,
    /// Its `global_State`.
    pub global: Addr,
    /// The file that holds `lj_alloc_f`, as the target sees it.
    pub module: String,
    /// That file's build id, in hex; empty if it has none.
    pub module_build_id: String,
    /// `lj_alloc_f`, as an address in that file.
    pub door: Addr,
    /// Whether that file's symbols say so too: absent without symbols.
    pub door_confirmed: Option<bool>,
    /// The probed instruction; absent in a snapshot.
    pub probe: Option<Probe>,
}

/// A probed instruction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// Its address in the module.
    pub addr: Addr,
    /// Its text.
    pub instruction: String,
    /// Whether the kernel emulates it; otherwise every hit costs a second exception.
    pub emulated: bool,
}

/// Calls that happened and are not in the trace, before the next keyframe of the same VM (frame `vm`). The replay
/// stops here and goes on there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gap {
    /// Why.
    pub reason: String,
    /// How many hits the kernel says it dropped, over all VMs of the process.
    pub lost: u64,
}

/// Last frame: the recording ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trailer {
    /// Why it ended.
    pub reason: String,
    /// Whether it ended because the target did: then there is no keyframe at its end.
    pub target_ended: bool,
    /// How the target ended, if that is known: `exit 0`, `signal 9`.
    pub target_status: Option<String>,
    /// Calls in the trace.
    pub calls: u64,
    /// Mapping calls in the trace.
    pub maps: u64,
    /// Hits the kernel dropped.
    pub lost: u64,
    /// Hits that belong to no VM of the trace.
    pub unattributed: u64,
    /// What the recording cost.
    pub cost: Cost,
    /// Every frame before this one.
    pub index: Vec<IndexEntry>,
}

/// What a recording cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// Wall time of the recording.
    pub elapsed_ns: u64,
    /// The recorder's own processor time, user and system.
    pub recorder_cpu_ns: u64,
    /// How often the target stood still.
    pub pauses: u64,
    /// How long in all.
    pub paused_ns: u64,
    /// The longest.
    pub longest_pause_ns: u64,
    /// What one hit costs the target, calibrated on a child of the recorder; 0 if not calibrated.
    pub hit_ns: u64,
}

/// Where a frame stands and what its head says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// Offset in the file.
    pub offset: u64,
    /// The kind's number.
    pub kind: u16,
    /// The VM.
    pub vm: u32,
    /// The count.
    pub count: u32,
    /// First moment.
    pub start: Nanos,
    /// Last moment.
    pub end: Nanos,
}

/// The payload of a JSON frame.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Plain structs of numbers, strings and lists always serialise.
    pack_one(&serde_json::to_vec(value).unwrap_or_default())
}

/// Reads the payload of a JSON frame.
pub fn decode<T: for<'de> Deserialize<'de>>(payload: &[u8]) -> Result<T, BadPayload> {
    serde_json::from_slice(&unpack_one(payload, "JSON")?).map_err(|e| BadPayload(e.to_string()))
}
