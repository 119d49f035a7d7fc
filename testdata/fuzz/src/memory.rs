//! A target's memory made of bytes, for whatever walks foreign memory.
//!
//! The input: an address of interest (8 bytes), the number of pages (1 byte, at most 128 count), their addresses
//! (8 bytes each, rounded down to pages), then the words that are not zero: where (2 bytes, word 512 p + w is word w
//! of page p in ascending order), what (8 bytes). All little endian. What is missing at the end is not there.

use std::io;

use record::target::Memory;
use shared::Addr;
use shared::heap::layout::PAGE;
use shared::heap::walk::Unreadable;

const PAGE_BYTES: usize = PAGE as usize;
const MAX_PAGES: usize = 128;

/// Some pages at some addresses.
#[derive(Debug)]
pub struct Pages {
    /// Ascending.
    addrs: Vec<Addr>,
    bytes: Vec<u8>,
}

impl Pages {
    /// The address of interest and the pages described.
    pub fn parse(mut input: &[u8]) -> Option<(Addr, Pages)> {
        let interest = u64::from_le_bytes(take(&mut input)?);
        let [count] = take(&mut input)?;
        let mut addrs: Vec<Addr> = std::iter::from_fn(|| take(&mut input))
            .take(usize::from(count).min(MAX_PAGES))
            .map(|bytes| u64::from_le_bytes(bytes) & !(PAGE - 1))
            .collect();
        addrs.sort_unstable();
        addrs.dedup();
        let mut bytes = vec![0; addrs.len() * PAGE_BYTES];
        while let (Some(place), Some(word)) = (take::<2>(&mut input), take::<8>(&mut input)) {
            let at = usize::from(u16::from_le_bytes(place)) * 8;
            if let Some(place) = bytes.get_mut(at..at + 8) {
                place.copy_from_slice(&word);
            }
        }
        Some((interest, Pages { addrs, bytes }))
    }

    /// The pages: address and contents, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (Addr, &[u8])> {
        self.addrs.iter().copied().zip(self.bytes.chunks_exact(PAGE_BYTES))
    }

    /// [`Memory::read`] in the form the heap's walk takes.
    pub fn reader(&self) -> impl Fn(Addr, &mut [u8]) -> Result<(), Unreadable> {
        |addr, bytes| self.read(addr, bytes).map_err(|_| Unreadable)
    }
}

impl Memory for Pages {
    fn read(&self, addr: Addr, bytes: &mut [u8]) -> io::Result<()> {
        let (mut addr, mut rest) = (addr, bytes);
        while !rest.is_empty() {
            let in_page = (addr % PAGE) as usize;
            let page = self.addrs.binary_search(&(addr - addr % PAGE)).map_err(|_| io::ErrorKind::AddrNotAvailable)?;
            let (now, later) = rest.split_at_mut(rest.len().min(PAGE_BYTES - in_page));
            let start = page * PAGE_BYTES + in_page;
            now.copy_from_slice(&self.bytes[start..start + now.len()]);
            addr = addr.wrapping_add(now.len() as u64);
            rest = later;
        }
        Ok(())
    }
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*taken)
}
