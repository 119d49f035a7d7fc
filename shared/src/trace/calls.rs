//! A block of calls: columns of small numbers, so that zstd finds what repeats.

use super::BadPayload;
use super::varint::{Cursor, put, put_signed};
use crate::call::{Call, CallKind, Event, MapCall, MapOp};
use crate::{Addr, Nanos};

/// A block holds at most this many calls.
pub const MAX_CALLS: usize = 64 << 10;
/// A block holds at most this many mapping calls.
pub const MAX_MAPS: usize = 64 << 10;

/// How a call is stored; the number in the kinds column.
const FREE: u8 = 0;
const ALLOC: u8 = 1;
const RESIZE: u8 = 2;
/// All three registers as they are: for what LuaJIT does not do and a register may hold all the same.
const ODD: u8 = 3;

/// Collects one VM's calls and mapping calls, in order, and writes them as a payload.
#[derive(Debug, Default)]
pub struct Encoder {
    kinds: Vec<u8>,
    times: Vec<u8>,
    nsizes: Vec<u8>,
    ptrs: Vec<u8>,
    osizes: Vec<u8>,
    maps: Vec<u8>,
    map_count: usize,
    calls_at_last_map: usize,
    start: Nanos,
    last_us: u64,
    end_us: u64,
    last_ptr: Addr,
}

impl Encoder {
    /// Calls so far.
    pub fn calls(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.map_count == 0
    }

    /// Whether the block must be written before another event is pushed.
    pub fn is_full(&self) -> bool {
        self.kinds.len() >= MAX_CALLS || self.map_count >= MAX_MAPS
    }

    /// The first and the last moment in it.
    pub fn time(&self) -> (Nanos, Nanos) {
        (self.start, self.end_us * 1000)
    }

    /// Microseconds since the event before; a clock that steps back is held.
    fn elapsed_us(&mut self, time: Nanos) -> u64 {
        let delta = self.note_time(time).saturating_sub(self.last_us);
        self.last_us += delta;
        delta
    }

    /// The moment in microseconds; the first one starts the block.
    fn note_time(&mut self, time: Nanos) -> u64 {
        let us = time / 1000;
        if self.is_empty() {
            self.start = us * 1000;
            self.last_us = us;
        }
        self.end_us = self.end_us.max(us);
        us
    }

    fn put_ptr(&mut self, ptr: Addr) {
        put_signed(&mut self.ptrs, (ptr.wrapping_sub(self.last_ptr) as i64) >> 3);
        self.last_ptr = ptr;
    }

    /// Appends a call.
    #[inline]
    pub fn push_call(&mut self, call: &Call) {
        let delta = self.elapsed_us(call.time);
        put(&mut self.times, delta);
        let plain = call.ptr.is_multiple_of(8) && (call.ptr != 0 || call.osize == 0);
        let kind = match call.kind() {
            _ if !plain => ODD,
            CallKind::Free if call.ptr == 0 => ODD,
            CallKind::Free => FREE,
            CallKind::Alloc => ALLOC,
            CallKind::Resize => RESIZE,
        };
        self.kinds.push(kind);
        if kind == ODD {
            put(&mut self.nsizes, call.nsize);
            put(&mut self.ptrs, call.ptr);
            put(&mut self.osizes, call.osize);
            return;
        }
        if kind != FREE {
            put(&mut self.nsizes, call.nsize);
        }
        if kind != ALLOC {
            self.put_ptr(call.ptr);
            put(&mut self.osizes, call.osize);
        }
    }

    /// Appends a mapping call; it follows the calls pushed so far.
    pub fn push_map(&mut self, map: &MapCall) {
        let us = self.note_time(map.time);
        put(&mut self.maps, (self.kinds.len() - self.calls_at_last_map) as u64);
        self.maps.push(map.op as u8);
        for value in [us.saturating_sub(self.start / 1000), map.addr, map.len, map.new_len, map.result] {
            put(&mut self.maps, value);
        }
        self.calls_at_last_map = self.kinds.len();
        self.map_count += 1;
    }

    /// The payload; the encoder is empty afterwards.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.kinds.len() * 8 + self.maps.len() + 64);
        put(&mut out, self.map_count as u64);
        let columns = [&self.kinds, &self.times, &self.nsizes, &self.ptrs, &self.osizes, &self.maps];
        for column in columns {
            put(&mut out, column.len() as u64);
        }
        for column in columns {
            out.extend_from_slice(column);
        }
        for column in
            [&mut self.kinds, &mut self.times, &mut self.nsizes, &mut self.ptrs, &mut self.osizes, &mut self.maps]
        {
            column.clear();
        }
        (self.map_count, self.calls_at_last_map) = (0, 0);
        (self.start, self.last_us, self.end_us, self.last_ptr) = (0, 0, 0, 0);
        out
    }
}

/// A decoded block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    /// The calls, in order.
    pub calls: Vec<Call>,
    /// The mapping calls, in order, each with the number of calls of this block before it.
    pub maps: Vec<(u32, MapCall)>,
}

