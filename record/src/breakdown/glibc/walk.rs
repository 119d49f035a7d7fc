//! Goes through an arena chunk by chunk and counts it. What does not fit together is not counted at all.

use std::collections::{BTreeMap, HashSet};

use shared::Addr;
use shared::trace::breakdown::{Amount, Arena, Class};

use super::layout::{ALIGNMENT, FLAGS, MIN_CHUNK, PREV_INUSE, SIZE, State, align};
use super::{lists, places};
use crate::target::Memory;

/// `CHUNK_HDR_SZ`: the size of the chunks that stand, marked in use, before memory that is not the arena's.
const FENCEPOST: u64 = 16;

/// Why an arena cannot be counted. No address is told, which would have to be made anonymous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Disorder {
    /// It was not copied, or leads to where nothing is.
    #[error("a part of it cannot be read")]
    Unreadable,
    /// It could get no more memory behind the program and took mappings instead.
    #[error("its memory is scattered over mappings, which nothing tells from others")]
    Scattered,
    /// Somebody else takes memory from `sbrk` as well.
    #[error("memory that is not its own lies between its chunks")]
    Foreign,
    /// Heaps that do not follow each other, or a `system_mem` that is not their sum.
    #[error("its heaps do not make up its memory")]
    Heaps,
    /// A size that cannot be, or a free chunk whose size differs at its two ends.
    #[error("one of its chunks has a size that cannot be")]
    NoChunk,
    /// A list that does not close, or with a chunk that is not in its place.
    #[error("one of its lists of free chunks is in disorder")]
    List,
    /// Chunks that are free and in no bin, or the other way round.
    #[error("{free} chunks are free, {listed} in bins, and these are not the same")]
    Bins {
        /// Chunks before a chunk that says so.
        free: usize,
        /// Chunks in bins.
        listed: usize,
    },
}

impl Disorder {
    /// Whether it may be over in a moment, because a thread was just at work.
    pub fn may_pass(self) -> bool {
        !matches!(self, Disorder::Scattered | Disorder::Foreign)
    }
}

/// A chunk's address and size.
pub type Chunk = (Addr, u64);

/// What was found in an arena.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walked {
    number: u32,
    system: u64,
    heaps: u64,
    top: u64,
    /// Chunks that look used, ascending.
    used: Vec<Chunk>,
    /// Chunks in bins, ascending.
    free: Vec<Chunk>,
    /// Those of `used` that are in fastbins.
    fastbins: HashSet<Addr>,
}

/// Walks an arena.
///
/// # Errors
/// Whatever does not fit.
pub fn arena(number: u32, state: &State, memory: &impl Memory) -> Result<Walked, Disorder> {
    let mut walked = Walked { number, system: state.system(), heaps: 1, ..Walked::default() };
    if number == 0 && !state.is_contiguous() {
        return Err(Disorder::Scattered);
    }
    let end = places::top_end(state, memory).ok_or(Disorder::Unreadable)?;
    walked.top = end - state.top();
    if number == 0 {
        let start = places::main_start(state, memory).ok_or(Disorder::Heaps)?;
        walked.chunks(align(start), state.top(), Last::Top, memory)?;
    } else {
        let heaps = places::heaps(state, memory).ok_or(Disorder::Heaps)?;
        walked.heaps = heaps.len() as u64;
        let sum: u64 = heaps.iter().map(|heap| heap.end - heap.start).sum();
        let (last, full) = heaps.split_last().ok_or(Disorder::Heaps)?;
        if sum != state.system() || last.end != end {
            return Err(Disorder::Heaps);
        }
        for heap in full {
            // Where the program's memory ends stands a head of size zero.
            walked.chunks(heap.first_chunk, heap.end - FENCEPOST, Last::Fencepost, memory)?;
        }
        walked.chunks(last.first_chunk, state.top(), Last::Top, memory)?;
        walked.used.sort_unstable();
        walked.free.sort_unstable();
    }
    let listed = lists::binned(state, walked.free.len(), memory)?;
    if !listed.iter().eq(walked.free.iter().map(|(addr, _)| addr)) {
        return Err(Disorder::Bins { free: walked.free.len(), listed: listed.len() });
    }
    walked.fastbins = lists::fastbins(state, &walked, memory)?;
    Ok(walked)
}

