//! What a breakdown's figures say, in words, and what to do. A sentence claims no more than the figures it names.

use schemars::JsonSchema;
use serde::Serialize;
use shared::trace::breakdown::{Glibc, Memory, SliceKind};
use shared::trace::meta::Vm;

use super::breakdown::instance::Instance;
use super::breakdown::{ProcessMemory, VmHeap, VmMemory};
use crate::output::words::{bytes, count, name, share, time};

/// Below this, memory is not worth a word.
const LEAST: u64 = 1 << 20;
/// The commit that upstream's fix for wholly free segments is (9b5e837a), as rolling releases name themselves: by its
/// time in seconds since 1970.
const FIXED: u64 = 1_713_484_068;
/// How many pinned segments are told of.
const PINNED: usize = 3;

/// A finding and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Advice {
    /// What it is about: `collector`, `fragmentation`, `wholly_free`, `trimming`, `system_allocator`, `glibc`, `zones`,
    /// `swap`, `unknown`, `generations`.
    pub topic: &'static str,
    /// The VM it is about; 0 if none.
    pub vm: u32,
    /// What was found, with its figures.
    pub finding: String,
    /// What to do.
    pub action: String,
}

/// Whether a build keeps some wholly free segments for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fix {
    /// It lacks the fix: its calls or its version say so.
    Lacks,
    /// It likely lacks it: its version names no commit.
    LikelyLacks,
    /// It has it: its calls say so.
    Has,
    /// It likely has it: it is newer, but forks take over upstream's commits in their own time.
    LikelyHas,
}

/// What is to be said of a process. `release_check`: what the replay has found out about its build, if it has.
pub fn of_process(process: &ProcessMemory, release_check: Option<&str>) -> Vec<Advice> {
    let mut all = Vec::new();
    for vm in &process.vms {
        if let Some(heap) = &vm.heap {
            all.push(collector(vm, heap));
            all.extend(fragmentation(vm, heap));
            all.extend(wholly_free(vm, heap, release_check));
            all.extend(trimming(vm, heap));
        }
    }
    all.extend(system_or_lua(process));
    all.extend(process.breakdown.glibc.as_ref().and_then(glibc));
    all.extend(zones(process));
    all.extend(swap(process));
    all.extend(unknown(process));
    all
}

fn advice(topic: &'static str, vm: u32, finding: String, action: &str) -> Advice {
    Advice { topic, vm, finding, action: action.to_owned() }
}

/// `part` is at least a mebibyte, and at least so many hundredths of `whole`.
fn matters(part: u64, percent: u64, whole: u64) -> bool {
    part >= LEAST && u128::from(part) * 100 >= u128::from(whole) * u128::from(percent)
}

/// The collector's count against used chunks against mapped memory against RAM.
fn collector(vm: &VmMemory, heap: &VmHeap) -> Advice {
    let VmHeap { gc_total, used, segments, direct, .. } = heap;
    let (in_use, mapped) = (used.bytes.saturating_add(direct.bytes), segments.bytes.saturating_add(direct.bytes));
    let finding = format!(
        "VM {}: at {} gc.total was {}, in {} of used chunks and direct blocks, {} of the {} mapped for them; {} was \
         resident at the look",
        vm.number,
        time(heap.keyframe_ns),
        bytes(*gc_total),
        bytes(in_use),
        share(in_use, mapped),
        bytes(mapped),
        bytes(vm.memory.resident),
    );
    let mostly_used = u128::from(in_use) * 4 >= u128::from(mapped) * 3;
    let action = if mostly_used {
        "most of it is what the program holds, or garbage not collected yet: if gc.total stays as high after a full \
         collection, look for the tables and caches that grow"
    } else {
        "most of what is mapped beyond gc.total is free memory inside the allocator, not the program's objects"
    };
    advice("collector", vm.number, finding, action)
}

