//! Calls at the allocator's one door, and the mapping calls made behind it.

use crate::{Addr, Nanos};

/// One passage through `lj_alloc_f(msp, ptr, osize, nsize)`. Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Call {
    /// When the probe was hit, rounded down to a multiple of 64 microseconds.
    pub time: Nanos,
    /// The block to free or resize; 0 to allocate.
    pub ptr: Addr,
    /// What the owner believes `ptr` holds.
    pub osize: u64,
    /// What is asked for; 0 to free.
    pub nsize: u64,
}

/// What a [`Call`] asks for, as `lj_alloc_f` itself decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// `nsize == 0`; of a null pointer it does nothing.
    Free,
    /// `ptr == 0`.
    Alloc,
    /// Anything else.
    Resize,
}

impl Call {
    /// What the call asks for.
    pub fn kind(&self) -> CallKind {
        match (self.ptr, self.nsize) {
            (_, 0) => CallKind::Free,
            (0, _) => CallKind::Alloc,
            _ => CallKind::Resize,
        }
    }
}

impl CallKind {
    /// The word used in every output.
    pub fn name(self) -> &'static str {
        match self {
            CallKind::Free => "free",
            CallKind::Alloc => "alloc",
            CallKind::Resize => "resize",
        }
    }
}

/// Which system call changed the address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MapOp {
    /// `mmap(addr, len, prot, ..)`
    Map,
    /// `munmap(addr, len)`
    Unmap,
    /// `mremap(addr, len, new_len, ..)`
    Remap,
}

impl MapOp {
    /// The system call's name.
    pub fn name(self) -> &'static str {
        match self {
            MapOp::Map => "mmap",
            MapOp::Unmap => "munmap",
            MapOp::Remap => "mremap",
        }
    }
}

/// A mapping system call that a thread made after its last [`Call`], with its result. It need not be the
/// allocator's: the replay takes those it needs and passes over the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MapCall {
    /// When it returned, rounded down to a multiple of 64 microseconds.
    pub time: Nanos,
    /// Which one.
    pub op: MapOp,
    /// The address argument (for `mmap` a hint, often 0).
    pub addr: Addr,
    /// The (old) length in bytes.
    pub len: u64,
    /// `mremap`: the new length in bytes. Else 0.
    pub new_len: u64,
    /// The raw result register: an address, 0, or a negated errno.
    pub result: u64,
}

impl MapCall {
    /// The result, or `None` if the kernel refused. Linux returns errors as -4095..=-1 (`MAX_ERRNO`).
    pub fn ok(&self) -> Option<u64> {
        (self.result < (-4095i64) as u64).then_some(self.result)
    }
}

/// One entry of a VM's stream, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A passage through the door.
    Call(Call),
    /// A mapping call made behind it.
    Map(MapCall),
}

impl Event {
    /// When it happened.
    pub fn time(&self) -> Nanos {
        match self {
            Event::Call(c) => c.time,
            Event::Map(m) => m.time,
        }
    }
}
