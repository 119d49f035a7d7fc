//! The payloads' decoders without a file around them: the first byte picks one, the rest is its input. What decodes
//! is encoded again and must come out the same.

use shared::Nanos;
use shared::call::{Call, Event, MapCall};
use shared::trace::calls::{Block, Encoder};
use shared::trace::frame::{FRAME_HEAD, Head, Kind};
use shared::trace::keyframe::Keyframe;
use shared::trace::meta::{self, Gap, Header, Process, Trailer, Vm};

/// Decodes a JSON payload, encodes what came out, and compares.
macro_rules! json {
    ($type:ty, $bytes:expr) => {
        if let Ok(value) = meta::decode::<$type>($bytes) {
            assert_eq!(meta::decode::<$type>(&meta::encode(&value)), Ok(value));
        }
    };
}

/// Decodes the rest as what the first byte says.
pub fn run(bytes: &[u8]) {
    let Some((&pick, rest)) = bytes.split_first() else { return };
    match pick % 9 {
        0 => calls(rest),
        1 => keyframe(rest),
        2 => json!(Header, rest),
        3 => json!(Process, rest),
        4 => json!(Vm, rest),
        5 => json!(Gap, rest),
        6 => json!(Trailer, rest),
        7 => sealed(rest),
        _ => head(rest),
    }
}

/// The first byte makes the frame's start; its count is what the payload says, so as not to fail on that alone.
fn calls(bytes: &[u8]) {
    let Some((&first, payload)) = bytes.split_first() else { return };
    let start = match first {
        255 => Nanos::MAX,
        n => u64::from(n) * 1_234_567,
    };
    let count = kinds_length(payload);
    let Ok(block) = Block::decode(payload, count, start) else { return };
    assert_eq!(block.calls.len(), count as usize);
    let events: Vec<Event> = block.events().collect();
    assert_eq!(events.len(), block.calls.len() + block.maps.len());

    let mut encoder = Encoder::default();
    for event in &events {
        assert!(!encoder.is_full());
        match event {
            Event::Call(call) => encoder.push_call(call),
            Event::Map(map) => encoder.push_map(map),
        }
    }
    let (count, (start, end)) = (encoder.calls() as u32, encoder.time());
    let again = Block::decode(&encoder.finish(), count, start);
    let held: Vec<Event> = events.iter().map(|event| hold(*event, start)).collect();
    assert_eq!(again.map(|block| block.events().collect()), Ok(held));
    assert!(events.iter().all(|event| event.time() / 1000 <= end / 1000));
}

/// What the encoder makes of a time: whole microseconds, and none before the first event's.
fn hold(event: Event, start: Nanos) -> Event {
    let held = |time: Nanos| (time / 1000 * 1000).max(start);
    match event {
        Event::Call(call) => Event::Call(Call { time: held(call.time), ..call }),
        Event::Map(map) => Event::Map(MapCall { time: held(map.time), ..map }),
    }
}

/// The second number of the payload.
fn kinds_length(payload: &[u8]) -> u32 {
    let first = payload.iter().position(|byte| byte & 0x80 == 0).map_or(payload.len(), |at| at + 1);
    let second = payload[first..].iter().take(5).enumerate();
    let mut length = 0u64;
    for (at, byte) in second {
        length |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            break;
        }
    }
    length.min(u64::from(u32::MAX)) as u32
}

fn keyframe(bytes: &[u8]) {
    let Ok(keyframe) = Keyframe::decode(bytes) else { return };
    let encoded = keyframe.encode();
    assert_eq!(Keyframe::decode(&encoded), Ok(keyframe));
}

/// Any bytes as a payload: what a frame seals it opens.
fn sealed(raw: &[u8]) {
    // Four times itself and then zeros: what compresses well takes the other path.
    let long = [raw, raw, raw, raw, &vec![0; raw.len() * 64]].concat();
    for raw in [raw, &long] {
        let (head, stored) = Head::seal(Kind::Calls, 1, 2, (3, 4), raw);
        assert!(stored.len() <= raw.len());
        let read = Head::from_bytes(&head.to_bytes());
        assert_eq!(read, Ok(head));
        assert_eq!(head.open(&stored).as_deref(), Ok(raw));
    }
}

/// A frame's head.
fn head(bytes: &[u8]) {
    let Some(bytes) = bytes.first_chunk::<FRAME_HEAD>() else { return };
    if let Ok(head) = Head::from_bytes(bytes) {
        assert_eq!(head.to_bytes(), *bytes);
    }
}
