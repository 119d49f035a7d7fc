//! Packed bytes, of which every payload consists: how long they are, and zstd's version of them where that is shorter.

use std::borrow::Cow;

use super::BadPayload;
use super::varint::{Cursor, put};

/// Nothing expands to more than the larger of this ...
const MAX_SMALL: u64 = 4 << 20;
/// ... and this many times its stored size; a writer stores what would as it is.
const MAX_RATIO: u64 = 128;
/// Below this zstd's own framing eats what it gains.
const MIN_COMPRESS: usize = 64;
/// zstd's level 1: higher ones gain little on columns of differences.
const LEVEL: i32 = 1;

/// Appends `raw`, packed: its length, the stored length or 0 for as it is, the stored bytes.
pub(super) fn pack(out: &mut Vec<u8>, raw: &[u8]) {
    put(out, raw.len() as u64);
    match compress(raw) {
        Some(stored) => {
            put(out, stored.len() as u64);
            out.extend_from_slice(&stored);
        }
        None => {
            put(out, 0);
            out.extend_from_slice(raw);
        }
    }
}

fn compress(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.len() < MIN_COMPRESS {
        return None;
    }
    let stored = zstd::bulk::compress(raw, LEVEL).ok()?;
    let expands_within_bounds = raw.len() as u64 <= MAX_SMALL.max(stored.len() as u64 * MAX_RATIO);
    (stored.len() < raw.len() && expands_within_bounds).then_some(stored)
}

/// The next packed bytes.
pub(super) fn unpack<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, [u8]>, BadPayload> {
    let (length, stored) = (cursor.get()?, cursor.get()?);
    if stored == 0 {
        return cursor.bytes(length).map(Cow::Borrowed);
    }
    let bytes = cursor.bytes(stored)?;
    if length > MAX_SMALL.max(stored * MAX_RATIO) {
        return Err(BadPayload(format!("{stored} packed bytes claim to hold {length}")));
    }
    let raw = zstd::bulk::decompress(bytes, length as usize)
        .map_err(|error| BadPayload(format!("packed bytes do not decompress: {error}")))?;
    if raw.len() as u64 != length {
        return Err(BadPayload(format!("packed bytes hold {} bytes, not {length}", raw.len())));
    }
    Ok(Cow::Owned(raw))
}

/// A payload that is one stretch of packed bytes, and its unpacking.
pub(super) fn pack_one(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() / 2 + 16);
    pack(&mut out, raw);
    out
}

/// The one stretch of packed bytes that a payload is; `what` names it in errors.
pub(super) fn unpack_one<'a>(payload: &'a [u8], what: &'static str) -> Result<Cow<'a, [u8]>, BadPayload> {
    let mut cursor = Cursor::new(payload, what);
    let raw = unpack(&mut cursor)?;
    cursor.end()?;
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(raw: Vec<u8>, times in 1..50usize) {
            let raw = raw.repeat(times);
            let packed = pack_one(&raw);
            prop_assert_eq!(&*unpack_one(&packed, "test").unwrap(), &raw[..]);
        }

        #[test]
        fn any_bytes_unpack_or_fail(payload: Vec<u8>) {
            let _ = unpack_one(&payload, "test");
        }
    }

    #[test]
    fn what_would_expand_too_far_is_stored_as_it_is() {
        let zeros = vec![0; (MAX_SMALL + 1) as usize];
        let packed = pack_one(&zeros);
        assert!(packed.len() > zeros.len());
        assert_eq!(unpack_one(&packed, "test").map(|raw| raw.len()), Ok(zeros.len()));
    }
}