fn fragmentation(vm: &VmMemory, heap: &VmHeap) -> Option<Advice> {
    let stuck = heap.stuck();
    if !matters(stuck, 10, heap.segments.bytes) {
        return None;
    }
    let mut finding = format!(
        "VM {}: {} free ({} of the segments) cannot go back to the system: blocks in use pin {}",
        vm.number,
        bytes(stuck),
        share(stuck, heap.segments.bytes),
        if heap.pinned_segments.count == 1 {
            "the segment".to_owned()
        } else {
            format!("the {}", count(heap.pinned_segments.count, "segment"))
        },
    );
    let pinned = heap.pinned.iter().take(PINNED).map(|pinned| {
        let by = count(pinned.by.count, "chunk");
        format!("{} of {} by {by} ({})", bytes(pinned.free), bytes(pinned.size), bytes(pinned.by.bytes))
    });
    finding.push_str(&format!(": {}", pinned.collect::<Vec<_>>().join(", ")));
    if heap.pinned_segments.count > PINNED as u64 {
        finding.push_str(", ...");
    }
    if let Some(pages) = vm.pages.filter(|pages| pages.keyframe > 0) {
        finding.push_str(&format!(
            "; of all free chunks {} are whole pages, {} of them resident",
            bytes(pages.free),
            bytes(pages.free_resident)
        ));
    }
    let action = "LuaJIT returns whole segments only and never moves a block: the memory serves the next load, and a \
                  reload or restart returns it; lower peaks (streaming, reused tables) keep it from growing";
    Some(advice("fragmentation", vm.number, finding, action))
}

fn wholly_free(vm: &VmMemory, heap: &VmHeap, release_check: Option<&str>) -> Option<Advice> {
    if heap.wholly_free.count == 0 {
        return None;
    }
    let mut finding = format!(
        "VM {}: {}, {} in all, wholly free and still mapped",
        vm.number,
        count(heap.wholly_free.count, "segment"),
        bytes(heap.wholly_free.bytes)
    );
    let soon = "LuaJIT looks for such segments about every 255th free of a large chunk and when it trims: a quiet VM keeps \
                them until then";
    if heap.kept_for_good.count == 0 {
        return Some(advice("wholly_free", vm.number, finding, soon));
    }
    let shaped = format!(
        "; {} of them ({}) of the shape that builds before upstream's fix of 2024-04-19 never return",
        heap.kept_for_good.count,
        bytes(heap.kept_for_good.bytes)
    );
    finding.push_str(&shaped);
    let (build, action) = match fix(&vm.vm, release_check) {
        Fix::Lacks => ("lacks", "update LuaJIT to a build with commit 9b5e837a; until then a reload returns them"),
        Fix::LikelyLacks => (
            "likely lacks",
            "update LuaJIT to a build with commit 9b5e837a if its changes do not list it; until then a reload returns \
             them",
        ),
        Fix::Has => ("has", soon),
        Fix::LikelyHas => ("likely has", soon),
    };
    let known = if vm.vm.build.is_empty() { "this build" } else { &vm.vm.build };
    finding.push_str(&format!(", and {} {build} that fix", name(known, 60)));
    Some(advice("wholly_free", vm.number, finding, action))
}

/// What is known of a build.
fn fix(vm: &Vm, release_check: Option<&str>) -> Fix {
    match release_check {
        Some(check) if check.starts_with("before") => return Fix::Lacks,
        Some(_) => return Fix::Has,
        None => {}
    }
    // Rolling releases end in their commit's time; `2.1.0-beta3` and older do not.
    let rolling = vm.build.rsplit('.').next().and_then(|last| last.parse::<u64>().ok()).filter(|time| *time > 1 << 30);
    match rolling {
        Some(time) if time < FIXED => Fix::Lacks,
        Some(_) => Fix::LikelyHas,
        None => Fix::LikelyLacks,
    }
}

