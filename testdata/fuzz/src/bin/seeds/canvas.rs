//! Memory to draw on, and its description in the form of `targets::memory`.

use std::collections::BTreeMap;

use shared::Addr;
use shared::heap::layout::{CINUSE, PAGE, PINUSE};

/// Pages come into being where something is drawn.
#[derive(Debug, Default)]
pub(crate) struct Canvas {
    pages: BTreeMap<Addr, [u8; PAGE as usize]>,
}

impl Canvas {
    /// Writes bytes.
    pub(crate) fn bytes(&mut self, addr: Addr, bytes: &[u8]) {
        for (addr, &byte) in (addr..).zip(bytes) {
            let page = self.pages.entry(addr / PAGE * PAGE).or_insert([0; PAGE as usize]);
            page[(addr % PAGE) as usize] = byte;
        }
    }

    /// Writes a word.
    pub(crate) fn word(&mut self, addr: Addr, word: u64) {
        self.bytes(addr, &word.to_le_bytes());
    }

    /// Writes half a word.
    pub(crate) fn half(&mut self, addr: Addr, half: u32) {
        self.bytes(addr, &half.to_le_bytes());
    }

    /// Makes all pages of a range be there.
    pub(crate) fn map(&mut self, range: std::ops::Range<Addr>) {
        range.step_by(PAGE as usize).for_each(|page| self.bytes(page, &[0]));
    }

    /// Writes chunk after chunk, each a size and whether it is in use, and returns where each stands.
    pub(crate) fn chunks(&mut self, base: Addr, chunks: &[(u64, bool)]) -> Vec<Addr> {
        let (mut addr, mut pinuse, mut addrs) = (base, PINUSE, Vec::new());
        for &(size, used) in chunks {
            self.word(addr + 8, size | pinuse | if used { CINUSE } else { 0 });
            addrs.push(addr);
            addr += size;
            pinuse = if used { PINUSE } else { 0 };
            if !used {
                self.word(addr, size);
            }
        }
        addrs
    }

    /// Links free chunks and the head of their bin into a ring.
    pub(crate) fn ring(&mut self, ring: &[Addr]) {
        for (at, &chunk) in ring.iter().enumerate() {
            self.word(chunk + 16, ring[(at + 1) % ring.len()]);
            self.word(chunk + 24, ring[(at + ring.len() - 1) % ring.len()]);
        }
    }

    /// The description that `targets::memory::Pages` reads.
    pub(crate) fn describe(&self, interest: Addr) -> Vec<u8> {
        let mut out = interest.to_le_bytes().to_vec();
        out.push(self.pages.len() as u8);
        out.extend(self.pages.keys().flat_map(|page| page.to_le_bytes()));
        let words = self.pages.values().flat_map(|page| page.chunks_exact(8));
        for (place, word) in words.enumerate().filter(|(_, word)| *word != [0; 8]) {
            out.extend((place as u16).to_le_bytes());
            out.extend(word);
        }
        out
    }
}
