//! Arenas made by hand, of every layout: counted exactly, and when damaged left out or still adding up.

use std::io;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use shared::heap::layout::PAGE;

use super::layout::{HEAD, LAST_BIN, LAYOUTS};
use super::lists::Links;
use super::*;

const DATA: Addr = 0x7f00_0010_0000;
const MAIN: Addr = DATA + 0x120;
const START: Addr = 0x5555_0000_0000;
const SYSTEM: u64 = 0x21000;
/// Chunks: how large, and what they are. `Free` ones are alone in their bins.
const CHUNKS: [(u64, Is); 12] = [
    (0x40, Is::Used),
    (0x40, Is::Cached),
    (0x40, Is::Cached),
    (0x20, Is::Used),
    (0x30, Is::Fast),
    (0x30, Is::Fast),
    (0x90, Is::Free(9)),
    (0x20, Is::Used),
    (0x50, Is::Cached),
    (0x1000, Is::Free(70)),
    (0x500, Is::Used),
    (0x250, Is::Used),
];

#[derive(Clone, Copy, PartialEq)]
enum Is {
    Used,
    Cached,
    Fast,
    Free(u64),
}

/// Memory in pieces.
#[derive(Clone, Default)]
struct Image(Vec<(Addr, Vec<u8>)>);

impl Memory for Image {
    fn read(&self, addr: Addr, bytes: &mut [u8]) -> io::Result<()> {
        let found = self.0.iter().find_map(|(base, piece)| {
            let skip = usize::try_from(addr.checked_sub(*base)?).ok()?;
            piece.get(skip..skip.checked_add(bytes.len())?)
        });
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::AddrNotAvailable)?);
        Ok(())
    }
}

impl Image {
    fn set(&mut self, addr: Addr, bytes: &[u8]) {
        for (base, piece) in &mut self.0 {
            if (*base..*base + piece.len() as u64).contains(&addr) {
                let skip = (addr - *base) as usize;
                piece[skip..skip + bytes.len()].copy_from_slice(bytes);
            }
        }
    }

    fn set_word(&mut self, addr: Addr, word: u64) {
        self.set(addr, &word.to_le_bytes());
    }

    /// A process with the chunks above, of a glibc with such a layout, links and counts in caches of so many bytes.
    fn new(layout: Layout, links: Links, count_bytes: u64) -> Image {
        let mut image = Image(vec![(DATA, vec![0; 0x2000]), (START, vec![0; SYSTEM as usize])]);
        let link = |at: Addr, to: Addr| if links == Links::Protected { to ^ at >> 12 } else { to };
        let cache = START + HEAD;
        let mut before_in_use = 1;
        let mut at = START;
        let mut heads: std::collections::BTreeMap<Addr, (u64, Addr)> = Default::default();
        let all = std::iter::once((64 * count_bytes + 512 + HEAD, Is::Used)).chain(CHUNKS);
        for number in 1..=LAST_BIN as u64 {
            let fd = MAIN + layout.bins() + 16 * (number - 1);
            image.set_word(fd, fd - HEAD);
            image.set_word(fd + 8, fd - HEAD);
        }
        for (size, is) in all {
            image.set_word(at + 8, size | before_in_use);
            before_in_use = u64::from(!matches!(is, Is::Free(_)));
            let list = (size - 0x20) / 16;
            // The newest comes first.
            match is {
                Is::Used => {}
                Is::Cached => {
                    let entry = cache + 64 * count_bytes + 8 * list;
                    let (count, first) = heads.get(&entry).copied().unwrap_or_default();
                    image.set_word(at + HEAD, link(at + HEAD, first));
                    image.set_word(at + HEAD + 8, 0x1234_5678_9abc_def1);
                    heads.insert(entry, (count + 1, at + HEAD));
                    image.set(cache + list * count_bytes, &(count + 1).to_le_bytes()[..count_bytes as usize]);
                    image.set_word(entry, at + HEAD);
                }
                Is::Fast => {
                    let entry = MAIN + layout.bins() - 96 + 8 * list;
                    let (count, first) = heads.get(&entry).copied().unwrap_or_default();
                    image.set_word(at + HEAD, link(at + HEAD, first));
                    heads.insert(entry, (count + 1, at));
                    image.set_word(entry, at);
                }
                Is::Free(bin) => {
                    let fd = MAIN + layout.bins() + 16 * (bin - 1);
                    [fd, fd + 8].into_iter().for_each(|end| image.set_word(end, at));
                    [16, 24].into_iter().for_each(|link| image.set_word(at + link, fd - HEAD));
                    image.set_word(at + size, size);
                }
            }
            at += size;
        }
        image.set_word(at + 8, (START + SYSTEM - at) | 1);
        image.set_word(MAIN + layout.bins() - 16, at);
        image.set_word(MAIN + layout.next(), MAIN);
        [0, 8].into_iter().for_each(|field| image.set_word(MAIN + layout.system() + field, SYSTEM));
        image
    }
}

