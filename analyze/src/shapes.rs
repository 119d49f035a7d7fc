//! The shapes of what traces themselves hold, for the schemas: `shared` writes these types and knows of no schema. Each
//! has the fields of its namesake there; a test validates every command's JSON against them.
#![expect(dead_code, reason = "these are never made, only described")]

use std::collections::BTreeMap;

use schemars::JsonSchema;

/// Bytes, as the kernel counts them.
#[derive(JsonSchema)]
pub(crate) struct Memory {
    /// Address space.
    pub(crate) mapped: u64,
    /// In RAM, in this process's page tables.
    pub(crate) resident: u64,
    /// In swap.
    pub(crate) swapped: u64,
    /// Resident, each page divided by the number of processes that have it. Where a mapping belongs to several slices
    /// it is divided among them as `resident` is.
    pub(crate) pss: u64,
}

/// What a slice is of. The order is that of pictures and tables.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SliceKind {
    /// Segments and direct blocks of one Lua VM; `vm` is its number, `name` its label.
    Luajit,
    /// Machine code that LuaJIT made: anonymous executable mappings.
    JitCode,
    /// The system allocator; `name` is `glibc main arena`, `glibc arena 3`, `glibc mapped blocks`, or that of another
    /// allocator: `jemalloc`, `tcmalloc`, `mimalloc`, `musl`.
    SystemAllocator,
    /// An nginx shared zone; `name` is the zone's.
    SharedZone,
    /// Executable file mappings; `name` is the file.
    Text,
    /// Other file mappings, and the zero pages that go on behind a file's data; `name` is the file.
    FileData,
    /// C stacks; `name` is `main` or `thread 3`, in the order of their ids.
    Stack,
    /// The kernel's own: vdso, vvar, uprobes.
    Kernel,
    /// Address space nothing can be read from or written to, kept for growth: `name` says whose.
    Reserved,
    /// Anonymous memory and devices of nobody who is known; `name` is the kernel's for it.
    Other,
}

/// Memory of one owner.
#[derive(JsonSchema)]
pub(crate) struct Slice {
    /// What it is of.
    pub(crate) kind: SliceKind,
    /// Whose, among slices of the kind.
    pub(crate) name: String,
    /// The VM's number; 0 if none.
    pub(crate) vm: u32,
    /// How much.
    #[serde(flatten)]
    pub(crate) memory: Memory,
}

