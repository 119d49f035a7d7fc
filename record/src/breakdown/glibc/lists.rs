//! The lists of an arena's free chunks.

use std::collections::HashSet;

use shared::Addr;

use super::layout::{FASTBINS, HEAD, LAST_BIN, State, size_of_list};
use super::walk::{Disorder, Walked};
use crate::target::Memory;

/// How the links of fastbins and thread caches stand in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// As they are: up to 2.31.
    Plain,
    /// XORed with their own address, shifted (`PROTECT_PTR`): since 2.32.
    Protected,
}

impl Links {
    /// The address that the link at `at` refers to.
    pub fn follow(self, at: Addr, memory: &impl Memory) -> Option<Addr> {
        let link = memory.word(at)?;
        Some(match self {
            Links::Plain => link,
            // The size of a page, whatever the machine's.
            Links::Protected => link ^ at >> 12,
        })
    }
}

/// A list that ends with a null link, all of whose items pass the check, and of at most `most` items; from an item to its
/// link are `link` bytes. How links stand is seen from the end.
pub fn chain(
    first: Addr,
    link: u64,
    most: usize,
    check: impl Fn(Addr) -> bool,
    memory: &impl Memory,
) -> Option<Vec<Addr>> {
    [Links::Protected, Links::Plain].into_iter().find_map(|links| {
        let (mut items, mut at) = (Vec::new(), first);
        while at != 0 {
            if items.len() >= most || !check(at) {
                return None;
            }
            items.push(at);
            at = links.follow(at.checked_add(link)?, memory)?;
        }
        Some(items)
    })
}

/// The chunks in all bins, ascending; there should be `free` of them.
pub fn binned(state: &State, free: usize, memory: &impl Memory) -> Result<Vec<Addr>, Disorder> {
    let mut found = Vec::new();
    for number in 1..=LAST_BIN {
        let own = state.bin_addr(number);
        let (mut at, last) = state.bin(number);
        let mut previous = own;
        while at != own {
            let link = |offset: u64| at.checked_add(HEAD + offset).and_then(|addr| memory.word(addr));
            let (Some(forward), Some(back)) = (link(0), link(8)) else { return Err(Disorder::List) };
            // A list in disorder may go round without ever coming back to its bin.
            if back != previous || found.len() > free {
                return Err(Disorder::List);
            }
            found.push(at);
            (previous, at) = (at, forward);
        }
        if last != previous {
            return Err(Disorder::List);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The chunks in fastbins, which look used.
pub fn fastbins(state: &State, walked: &Walked, memory: &impl Memory) -> Result<HashSet<Addr>, Disorder> {
    let mut found = HashSet::new();
    for number in 0..FASTBINS {
        let first = state.fastbin(number);
        let size = size_of_list(number);
        let chunks = chain(first, HEAD, walked.used().len(), |chunk| walked.looks_used(chunk, size), memory);
        for chunk in chunks.ok_or(Disorder::List)? {
            if !found.insert(chunk) {
                return Err(Disorder::List);
            }
        }
    }
    Ok(found)
}
