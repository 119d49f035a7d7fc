//! The kernel, simulated: a map of what is mapped, results by chance, and a log of them for the model.

use analyze::model::System;
use shared::Addr;
use shared::heap::layout::PAGE;
use std::collections::{BTreeMap, VecDeque};

/// Chances in percent.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) map_fails: u64,
    pub(crate) map_is_adjacent: u64,
    pub(crate) unmap_fails: u64,
    pub(crate) remap_fails: u64,
    pub(crate) remap_moves: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Request {
    Map(u64),
    Unmap(Addr, u64),
    Remap(Addr, u64, u64),
}

pub(crate) struct Kernel {
    pub(crate) policy: Policy,
    pub(crate) random: u64,
    pub(crate) mapped: BTreeMap<Addr, u64>,
    pub(crate) log: VecDeque<(Request, Option<Addr>)>,
}

impl Kernel {
    fn below(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.random >> 24) % n
    }

    fn is_free(&self, base: Addr, len: u64) -> bool {
        base >= PAGE && self.mapped.range(..base + len).next_back().is_none_or(|(&b, &l)| b + l <= base)
    }

    fn place(&mut self, len: u64) -> Option<Addr> {
        if len == 0 || len > 1 << 40 {
            return None;
        }
        if self.below(100) < self.policy.map_is_adjacent {
            let pick = self.below(self.mapped.len() as u64) as usize;
            let (&base, &size) = self.mapped.iter().nth(pick).unwrap();
            let side = if self.below(2) == 0 { base + size } else { base.saturating_sub(len) };
            if self.is_free(side, len) {
                return Some(side);
            }
        }
        loop {
            let far = (1 << 32) + self.below(1 << 33) * PAGE;
            if self.is_free(far, len) {
                return Some(far);
            }
        }
    }

    pub(crate) fn map(&mut self, len: u64) -> Option<Addr> {
        let base = if self.below(100) < self.policy.map_fails { None } else { self.place(len) };
        self.mapped.extend(base.map(|base| (base, len)));
        self.log.push_back((Request::Map(len), base));
        base
    }

    pub(crate) fn unmap(&mut self, base: Addr, len: u64) -> bool {
        let done = self.below(100) >= self.policy.unmap_fails;
        if done {
            self.forget(base, len);
        }
        self.log.push_back((Request::Unmap(base, len), done.then_some(0)));
        done
    }

    /// A stretch may cover several mappings, and begin or end inside of one.
    fn forget(&mut self, base: Addr, len: u64) {
        let end = base + len;
        for (b, l) in self.mapped.range(..end).map(|(&b, &l)| (b, l)).collect::<Vec<_>>() {
            if b + l > base {
                self.mapped.remove(&b);
                if b < base {
                    self.mapped.insert(b, base - b);
                }
                if b + l > end {
                    self.mapped.insert(end, b + l - end);
                }
            }
        }
    }

    pub(crate) fn remap(&mut self, base: Addr, len: u64, new_len: u64, may_move: bool) -> Option<Addr> {
        let mut to = None;
        if new_len != 0 && new_len < 1 << 40 && self.below(100) >= self.policy.remap_fails {
            let stays = new_len <= len || self.is_free(base + len, new_len - len);
            let moves = may_move && (!stays || self.below(100) < self.policy.remap_moves);
            to = if moves { self.place(new_len) } else { stays.then_some(base) };
        }
        if let Some(to) = to {
            self.forget(base, len);
            self.mapped.insert(to, new_len);
        }
        self.log.push_back((Request::Remap(base, len, new_len), to));
        to
    }
}

/// What the twin's system calls returned, for the model to ask for in the same order.
pub(crate) struct Replay<'a>(pub(crate) &'a mut VecDeque<(Request, Option<Addr>)>);

impl Replay<'_> {
    fn next(&mut self, request: Request) -> Option<Addr> {
        let (expected, result) = self.0.pop_front().expect("the model makes a system call that the twin did not");
        assert_eq!(request, expected);
        result
    }
}

impl System for Replay<'_> {
    fn map(&mut self, len: u64) -> Option<Addr> {
        self.next(Request::Map(len))
    }
    fn unmap(&mut self, base: Addr, len: u64) -> bool {
        self.next(Request::Unmap(base, len)).is_some()
    }
    fn remap(&mut self, base: Addr, len: u64, new_len: u64) -> Option<Addr> {
        self.next(Request::Remap(base, len, new_len))
    }
    fn unmaps_next(&self, base: Addr, len: u64) -> bool {
        self.0.front().is_some_and(|&(request, _)| request == Request::Unmap(base, len))
    }
}