fn trimming(vm: &VmMemory, heap: &VmHeap) -> Option<Advice> {
    if heap.trims() {
        return None;
    }
    let finding = format!(
        "VM {}: trimming is switched off (trim_check is all ones), with {} free at the end of the first segment",
        vm.number,
        bytes(heap.top)
    );
    let action = "LuaJIT does so when a trim gave nothing back, until that segment grows or changes: if it is large and \
                  stays, a reload returns it";
    Some(advice("trimming", vm.number, finding, action))
}

fn system_or_lua(process: &ProcessMemory) -> Option<Advice> {
    let lua = process.of(&[SliceKind::Luajit]);
    let system = process.of(&[SliceKind::SystemAllocator]);
    if lua.mapped == 0 || system.resident <= lua.resident || system.resident < LEAST {
        return None;
    }
    let ours = process.shares.iter().filter(|share| share.owner.kind == SliceKind::SystemAllocator);
    let names: Vec<String> = ours.map(|share| name(&share.owner.label, 40)).collect();
    let finding = format!("{}: {} resident; LuaJIT: {}", names.join(", "), bytes(system.resident), bytes(lua.resident));
    let action = "most of it is not Lua's: look at C libraries, at nginx's own pools and buffers, and at what Lua calls \
                  through the FFI";
    Some(advice("system_allocator", 0, finding, action))
}

fn glibc(glibc: &Glibc) -> Option<Advice> {
    let sum = |of: &dyn Fn(&shared::trace::breakdown::Arena) -> u64| -> u64 {
        glibc.arenas.iter().map(of).fold(0, u64::saturating_add)
    };
    let (bins, top) = (sum(&|arena| arena.bins.bytes), sum(&|arena| arena.top));
    let cached = sum(&|arena| arena.fastbins.bytes.saturating_add(arena.tcache.bytes));
    let (system, free) = (sum(&|arena| arena.system), bins.saturating_add(top).saturating_add(cached));
    if !matters(free, 25, system) {
        return None;
    }
    let threads = glibc.arenas.iter().filter(|arena| arena.number > 0).map(|arena| arena.system);
    let threads = threads.fold(0, u64::saturating_add);
    let finding = format!(
        "{} of the {} in glibc's {} are free: {} in bins, {} in top, {} in tcache and fastbins",
        bytes(free),
        bytes(system),
        count(glibc.arenas.len() as u64, "arena"),
        bytes(bins),
        bytes(top),
        bytes(cached)
    );
    let action = if matters(threads, 50, system) {
        "malloc_trim(0), called in the process, returns the whole pages among them; MALLOC_ARENA_MAX=2 in the environment keeps \
         threads from having arenas of their own"
    } else {
        "on its own glibc returns the end of an arena only; malloc_trim(0), called in the process, returns the whole pages \
         among them"
    };
    Some(advice("glibc", 0, finding, action))
}

fn zones(process: &ProcessMemory) -> Option<Advice> {
    let Memory { mapped, resident, swapped, .. } = process.of(&[SliceKind::SharedZone]);
    let unloaded = mapped.saturating_sub(resident).saturating_sub(swapped);
    if !matters(unloaded, 25, mapped) {
        return None;
    }
    let slices = process.breakdown.slices.iter().filter(|slice| slice.kind == SliceKind::SharedZone);
    let rest = |memory: &Memory| memory.mapped.saturating_sub(memory.resident).saturating_sub(memory.swapped);
    let largest = slices.max_by_key(|slice| rest(&slice.memory))?;
    let finding = format!(
        "shared zones map {}, of which this process has {} in its tables; most is unloaded in {}: {} of {}",
        bytes(mapped),
        bytes(resident),
        name(&largest.name, 40),
        bytes(rest(&largest.memory)),
        bytes(largest.memory.mapped)
    );
    let action = "what no process has touched takes no RAM, so VmSize says too much here; zones are shared: count them \
                  once, by PSS";
    Some(advice("zones", 0, finding, action))
}

