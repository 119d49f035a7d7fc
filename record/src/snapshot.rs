//! Copies the heaps of a frozen process, and turns the copy into keyframes once the process runs again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use shared::Addr;
use shared::heap::layout::{HEADER, INUSE, IS_DIRECT, PAGE};
use shared::heap::walk::{self, Unreadable, WalkError};
use shared::heap::{Direct, Heap, Segment};

use crate::census::{self, DIRECT_HEAD, Image};
use crate::locate::global::Global;
use crate::target::{Mapping, Memory, Target};

/// Each thread copies so much at a time and then looks at the clock: half a millisecond's worth.
const PIECE: usize = 1 << 20;
/// Less is copied by one thread: starting more takes longer.
const SMALL: usize = 8 << 20;
/// More threads do not copy faster: memory is the limit.
const MAX_COPIERS: usize = 4;

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
    /// The first bytes of direct blocks, ascending by address.
    heads: Vec<(Addr, [u8; DIRECT_HEAD])>,
}

impl Copy {
    /// Copies ranges of a process's memory, into `arena` if it is large enough, until the deadline. Tells whether all were
    /// copied.
    pub fn of(target: &Target, ranges: &[Range<Addr>], arena: Vec<u8>, deadline: Instant) -> (Copy, bool) {
        let mut copy = Copy { arena, ..Copy::default() };
        let copied = copy.fill(target, ranges, deadline);
        (copy, copied.into_iter().all(|copied| copied))
    }

    /// The arena, for the next copy.
    pub fn into_arena(self) -> Vec<u8> {
        self.arena
    }