fn mappings() -> Vec<Mapping> {
    let mapping = |start, end, file: Option<&str>| Mapping {
        start,
        end,
        offset: 0,
        executable: false,
        data: true,
        shared: false,
        anonymous: file.is_none(),
        file: file.map(PathBuf::from),
        inode: ((0, 0), 0),
        uprobes: false,
    };
    vec![
        mapping(START, START + SYSTEM, None),
        mapping(DATA, DATA + PAGE, Some("/lib/libc.so.6")),
        mapping(DATA + PAGE, DATA + 2 * PAGE, None),
    ]
}

fn sum(arena: &breakdown::Arena) -> u64 {
    let chunks = [arena.used, arena.bins, arena.fastbins, arena.tcache].map(|amount| amount.bytes);
    chunks.into_iter().sum::<u64>() + arena.top + arena.overhead
}

fn classes(classes: &[breakdown::Class]) -> breakdown::Amount {
    let count = classes.iter().map(|class| class.count).sum();
    breakdown::Amount { count, bytes: classes.iter().map(|class| class.bytes).sum() }
}

const KINDS: [(Links, u64); 3] = [(Links::Protected, 2), (Links::Plain, 2), (Links::Plain, 1)];

#[test]
fn every_layout_is_found_and_counted_to_the_byte() {
    let amount = |count, bytes| breakdown::Amount { count, bytes };
    for layout in LAYOUTS {
        for (links, count_bytes) in KINDS {
            let image = Image::new(layout, links, count_bytes);
            let what = format!("{layout:?} {links:?} {count_bytes}");
            let glibc = Glibc::find(&image, &mappings()).expect(&what);
            assert_eq!(glibc, Glibc { main: MAIN, layout }, "{what}");
            let place =
                ArenaPlace { number: 0, used: std::iter::once(START..START + SYSTEM).collect(), reserved: Vec::new() };
            assert_eq!(glibc.places(&image), [place], "{what}");
            let Walk { found, missing, .. } = glibc.walk(&image);
            let [arena] = &found.arenas[..] else { panic!("{what}: {found:?} {missing:?}") };
            assert!(missing.is_empty(), "{what}: {missing:?}");
            let cache = 64 * count_bytes + 512 + HEAD;
            assert_eq!(arena.used, amount(6, cache + 0x40 + 0x20 + 0x20 + 0x500 + 0x250), "{what}");
            assert_eq!(arena.tcache, amount(3, 0xd0), "{what}");
            assert_eq!(arena.fastbins, amount(2, 0x60), "{what}");
            assert_eq!(arena.bins, amount(2, 0x1090), "{what}");
            assert_eq!((arena.largest_free, arena.overhead, arena.system), (0x1000, 0, SYSTEM), "{what}");
            assert_eq!(sum(arena), SYSTEM, "{what}");
            assert_eq!(classes(&arena.used_classes), arena.used, "{what}");
            assert_eq!(classes(&arena.free_classes), amount(7, 0xd0 + 0x60 + 0x1090), "{what}");
        }
    }
}

