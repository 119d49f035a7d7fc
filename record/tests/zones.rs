//! nginx's shared zones in a process made of literals: what is one, whose name counts, and which pools are taken for one.

use std::collections::BTreeMap;
use std::io;

use record::breakdown::zones::Zones;
use record::target::{Mapping, Memory};
use shared::trace::breakdown::{Slot, Zone};

const PAGE: u64 = 4096;
const TEXT: u64 = 0x10_0000;
const STATIC: u64 = 0x20_0000;
const BSS: u64 = STATIC + PAGE;
const HEAP: u64 = 0x100_0000;
const HEAP_LEN: u64 = 3 << 20;
const ZONE: u64 = 0x7f00_0000_0000;
/// Not a whole number of pages.
const ZONE_SIZE: u64 = 20 * PAGE - 100;
const NAME: u64 = HEAP + 0x100;
const OTHER_NAME: u64 = HEAP + 0x200;
const MODULE: u64 = STATIC + 0x40;
const MODULE_NAME: u64 = STATIC + 0x80;
/// Two cycles, each 64 KiB from the heap's start.
const CYCLES: [u64; 2] = [HEAP + 0x10000, HEAP + 0x20000];
/// In a cycle, its list of zones and a place for the list's second part.
const LIST: u64 = 432;
const PART: u64 = 0x400;
/// Data of a file that is not the program.
const LIBRARY: u64 = 0x7e00_0000_0000;
/// The kernel names it, as it does the heap.
const STACK: u64 = 0x7ffc_0000_0000;
/// A place for an `ngx_shm_zone_t` that begins in one piece of 1 MiB and ends in the next.
const ACROSS: u64 = HEAP + (1 << 20) - 24;

/// Memory by page; a page that is not there cannot be read.
struct Process {
    pages: BTreeMap<u64, Vec<u8>>,
    mappings: Vec<Mapping>,
}

impl Memory for Process {
    fn read(&self, addr: u64, bytes: &mut [u8]) -> io::Result<()> {
        let (mut at, mut rest) = (addr, bytes);
        while !rest.is_empty() {
            let page = self.pages.get(&(at / PAGE)).ok_or(io::ErrorKind::UnexpectedEof)?;
            let page = &page[(at % PAGE) as usize..];
            let (bytes, behind) = rest.split_at_mut(page.len().min(rest.len()));
            bytes.copy_from_slice(&page[..bytes.len()]);
            (at, rest) = (at + bytes.len() as u64, behind);
        }
        Ok(())
    }
}

fn mapping(start: u64, len: u64, kind: &str) -> Mapping {
    Mapping {
        start,
        end: start + len,
        offset: 0,
        executable: kind == "text",
        data: matches!(kind, "heap" | "static" | "bss"),
        shared: kind == "shared",
        file: matches!(kind, "text" | "static").then(|| "/usr/sbin/nginx".into()),
        anonymous: kind == "bss",
        inode: ((0, 1), if kind == "shared" { 77 } else { 0 }),
        uprobes: false,
    }
}

impl Process {
    /// One zone, which `place` names, in the first cycle.
    fn new(place: u64) -> Process {
        let mappings = vec![
            mapping(TEXT, PAGE, "text"),
            mapping(STATIC, PAGE, "static"),
            mapping(BSS, PAGE, "bss"),
            mapping(HEAP, HEAP_LEN, "heap"),
            Mapping { file: Some("/usr/lib/module.so".into()), ..mapping(LIBRARY, PAGE, "static") },
            Mapping { file: Some("/dev/zero (deleted)".into()), ..mapping(ZONE, 20 * PAGE, "shared") },
            mapping(STACK, PAGE, "heap"),
        ];
        let pages = mappings.iter().flat_map(|mapping| mapping.start / PAGE..mapping.end / PAGE);
        let pages = pages.map(|page| (page, vec![0; PAGE as usize])).collect();
        let mut process = Process { pages, mappings };
        process.write(NAME, b"sessions");
        process.write(OTHER_NAME, b"visitors");
        process.write(MODULE_NAME, b"ngx_http_some_module");
        process.words(MODULE, &[3, 1, MODULE_NAME]);
        for cycle in CYCLES {
            process.words(cycle, &[1, 2, cycle + 24]);
        }
        process.zone(place, NAME, CYCLES[0]);
        process
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) {
        for (at, &byte) in (addr..).zip(bytes) {
            if let Some(page) = self.pages.get_mut(&(at / PAGE)) {
                page[(at % PAGE) as usize] = byte;
            }
        }
    }

