//! Where a process's memory goes: who owns each byte of its mappings, and how much of it is in RAM.
//!
//! [`areas`] are the kernel's figures by mapping; [`owners`] says whose a mapping is by its name alone; [`claims`] are
//! stretches that an allocator's own bookkeeping, or another source, shows to be somebody's; [`pages`] divides mappings
//! that belong to several. The process runs on meanwhile, but for the walk through glibc's arenas.

pub mod allocators;
pub mod areas;
pub mod claims;
pub mod glibc;
pub mod owners;
pub mod pages;
mod stacks;
pub mod zones;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::time::Duration;

use shared::trace::breakdown::{Amount, Breakdown, Memory, Slice, SliceKind, VmPages};
use shared::{Addr, Nanos};

use crate::freeze::Frozen;
use crate::snapshot::Copy;
use crate::target::Target;
use allocators::Allocator;
use claims::Claims;
use glibc::Glibc;
use owners::Owner;
use pages::Pages;
use zones::Zones;

/// How often a walk may find an arena in disorder, because a thread was at work on it, before it is left out.
const MAX_STOPS: usize = 3;

/// What a VM has mapped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VmMemory {
    /// Its number in the trace.
    pub number: u32,
    /// Its label.
    pub label: String,
    /// Its segments and direct blocks.
    pub ranges: Vec<Range<Addr>>,
    /// The time of its last keyframe; 0 if there was none.
    pub keyframe: Nanos,
    /// Whole pages inside the free chunks of that keyframe.
    pub free_pages: Vec<Range<Addr>>,
}

/// A stop in which arenas were copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// How long the process stood still.
    pub stopped: Duration,
    /// How long the copy took.
    pub copied: Duration,
    /// Its bytes.
    pub bytes: u64,
}

/// How long all of them took together.
pub fn stopped_ns(stops: &[Stop]) -> Nanos {
    stops.iter().map(|stop| stop.stopped.as_nanos() as u64).sum()
}

/// Looks at one process again and again, and remembers what does not change.
#[derive(Debug, Default)]
pub struct Survey {
    zones: Zones,
    glibc: Option<Glibc>,
    /// None until looked for.
    allocators: Option<Vec<Allocator>>,
    /// Where threads' stacks were seen: a thread that runs does not tell.
    stacks: BTreeMap<i32, Addr>,
    /// Memory for copies.
    arena: Vec<u8>,
}

impl Survey {
    /// Looks at the process. `allow` is asked how long it may stand still for a copy of so many bytes, and says none if
    /// it may not. Each stop goes into `stops`, whatever comes of it.
    ///
    /// # Errors
    /// When the kernel's figures cannot be read: the process is gone, or not ours to look at.
    pub fn take(
        &mut self,
        target: &Target,
        vms: &[VmMemory],
        allow: impl FnMut(u64) -> Option<Duration>,
        stops: &mut Vec<Stop>,
    ) -> io::Result<Breakdown> {
        let started_ticks = target.facts().started_ticks;
        let mut breakdown = Breakdown { pid: target.pid.as_raw() as u32, started_ticks, ..Breakdown::default() };
        let mappings = target.mappings()?;
        if self.glibc.is_none() {
            self.glibc = Glibc::find(target, &mappings);
        }
        let allocators = self.allocators.get_or_insert_with(|| allocators::recognise(target, &mappings)).clone();
        self.walk_arenas(target, &mut breakdown, allow, stops);
        breakdown.stops = stops.len() as u64;
        breakdown.stopped_ns = stopped_ns(stops);
        self.look_at_stacks(target);

        // Before memory is looked at: a page that is read may come into the process's page tables.
        let areas = areas::read(target)?;
        let pss = areas.iter().map(|area| area.memory.pss).sum();
        breakdown.total = Memory { pss, ..target.memory()? };
        let mut claims = Claims::default();
        for vm in vms {
            let owner = Owner { vm: vm.number, ..Owner::new(SliceKind::Luajit, &vm.label) };
            vm.ranges.iter().for_each(|range| claims.add(range.clone(), &owner));
        }
        for (number, (_, sp)) in self.stacks.iter().filter(|(tid, _)| **tid != target.pid.as_raw()).enumerate() {
            let owner = Owner::new(SliceKind::Stack, &format!("thread {}", number + 1));
            // A stack pointer may also point into memory that a program manages itself.
            let stack = areas.iter().find(|area| area.range.contains(sp) && area.is_anonymous_data());
            stack.into_iter().for_each(|area| claims.add(area.range.clone(), &owner));
        }
        for found in self.zones.look(target, &mappings) {
            claims.add(found.range, &Owner::new(SliceKind::SharedZone, &found.zone.name));
            breakdown.zones.push(found.zone);
        }
        self.claim_glibc(target, &areas, &mut claims, &mut breakdown);

        let mut pages = Pages::open(target);
        let mut slices: BTreeMap<Owner, Memory> = BTreeMap::new();
        for (area, owner) in areas.iter().zip(owners::of(&areas, &allocators)) {
            for (owner, memory) in pages.divide(area, &owner, &claims) {
                *slices.entry(owner).or_default() += memory;
            }
        }
        breakdown.slices = slices
            .into_iter()
            .map(|(owner, memory)| Slice { kind: owner.kind, name: owner.name, vm: owner.vm, memory })
            .collect();
        breakdown.vms = vms.iter().map(|vm| free_pages(vm, &mut pages)).collect();
        Ok(breakdown)
    }