#[test]
fn a_cache_in_disorder_is_named_and_its_chunks_stay_used() {
    let mut image = Image::new(LAYOUTS[0], Links::Protected, 2);
    // One more than the list has, as in the middle of `free`.
    image.set(START + HEAD + 2 * 2, &[3]);
    let Walk { found, missing, unsettled } = Glibc { main: MAIN, layout: LAYOUTS[0] }.walk(&image);
    assert!(unsettled);
    assert_eq!((found.arenas[0].tcache.count, sum(&found.arenas[0])), (0, SYSTEM));
    assert_eq!(missing, ["glibc: 1 threads' caches are in disorder; free chunks in them count as used"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn damage_is_told_or_harmless(
        kind in 0..KINDS.len(), layout in 0..LAYOUTS.len(),
        damage in vec((any::<bool>(), 0..0x400u64, 0..8u8, any::<u64>()), 1..4),
    ) {
        let (layout, (links, count_bytes)) = (LAYOUTS[layout], KINDS[kind]);
        let mut image = Image::new(layout, links, count_bytes);
        for (in_state, word, how, random) in damage {
            let addr = if in_state { MAIN + word % (layout.size() / 8) * 8 } else { START + word * 8 };
            let old = image.word(addr).unwrap_or_default();
            image.set_word(addr, match how {
                0 => random,
                1 => old ^ 1 << (random % 64),
                2 => old.wrapping_add(16),
                3 => old.wrapping_sub(16),
                4 => START + random % SYSTEM,
                5 => START + ((random % SYSTEM) & !15),
                6 => MAIN,
                _ => 0,
            });
        }
        let glibc = Glibc { main: MAIN, layout };
        let _ = Glibc::find(&image, &mappings());
        let _ = glibc.places(&image);
        let Walk { found, missing, .. } = glibc.walk(&image);
        prop_assert!(found.arenas.len() == 1 || !missing.is_empty());
        for arena in &found.arenas {
            prop_assert_eq!(sum(arena), arena.system);
            prop_assert!(arena.overhead <= arena.system && arena.top <= arena.system, "nothing below zero");
            prop_assert_eq!(classes(&arena.used_classes), arena.used);
            let free = [arena.bins, arena.fastbins, arena.tcache];
            let free = (free.iter().map(|amount| amount.count).sum(), free.iter().map(|amount| amount.bytes).sum());
            let classed = classes(&arena.free_classes);
            prop_assert_eq!((classed.count, classed.bytes), free);
        }
    }
}

#[test]
fn blocks_of_their_own_are_found_behind_each_other_and_behind_others() {
    let mut image = Image(vec![(START, vec![0; 100 * PAGE as usize])]);
    let page = |number: u64| START + number * PAGE;
    // Two neighbours; memory of somebody else; one more, with what looks like a head inside; one that ends too late.
    for (number, pages) in [(0, 3), (3, 1), (40, 20), (45, 2), (90, 11)] {
        image.set_word(page(number) + 8, (pages * PAGE) | 2);
    }
    // Not a size in pages, another flag, something before it.
    image.set_word(page(70) + 8, (PAGE + 16) | 2);
    image.set_word(page(72) + 8, PAGE | 3);
    image.set_word(page(74) + 8, PAGE | 2);
    image.set_word(page(74), 32);
    let all = page(0)..page(100);
    let found = mapped_blocks(&image, std::slice::from_ref(&all));
    assert_eq!(found, [page(0)..page(3), page(3)..page(4), page(40)..page(60)]);
    // What is claimed by others is not looked at.
    assert_eq!(mapped_blocks(&image, &[page(1)..page(3), page(3)..page(40)]), found[1..2]);
}
