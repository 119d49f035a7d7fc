//! An exact heap state inside a trace.

use super::BadPayload;
use super::pack::{pack_one, unpack_one};
use super::varint::{Cursor, put, put_signed};
use crate::Addr;
use crate::heap::{Chunk, Direct, Heap, Segment};

/// A heap at a moment at which its whole process stood still, and what that cost the process. Every event of its VM
/// that precedes it in the file happened before, every later one after.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keyframe {
    /// The heap.
    pub heap: Heap,
    /// The stop it was taken in.
    pub pause: Pause,
}

/// What a keyframe's stop cost the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pause {
    /// How long the process stood still, from the first thread stopped to the last released, in nanoseconds;
    /// stops given up because a thread was inside the allocator are included.
    pub stopped_ns: u64,
    /// How many stops it took.
    pub stops: u64,
    /// Bytes copied during the last one, for all VMs of the process.
    pub copied_bytes: u64,
}

impl Keyframe {
    /// The payload. The frame's `count` is the number of chunks.
    pub fn encode(&self) -> Vec<u8> {
        let Keyframe { heap, pause } = self;
        let mut out = Vec::with_capacity(heap.chunks.len() + heap.binned.len() * 3 + 1024);
        for value in [pause.stopped_ns, pause.stops, pause.copied_bytes] {
            put(&mut out, value);
        }
        for value in [heap.mstate, heap.gc_total, heap.gc_threshold, heap.trim_check, heap.release_checks] {
            put(&mut out, value);
        }
        put(&mut out, heap.dv);
        put(&mut out, heap.top);
        put(&mut out, heap.segments.len() as u64);
        for segment in &heap.segments {
            put(&mut out, segment.base);
            put(&mut out, segment.size);
            put(&mut out, segment.record);
        }
        // Chunks tile their segments: only where one does not follow the one before is its address told.
        put(&mut out, heap.chunks.len() as u64);
        let mut next = 0;
        for chunk in &heap.chunks {
            let follows = chunk.addr == next;
            put(&mut out, chunk.size >> 1 | u64::from(follows) << 1 | u64::from(chunk.used));
            if !follows {
                put(&mut out, chunk.addr);
            }
            next = chunk.addr.wrapping_add(chunk.size);
        }
        put(&mut out, heap.binned.len() as u64);
        let mut last = 0;
        for &addr in &heap.binned {
            put_signed(&mut out, (addr.wrapping_sub(last) as i64) >> 3);
            last = addr;
        }
        put(&mut out, heap.direct.len() as u64);
        for direct in &heap.direct {
            put(&mut out, direct.base);
            put(&mut out, direct.size);
        }
        pack_one(&out)
    }

    /// Reads a payload. Whether the heap makes sense is the reader's to check.
    pub fn decode(payload: &[u8]) -> Result<Keyframe, BadPayload> {
        let raw = unpack_one(payload, "keyframe")?;
        let mut cursor = Cursor::new(&raw, "keyframe");
        let mut next = || cursor.get();
        let pause = Pause { stopped_ns: next()?, stops: next()?, copied_bytes: next()? };
        let mut heap = Heap {
            mstate: next()?,
            gc_total: next()?,
            gc_threshold: next()?,
            trim_check: next()?,
            release_checks: next()?,
            dv: next()?,
            top: next()?,
            ..Heap::default()
        };
        heap.segments = list(&mut cursor, |cursor| {
            Ok(Segment { base: cursor.get()?, size: cursor.get()?, record: cursor.get()? })
        })?;
        for segment in &heap.segments {
            end("segment", segment.base, segment.size)?;
        }
        let mut next = 0u64;
        heap.chunks = list(&mut cursor, |cursor| {
            let word = cursor.get()?;
            let addr = if word & 2 != 0 { next } else { cursor.get()? };
            let Some(size) = (word & !3).checked_mul(2) else {
                return Err(BadPayload(format!("keyframe: chunk {addr:#x} is larger than memory")));
            };
            next = end("chunk", addr, size)?;
            Ok(Chunk { addr, size, used: word & 1 != 0 })
        })?;
        let mut last = 0u64;
        heap.binned = list(&mut cursor, |cursor| {
            last = last.wrapping_add((cursor.get_signed()? << 3) as u64);
            Ok(last)
        })?;
        heap.direct = list(&mut cursor, |cursor| Ok(Direct { base: cursor.get()?, size: cursor.get()? }))?;
        for direct in &heap.direct {
            end("direct block", direct.base, direct.size)?;
        }
        cursor.end()?;
        Ok(Keyframe { heap, pause })
    }
}

/// Where something ends, which must be an address.
fn end(what: &str, addr: Addr, size: u64) -> Result<Addr, BadPayload> {
    addr.checked_add(size).ok_or_else(|| BadPayload(format!("keyframe: {what} {addr:#x} ends beyond memory")))
}

/// A count, then that many items of at least a byte each.
fn list<T>(
    cursor: &mut Cursor<'_>,
    mut item: impl FnMut(&mut Cursor<'_>) -> Result<T, BadPayload>,
) -> Result<Vec<T>, BadPayload> {
    let count = cursor.get()?;
    if count > cursor.left() as u64 {
        return Err(BadPayload(format!("keyframe: {count} items in {} bytes", cursor.left())));
    }
    (0..count).map(|_| item(cursor)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            chunks in vec((0..1u64 << 47, 1..1u64 << 32, any::<bool>()), 0..50),
            segments in vec((0..1u64 << 47, 0..1u64 << 40, any::<u64>()), 0..5),
            binned in vec(0..1u64 << 60, 0..20),
            state: [u64; 7],
        ) {
            let heap = Heap {
                mstate: state[0], gc_total: state[1], gc_threshold: state[2], trim_check: state[3],
                release_checks: state[4], dv: state[5], top: state[6],
                segments: segments.into_iter().map(|(base, size, record)| Segment { base, size, record }).collect(),
                chunks: chunks.into_iter().map(|(a, s, used)| Chunk { addr: a, size: s * 8, used }).collect(),
                binned: binned.into_iter().map(|a| a * 8).collect(),
                direct: vec![Direct { base: 4096, size: 8192 }],
            };
            let keyframe = Keyframe { heap, pause: Pause { stopped_ns: 1, stops: 2, copied_bytes: 3 } };
            prop_assert_eq!(Keyframe::decode(&keyframe.encode()), Ok(keyframe));
        }

        #[test]
        fn any_bytes_decode_or_fail(payload: Vec<u8>) {
            let _ = Keyframe::decode(&payload);
        }
    }
}
