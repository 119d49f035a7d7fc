//! Copies the heaps of a frozen process, and turns the copy into keyframes once the process runs again.

use std::collections::{BTreeMap, HashSet};
use std::io;

use shared::Addr;
use shared::heap::layout::{HEADER, INUSE, IS_DIRECT, PAGE};
use shared::heap::walk::{self, Unreadable, WalkError};
use shared::heap::{Direct, Heap, Segment};

use crate::locate::global::Global;
use crate::target::{Mapping, Memory, Target};

/// One VM to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VmPlace {
    /// Its number in the trace.
    pub number: u32,
    /// Its `malloc_state`.
    pub mstate: Addr,
    /// Its global state.
    pub global: Global,
}

/// A copy of memory, in pieces.
#[derive(Debug, Default)]
pub struct Copy {
    /// The pieces' bytes, one after the other; there may be room behind them.
    arena: Vec<u8>,
    /// Bytes of the arena in use.
    used: usize,
    /// Address of each piece and where it starts in the arena, ascending by address, not overlapping.
    pieces: Vec<(Addr, usize, usize)>,
}

impl Copy {
    /// Copies one segment.
    fn add(&mut self, target: &Target, segment: &Segment) -> io::Result<()> {
        let (start, size) = (self.used, segment.size as usize);
        let end = start.checked_add(size).ok_or(io::ErrorKind::OutOfMemory)?;
        if self.arena.len() < end {
            self.arena.resize(end, 0);
        }
        target.read(segment.base, &mut self.arena[start..end])?;
        self.used = end;
        let at = self.pieces.partition_point(|piece| piece.0 < segment.base);
        self.pieces.insert(at, (segment.base, start, size));
        Ok(())
    }

    /// Bytes copied.
    pub fn len(&self) -> u64 {
        self.used as u64
    }

    /// Whether nothing was copied.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    fn slice(&self, addr: Addr, len: usize) -> Option<&[u8]> {
        let at = self.pieces.partition_point(|piece| piece.0 <= addr).checked_sub(1)?;
        let (base, start, size) = self.pieces[at];
        let skip = usize::try_from(addr - base).ok()?;
        let end = skip.checked_add(len).filter(|&end| end <= size)?;
        self.arena.get(start + skip..start + end)
    }
}

impl Memory for Copy {
    fn read(&self, addr: Addr, bytes: &mut [u8]) -> io::Result<()> {
        let found = self.slice(addr, bytes.len()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        bytes.copy_from_slice(found);
        Ok(())
    }
}

/// What was copied of a process while it stood still.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The VMs whose segments could be copied, and how many bytes these are.
    pub vms: Vec<(VmPlace, u64)>,
    /// The VMs that are no longer there.
    pub gone: Vec<u32>,
    /// Their segments.
    pub memory: Copy,
    /// The VM of a mapping that was seen being made, by its first byte.
    pub mapped_by: BTreeMap<Addr, u32>,
    direct: Vec<Direct>,
}

/// Makes an arena for the copy large enough, while the process still runs: the kernel's page faults would otherwise
/// double the time it stands still.
pub fn prepare(target: &Target, vms: &[VmPlace], arena: &mut Vec<u8>) {
    let read = reader(target);
    let segments = vms.iter().flat_map(|vm| walk::segments(vm.mstate, &read).unwrap_or_default());
    let needed: u64 = segments.map(|segment| segment.size).sum();
    // It may grow until it stands still.
    arena.resize(arena.len().max((needed + needed / 8) as usize), 0);
}

/// Copies all segments of all VMs into the arena, and finds the direct blocks. The process must stand still.
pub fn take(target: &Target, vms: &[VmPlace], mappings: &[Mapping], arena: Vec<u8>) -> Snapshot {
    let mut snapshot = Snapshot { memory: Copy { arena, ..Copy::default() }, ..Snapshot::default() };
    let read = reader(target);
    let mut segments = Vec::new();
    for vm in vms {
        let found = walk::segments(vm.mstate, &read).ok();
        match found.filter(|found| found.iter().all(|segment| snapshot.memory.add(target, segment).is_ok())) {
            Some(found) => {
                snapshot.vms.push((*vm, found.iter().map(|segment| segment.size).sum()));
                segments.extend(found);
            }
            None => snapshot.gone.push(vm.number),
        }
    }
    snapshot.direct = direct_blocks(target, mappings, &segments);
    snapshot
}

/// A memory's `read` in the form the walk takes.
fn reader(memory: &impl Memory) -> impl Fn(Addr, &mut [u8]) -> Result<(), Unreadable> {
    |addr, bytes: &mut [u8]| memory.read(addr, bytes).map_err(|_| Unreadable)
}