    fn words(&mut self, addr: u64, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.write(addr, &bytes);
    }

    /// A cycle's list of zones: two parts, of which the second has the one at `place`.
    fn list(&mut self, cycle: u64, place: u64) {
        self.words(cycle + LIST, &[cycle + PART, HEAP + 0x3000, 1, cycle + PART, 88, 2, 2]);
        self.words(cycle + PART, &[place - 88, 2, 0]);
    }

    fn zone(&mut self, place: u64, name: u64, cycle: u64) {
        self.words(place, &[0, ZONE, ZONE_SIZE, 8, name, cycle + 24, 0, TEXT + 16, MODULE]);
    }

    /// A pool whose lock takes so many words, with one page in use by slots of 64 bytes.
    fn pool(&mut self, lock: u64) {
        let stats = ZONE + 600;
        let pages = stats + 9 * 32;
        let pool = [8, 3, pages, pages + 18 * 24, 0, 0, 0, stats, 17, ZONE + PAGE, ZONE + ZONE_SIZE, ZONE];
        self.words(ZONE + 8 * lock, &pool);
        self.words(stats + 3 * 32, &[64, 5, 9, 0]);
    }

    fn look(&self) -> Vec<Zone> {
        Zones::default().look(self, &self.mappings).into_iter().map(|found| found.zone).collect()
    }

    fn names(&self) -> Vec<String> {
        self.look().into_iter().map(|zone| zone.name).collect()
    }
}

#[test]
fn a_zone_has_its_name_its_module_and_its_pool() {
    for place in [HEAP + 0x800, ACROSS, HEAP + HEAP_LEN - 72] {
        for lock in [1, 2] {
            let mut process = Process::new(place);
            process.pool(lock);
            let slot = |index: u64| Slot {
                size: 8 << index,
                total: if index == 3 { 64 } else { 0 },
                used: if index == 3 { 5 } else { 0 },
            };
            let zone = Zone {
                name: "sessions".into(),
                module: "ngx_http_some_module".into(),
                size: ZONE_SIZE,
                pages: 18,
                free_pages: 17,
                slots: (0..9).map(slot).collect(),
            };
            assert_eq!(process.look(), [zone], "{place:#x}, {lock}");
        }
    }
}

#[test]
fn a_pool_in_disorder_or_of_another_layout_is_not_taken() {
    // Each of the pool's words but the free list, the used slots, and a used one more than there are.
    for (at, value) in (2..14).filter(|word| !(6..9).contains(word)).map(|word| (ZONE + 8 * word, 12345)).chain([
        (ZONE + 600 + 3 * 32 + 8, 65),
        (ZONE + 8 * 11, ZONE),
        (ZONE + 8 * 12, u64::MAX),
        (ZONE + 8 * 9, u64::MAX - 8),
    ]) {
        let mut process = Process::new(ACROSS);
        process.pool(2);
        process.words(at, &[value]);
        let zones = process.look();
        assert_eq!(zones.len(), 1);
        assert_eq!((zones[0].pages, zones[0].free_pages, zones[0].slots.len()), (0, 0, 0), "{:#x}", at - ZONE);
    }
}

#[test]
fn what_only_looks_like_a_zone_is_none() {
    let spoilt: [(&str, u64, u64); 6] = [
        ("size", 2, ZONE_SIZE + PAGE),
        ("no name", 3, 0),
        ("long name", 3, 256),
        ("name nowhere", 4, 0x55),
        ("init in the heap", 7, HEAP),
        ("name of zeros", 4, HEAP + 0x300),
    ];
    for (what, word, value) in spoilt {
        let mut process = Process::new(ACROSS);
        process.words(ACROSS + 8 * word, &[value]);
        assert_eq!(process.names(), [""; 0], "{what}");
    }
    let mut private = Process::new(ACROSS);
    private.mappings[5].shared = false;
    assert_eq!(private.names(), [""; 0]);
    let mut file = Process::new(ACROSS);
    file.mappings[5].file = Some("/var/cache/locale".into());
    assert_eq!(file.names(), [""; 0]);
    // System V: no file at all.
    let mut segment = Process::new(ACROSS);
    segment.mappings[5].file = None;
    assert_eq!(segment.names(), ["sessions"]);
}

#[test]
fn a_tag_that_is_no_module_names_none() {
    for (at, value) in [(ACROSS + 64, 0), (ACROSS + 64, u64::MAX), (MODULE + 16, TEXT), (MODULE + 16, ACROSS)] {
        let mut process = Process::new(ACROSS);
        process.write(TEXT, b"\x55\x48\x89\xe5\0");
        process.words(at, &[value]);
        let zones = process.look();
        assert_eq!((zones[0].name.as_str(), zones[0].module.as_str()), ("sessions", ""), "{at:#x} {value:#x}");
    }
}