/// What a stretch of chunks ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// The arena's top.
    Top,
    /// A chunk that keeps the others from being merged with what is behind; it is nobody's.
    Fencepost,
}

impl Walked {
    /// Takes up the chunks from `at` to the head at `end`.
    fn chunks(&mut self, mut at: Addr, end: Addr, last: Last, memory: &impl Memory) -> Result<(), Disorder> {
        let word = |addr: Addr| memory.word(addr).ok_or(Disorder::Unreadable);
        let mut head = word(at.saturating_add(SIZE))?;
        // Nothing is before the first chunk that it could be merged with.
        if head & PREV_INUSE == 0 {
            return Err(Disorder::NoChunk);
        }
        while at != end {
            let size = head & !FLAGS;
            let next = at.checked_add(size).filter(|&next| next <= end).ok_or(Disorder::NoChunk)?;
            let is_fencepost = next == end && last == Last::Fencepost;
            if !size.is_multiple_of(ALIGNMENT) || size < FENCEPOST || !at.is_multiple_of(ALIGNMENT) {
                return Err(Disorder::NoChunk);
            }
            if size < MIN_CHUNK && !is_fencepost {
                return Err(if last == Last::Top { Disorder::Foreign } else { Disorder::NoChunk });
            }
            head = word(next + SIZE)?;
            if head & PREV_INUSE == 0 {
                // The size of a free chunk stands at its end as well, in the head of the next.
                if is_fencepost || word(next)? != size {
                    return Err(Disorder::NoChunk);
                }
                self.free.push((at, size));
            } else if !is_fencepost {
                self.used.push((at, size));
            }
            at = next;
        }
        // Behind fenceposts there is nothing; a top is never empty.
        let sound = if last == Last::Top { head & !FLAGS != 0 } else { head & !FLAGS == 0 };
        sound.then_some(()).ok_or(Disorder::NoChunk)
    }

    /// Chunks that look used, ascending.
    pub fn used(&self) -> &[Chunk] {
        &self.used
    }

    /// Whether a chunk looks used, has this size, and is in no fastbin.
    pub fn looks_used(&self, addr: Addr, size: u64) -> bool {
        self.used.binary_search(&(addr, size)).is_ok() && !self.fastbins.contains(&addr)
    }

    /// Counts it; `cached` are the chunks that threads keep for themselves, of whatever arena.
    pub fn count(&self, cached: &HashSet<Addr>) -> Arena {
        let mut arena = Arena {
            number: self.number,
            system: self.system,
            heaps: self.heaps,
            top: self.top,
            largest_free: self.free.iter().map(|(_, size)| *size).max().unwrap_or(0),
            ..Arena::default()
        };
        let (mut used, mut free) = (BTreeMap::new(), BTreeMap::new());
        for (addr, size) in &self.used {
            let (amount, classes) = if self.fastbins.contains(addr) {
                (&mut arena.fastbins, &mut free)
            } else if cached.contains(addr) {
                (&mut arena.tcache, &mut free)
            } else {
                (&mut arena.used, &mut used)
            };
            add(amount, classes, *size);
        }
        self.free.iter().for_each(|(_, size)| add(&mut arena.bins, &mut free, *size));
        (arena.used_classes, arena.free_classes) = (used.into_values().collect(), free.into_values().collect());
        let chunks = arena.used.bytes + arena.bins.bytes + arena.fastbins.bytes + arena.tcache.bytes;
        arena.overhead = self.system - chunks - self.top;
        arena
    }
}

fn add(amount: &mut Amount, classes: &mut BTreeMap<u64, Class>, size: u64) {
    let from = 1 << size.max(1).ilog2();
    let class = classes.entry(from).or_insert(Class { from, ..Class::default() });
    for (count, bytes) in [(&mut amount.count, &mut amount.bytes), (&mut class.count, &mut class.bytes)] {
        *count += 1;
        *bytes += size;
    }
}