impl Block {
    /// Reads a payload; `count` and `start` are the frame head's.
    pub fn decode(payload: &[u8], count: u32, start: Nanos) -> Result<Block, BadPayload> {
        let mut cursor = Cursor::new(payload, "calls");
        let map_count = cursor.get()?;
        let mut lengths = [0; 6];
        for length in &mut lengths {
            *length = cursor.get()?;
        }
        let mut columns = Vec::with_capacity(6);
        for length in lengths {
            columns.push(cursor.take(length)?);
        }
        cursor.end()?;
        let [kinds, times, nsizes, ptrs, osizes, maps] = &mut columns[..] else {
            return Err(BadPayload("calls: six columns expected".into()));
        };
        let count = count as usize;
        if kinds.left() != count || count > MAX_CALLS || map_count > MAX_MAPS as u64 {
            return Err(BadPayload(format!(
                "calls: {} kinds and {map_count} mapping calls for {count} calls; at most {MAX_CALLS} fit",
                kinds.left()
            )));
        }
        let mut calls = Vec::with_capacity(count);
        let (mut us, mut last_ptr) = (start / 1000, 0u64);
        for _ in 0..count {
            us = us.saturating_add(times.get()?);
            let time = us.saturating_mul(1000);
            let kind = kinds.byte()?;
            let nsize = if kind == FREE { 0 } else { nsizes.get()? };
            let (ptr, osize) = match kind {
                ALLOC => (0, 0),
                FREE | RESIZE => {
                    last_ptr = last_ptr.wrapping_add((ptrs.get_signed()? << 3) as u64);
                    (last_ptr, osizes.get()?)
                }
                ODD => (ptrs.get()?, osizes.get()?),
                other => return Err(BadPayload(format!("calls: kind {other} is unknown"))),
            };
            calls.push(Call { time, ptr, osize, nsize });
        }
        let maps = decode_maps(maps, map_count, count, start)?;
        for column in &columns {
            column.end()?;
        }
        Ok(Block { calls, maps })
    }

    /// Everything in it, in order.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        let mut maps = self.maps.iter().peekable();
        let mut calls = self.calls.iter().enumerate().peekable();
        std::iter::from_fn(move || {
            let before = calls.peek().map_or(u32::MAX, |&(i, _)| i as u32);
            match maps.next_if(|&&(after, _)| after <= before) {
                Some((_, map)) => Some(Event::Map(*map)),
                None => calls.next().map(|(_, call)| Event::Call(*call)),
            }
        })
    }
}

fn decode_maps(
    column: &mut Cursor<'_>,
    map_count: u64,
    count: usize,
    start: Nanos,
) -> Result<Vec<(u32, MapCall)>, BadPayload> {
    let mut maps = Vec::new();
    let mut after = 0u64;
    for _ in 0..map_count {
        after = after.saturating_add(column.get()?);
        if after > count as u64 {
            return Err(BadPayload(format!("calls: a mapping call after call {after} of {count}")));
        }
        let op = match column.byte()? {
            0 => MapOp::Map,
            1 => MapOp::Unmap,
            2 => MapOp::Remap,
            other => return Err(BadPayload(format!("calls: mapping call {other} is unknown"))),
        };
        let time = (start / 1000).saturating_add(column.get()?).saturating_mul(1000);
        let (addr, len, new_len, result) = (column.get()?, column.get()?, column.get()?, column.get()?);
        maps.push((after as u32, MapCall { time, op, addr, len, new_len, result }));
    }
    Ok(maps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event() -> impl Strategy<Value = Event> {
        let number = || prop_oneof![0..4096u64, any::<u64>()];
        let call = (0..1u64 << 40, number(), number(), number())
            .prop_map(|(us, ptr, osize, nsize)| Event::Call(Call { time: us * 1000, ptr, osize, nsize }));
        let op = prop_oneof![Just(MapOp::Map), Just(MapOp::Unmap), Just(MapOp::Remap)];
        let map = (0..1u64 << 40, op, number(), number(), number(), number()).prop_map(
            |(us, op, addr, len, new_len, result)| {
                Event::Map(MapCall { time: us * 1000, op, addr, len, new_len, result })
            },
        );
        prop_oneof![9 => call, 1 => map]
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(mut events in proptest::collection::vec(event(), 0..300)) {
            events.sort_by_key(Event::time);
            let mut encoder = Encoder::default();
            for event in &events {
                match event {
                    Event::Call(call) => encoder.push_call(call),
                    Event::Map(map) => encoder.push_map(map),
                }
            }
            let (count, start) = (encoder.calls() as u32, encoder.time().0);
            let payload = encoder.finish();
            prop_assert!(encoder.is_empty());
            let block = Block::decode(&payload, count, start).unwrap();
            prop_assert_eq!(block.events().collect::<Vec<_>>(), events);
        }

        #[test]
        fn any_bytes_decode_or_fail(payload: Vec<u8>, count in 0..100u32) {
            let _ = Block::decode(&payload, count, 0);
        }
    }
}