    /// Copies ranges, which do not overlap, in several threads if that pays, until the deadline. Tells of each whether it
    /// was copied.
    fn fill(&mut self, target: &Target, ranges: &[Range<Addr>], deadline: Instant) -> Vec<bool> {
        let mut sorted: Vec<(usize, &Range<Addr>)> = ranges.iter().enumerate().collect();
        sorted.sort_by_key(|(_, range)| range.start);
        let sizes = sorted.iter().map(|(_, range)| (range.end - range.start) as usize);
        self.used = sizes.fold(0, usize::saturating_add);
        if self.arena.len() < self.used {
            self.arena.resize(self.used, 0);
        }
        let (mut rest, mut jobs, mut start) = (&mut self.arena[..self.used], Vec::new(), 0);
        for (number, range) in sorted {
            let size = (range.end - range.start) as usize;
            self.pieces.push((range.start, start, size));
            start += size;
            let (own, others) = std::mem::take(&mut rest).split_at_mut(size);
            rest = others;
            let pieces = own.chunks_mut(PIECE).enumerate();
            jobs.extend(pieces.map(|(at, bytes)| (number, range.start + (at * PIECE) as u64, bytes)));
        }
        let failed: Vec<AtomicBool> = ranges.iter().map(|_| AtomicBool::new(false)).collect();
        let jobs = Mutex::new(jobs.into_iter());
        let work = || {
            loop {
                let job = jobs.lock().ok().and_then(|mut jobs| jobs.next());
                let Some((number, addr, bytes)) = job else { return };
                if Instant::now() >= deadline || target.read(addr, bytes).is_err() {
                    failed[number].store(true, Ordering::Relaxed);
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_COPIERS);
        if self.used < SMALL || threads < 2 {
            work();
        } else {
            std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        }
        failed.into_iter().map(|failed| !failed.into_inner()).collect()
    }

    /// Bytes copied.
    pub fn len(&self) -> u64 {
        self.used as u64
    }

    /// Whether nothing was copied.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Copies the first bytes of direct blocks, which ascend.
    fn add_heads(&mut self, target: &Target, blocks: &[Direct]) {
        let bases: Vec<Addr> = blocks.iter().map(|block| block.base).collect();
        target.read_many(&bases, DIRECT_HEAD, |base, bytes| {
            self.heads.extend(bytes.try_into().ok().map(|head| (base, head)));
        });
    }

    /// Bytes of a direct block's head.
    fn head(&self, addr: Addr, len: usize) -> Option<&[u8]> {
        let at = self.heads.partition_point(|(base, _)| *base <= addr).checked_sub(1)?;
        let (base, head) = &self.heads[at];
        let skip = usize::try_from(addr - base).ok()?;
        head.get(skip..skip.checked_add(len)?)
    }

    fn slice(&self, addr: Addr, len: usize) -> Option<&[u8]> {
        let at = self.pieces.partition_point(|piece| piece.0 <= addr).checked_sub(1)?;
        let (base, start, size) = self.pieces[at];
        let skip = usize::try_from(addr - base).ok()?;
        let end = skip.checked_add(len).filter(|&end| end <= size)?;
        self.arena.get(start + skip..start + end)
    }
}

impl Image for Copy {
    fn bytes(&self, addr: Addr, len: usize) -> Option<&[u8]> {
        self.slice(addr, len).or_else(|| self.head(addr, len))
    }
}

impl Memory for Copy {
    fn read(&self, addr: Addr, bytes: &mut [u8]) -> io::Result<()> {
        let found = self
            .slice(addr, bytes.len())
            .or_else(|| self.head(addr, bytes.len()))
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
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
    /// Who a mapping that was seen being made was made for (`msp`), by its first byte; 0 if that was not seen.
    pub mapped_for: BTreeMap<Addr, Addr>,
    direct: Vec<Direct>,
}

/// The copy would have taken longer than the process may stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooSlow;

/// Bytes that the VMs' segments have now. The process may run.
pub fn heap_bytes(target: &Target, vms: &[VmPlace]) -> u64 {
    let read = reader(target);
    let segments = vms.iter().flat_map(|vm| walk::segments(vm.mstate, &read).unwrap_or_default());
    segments.map(|segment| segment.size).sum()
}

/// Makes an arena for the copy large enough, while the process still runs: the kernel's page faults would otherwise
/// double the time it stands still.
pub fn prepare(heap_bytes: u64, arena: &mut Vec<u8>) {
    // It may grow until it stands still.
    arena.resize(arena.len().max((heap_bytes + heap_bytes / 8) as usize), 0);
}

/// Copies all segments of all VMs into the arena, and looks which of the pages in `maybe_direct` are direct blocks. The
/// process must stand still.
///
/// # Errors
/// The arena, if the deadline came first.
pub fn take(
    target: &Target,
    vms: &[VmPlace],
    maybe_direct: &BTreeSet<Addr>,
    arena: Vec<u8>,
    deadline: Instant,
) -> Result<Snapshot, (TooSlow, Vec<u8>)> {
    let mut snapshot = Snapshot { memory: Copy { arena, ..Copy::default() }, ..Snapshot::default() };
    let read = reader(target);
    let found: Vec<Option<Vec<Segment>>> = vms.iter().map(|vm| walk::segments(vm.mstate, &read).ok()).collect();
    let segments: Vec<Segment> = found.iter().flatten().flatten().copied().collect();
    let ranges: Vec<Range<Addr>> = segments.iter().map(|segment| segment.base..segment.end()).collect();
    let mut copied = snapshot.memory.fill(target, &ranges, deadline).into_iter();
    for (vm, found) in vms.iter().zip(found) {
        let bytes = found.and_then(|found| {
            let whole = copied.by_ref().take(found.len()).fold(true, |all, one| all & one);
            whole.then(|| found.iter().map(|segment| segment.size).sum())
        });
        match bytes {
            Some(bytes) => snapshot.vms.push((*vm, bytes)),
            None => snapshot.gone.push(vm.number),
        }
    }
    let maybe_direct = maybe_direct.iter().copied().filter(outside(&segments));
    snapshot.direct = direct_among(target, maybe_direct);
    snapshot.memory.add_heads(target, &snapshot.direct);
    if Instant::now() >= deadline { Err((TooSlow, snapshot.into_arena())) } else { Ok(snapshot) }
}

/// A memory's `read` in the form the walk takes.
fn reader(memory: &impl Memory) -> impl Fn(Addr, &mut [u8]) -> Result<(), Unreadable> {
    |addr, bytes: &mut [u8]| memory.read(addr, bytes).map_err(|_| Unreadable)
}

/// The pages that lie in none of the segments.
fn outside(segments: &[Segment]) -> impl Fn(&Addr) -> bool {
    let mut segments = segments.to_vec();
    segments.sort_by_key(|segment| segment.base);
    move |page| {
        let at = segments.partition_point(|segment| segment.base <= *page);
        at == 0 || !segments[at - 1].contains(*page)
    }
}

/// The pages that an allocator may have mapped, in the order of the mappings.
pub fn data_pages(mappings: &[Mapping]) -> Vec<Addr> {
    let mappings = mappings.iter().filter(|mapping| mapping.is_anonymous_data());
    mappings.flat_map(|mapping| (mapping.start..mapping.end).step_by(PAGE as usize)).collect()
}

/// Those of some pages at which a direct block may start, by their first word. Takes a tenth of a second for each GiB.
pub fn maybe_direct(target: &Target, pages: &[Addr]) -> BTreeSet<Addr> {
    let mut found = BTreeSet::new();
    target.read_many(pages, HEADER as usize, |page, bytes| {
        if bytes[..8] == IS_DIRECT.to_le_bytes() {
            found.insert(page);
        }
    });
    found
}

/// The direct blocks that start at some of these pages, which ascend.
fn direct_among(target: &Target, pages: impl Iterator<Item = Addr>) -> Vec<Direct> {
    let mut found: Vec<Direct> = Vec::new();
    for base in pages.filter(|base| base % PAGE == 0) {
        // What looks like a header inside a block is the block's own payload.
        let in_last = found.last().is_some_and(|last| base < last.base + last.size);
        if !in_last {
            found.extend(walk::direct_block(base, &reader(target)));
        }
    }
    found
}

impl Snapshot {
    /// The arena, for the next copy.
    pub fn into_arena(self) -> Vec<u8> {
        self.memory.into_arena()
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
                let own = self.direct.iter().zip(&owners).filter(|(_, owner)| **owner == Some(*number));
                heap.direct = own.map(|(direct, _)| *direct).collect();
            }
        }
        heaps
    }

    /// What the blocks of the VMs' heaps are, with what is wanted beside. The process need not stand still any more:
    /// `target` tells how far the large tables are filled by now. None of those that are not done once they are to `stop`.
    pub fn censuses(
        &self,
        heaps: &[(u32, Result<Heap, WalkError>)],
        target: Option<&Target>,
        wanted: census::Wanted,
        stop: &AtomicBool,
    ) -> Vec<(u32, census::Taken)> {
        let walked = self.vms.iter().zip(heaps).filter_map(|((vm, _), (_, heap))| Some((vm, heap.as_ref().ok()?)));
        let census = |vm: &VmPlace, heap| census::take(&vm.global, heap, &self.memory, target, wanted, stop);
        walked.filter_map(|(vm, heap)| Some((vm.number, census(vm, heap)?))).collect()
    }

    /// The VM each direct block belongs to: the one for which it was seen being mapped, which may be one that is not
    /// known yet; or else, where there is a choice, one that refers to it.
    fn owners(&self, heaps: &[(u32, Result<Heap, WalkError>)]) -> Vec<Option<u32>> {
        let first = self.vms.first().map(|(vm, _)| vm.number);
        let walked = self.vms.iter().zip(heaps).filter_map(|((vm, _), (_, heap))| Some((vm, heap.as_ref().ok()?)));
        let seen = |direct: &Direct| self.mapped_for.get(&direct.base).copied().filter(|caller| *caller != 0);
        let unseen = self.direct.iter().any(|direct| seen(direct).is_none());
        let referred: Vec<(u32, HashSet<Addr>)> = if unseen && self.vms.len() > 1 {
            walked.map(|(vm, heap)| (vm.number, self.references(vm, heap))).collect()
        } else {
            Vec::new()
        };
        let owner = |direct: &Direct| match seen(direct) {
            Some(caller) => self.vms.iter().find(|(vm, _)| vm.mstate == caller).map(|(vm, _)| vm.number),
            None => {
                let block = direct.base + HEADER;
                referred.iter().find(|(_, blocks)| blocks.contains(&block)).map(|(number, _)| *number).or(first)
            }
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
