//! glibc's allocator from outside: its arenas, and blocks mapped on their own. No symbol is needed; what is found is
//! recognised by whether it fits together.
//!
//! [`layout`] says how it lies in memory; [`find`] finds the main arena; [`places`] are the arenas' stretches and heaps;
//! [`walk`] goes through a copy of them chunk by chunk, [`lists`] through those that are free, [`tcache`] finds the free
//! ones that threads keep for themselves; [`mapped`] finds the blocks outside of arenas.

pub mod find;
pub mod layout;
pub mod lists;
pub mod mapped;
pub mod places;
pub mod tcache;
#[cfg(test)]
mod tests;
pub mod walk;

use std::ops::Range;

use shared::Addr;
use shared::trace::breakdown;

use crate::target::{Mapping, Memory};
use layout::{Layout, State};
pub use mapped::mapped_blocks;
pub use places::ArenaPlace;

/// So often is looked at the arenas of a process that runs until they hang together.
const TRIES: usize = 8;

/// What came of walking through a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walk {
    /// The arenas that were counted. Blocks mapped on their own are not in it: see [`mapped_blocks`].
    pub found: breakdown::Glibc,
    /// What could not be counted, and why.
    pub missing: Vec<String>,
    /// Whether a copy made a moment later may have more, because a thread was just at work.
    pub unsettled: bool,
}

/// The allocator of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glibc {
    main: Addr,
    layout: Layout,
}

impl Glibc {
    /// Looks for the main arena in the writable data of libc, or of a static program. The process may run. None if there
    /// is none that was ever used.
    pub fn find(memory: &impl Memory, mappings: &[Mapping]) -> Option<Glibc> {
        find::main_arena(memory, mappings).map(|(main, layout)| Glibc { main, layout })
    }

    /// The address of the main arena's state.
    pub fn main_arena(&self) -> Addr {
        self.main
    }

    /// Where the arenas are now. The process may run; an arena that does not hang together is not among them.
    pub fn places(&self, memory: &impl Memory) -> Vec<ArenaPlace> {
        let again = |_: usize| places::ring(self.main, self.layout, memory);
        let states = (0..TRIES).find_map(again).unwrap_or_default();
        let place = |(number, state): (usize, &State)| {
            // Read anew each time: the ring stays, the arena grows.
            let again = |_| places::place(number as u32, &State::read(state.addr, self.layout, memory)?, memory);
            (0..TRIES).find_map(again)
        };
        states.iter().enumerate().filter_map(place).collect()
    }

    /// What [`Glibc::walk`] needs a copy of, which is to be made while the process stands still: the arenas' states and
    /// memory. The ranges do not overlap.
    pub fn to_copy(&self, memory: &impl Memory) -> Vec<Range<Addr>> {
        let main = self.main..self.main + self.layout.size();
        std::iter::once(main).chain(self.places(memory).into_iter().flat_map(|place| place.used)).collect()
    }

    /// Walks a copy. What does not fit together is left out, and told.
    pub fn walk(&self, copy: &impl Memory) -> Walk {
        let Some(states) = places::ring(self.main, self.layout, copy) else {
            let missing = vec!["glibc: the list of its arenas is in disorder".into()];
            return Walk { missing, unsettled: true, ..Walk::default() };
        };
        let (mut walk, mut walked) = (Walk::default(), Vec::new());
        for (number, state) in states.iter().enumerate() {
            match walk::arena(number as u32, state, copy) {
                Ok(arena) => walked.push(arena),
                Err(disorder) => {
                    let locked = if state.is_locked() { ", and a thread is at work on it" } else { "" };
                    walk.missing.push(format!("glibc: {} was left out: {disorder}{locked}", name(number)));
                    walk.unsettled |= disorder.may_pass();
                }
            }
        }
        let caches = tcache::find(&walked, walk.missing.is_empty(), copy);
        walk.missing.extend(caches.missing);
        walk.unsettled |= caches.unsettled;
        walk.found.arenas = walked.into_iter().map(|arena| arena.count(&caches.chunks)).collect();
        walk
    }
}

fn name(number: usize) -> String {
    if number == 0 { "the main arena".into() } else { format!("arena {number}") }
}
