//! Finds the Lua VMs of a process: where their allocator's state is, which code serves it, and what they are called.

pub mod global;
pub mod lua;
pub mod mstate;

use shared::Addr;

use crate::target::{Mapping, Memory};
use global::{Global, NoGlobal};

/// A VM with LuaJIT's own allocator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundVm {
    /// Its `malloc_state`.
    pub mstate: Addr,
    /// Its global state.
    pub global: Global,
    /// `http` or `stream`, in nginx.
    pub subsystem: Option<String>,
    /// `_G.jit.version`.
    pub build: Option<String>,
}

/// What a process has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// VMs that can be recorded, by address.
    pub vms: Vec<FoundVm>,
    /// VMs whose `allocf` is not the built-in one.
    pub custom: usize,
    /// What looked like a VM's allocator, but was in disorder when it was looked at.
    pub unsettled: usize,
}

/// Looks through all anonymous memory that is in RAM.
pub fn vms(memory: &impl Memory, mappings: &[Mapping]) -> Found {
    let (mstates, unsettled) = mstate::scan(memory, mappings);
    let mut found = Found { unsettled, ..Found::default() };
    for mstate in mstates {
        match global::find(mstate, memory, mappings) {
            Ok(global) => {
                let (subsystem, build) = lua::Lua::new(memory, &global).label_and_build(&global);
                found.vms.push(FoundVm { mstate, global, subsystem, build });
            }
            Err(NoGlobal::CustomAllocator) => found.custom += 1,
            Err(NoGlobal::NotThere) => {}
        }
    }
    found
}
