//! A block of calls: columns of small numbers, so that zstd finds what repeats.
//!
//! What costs most is which block a call frees or resizes. LuaJIT's sweep frees objects newest first, and the newest of
//! a row was cut from behind the one before: so the guess is that a call's block ends where the last call's began. Only
//! the difference is stored, byte by byte in columns of their own. Each column is packed on its own, because their
//! statistics differ.

use std::borrow::Cow;

use super::BadPayload;
use super::pack::{pack, unpack};
use super::varint::{Cursor, put};
use crate::call::{Call, CallKind, Event, MapCall, MapOp};
use crate::heap::layout::request_to_chunk;
use crate::{Addr, Nanos};

/// A block holds at most this many calls.
pub const MAX_CALLS: usize = 64 << 10;
/// A block holds at most this many mapping calls.
pub const MAX_MAPS: usize = 64 << 10;
/// Times of events are multiples of this. Microseconds would take a quarter of a byte a call, to tell apart calls
/// of which a busy program makes one a microsecond.
pub const TICK: Nanos = 64_000;

/// How a call is stored; the number in the kinds column.
const FREE: u8 = 0;
const ALLOC: u8 = 1;
const RESIZE: u8 = 2;
/// All three registers as they are: for what LuaJIT does not do and a register may hold all the same.
const ODD: u8 = 3;

/// The columns, in their order in the payload.
const COLUMNS: usize = 10;
const KINDS: usize = 0;
/// Pairs: ticks since the pair before, how many calls then.
const TICKS: usize = 1;
const NSIZES: usize = 2;
/// Of an ODD call its `ptr` follows, as it is.
const OSIZES: usize = 3;
/// How many bytes the guess is off by.
const PTR_LENGTHS: usize = 4;
/// The first of those bytes, the second, the third, and all others.
const PTR_BYTES: [usize; 4] = [5, 6, 7, 8];
const MAPS: usize = 9;

/// Where the block of a free or resize is guessed to be, after one at `last`.
fn guess(last: Addr, osize: u64) -> Addr {
    last.wrapping_sub(request_to_chunk(osize))
}

/// Collects one VM's calls and mapping calls, in order, and writes them as a payload.
#[derive(Debug, Default)]
pub struct Encoder {
    columns: [Vec<u8>; COLUMNS],
    map_count: usize,
    calls_at_last_map: usize,
    /// In ticks: the first event, the last one, and the calls not yet in the column.
    start: u64,
    end: u64,
    tick: u64,
    tick_in_column: u64,
    calls_in_tick: u64,
    last_ptr: Addr,
}

impl Encoder {
    /// Calls so far.
    pub fn calls(&self) -> usize {
        self.columns[KINDS].len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.calls() == 0 && self.map_count == 0
    }

    /// Whether the block must be written before another event is pushed.
    pub fn is_full(&self) -> bool {
        self.calls() >= MAX_CALLS || self.map_count >= MAX_MAPS
    }

    /// The first and the last moment in it.
    pub fn time(&self) -> (Nanos, Nanos) {
        (self.start * TICK, self.end * TICK)
    }

    /// The moment in ticks; the first one starts the block.
    fn note_time(&mut self, time: Nanos) -> u64 {
        let tick = time / TICK;
        if self.is_empty() {
            (self.start, self.tick, self.tick_in_column) = (tick, tick, tick);
        }
        self.end = self.end.max(tick);
        tick
    }

    fn close_tick(&mut self) {
        if self.calls_in_tick > 0 {
            put(&mut self.columns[TICKS], self.tick - self.tick_in_column);
            put(&mut self.columns[TICKS], self.calls_in_tick);
            (self.tick_in_column, self.calls_in_tick) = (self.tick, 0);
        }
    }

    #[inline]
    fn put_ptr(&mut self, ptr: Addr, osize: u64) {
        let off = (ptr.wrapping_sub(guess(self.last_ptr, osize)) as i64) >> 3;
        let bytes = (((off << 1) ^ (off >> 63)) as u64).to_le_bytes();
        let length = 8 - u64::from_le_bytes(bytes).leading_zeros() as usize / 8;
        self.columns[PTR_LENGTHS].push(length as u8);
        for (at, byte) in bytes[..length].iter().enumerate() {
            self.columns[PTR_BYTES[at.min(3)]].push(*byte);
        }
        self.last_ptr = ptr;
    }

    /// Appends a call. A clock that steps back is held.
    #[inline]
    pub fn push_call(&mut self, call: &Call) {
        let tick = self.note_time(call.time);
        if tick > self.tick {
            self.close_tick();
            self.tick = tick;
        }
        self.calls_in_tick += 1;
        let plain = call.ptr.is_multiple_of(8) && (call.ptr != 0 || call.osize == 0);
        let kind = match call.kind() {
            _ if !plain => ODD,
            CallKind::Free if call.ptr == 0 => ODD,
            CallKind::Free => FREE,
            CallKind::Alloc => ALLOC,
            CallKind::Resize => RESIZE,
        };
        self.columns[KINDS].push(kind);
        if kind != FREE {
            put(&mut self.columns[NSIZES], call.nsize);
        }
        if kind != ALLOC {
            put(&mut self.columns[OSIZES], call.osize);
        }
        match kind {
            ALLOC => {}
            ODD => put(&mut self.columns[OSIZES], call.ptr),
            _ => self.put_ptr(call.ptr, call.osize),
        }
    }

