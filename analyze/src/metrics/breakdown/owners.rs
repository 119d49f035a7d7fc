//! Who a slice belongs to, as users of nginx and OpenResty call it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use shared::trace::breakdown::{Memory, Slice, SliceKind};
use shared::trace::meta::Vm;

use crate::shapes;

/// Below this share of a picture, in thousandths, an owner is drawn with the other small ones.
const SMALL_PER_MILLE: u64 = 20;

/// Some slices of one kind that users see as one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
pub struct Owner {
    /// The slices' kind.
    #[schemars(with = "shapes::SliceKind")]
    pub kind: SliceKind,
    /// `HTTP LuaJIT Allocator`, `Glibc Allocator`, `Nginx Shm Loaded` ...
    pub label: String,
}

/// What an owner has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Share {
    /// Whose.
    #[serde(flatten)]
    pub owner: Owner,
    /// Which of its kind this is, from 0: shades in pictures follow it.
    pub shade: u64,
    /// How many slices it is the sum of.
    pub slices: u64,
    /// How much.
    #[serde(flatten)]
    #[schemars(with = "shapes::Memory")]
    pub memory: Memory,
}

impl Share {
    /// What it has by the convention of OpenResty's pictures: mapped bytes, but of shared zones what is loaded, and no
    /// address space that is only reserved.
    pub fn by_convention(&self) -> u64 {
        match self.owner.kind {
            SliceKind::SharedZone => self.memory.resident,
            SliceKind::Reserved => 0,
            _ => self.memory.mapped,
        }
    }
}

/// Who a slice belongs to.
pub fn owner(slice: &Slice, vms: &BTreeMap<u32, Vm>) -> Owner {
    let label = match slice.kind {
        SliceKind::Luajit => luajit(slice, vms),
        SliceKind::JitCode => "LuaJIT JIT code".to_owned(),
        SliceKind::SystemAllocator if is_glibc(slice) => "Glibc Allocator".to_owned(),
        SliceKind::SystemAllocator if slice.name.is_empty() => "System Allocator".to_owned(),
        SliceKind::SystemAllocator => format!("{} Allocator", slice.name),
        SliceKind::SharedZone => "Nginx Shm Loaded".to_owned(),
        SliceKind::Text => "Text Segments".to_owned(),
        SliceKind::FileData => "File Data".to_owned(),
        SliceKind::Stack => "System Stacks".to_owned(),
        SliceKind::Kernel => "Kernel".to_owned(),
        SliceKind::Reserved => "Reserved".to_owned(),
        SliceKind::Other => "Other".to_owned(),
    };
    Owner { kind: slice.kind, label }
}

/// Whether it is one of glibc's arenas, or its mapped blocks.
pub fn is_glibc(slice: &Slice) -> bool {
    slice.kind == SliceKind::SystemAllocator && slice.name.starts_with("glibc")
}

/// Whether it is the memory of the zone of this name.
pub fn is_zone(slice: &Slice, name: &str) -> bool {
    slice.kind == SliceKind::SharedZone && slice.name == name
}

/// `HTTP LuaJIT Allocator`; with the VM's number where others of the process are called the same.
fn luajit(slice: &Slice, vms: &BTreeMap<u32, Vm>) -> String {
    let vm = vms.get(&slice.vm);
    let label = vm.map(|vm| &vm.label).filter(|label| !label.is_empty()).unwrap_or(&slice.name);
    let name = match label.as_str() {
        "http" => "HTTP LuaJIT Allocator".to_owned(),
        "stream" => "Stream LuaJIT Allocator".to_owned(),
        "" => "LuaJIT Allocator".to_owned(),
        label => format!("{label} LuaJIT Allocator"),
    };
    let same = vm.map_or(0, |vm| vms.values().filter(|other| (other.pid, &other.label) == (vm.pid, &vm.label)).count());
    if same > 1 { format!("{name} (VM {})", slice.vm) } else { name }
}

/// The slices by owner, in the order of their kinds. They sum to the same.
pub fn shares(slices: &[Slice], vms: &BTreeMap<u32, Vm>) -> Vec<Share> {
    let mut by_owner: BTreeMap<Owner, (u64, Memory)> = BTreeMap::new();
    for slice in slices {
        let (count, memory) = by_owner.entry(owner(slice, vms)).or_default();
        *count += 1;
        *memory += slice.memory;
    }
    let mut shades: BTreeMap<SliceKind, u64> = BTreeMap::new();
    let share = |(owner, (slices, memory)): (Owner, (u64, Memory))| {
        let next = shades.entry(owner.kind).or_default();
        // The second subsystem of nginx has its colour where it is the only one, too.
        if owner.label.starts_with("Stream ") {
            *next = (*next).max(1);
        }
        *next += 1;
        Share { shade: *next - 1, owner, slices, memory }
    };
    by_owner.into_iter().map(share).collect()
}

/// Which of the values are too small to be drawn on their own: those below 2 % of the sum.
pub fn below(values: &[u64]) -> Vec<bool> {
    let sum: u128 = values.iter().map(|value| u128::from(*value)).sum();
    values.iter().map(|value| u128::from(*value) * 1000 < sum * u128::from(SMALL_PER_MILLE)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(kind: SliceKind, name: &str, vm: u32, resident: u64) -> Slice {
        Slice { kind, name: name.into(), vm, memory: Memory { mapped: 2 * resident, resident, ..Memory::default() } }
    }

    #[test]
    fn owners_have_the_names_users_know_and_lose_no_byte() {
        let vm = |label: &str| Vm { pid: 7, label: label.into(), ..Vm::default() };
        let vms: BTreeMap<u32, Vm> = [(1, vm("http")), (2, vm("stream")), (3, vm("luajit")), (4, vm("luajit"))].into();
        let mut slices: Vec<Slice> = (1..=4).map(|vm| slice(SliceKind::Luajit, "x", vm, 1 << vm)).collect();
        for name in ["glibc main arena", "glibc arena 3", "glibc mapped blocks", "jemalloc"] {
            slices.push(slice(SliceKind::SystemAllocator, name, 0, 64));
        }
        slices.extend(["a", "b"].map(|zone| slice(SliceKind::SharedZone, zone, 0, 100)));
        let shares = shares(&slices, &vms);
        let labels: Vec<&str> = shares.iter().map(|share| share.owner.label.as_str()).collect();
        assert_eq!(
            labels,
            [
                "HTTP LuaJIT Allocator",
                "Stream LuaJIT Allocator",
                "luajit LuaJIT Allocator (VM 3)",
                "luajit LuaJIT Allocator (VM 4)",
                "Glibc Allocator",
                "jemalloc Allocator",
                "Nginx Shm Loaded",
            ]
        );
        assert_eq!(shares.iter().map(|share| share.shade).collect::<Vec<_>>(), [0, 1, 2, 3, 0, 1, 0]);
        assert_eq!(shares[4].slices, 3);
        let (ours, all) = (shares.iter().map(|s| s.memory).sum::<Memory>(), slices.iter().map(|s| s.memory).sum());
        assert_eq!(ours, all);
        assert_eq!((shares[0].by_convention(), shares[6].by_convention()), (4, 200));
    }

    #[test]
    fn small_is_below_two_hundredths() {
        assert_eq!(below(&[980, 20, 0]), [false, false, true]);
        assert_eq!(below(&[980, 20, 1]), [false, true, true]);
        assert_eq!(below(&[u64::MAX, u64::MAX, 1]), [false, false, true]);
        assert_eq!(below(&[0, 0]), [false, false]);
    }
}