/// The direct blocks among the pages that belong to no segment, by their signature.
fn direct_blocks(target: &Target, mappings: &[Mapping], segments: &[Segment]) -> Vec<Direct> {
    let mut segments: Vec<&Segment> = segments.iter().collect();
    segments.sort_by_key(|segment| segment.base);
    let outside = |page: Addr| {
        let at = segments.partition_point(|segment| segment.base <= page);
        at == 0 || !segments[at - 1].contains(page)
    };
    let pages: Vec<Addr> = mappings
        .iter()
        .filter(|mapping| mapping.is_anonymous_data())
        .flat_map(|mapping| (mapping.start..mapping.end).step_by(PAGE as usize))
        .filter(|&page| outside(page))
        .collect();
    let mut candidates = Vec::new();
    target.read_many(&pages, HEADER as usize, |page, bytes| {
        if bytes[..8] == IS_DIRECT.to_le_bytes() {
            candidates.push(page);
        }
    });
    let mut found: Vec<Direct> = Vec::new();
    for base in candidates {
        // What looks like a header inside a block is the block's own payload.
        let in_last = found.last().is_some_and(|last| base < last.base + last.size);
        if let Some(direct) = walk::direct_block(base, &reader(target)).filter(|_| !in_last) {
            found.push(direct);
        }
    }
    found
}

impl Snapshot {
    /// The arena, for the next copy.
    pub fn into_arena(self) -> Vec<u8> {
        self.memory.arena
    }

    /// Walks every VM's copy. The process need not stand still any more.
    pub fn heaps(&self) -> Vec<(u32, Result<Heap, WalkError>)> {
        let heap = |vm: &VmPlace| {
            let mut heap = walk::walk(vm.mstate, &reader(&self.memory))?;
            (heap.gc_total, heap.gc_threshold) =
                vm.global.gc_counters(&self.memory).ok_or(WalkError::Unreadable(vm.global.addr))?;
            Ok(heap)
        };
        let mut heaps: Vec<_> = self.vms.iter().map(|(vm, _)| (vm.number, heap(vm))).collect();
        let owners = self.owners(&heaps);
        for (number, heap) in &mut heaps {
            if let Ok(heap) = heap {
                let own = self.direct.iter().zip(&owners).filter(|(_, owner)| *owner == number);
                heap.direct = own.map(|(direct, _)| *direct).collect();
            }
        }
        heaps
    }

    /// The VM each direct block belongs to, where there is a choice: the one that was seen mapping it, or else one that
    /// refers to it.
    fn owners(&self, heaps: &[(u32, Result<Heap, WalkError>)]) -> Vec<u32> {
        let first = self.vms.first().map_or(0, |(vm, _)| vm.number);
        if self.vms.len() < 2 || self.direct.is_empty() {
            return vec![first; self.direct.len()];
        }
        let walked = self.vms.iter().zip(heaps).filter_map(|((vm, _), (_, heap))| Some((vm, heap.as_ref().ok()?)));
        let referred: Vec<(u32, HashSet<Addr>)> =
            walked.map(|(vm, heap)| (vm.number, self.references(vm, heap))).collect();
        let owner = |direct: &Direct| {
            let block = direct.base + HEADER;
            let refers = || referred.iter().find(|(_, blocks)| blocks.contains(&block)).map(|(number, _)| *number);
            self.mapped_by.get(&direct.base).copied().or_else(refers).unwrap_or(first)
        };
        self.direct.iter().map(owner).collect()
    }

    /// The direct blocks that a VM's chunks in use hold a pointer to; in free ones old pointers of others may stand.
    /// Objects refer to their blocks by plain pointers or tagged ones (GC64 keeps 47 bits), non-GC64 builds by 32-bit
    /// words.
    fn references(&self, vm: &VmPlace, heap: &Heap) -> HashSet<Addr> {
        let blocks: HashSet<Addr> = self.direct.iter().map(|direct| direct.base + HEADER).collect();
        let used = heap.chunks.iter().filter(|chunk| chunk.used);
        let pieces = used.filter_map(|chunk| self.memory.slice(chunk.addr, chunk.size as usize));
        let mut found = HashSet::new();
        for piece in pieces {
            let words = piece.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
            let pointers = words.flat_map(|word| {
                if vm.global.gc64 { [word & ((1 << 47) - 1), 0] } else { [word & !INUSE & 0xffff_ffff, word >> 32] }
            });
            found.extend(pointers.filter(|pointer| blocks.contains(pointer)));
        }
        found
    }
}