#[test]
fn of_two_names_the_one_in_force_counts() {
    const OTHER: u64 = HEAP + 0x800;
    let both = || {
        let mut process = Process::new(ACROSS);
        process.zone(OTHER, OTHER_NAME, CYCLES[1]);
        for (cycle, place) in CYCLES.into_iter().zip([ACROSS, OTHER]) {
            process.list(cycle, place);
        }
        process
    };
    assert_eq!(both().names(), [""; 0], "nothing tells them apart");
    for (cycle, name) in CYCLES.into_iter().zip(["sessions", "visitors"]) {
        for pointer in [STATIC + 0xff8, BSS + 8] {
            let mut process = both();
            process.words(pointer, &[cycle]);
            assert_eq!(process.names(), [name], "{pointer:#x}");
            // A library may point to a cycle that is over.
            process.words(LIBRARY, &CYCLES);
            assert_eq!(process.names(), [name], "{pointer:#x}");
            // Another allocator: no heap.
            process.mappings[3].anonymous = true;
            assert_eq!(process.names(), [name], "{pointer:#x}");
        }
    }
    // A cycle in the place of one before: a zone of that one is not in its list.
    let mut process = both();
    process.zone(OTHER, OTHER_NAME, CYCLES[0]);
    process.words(BSS, &[CYCLES[0]]);
    assert_eq!(process.names(), ["sessions"]);
    // The same zone in two cycles, as after most reloads; nobody knows which is in force.
    let mut process = Process::new(ACROSS);
    process.zone(OTHER, NAME, CYCLES[1]);
    assert_eq!(process.names(), ["sessions"]);
}

#[test]
fn a_list_that_does_not_end_says_nothing() {
    let spoilt = [
        (LIST + 24, 0x55),
        (LIST + 40, 0),
        (LIST + 48, CYCLES[0]),
        (PART + 8, u64::MAX),
        (PART + 8, 3),
        (PART + 16, CYCLES[0] + PART),
    ];
    for (at, value) in spoilt {
        let mut process = Process::new(ACROSS);
        process.list(CYCLES[0], ACROSS);
        process.words(BSS, &[CYCLES[0]]);
        process.words(CYCLES[0] + at, &[value]);
        assert_eq!(process.names(), ["sessions"], "the only label all the same");
        process.zone(HEAP + 0x800, OTHER_NAME, CYCLES[1]);
        assert_eq!(process.names(), [""; 0], "{at}");
    }
    // Parts without elements, round and round.
    let mut process = Process::new(ACROSS);
    process.list(CYCLES[0], ACROSS);
    process.words(BSS, &[CYCLES[0]]);
    process.words(CYCLES[0] + PART + 8, &[0, CYCLES[0] + PART]);
    assert_eq!(process.names(), ["sessions"]);
}

#[test]
fn memory_that_is_gone_does_not_hide_the_rest() {
    let mut process = Process::new(ACROSS);
    process.pages.remove(&((HEAP + (1 << 20) - 3 * PAGE) / PAGE));
    process.pages.remove(&((HEAP + (1 << 20) + PAGE) / PAGE));
    assert_eq!(process.names(), ["sessions"]);
    process.pages.clear();
    assert_eq!(process.names(), [""; 0]);
}

#[test]
fn a_name_is_looked_for_again_only_with_new_mappings() {
    let mut process = Process::new(ACROSS);
    let mut zones = Zones::default();
    let look = |zones: &mut Zones, process: &Process| {
        zones.look(process, &process.mappings).pop().map(|found| found.zone.name)
    };
    assert_eq!(look(&mut zones, &process).as_deref(), Some("sessions"));
    process.zone(ACROSS, OTHER_NAME, CYCLES[0]);
    assert_eq!(look(&mut zones, &process).as_deref(), Some("sessions"), "kept");
    process.mappings[5].inode.1 += 1;
    assert_eq!(look(&mut zones, &process).as_deref(), Some("visitors"), "another mapping in the same place");
    process.zone(ACROSS, 0x55, CYCLES[0]);
    process.mappings[5].inode.1 += 1;
    assert_eq!(look(&mut zones, &process), None);
    process.zone(ACROSS, NAME, CYCLES[0]);
    assert_eq!(look(&mut zones, &process), None, "nameless, and looked for once");
}
