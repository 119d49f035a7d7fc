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
    /// How it was recorded: `snapshot`, `sample` or `full`.
    pub mode: String,
    /// The same in all parts of one recording, and in no other; empty if it has one part only.
    pub recording: String,
    /// Which part of it this is, from 1; 0 if it has one part only.
    pub part: u64,
    /// Whether names were left out and addresses shifted, each VM's by a distance of its own.
    pub anonymized: bool,
    /// The recorder's options that shaped the trace, by name.
    pub options: std::collections::BTreeMap<String, String>,
}

/// A recorded process. A later frame with the same `pid` and `started_ticks` replaces an earlier one.
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
    /// Its parent's id.
    pub parent: u32,
    /// When it was started, in clock ticks since boot, as `/proc/PID/stat` has it: tells two users of a pid apart.
    pub started_ticks: u64,
    /// Its id in its own PID namespace, if that is another one; else 0.
    pub inner_pid: u32,
    /// Why its part of the recording ended; empty as long as it has not.
    pub ended: String,
    /// Processor time that it had used when its part of the recording started, since its own start.
    pub cpu_start_ns: u64,
    /// The same at the end of its part.
    pub cpu_end_ns: u64,
    /// What the recording cost it, up to that end.
    pub cost: Cost,
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
    /// The window that ends here as planned: then nothing was lost, and mapping calls of the allocator follow all the
    /// same up to the next keyframe.
    pub window: Option<Window>,
}

/// A stretch of time in which all calls of a VM were recorded, in mode `sample`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Window {
    /// When it was opened: behind its keyframe, if it has one.
    pub start: Nanos,
    /// When it was closed.
    pub end: Nanos,
    /// Calls of this VM in it.
    pub calls: u64,
    /// Hits of all probes of the process in it.
    pub hits: u64,
    /// Whether it starts at a keyframe, so that it can be replayed.
    pub keyframe: bool,
    /// Processor time that the process used in it, what the hits took included.
    pub cpu_ns: u64,
    /// Processor time that the process had used when the window was opened, since its own start.
    pub cpu_start_ns: u64,
    /// Calls are missing in it: hits were lost.
    pub lossy: bool,
}

/// A keyframe that was to be taken and was not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Missed {
    /// The process.
    pub pid: u32,
    /// Why.
    pub reason: String,
    /// How long the process stood still in vain.
    pub stopped_ns: u64,
    /// How often.
    pub stops: u64,
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
    /// What one hit costs the target: calibrated on a child of the recorder, or measured by its own frees in a row; 0 if
    /// neither.
    pub hit_ns: u64,
    /// How far those measurements lie apart.
    pub hit_spread_ns: u64,
    /// Hits of all probes.
    pub hits: u64,
    /// The most that hits, with what they do to the work around them, and pauses took of any 60 seconds, in millionths;
    /// of the whole recording, if it is shorter.
    pub worst_minute_ppm: u64,
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