/// Chunks of a size class, the largest power of two not above their size.
#[derive(JsonSchema)]
pub(crate) struct Class {
    /// The class's lower bound in bytes.
    pub(crate) from: u64,
    /// Chunks.
    pub(crate) count: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// How many, and how large together.
#[derive(JsonSchema)]
pub(crate) struct Amount {
    /// Chunks.
    pub(crate) count: u64,
    /// Their bytes, heads included.
    pub(crate) bytes: u64,
}

/// One of glibc's arenas: `used + bins + fastbins + tcache + top + overhead = system`, to the byte.
#[derive(JsonSchema)]
pub(crate) struct Arena {
    /// 0 for the main arena, then in the order of the list.
    pub(crate) number: u32,
    /// `system_mem`: bytes the arena has from the system.
    pub(crate) system: u64,
    /// Heaps of up to 64 MiB that it consists of; 1 for the main arena.
    pub(crate) heaps: u64,
    /// Chunks in use by the program.
    pub(crate) used: Amount,
    /// Free chunks in bins, the unsorted one included.
    pub(crate) bins: Amount,
    /// Free chunks in fastbins: they look used.
    pub(crate) fastbins: Amount,
    /// Free chunks that threads keep for themselves: they look used.
    pub(crate) tcache: Amount,
    /// Bytes of the chunk at the end of the arena.
    pub(crate) top: u64,
    /// Heads of heaps, the arena's own state, alignment, fenceposts.
    pub(crate) overhead: u64,
    /// The largest free chunk in bins.
    pub(crate) largest_free: u64,
    /// `used` by size class.
    pub(crate) used_classes: Vec<Class>,
    /// `bins`, `fastbins` and `tcache` by size class.
    pub(crate) free_classes: Vec<Class>,
}

/// glibc's allocator.
#[derive(JsonSchema)]
pub(crate) struct Glibc {
    /// Its arenas; those that could not be walked are missing, `missing` says why.
    pub(crate) arenas: Vec<Arena>,
    /// Blocks mapped on their own, by mapped bytes.
    pub(crate) mapped: Amount,
}

/// Slots of one size in a shared zone.
#[derive(JsonSchema)]
pub(crate) struct Slot {
    /// Bytes of a slot.
    pub(crate) size: u64,
    /// Slots there are.
    pub(crate) total: u64,
    /// Slots in use.
    pub(crate) used: u64,
}

/// An nginx shared zone. Its memory is in the slice of its name.
#[derive(JsonSchema)]
pub(crate) struct Zone {
    /// Its name.
    pub(crate) name: String,
    /// The module that has made it, such as `ngx_http_lua_module`; empty if that is not known.
    pub(crate) module: String,
    /// Its size as configured.
    pub(crate) size: u64,
    /// Pages for blocks that it has; 0 if its layout was not recognised.
    pub(crate) pages: u64,
    /// Pages that are free.
    pub(crate) free_pages: u64,
    /// Slots by size, where the layout was recognised.
    pub(crate) slots: Vec<Slot>,
}

/// What the kernel says of a VM's free memory.
#[derive(JsonSchema)]
pub(crate) struct VmPages {
    /// The VM.
    pub(crate) vm: u32,
    /// The keyframe whose free chunks were looked at; 0 if none was.
    pub(crate) keyframe: u64,
    /// Bytes of whole pages inside free chunks.
    pub(crate) free: u64,
    /// Those of them that were resident now.
    pub(crate) free_resident: u64,
}

/// First frame: where, when and how the recording was made.
#[derive(JsonSchema)]
pub(crate) struct Header {
    /// Program and version that wrote the trace.
    pub(crate) writer: String,
    /// Wall-clock start, nanoseconds since 1970 UTC. All other times count from here.
    pub(crate) started_unix_ns: u64,
    /// The clock behind all times, and its reading at the start.
    pub(crate) clock: String,
    /// That reading, in nanoseconds.
    pub(crate) clock_start_ns: u64,
    /// The host's name.
    pub(crate) host: String,
    /// The host's kernel release.
    pub(crate) kernel: String,
    /// The host's architecture.
    pub(crate) arch: String,
    /// How it was recorded: `snapshot`, `sample` or `full`.
    pub(crate) mode: String,
    /// The same in all parts of one recording, and in no other; empty if it has one part only.
    pub(crate) recording: String,
    /// Which part of it this is, from 1; 0 if it has one part only.
    pub(crate) part: u64,
    /// Whether names were left out and addresses shifted, each VM's by a distance of its own.
    pub(crate) anonymized: bool,
    /// The recorder's options that shaped the trace, by name.
    pub(crate) options: BTreeMap<String, String>,
}

/// A recorded process. A later frame with the same `pid` and `started_ticks` replaces an earlier one.
#[derive(JsonSchema)]
pub(crate) struct Process {
    /// Its id, as the recorder sees it.
    pub(crate) pid: u32,
    /// The name of its executable's file.
    pub(crate) program: String,
    /// Its command line.
    pub(crate) command: Vec<String>,
    /// The executable's path as the target sees it.
    pub(crate) exe: String,
    /// The executable's build id, in hex; empty if it has none.
    pub(crate) build_id: String,
    /// Its parent's id.
    pub(crate) parent: u32,
    /// When it was started, in clock ticks since boot, as `/proc/PID/stat` has it: tells two users of a pid apart.
    pub(crate) started_ticks: u64,
    /// Its id in its own PID namespace, if that is another one; else 0.
    pub(crate) inner_pid: u32,
    /// Why its part of the recording ended; empty as long as it has not.
    pub(crate) ended: String,
    /// Processor time that it had used when its part of the recording started, since its own start.
    pub(crate) cpu_start_ns: u64,
    /// The same at the end of its part.
    pub(crate) cpu_end_ns: u64,
    /// What the recording cost it, up to that end.
    pub(crate) cost: Cost,
}

/// A Lua VM; the frame's `vm` is its number. A later frame for the same number replaces an earlier one.
#[derive(JsonSchema)]
pub(crate) struct Vm {
    /// The process it lives in.
    pub(crate) pid: u32,
    /// `http`, `stream`, or the program's name.
    pub(crate) label: String,
    /// `_G.jit.version`; empty if it could not be read.
    pub(crate) build: String,
    /// 64-bit object references.
    pub(crate) gc64: bool,
    /// Its `malloc_state`.
    pub(crate) mstate: u64,
    /// Its `global_State`.
    pub(crate) global: u64,
    /// The file that holds `lj_alloc_f`, as the target sees it.
    pub(crate) module: String,
    /// That file's build id, in hex; empty if it has none.
    pub(crate) module_build_id: String,
    /// `lj_alloc_f`, as an address in that file.
    pub(crate) door: u64,
    /// Whether that file's symbols say so too: absent without symbols.
    pub(crate) door_confirmed: Option<bool>,
    /// The probed instruction; absent in a snapshot.
    pub(crate) probe: Option<Probe>,
}

/// A probed instruction.
#[derive(JsonSchema)]
pub(crate) struct Probe {
    /// Its address in the module.
    pub(crate) addr: u64,
    /// Its text.
    pub(crate) instruction: String,
    /// Whether the kernel emulates it; otherwise every hit costs a second exception.
    pub(crate) emulated: bool,
}

/// A stretch of time in which all calls of a VM were recorded, in mode `sample`.
#[derive(JsonSchema)]
pub(crate) struct Window {
    /// When it was opened: behind its keyframe, if it has one.
    pub(crate) start: u64,
    /// When it was closed.
    pub(crate) end: u64,
    /// Calls of this VM in it.
    pub(crate) calls: u64,
    /// Hits of all probes of the process in it.
    pub(crate) hits: u64,
    /// Whether it starts at a keyframe, so that it can be replayed.
    pub(crate) keyframe: bool,
    /// Processor time that the process used in it, what the hits took included.
    pub(crate) cpu_ns: u64,
    /// Processor time that the process had used when the window was opened, since its own start.
    pub(crate) cpu_start_ns: u64,
    /// Calls are missing in it: hits were lost.
    pub(crate) lossy: bool,
}

/// A keyframe that was to be taken and was not.
#[derive(JsonSchema)]
pub(crate) struct Missed {
    /// The process.
    pub(crate) pid: u32,
    /// Why.
    pub(crate) reason: String,
    /// How long the process stood still in vain.
    pub(crate) stopped_ns: u64,
    /// How often.
    pub(crate) stops: u64,
}

/// Last frame: the recording ended well.
#[derive(JsonSchema)]
pub(crate) struct Trailer {
    /// Why it ended.
    pub(crate) reason: String,
    /// Whether it ended because the target did: then there is no keyframe at its end.
    pub(crate) target_ended: bool,
    /// How the target ended, if that is known: `exit 0`, `signal 9`.
    pub(crate) target_status: Option<String>,
    /// Calls in the trace.
    pub(crate) calls: u64,
    /// Mapping calls in the trace.
    pub(crate) maps: u64,
    /// Hits the kernel dropped.
    pub(crate) lost: u64,
    /// Hits that belong to no VM of the trace.
    pub(crate) unattributed: u64,
    /// What the recording cost.
    pub(crate) cost: Cost,
    /// Every frame before this one.
    pub(crate) index: Vec<IndexEntry>,
}

/// What a recording cost.
#[derive(JsonSchema)]
pub(crate) struct Cost {
    /// Wall time of the recording.
    pub(crate) elapsed_ns: u64,
    /// The recorder's own processor time, user and system.
    pub(crate) recorder_cpu_ns: u64,
    /// How often the target stood still.
    pub(crate) pauses: u64,
    /// How long in all.
    pub(crate) paused_ns: u64,
    /// The longest.
    pub(crate) longest_pause_ns: u64,
    /// What one hit costs the target: calibrated on a child of the recorder, or measured by its own frees in a row; 0 if
    /// neither.
    pub(crate) hit_ns: u64,
    /// How far those measurements lie apart.
    pub(crate) hit_spread_ns: u64,
    /// Hits of all probes.
    pub(crate) hits: u64,
    /// The most that hits, with what they do to the work around them, and pauses took of any 60 seconds, in millionths;
    /// of the whole recording, if it is shorter.
    pub(crate) worst_minute_ppm: u64,
}

/// Where a frame stands and what its head says.
#[derive(JsonSchema)]
pub(crate) struct IndexEntry {
    /// Offset in the file.
    pub(crate) offset: u64,
    /// The kind's number.
    pub(crate) kind: u16,
    /// The VM.
    pub(crate) vm: u32,
    /// The count.
    pub(crate) count: u32,
    /// First moment.
    pub(crate) start: u64,
    /// Last moment.
    pub(crate) end: u64,
}
