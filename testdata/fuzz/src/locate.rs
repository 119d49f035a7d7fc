//! Looking for VMs in memory that may hold anything.

use record::locate::global::{self, Global};
use record::locate::{lua, mstate};
use record::target::Mapping;
use shared::Addr;

use super::memory::Pages;

/// Where the seeds' `lj_alloc_f` is.
pub const CODE: std::ops::Range<Addr> = 0x5555_0000_0000..0x5555_0001_0000;
/// The same for programs without GC64, though nothing keeps theirs so low.
pub const LOW_CODE: std::ops::Range<Addr> = 0x55_0000..0x56_0000;

/// Looks through all pages, and then at the address of interest as a `malloc_state` and as a `lua_State`, whatever
/// the search says to them.
pub fn run(bytes: &[u8]) {
    let Some((interest, pages)) = Pages::parse(bytes) else { return };
    for (_, page) in pages.iter() {
        let head = u64::from_le_bytes(std::array::from_fn(|at| page[8 + at]));
        assert!(!mstate::is_plausible(page) || head & 2 != 0, "a malloc_state's chunk is in use");
    }
    let mappings = mappings(&pages);
    let found = record::locate::vms(&pages, &mappings);
    for vm in &found.vms {
        assert_eq!(vm.mstate % 4096, 16);
        assert!(CODE.contains(&vm.global.allocf) || LOW_CODE.contains(&vm.global.allocf));
        check_names(vm.subsystem.as_deref(), vm.build.as_deref());
    }
    if let Ok(global) = global::find(interest, &pages, &mappings) {
        let _ = global.gc_counters(&pages);
    }
    for gc64 in [false, true] {
        let global = Global { main_thread: interest, addr: interest, alloc: interest, allocf: interest, gc64 };
        let (subsystem, build) = lua::Lua::new(&pages, &global).label_and_build(&global);
        check_names(subsystem.as_deref(), build.as_deref());
    }
}

/// The pages as data, and the two stretches of code.
pub fn mappings(pages: &Pages) -> Vec<Mapping> {
    let data = pages.iter().map(|(page, _)| mapping(page..page.saturating_add(4096), false));
    data.chain([CODE, LOW_CODE].map(|code| mapping(code, true))).collect()
}

/// No more than a short printable string ever leaves the target.
fn check_names(subsystem: Option<&str>, build: Option<&str>) {
    for name in [subsystem, build].into_iter().flatten() {
        assert!((1..64).contains(&name.len()) && name.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{name:?}");
    }
}

fn mapping(range: std::ops::Range<Addr>, executable: bool) -> Mapping {
    Mapping {
        start: range.start,
        end: range.end,
        offset: 0,
        executable,
        data: !executable,
        shared: false,
        file: None,
        anonymous: !executable,
        inode: ((0, 0), 0),
        uprobes: false,
    }
}
