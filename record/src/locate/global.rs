//! From a `malloc_state` to the VM it serves: `GG_State`, and in it `allocf`, the collector and the object layout.

use shared::Addr;
use shared::heap::layout::INUSE;

use crate::target::{Mapping, Memory};

/// A VM's global state, as far as the recorder needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Global {
    /// The main thread's `lua_State`.
    pub main_thread: Addr,
    /// `global_State`.
    pub addr: Addr,
    /// The words `allocf, allocd` in it; the collector's state follows them.
    pub alloc: Addr,
    /// `lj_alloc_f`.
    pub allocf: Addr,
    /// 64-bit object references.
    pub gc64: bool,
}

/// Why there is no VM on a `malloc_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoGlobal {
    /// The chunk behind it holds no `GG_State` (yet).
    NotThere,
    /// There is one, but its `allocf` is not code that could be `lj_alloc_f`.
    CustomAllocator,
}

/// `sizeof(lua_State)` seen: 64 to 112 bytes; `global_State` stands right behind it.
const SEARCH_BYTES: usize = 512;

impl Global {
    /// The collector's two first words, `gc.total` and `gc.threshold`: `GCSize` is 64 bit in GC64 builds, else 32.
    pub fn gc_counters(&self, memory: &impl Memory) -> Option<(u64, u64)> {
        let mut bytes = [0; 16];
        let (gc, size) = (self.alloc.wrapping_add(16), if self.gc64 { 8 } else { 4 });
        memory.read(gc, &mut bytes[..2 * size]).ok()?;
        let counter = |at: usize| {
            let mut word = [0; 8];
            word[..size].copy_from_slice(&bytes[at..at + size]);
            u64::from_le_bytes(word)
        };
        Some((counter(0), counter(size)))
    }
}

/// The VM whose allocator state is at `mstate`.
pub fn find(mstate: Addr, memory: &impl Memory, mappings: &[Mapping]) -> Result<Global, NoGlobal> {
    let head = memory.word(mstate.wrapping_sub(8)).ok_or(NoGlobal::NotThere)?;
    let main_thread = mstate.wrapping_add(head & !INUSE);
    let mut bytes = [0; SEARCH_BYTES];
    memory.read(main_thread, &mut bytes).map_err(|_| NoGlobal::NotThere)?;
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
    let at = (8..SEARCH_BYTES - 16).step_by(8).find(|&at| word(at + 8) == mstate).ok_or(NoGlobal::NotThere)?;
    let (allocf, alloc) = (word(at), main_thread.wrapping_add(at as u64));
    if !mappings.iter().any(|mapping| mapping.executable && mapping.contains(allocf)) {
        return Err(NoGlobal::CustomAllocator);
    }
    // lua_State.glref points to global_State: a 64-bit word at 16 in GC64 builds, a 32-bit one at 8 in others. Since
    // 2020 global_State starts with allocf; before, with the string table's 16 bytes.
    let references = [(true, word(16)), (false, word(8) & 0xffff_ffff)];
    let (gc64, addr) = references
        .into_iter()
        .find(|&(_, reference)| reference == alloc || reference == alloc.wrapping_sub(16))
        .ok_or(NoGlobal::NotThere)?;
    Ok(Global { main_thread, addr, alloc, allocf, gc64 })
}
