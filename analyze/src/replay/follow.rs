//! Memory between two windows: no calls are recorded there, but each mapping call of the allocator is, so that the
//! memory it has mapped is known all the time. That can be checked at the next keyframe.

use shared::call::{MapCall, MapOp};

use crate::model::Totals;

/// Mapped memory behind a window, by what was mapped at its end and the mapping calls since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    /// Segments and direct blocks, in bytes.
    pub bytes: u64,
    /// What else it may be: mapping calls that stand behind the window's last call, and not behind its end, may be the
    /// allocator's of calls made while the window was being closed, or the program's own.
    pub or: u64,
}

impl Followed {
    /// Whether that is what a keyframe says.
    pub fn arrives_at(&self, mapped: u64) -> bool {
        self.bytes == mapped || self.or == mapped
    }
}

/// Bytes mapped for segments and direct blocks.
pub fn mapped(totals: &Totals) -> u64 {
    totals.segment_bytes.wrapping_add(totals.direct_bytes)
}

/// What a mapping call adds to mapped memory, modulo 2^64; nothing if it failed.
pub fn change(map: &MapCall) -> u64 {
    match (map.ok(), map.op) {
        (None, _) => 0,
        (Some(_), MapOp::Map) => map.len,
        (Some(_), MapOp::Unmap) => map.len.wrapping_neg(),
        (Some(_), MapOp::Remap) => map.new_len.wrapping_sub(map.len),
    }
}

/// What mapping calls add together.
pub fn changes<'a>(maps: impl IntoIterator<Item = &'a MapCall>) -> u64 {
    maps.into_iter().map(change).fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapping_calls_sum_up() {
        let call =
            |op, len, new_len, result: i64| MapCall { time: 0, op, addr: 0, len, new_len, result: result as u64 };
        let calls = [
            call(MapOp::Map, 8192, 0, 0x7000_0000),
            call(MapOp::Map, 4096, 0, -12),
            call(MapOp::Remap, 8192, 12_288, 0x7000_0000),
            call(MapOp::Unmap, 4096, 0, 0),
        ];
        assert_eq!(changes(&calls), 8192);
        assert!(Followed { bytes: 1, or: 2 }.arrives_at(2) && !Followed { bytes: 1, or: 2 }.arrives_at(3));
    }
}
