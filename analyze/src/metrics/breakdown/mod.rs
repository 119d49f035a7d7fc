//! Where the memory of processes goes: from breakdowns and keyframes to figures. Pure: what is read from the trace comes
//! in as values.

pub mod arenas;
pub mod heap;
pub mod history;
pub mod instance;
pub mod owners;

use schemars::JsonSchema;
use serde::Serialize;
use shared::Nanos;
use shared::trace::breakdown::{Breakdown, Memory, SliceKind, VmPages};
use shared::trace::meta::{Process, Vm};

pub use heap::VmHeap;
pub use history::History;
pub use owners::{Owner, Share};

/// A process at a moment.
#[derive(Debug, Clone)]
pub struct ProcessMemory {
    /// What it is, if the trace tells.
    pub process: Option<Process>,
    /// Its end was recorded before the moment asked for: this is the last look at it.
    pub ended: Option<Nanos>,
    /// When the look was begun.
    pub time: Nanos,
    /// How long it took.
    pub took_ns: u64,
    /// How many looks at it there are.
    pub looks: u64,
    /// All that the look found.
    pub breakdown: Breakdown,
    /// Its Lua VMs.
    pub vms: Vec<VmMemory>,
    /// Its memory by owner.
    pub shares: Vec<Share>,
    /// All looks.
    pub history: History,
}

/// A Lua VM's memory.
#[derive(Debug, Clone)]
pub struct VmMemory {
    /// Its number in the trace.
    pub number: u32,
    /// What it is.
    pub vm: Vm,
    /// Its segments and direct blocks.
    pub memory: Memory,
    /// Its heap at the keyframe nearest to the look, if there is one.
    pub heap: Option<VmHeap>,
    /// What of its free memory is resident.
    pub pages: Option<VmPages>,
}

/// A figure of the kernel's beside the sum over all slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Check {
    /// The kernel's name for it: `VmSize`, `VmRSS`, `VmSwap`, `Pss`.
    pub name: &'static str,
    /// What it says.
    pub kernel: u64,
    /// What the slices sum to.
    pub slices: u64,
}

impl Check {
    /// How many bytes the slices are off, and whether that is too many or too few of them.
    pub fn off(&self) -> i128 {
        i128::from(self.slices) - i128::from(self.kernel)
    }
}

/// A process's address space by what the system does for it, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct System {
    /// In RAM.
    pub resident: u64,
    /// In swap.
    pub swapped: u64,
    /// Mapped, and neither: never touched, or pages of files and shared zones that this process has not in its tables.
    pub untouched: u64,
}

impl ProcessMemory {
    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.breakdown.pid
    }

    /// `nginx (pid 4711)`, with its role if it has one.
    pub fn title(&self) -> String {
        let program = self.process.as_ref().map_or("", |process| &process.program);
        let program = if program.is_empty() { "process" } else { program };
        let role = self.process.as_ref().and_then(instance::role).map_or(String::new(), |role| format!(", {role}"));
        format!("{program} (pid {}{role})", self.pid())
    }

    /// The kernel's totals against the slices: mapped, resident, swapped, PSS.
    pub fn checks(&self) -> [Check; 4] {
        checks(&self.breakdown)
    }

    /// The system's view, of the kernel's totals.
    pub fn system(&self) -> System {
        let Memory { mapped, resident, swapped, .. } = self.breakdown.total;
        System { resident, swapped, untouched: mapped.saturating_sub(resident).saturating_sub(swapped) }
    }

    /// All slices of some kinds together.
    pub fn of(&self, kinds: &[SliceKind]) -> Memory {
        self.breakdown.slices.iter().filter(|slice| kinds.contains(&slice.kind)).map(|slice| slice.memory).sum()
    }
}

/// The kernel's totals against the slices.
pub fn checks(breakdown: &Breakdown) -> [Check; 4] {
    let sum: Memory = breakdown.slices.iter().map(|slice| slice.memory).sum();
    let Memory { mapped, resident, swapped, pss } = breakdown.total;
    let check = |name, kernel, slices| Check { name, kernel, slices };
    [
        check("VmSize", mapped, sum.mapped),
        check("VmRSS", resident, sum.resident),
        check("VmSwap", swapped, sum.swapped),
        check("Pss", pss, sum.pss),
    ]
}

/// The kind as the trace and the JSON call it.
pub fn kind_name(kind: SliceKind) -> &'static str {
    match kind {
        SliceKind::Luajit => "luajit",
        SliceKind::JitCode => "jit_code",
        SliceKind::SystemAllocator => "system_allocator",
        SliceKind::SharedZone => "shared_zone",
        SliceKind::Text => "text",
        SliceKind::FileData => "file_data",
        SliceKind::Stack => "stack",
        SliceKind::Kernel => "kernel",
        SliceKind::Reserved => "reserved",
        SliceKind::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::trace::breakdown::Slice;

    #[test]
    fn checks_tell_both_ways() {
        let slice =
            |mapped, resident| Slice { memory: Memory { mapped, resident, ..Memory::default() }, ..Slice::default() };
        let total = Memory { mapped: 12_288, resident: 8192, ..Memory::default() };
        let mut breakdown =
            Breakdown { total, slices: vec![slice(8192, 4096), slice(4096, 0)], ..Breakdown::default() };
        assert_eq!(checks(&breakdown).map(|check| check.off()), [0, -4096, 0, 0]);
        breakdown.slices.push(slice(u64::MAX, u64::MAX));
        assert!(checks(&breakdown)[1].off() > 0, "sums do not wrap");
    }
}
