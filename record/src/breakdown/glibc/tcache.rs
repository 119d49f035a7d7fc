//! The caches in which threads keep free chunks for themselves. Each is a chunk in use whose content says so: a list of
//! chunks for every size, and how long it is.

use std::collections::HashSet;

use shared::Addr;

use super::layout::{HEAD, size_of_list};
use super::lists::chain;
use super::walk::Walked;
use crate::target::Memory;

/// `TCACHE_MAX_BINS` up to 2.41.
const LISTS: usize = 64;

/// A layout of `tcache_perthread_struct`.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// The size of the chunk it is in.
    chunk: u64,
    /// Bytes of each of its `counts`, which stand before its `entries`.
    count: usize,
    /// Whether the word behind a chunk's link is a key (`tcache_entry.key`), the same in all chunks of a cache.
    keyed: bool,
}

/// 2.30 to 2.41, and 2.26 to 2.29, of which the last has keys. Newer ones count what there is room for instead, which
/// nothing here takes for a length.
const SHAPES: [Shape; 2] =
    [Shape { chunk: 0x290, count: 2, keyed: true }, Shape { chunk: 0x250, count: 1, keyed: false }];

/// What was found.
#[derive(Debug, Default)]
pub struct Caches {
    /// The chunks that threads keep.
    pub chunks: HashSet<Addr>,
    /// What could not be counted, and why.
    pub missing: Option<String>,
    /// Whether that may be because a thread was just at work.
    pub unsettled: bool,
}

/// Looks for the caches of all threads. They hold chunks of any arena; `complete` says whether all arenas were walked.
pub fn find(arenas: &[Walked], complete: bool, memory: &impl Memory) -> Caches {
    let mut caches = Caches::default();
    let (mut recognised, mut disorder) = (false, 0);
    for shape in SHAPES {
        let of_size = arenas.iter().flat_map(|arena| arena.used()).filter(|(_, size)| *size == shape.chunk);
        for (chunk, _) in of_size {
            let Some(lists) = shape.read(chunk + HEAD, memory) else { continue };
            // What a program has in a chunk of this size may be anything, but hardly this.
            let entries = lists.iter().enumerate().filter(|(_, (_, first))| *first != 0);
            if !entries.clone().all(|(list, (_, first))| is_used(arenas, *first, size_of_list(list))) {
                continue;
            }
            match shape.chunks(&lists, arenas, memory) {
                Some(chunks) if chunks.iter().all(|chunk| !caches.chunks.contains(chunk)) => {
                    recognised = true;
                    caches.chunks.extend(chunks);
                }
                _ if entries.count() > 0 => disorder += 1,
                _ => {}
            }
        }
        // No process has both.
        if !caches.chunks.is_empty() {
            break;
        }
    }
    let problem = match (recognised, disorder) {
        (_, 1..) => format!("{disorder} threads' caches are in disorder"),
        (false, _) if !arenas.is_empty() => "no thread's cache was recognised".into(),
        (true, _) if !complete => "threads' caches that hold chunks of arenas left out were not recognised".into(),
        _ => return caches,
    };
    caches.missing = Some(format!("glibc: {problem}; free chunks in them count as used"));
    caches.unsettled = disorder > 0;
    caches
}

/// Whether the payload at this address is that of a chunk of this size which looks used.
fn is_used(arenas: &[Walked], payload: Addr, size: u64) -> bool {
    payload.checked_sub(HEAD).is_some_and(|chunk| arenas.iter().any(|arena| arena.looks_used(chunk, size)))
}

impl Shape {
    /// The length and the first payload of each list.
    fn read(self, payload: Addr, memory: &impl Memory) -> Option<Vec<(u64, Addr)>> {
        let (mut counts, mut entries) = (vec![0; LISTS * self.count], vec![0; LISTS * 8]);
        memory.read(payload, &mut counts).ok()?;
        memory.read(payload + counts.len() as u64, &mut entries).ok()?;
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let counts = counts.chunks_exact(self.count).map(number);
        Some(counts.zip(entries.chunks_exact(8).map(number)).collect())
    }

    /// The chunks of all lists, if these are sound and as long as they should be.
    fn chunks(self, lists: &[(u64, Addr)], arenas: &[Walked], memory: &impl Memory) -> Option<Vec<Addr>> {
        let (mut found, mut keys) = (HashSet::new(), HashSet::new());
        let mut all = 0;
        for (list, (count, first)) in lists.iter().enumerate() {
            let count = usize::try_from(*count).ok()?;
            let items = chain(*first, 0, count, |item| is_used(arenas, item, size_of_list(list)), memory)?;
            if items.len() != count {
                return None;
            }
            all += count;
            for item in items {
                keys.insert(memory.word(item + 8)?);
                found.insert(item - HEAD);
            }
        }
        let keyed = !self.keyed || keys.len() <= 1 && !keys.contains(&0);
        (found.len() == all && keyed).then(|| found.into_iter().collect())
    }
}
