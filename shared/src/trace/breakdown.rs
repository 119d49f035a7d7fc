//! Where a process's memory goes at a moment: each byte of its mappings in exactly one slice. Sizes and counts only.

use serde::{Deserialize, Serialize};

use crate::Nanos;

/// Bytes, as the kernel counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Address space.
    pub mapped: u64,
    /// In RAM, in this process's page tables.
    pub resident: u64,
    /// In swap.
    pub swapped: u64,
    /// Resident, each page divided by the number of processes that have it. Where a mapping belongs to several slices
    /// it is divided among them as `resident` is.
    pub pss: u64,
}

/// A sum stays at the largest number there is: a trace may claim anything.
impl std::ops::AddAssign for Memory {
    fn add_assign(&mut self, other: Memory) {
        self.mapped = self.mapped.saturating_add(other.mapped);
        self.resident = self.resident.saturating_add(other.resident);
        self.swapped = self.swapped.saturating_add(other.swapped);
        self.pss = self.pss.saturating_add(other.pss);
    }
}

impl std::iter::Sum for Memory {
    fn sum<I: Iterator<Item = Memory>>(all: I) -> Memory {
        all.fold(Memory::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

/// What a slice is of. The order is that of pictures and tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SliceKind {
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
    #[default]
    #[serde(other)]
    Other,
}

/// Memory of one owner.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slice {
    /// What it is of.
    pub kind: SliceKind,
    /// Whose, among slices of the kind.
    pub name: String,
    /// The VM's number; 0 if none.
    pub vm: u32,
    /// How much.
    #[serde(flatten)]
    pub memory: Memory,
}

/// Chunks of a size class, the largest power of two not above their size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Class {
    /// The class's lower bound in bytes.
    pub from: u64,
    /// Chunks.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How many, and how large together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Amount {
    /// Chunks.
    pub count: u64,
    /// Their bytes, heads included.
    pub bytes: u64,
}

/// One of glibc's arenas: `used + bins + fastbins + tcache + top + overhead = system`, to the byte.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Arena {
    /// 0 for the main arena, then in the order of the list.
    pub number: u32,
    /// `system_mem`: bytes the arena has from the system.
    pub system: u64,
    /// Heaps of up to 64 MiB that it consists of; 1 for the main arena.
    pub heaps: u64,
    /// Chunks in use by the program.
    pub used: Amount,
    /// Free chunks in bins, the unsorted one included.
    pub bins: Amount,
    /// Free chunks in fastbins: they look used.
    pub fastbins: Amount,
    /// Free chunks that threads keep for themselves: they look used.
    pub tcache: Amount,
    /// Bytes of the chunk at the end of the arena.
    pub top: u64,
    /// Heads of heaps, the arena's own state, alignment, fenceposts.
    pub overhead: u64,
    /// The largest free chunk in bins.
    pub largest_free: u64,
    /// `used` by size class.
    pub used_classes: Vec<Class>,
    /// `bins`, `fastbins` and `tcache` by size class.
    pub free_classes: Vec<Class>,
}

/// glibc's allocator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Glibc {
    /// Its arenas; those that could not be walked are missing, `missing` says why.
    pub arenas: Vec<Arena>,
    /// Blocks mapped on their own, by mapped bytes.
    pub mapped: Amount,
}

/// Slots of one size in a shared zone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slot {
    /// Bytes of a slot.
    pub size: u64,
    /// Slots there are.
    pub total: u64,
    /// Slots in use.
    pub used: u64,
}

/// An nginx shared zone. Its memory is in the slice of its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// The module that has made it, such as `ngx_http_lua_module`; empty if that is not known.
    pub module: String,
    /// Its size as configured.
    pub size: u64,
    /// Pages for blocks that it has; 0 if its layout was not recognised.
    pub pages: u64,
    /// Pages that are free.
    pub free_pages: u64,
    /// Slots by size, where the layout was recognised.
    pub slots: Vec<Slot>,
}

/// What the kernel says of a VM's free memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VmPages {
    /// The VM.
    pub vm: u32,
    /// The keyframe whose free chunks were looked at; 0 if none was.
    pub keyframe: Nanos,
    /// Bytes of whole pages inside free chunks.
    pub free: u64,
    /// Those of them that were resident now.
    pub free_resident: u64,
}

/// A process's memory at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Breakdown {
    /// The process.
    pub pid: u32,
    /// When it was started, in clock ticks since boot.
    pub started_ticks: u64,
    /// `VmSize`, `VmRSS` and `VmSwap` of its `status`, and the sum of PSS over its mappings. The kernel counts these
    /// apart from the mappings, up to some pages a processor behind.
    pub total: Memory,
    /// Every byte of its mappings, once.
    pub slices: Vec<Slice>,
    /// glibc's allocator, if it was found.
    pub glibc: Option<Glibc>,
    /// nginx's shared zones.
    pub zones: Vec<Zone>,
    /// Free memory of the Lua VMs.
    pub vms: Vec<VmPages>,
    /// The stop that the walk of the arenas took; zeros if there was none. They are in the process's cost.
    pub stopped_ns: u64,
    /// How often.
    pub stops: u64,
    /// What could not be looked at, and why.
    pub missing: Vec<String>,
}