fn swap(process: &ProcessMemory) -> Option<Advice> {
    let total = process.breakdown.total.swapped;
    if total == 0 {
        return None;
    }
    let lua = process.of(&[SliceKind::Luajit]).swapped;
    let finding = format!("{} is in swap, {} of that LuaJIT's", bytes(total), bytes(lua));
    let action = if lua > 0 {
        "each full collection touches a VM's whole heap and reads it back: give the machine more RAM or the processes \
         less to do, or keep them out of swap (memory.swap.max, vm.swappiness)"
    } else {
        "what is touched again has to be read back: see whether the machine is short of RAM"
    };
    Some(advice("swap", 0, finding, action))
}

fn unknown(process: &ProcessMemory) -> Option<Advice> {
    let other = process.of(&[SliceKind::Other]).resident;
    if !matters(other, 10, process.breakdown.total.resident) {
        return None;
    }
    let finding = format!(
        "{} resident ({}) belong to nobody that is known: see `Other` in the table",
        bytes(other),
        share(other, process.breakdown.total.resident)
    );
    Some(advice("unknown", 0, finding, "an allocator that is not recognised, or memory a program maps on its own"))
}

/// What is to be said of an instance as a whole.
pub fn of_instance(instance: &Instance) -> Vec<Advice> {
    let newest = instance.generations();
    let old = instance.members.iter().filter(|member| member.generation > 0 && member.generation < newest);
    let number = old.clone().count() as u64;
    let leaving = old.clone().filter(|member| member.role == "worker, shutting down").count() as u64;
    if newest < 2 {
        return Vec::new();
    }
    let pss = old.clone().map(|member| member.memory.pss).fold(0, u64::saturating_add);
    let pids: Vec<String> = old.take(8).map(|member| member.pid.to_string()).collect();
    let more = if number > 8 { ", ..." } else { "" };
    let leave = match leaving {
        0 => String::new(),
        1 if number == 1 => "; it says in its title that it is shutting down".to_owned(),
        1 => "; 1 of them says in its title that it is shutting down".to_owned(),
        _ => format!("; {leaving} of them say in their titles that they are shutting down"),
    };
    let finding = format!(
        "{} ({}{more}) of earlier generations {} {} by PSS, {} of the instance{leave}",
        if number == 1 { "1 process".to_owned() } else { format!("{number} processes") },
        pids.join(", "),
        if number == 1 { "holds" } else { "hold" },
        bytes(pss),
        share(pss, instance.memory.pss)
    );
    let action = "after a reload old workers live until their last connection ends: worker_shutdown_timeout bounds that; \
                  a worker that was only replaced after a crash looks the same by its start";
    vec![advice("generations", 0, finding, action)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_are_told_by_their_calls_before_their_names() {
        let vm = |build: &str| Vm { build: build.into(), ..Vm::default() };
        let of = |build: &str| fix(&vm(build), None);
        assert_eq!(of("LuaJIT 2.1.1713484067"), Fix::Lacks);
        assert_eq!(of("LuaJIT 2.1.1713484068"), Fix::LikelyHas);
        assert_eq!([of("LuaJIT 2.1.0-beta3"), of("LuaJIT 2.0.5"), of("")], [Fix::LikelyLacks; 3]);
        assert_eq!(fix(&vm("LuaJIT 2.1.1788856981"), Some("before 9b5e837a (2024-04-19)")), Fix::Lacks);
        assert_eq!(fix(&vm("LuaJIT 2.0.5"), Some("9b5e837a (2024-04-19) or later")), Fix::Has);
    }

    #[test]
    fn little_does_not_matter() {
        assert!(matters(LEAST, 25, 4 * LEAST) && !matters(LEAST, 25, 4 * LEAST + 100));
        assert!(!matters(LEAST - 1, 0, 0) && matters(u64::MAX, 100, u64::MAX));
    }
}