    /// Appends a mapping call; it follows the calls pushed so far.
    pub fn push_map(&mut self, map: &MapCall) {
        let ticks = self.note_time(map.time).saturating_sub(self.start);
        let after = self.calls() - self.calls_at_last_map;
        self.calls_at_last_map = self.calls();
        let column = &mut self.columns[MAPS];
        put(column, after as u64);
        column.push(map.op as u8);
        for value in [ticks, map.addr, map.len, map.new_len, map.result] {
            put(column, value);
        }
        self.map_count += 1;
    }

    /// The block, with what its frame's head says; the encoder is empty afterwards.
    pub fn seal(&mut self) -> Sealed {
        let (calls, maps, time) = (self.calls() as u32, self.map_count as u32, self.time());
        Sealed { calls, maps, time, payload: self.finish() }
    }

    /// The payload; the encoder is empty afterwards.
    pub fn finish(&mut self) -> Vec<u8> {
        self.close_tick();
        let mut out = Vec::with_capacity(1 << 16);
        put(&mut out, self.map_count as u64);
        for column in &mut self.columns {
            pack(&mut out, column);
            column.clear();
        }
        *self = Encoder { columns: std::mem::take(&mut self.columns), ..Encoder::default() };
        out
    }
}

/// An encoded block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Calls in it.
    pub calls: u32,
    /// Mapping calls in it.
    pub maps: u32,
    /// Its first and its last moment.
    pub time: (Nanos, Nanos),
    /// The payload of its frame.
    pub payload: Vec<u8>,
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
        let mut unpacked: [Cow<'_, [u8]>; COLUMNS] = Default::default();
        for column in &mut unpacked {
            *column = unpack(&mut cursor)?;
        }
        cursor.end()?;
        let mut columns: [Cursor<'_>; COLUMNS] = std::array::from_fn(|i| Cursor::new(&unpacked[i], "calls"));
        let count = count as usize;
        if columns[KINDS].left() != count || count > MAX_CALLS || map_count > MAX_MAPS as u64 {
            return Err(BadPayload(format!(
                "calls: {} kinds and {map_count} mapping calls for {count} calls; at most {MAX_CALLS} fit",
                columns[KINDS].left()
            )));
        }
        let start = start / TICK;
        let calls = decode_calls(&mut columns, count, start)?;
        let maps = decode_maps(&mut columns[MAPS], map_count, count, start)?;
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

fn decode_calls(columns: &mut [Cursor<'_>; COLUMNS], count: usize, start: u64) -> Result<Vec<Call>, BadPayload> {
    let mut calls = Vec::with_capacity(count);
    let (mut tick, mut last_ptr) = (start, 0u64);
    while calls.len() < count {
        tick = tick.saturating_add(columns[TICKS].get()?);
        let time = tick.saturating_mul(TICK);
        let in_tick = columns[TICKS].get()?;
        if in_tick == 0 || in_tick > (count - calls.len()) as u64 {
            return Err(BadPayload(format!("calls: {in_tick} calls at once after {} of {count}", calls.len())));
        }
        for _ in 0..in_tick {
            let kind = columns[KINDS].byte()?;
            let nsize = if kind == FREE { 0 } else { columns[NSIZES].get()? };
            let (ptr, osize) = match kind {
                ALLOC => (0, 0),
                ODD => {
                    let osize = columns[OSIZES].get()?;
                    (columns[OSIZES].get()?, osize)
                }
                FREE | RESIZE => {
                    let osize = columns[OSIZES].get()?;
                    last_ptr = decode_ptr(columns, guess(last_ptr, osize))?;
                    (last_ptr, osize)
                }
                other => return Err(BadPayload(format!("calls: kind {other} is unknown"))),
            };
            calls.push(Call { time, ptr, osize, nsize });
        }
    }
    Ok(calls)
}

#[inline]
fn decode_ptr(columns: &mut [Cursor<'_>; COLUMNS], guess: Addr) -> Result<Addr, BadPayload> {
    let length = usize::from(columns[PTR_LENGTHS].byte()?);
    if length > 8 {
        return Err(BadPayload(format!("calls: an address of {length} bytes")));
    }
    let mut bytes = [0; 8];
    for (at, byte) in bytes[..length].iter_mut().enumerate() {
        *byte = columns[PTR_BYTES[at.min(3)]].byte()?;
    }
    let value = u64::from_le_bytes(bytes);
    let off = (value >> 1) as i64 ^ -((value & 1) as i64);
    Ok(guess.wrapping_add((off << 3) as u64))
}

fn decode_maps(
    column: &mut Cursor<'_>,
    map_count: u64,
    count: usize,
    start: u64,
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
        let time = start.saturating_add(column.get()?).saturating_mul(TICK);
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
            .prop_map(|(tick, ptr, osize, nsize)| Event::Call(Call { time: tick * TICK, ptr, osize, nsize }));
        let op = prop_oneof![Just(MapOp::Map), Just(MapOp::Unmap), Just(MapOp::Remap)];
        let map = (0..1u64 << 40, op, number(), number(), number(), number()).prop_map(
            |(tick, op, addr, len, new_len, result)| {
                Event::Map(MapCall { time: tick * TICK, op, addr, len, new_len, result })
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
