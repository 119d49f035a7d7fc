//! The model's heap against a real one.

use std::cmp::Ordering;

use schemars::JsonSchema;
use serde::Serialize;
use shared::call::{Call, CallKind};
use shared::heap::{Chunk, Heap};

/// How a keyframe differs from what the replay arrived at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Comparison {
    /// Chunks in the real heap.
    pub chunks: u64,
    /// Chunks that are in one heap only, or differ in address, size or use.
    pub differing_chunks: u64,
    /// Direct blocks in the real heap.
    pub direct: u64,
    /// Direct blocks that are in one heap only, or differ.
    pub differing_direct: u64,
    /// What else differs, by name.
    pub differing: Vec<&'static str>,
}

impl Comparison {
    /// No difference at all.
    pub fn is_exact(&self) -> bool {
        self.differing_chunks == 0 && self.differing_direct == 0 && self.differing.is_empty()
    }

    /// Compares everything but `gc.total`.
    pub fn of(replayed: &Heap, real: &Heap) -> Comparison {
        let checks = [
            ("segments", replayed.segments == real.segments),
            ("bins", replayed.binned == real.binned),
            ("dv", replayed.dv == real.dv),
            ("top", replayed.top == real.top),
            ("trim_check", replayed.trim_check == real.trim_check),
            ("release_checks", replayed.release_checks == real.release_checks),
        ];
        Comparison {
            chunks: real.chunks.len() as u64,
            differing_chunks: differing(&replayed.chunks, &real.chunks, |chunk: &Chunk| chunk.addr),
            direct: real.direct.len() as u64,
            differing_direct: differing(&replayed.direct, &real.direct, |direct| direct.base),
            differing: checks.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect(),
        }
    }
}

/// How many keys have no equal item in both sorted lists.
fn differing<T: PartialEq>(a: &[T], b: &[T], key: impl Fn(&T) -> u64) -> u64 {
    let (mut i, mut j, mut count) = (0, 0, 0);
    while i < a.len() || j < b.len() {
        let order = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => key(x).cmp(&key(y)),
            (Some(_), None) => Ordering::Less,
            _ => Ordering::Greater,
        };
        count += u64::from(order != Ordering::Equal || a[i] != b[j]);
        i += usize::from(order != Ordering::Greater);
        j += usize::from(order != Ordering::Less);
    }
    count
}

/// What `gc.total` may be off by at a keyframe, because of the calls next to it: LuaJIT counts an allocation after
/// the allocator has returned and a free before it is called (`lj_mem_realloc`, `lj_mem_free` in `lj_gc.c`), so a
/// stop may fall between the two.
pub fn in_flight(before: Option<Call>, after: Option<Call>) -> [u64; 3] {
    let counted_late =
        before.filter(|call| call.kind() != CallKind::Free).map(|call| call.nsize.wrapping_sub(call.osize));
    let counted_early = after.filter(|call| call.kind() == CallKind::Free).map(|call| call.osize);
    [0, counted_late.unwrap_or(0).wrapping_neg(), counted_early.unwrap_or(0).wrapping_neg()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_counted_by_address() {
        let chunk = |addr, size| Chunk { addr, size, used: true };
        let a = [chunk(0, 32), chunk(32, 32), chunk(64, 64)];
        let b = [chunk(0, 32), chunk(32, 96), chunk(160, 32)];
        assert_eq!(differing(&a, &b, |chunk| chunk.addr), 3);
        assert_eq!(differing(&a, &a, |chunk| chunk.addr), 0);
    }
}