    /// Stops the process, copies glibc's arenas, lets it go, and walks the copy.
    fn walk_arenas(
        &mut self,
        target: &Target,
        breakdown: &mut Breakdown,
        mut allow: impl FnMut(u64) -> Option<Duration>,
        stops: &mut Vec<Stop>,
    ) {
        let Some(glibc) = &self.glibc else { return };
        for last in (1..=MAX_STOPS).map(|stop| stop == MAX_STOPS) {
            let bytes: u64 = glibc.to_copy(target).iter().map(|range| range.end - range.start).sum();
            let Some(longest) = allow(bytes) else {
                let size = bytesize::ByteSize(bytes);
                breakdown.missing.push(format!("glibc's arenas were not walked: {size} are too much to copy now"));
                return;
            };
            crate::snapshot::prepare(bytes, &mut self.arena);
            let since = std::time::Instant::now();
            let frozen = match Frozen::stop(target.pid, longest) {
                Ok(frozen) => frozen,
                Err(error) => {
                    stops.push(Stop { stopped: since.elapsed(), copied: Duration::ZERO, bytes: 0 });
                    breakdown.missing.push(format!("glibc's arenas were not walked: {error}"));
                    return;
                }
            };
            self.stacks = frozen.stack_pointers().into_iter().map(|(tid, sp)| (tid.as_raw(), sp)).collect();
            let copying = std::time::Instant::now();
            let deadline = since + longest.mul_f64(0.9);
            let (copy, whole) = Copy::of(target, &glibc.to_copy(target), std::mem::take(&mut self.arena), deadline);
            let copied = copying.elapsed();
            stops.push(Stop { stopped: frozen.release(), copied, bytes: copy.len() });
            let walk = whole.then(|| glibc.walk(&copy));
            self.arena = copy.into_arena();
            match walk {
                Some(walk) if last || !walk.unsettled => {
                    breakdown.missing.extend(walk.missing);
                    breakdown.glibc = Some(walk.found);
                    return;
                }
                None if last => {
                    breakdown.missing.push(format!("glibc's arenas could not be copied whole within {longest:?}"));
                }
                // A thread stood inside malloc, perhaps between a system call and what it writes down of it.
                _ => {}
            }
            std::thread::sleep(Duration::from_micros(300));
        }
    }

    /// Where there was no stop that told all: what the kernel says of threads that wait.
    fn look_at_stacks(&mut self, target: &Target) {
        let threads = target.threads().unwrap_or_default();
        self.stacks.retain(|tid, _| threads.iter().any(|thread| thread.as_raw() == *tid));
        for tid in threads {
            if let Some(sp) = stacks::pointer(tid) {
                self.stacks.insert(tid.as_raw(), sp);
            }
        }
    }

    /// What belongs to glibc's allocator: its arenas, what is kept for their growth, and blocks mapped on their own, looked
    /// for in anonymous memory that nobody else claims.
    fn claim_glibc(&self, target: &Target, areas: &[areas::Area], claims: &mut Claims, breakdown: &mut Breakdown) {
        let Some(glibc) = &self.glibc else { return };
        for place in glibc.places(target) {
            let name = match place.number {
                0 => "glibc main arena".to_owned(),
                number => format!("glibc arena {number}"),
            };
            let owner = Owner::new(SliceKind::SystemAllocator, &name);
            place.used.into_iter().for_each(|range| claims.add(range, &owner));
            let owner = Owner::new(SliceKind::Reserved, "glibc arenas");
            place.reserved.into_iter().for_each(|range| claims.add(range, &owner));
        }
        let anonymous = areas.iter().filter(|area| area.is_anonymous_data());
        let unclaimed: Vec<Range<Addr>> = anonymous.flat_map(|area| claims.gaps(&area.range)).collect();
        let blocks = glibc::mapped_blocks(target, &unclaimed);
        let amount =
            Amount { count: blocks.len() as u64, bytes: blocks.iter().map(|block| block.end - block.start).sum() };
        let owner = Owner::new(SliceKind::SystemAllocator, "glibc mapped blocks");
        blocks.into_iter().for_each(|block| claims.add(block, &owner));
        if let Some(found) = &mut breakdown.glibc {
            found.mapped = amount;
        }
    }
}

/// How much of a VM's free memory could be given back, page by page, and is in RAM.
fn free_pages(vm: &VmMemory, pages: &mut Pages) -> VmPages {
    let free = vm.free_pages.iter().map(|range| range.end - range.start).sum();
    let free_resident = vm.free_pages.iter().map(|range| pages.count(range).resident).sum();
    VmPages { vm: vm.number, keyframe: vm.keyframe, free, free_resident }
}
