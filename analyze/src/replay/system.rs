//! What the system calls behind one allocator call returned, as the trace tells.

use shared::Addr;
use shared::call::{MapCall, MapOp};

use super::follow::{change, changes};
use crate::model::System;

/// The mapping calls between one call at the door and the next. Not all need be the allocator's: what it does not
/// ask for is passed over.
#[derive(Debug, Default)]
pub struct Recorded {
    maps: Vec<MapCall>,
    at: usize,
    /// How many of them stand behind the window that the call belongs to.
    late: usize,
    /// What those that were taken of these add to mapped memory.
    taken_late: u64,
    /// What the allocator must have called and the trace does not tell of.
    pub missing: Option<MissingMap>,
}

/// A mapping call that must have happened and is not in the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the allocator must have called {}({addr:#x}, {len}) here, but the trace does not tell of it", op.name())]
pub struct MissingMap {
    /// Which call.
    pub op: MapOp,
    /// Its address argument; 0 for `mmap`.
    pub addr: Addr,
    /// Its length.
    pub len: u64,
}

impl Recorded {
    /// Forgets what belonged to the call before.
    pub fn clear(&mut self) {
        if !self.maps.is_empty() || self.missing.is_some() {
            self.maps.clear();
            (self.at, self.late, self.taken_late) = (0, 0, 0);
            self.missing = None;
        }
    }

    /// Adds a mapping call behind the current call.
    pub fn push(&mut self, map: MapCall) {
        self.maps.push(map);
    }

    /// Adds mapping calls from behind the window that the current call, its last one, belongs to: a window may be closed
    /// between a call and its mapping calls.
    pub fn push_late(&mut self, maps: &[MapCall]) {
        self.maps.extend_from_slice(maps);
        self.late += maps.len();
    }

    /// What the mapping calls that were taken from behind the window add to mapped memory.
    pub fn taken_late(&self) -> u64 {
        self.taken_late
    }

    /// What those within the window that were not taken would add.
    pub fn left_over(&self) -> u64 {
        let own = self.maps.len() - self.late;
        changes(&self.maps[self.at.min(own)..own])
    }

    /// Goes on behind a mapping call.
    fn take(&mut self, index: usize) {
        if index + self.late >= self.maps.len() {
            self.taken_late = self.taken_late.wrapping_add(change(&self.maps[index]));
        }
        self.at = index + 1;
    }

    /// The next mapping call that `wanted` accepts; those before it are not the allocator's.
    fn next(&mut self, wanted: impl Fn(&MapCall) -> bool) -> Option<MapCall> {
        let found = self.at + self.maps[self.at..].iter().position(wanted)?;
        self.take(found);
        Some(self.maps[found])
    }

    fn miss(&mut self, op: MapOp, addr: Addr, len: u64) {
        self.missing.get_or_insert(MissingMap { op, addr, len });
    }
}

impl System for Recorded {
    /// Where object references are 32 bit, LuaJIT tries addresses until one suits it, and unmaps the others at once.
    fn map(&mut self, len: u64) -> Option<Addr> {
        let mut tries = 0;
        while let Some(map) = self.next(|map| map.op == MapOp::Map && map.len == len) {
            tries += 1;
            let Some(addr) = map.ok() else { continue };
            let rejected = |next: &MapCall| next.op == MapOp::Unmap && next.addr == addr && next.len == len;
            // Behind the window the block's own end may follow at once; LuaJIT would have tried again.
            let again = |next: &MapCall| next.op == MapOp::Map && next.len == len;
            let late = self.at + self.late > self.maps.len();
            let tried_again = !late || self.maps.get(self.at + 1).is_some_and(again);
            if self.maps.get(self.at).is_some_and(rejected) && tried_again {
                self.take(self.at);
                continue;
            }
            return Some(addr);
        }
        if tries == 0 {
            self.miss(MapOp::Map, 0, len);
        }
        None
    }

    fn unmap(&mut self, base: Addr, len: u64) -> bool {
        match self.next(|map| map.op == MapOp::Unmap && map.addr == base && map.len == len) {
            Some(map) => map.ok().is_some(),
            None => {
                self.miss(MapOp::Unmap, base, len);
                false
            }
        }
    }

    fn remap(&mut self, base: Addr, len: u64, new_len: u64) -> Option<Addr> {
        let wanted = |map: &MapCall| map.op == MapOp::Remap && (map.addr, map.len, map.new_len) == (base, len, new_len);
        match self.next(wanted) {
            Some(map) => map.ok(),
            None => {
                self.miss(MapOp::Remap, base, len);
                None
            }
        }
    }

    fn unmaps_next(&self, base: Addr, len: u64) -> bool {
        // Later ones may be of calls that were not recorded.
        let own = self.maps.len() - self.late;
        self.maps[self.at.min(own)..own].iter().any(|map| map.op == MapOp::Unmap && map.addr == base && map.len == len)
    }
}
