//! The payloads' decoders without a file around them: the first byte picks one, the rest is its input. What decodes
//! is encoded again and must come out the same.

use shared::Nanos;
use shared::call::{Call, Event, MapCall};
use shared::trace::calls::{Block, Encoder, TICK};
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
    match pick % 10 {
        0 => calls(rest),
        1 => keyframe(rest),
        2 => json!(Header, rest),
        3 => json!(Process, rest),
        4 => json!(Vm, rest),
        5 => json!(Gap, rest),
        6 => json!(Trailer, rest),
        7 => sealed(rest),
        8 => head(rest),
        _ => columns(rest),
    }
}

/// The start of a block: whole ticks or not, or the end of time.
pub fn start(byte: u8) -> Nanos {
    match byte {
        255 => Nanos::MAX,
        n => u64::from(n) * 1_234_567,
    }
}

/// The first byte makes the frame's start; its count is what the payload says, so as not to fail on that alone.
fn calls(bytes: &[u8]) {
    let Some((&first, payload)) = bytes.split_first() else { return };
    let start = start(first);
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
    assert!(events.iter().all(|event| event.time() / TICK <= end / TICK));
}

/// What the encoder makes of a time: whole ticks, and none before the first event's.
fn hold(event: Event, start: Nanos) -> Event {
    let held = |time: Nanos| (time / TICK * TICK).max(start);
    match event {
        Event::Call(call) => Event::Call(Call { time: held(call.time), ..call }),
        Event::Map(map) => Event::Map(MapCall { time: held(map.time), ..map }),
    }
}

/// A block whose lengths always fit.
fn columns(bytes: &[u8]) {
    if let Some(input) = lay_out(bytes) {
        calls(&input);
    }
}

/// The input of [`calls`] out of the byte that makes the start, the number of mapping calls, a length for each column,
/// then the columns, which are stored as they are.
pub fn lay_out(bytes: &[u8]) -> Option<Vec<u8>> {
    let (&[first, maps, ref lengths @ ..], mut rest) = bytes.split_first_chunk::<12>()?;
    let mut input = vec![first, maps & 0x7f];
    for &length in lengths {
        let column;
        (column, rest) = rest.split_at(rest.len().min(usize::from(length & 0x7f)));
        input.extend([column.len() as u8, 0]);
        input.extend(column);
    }
    Some(input)
}

/// The second number of the payload: how long the kinds are, unpacked.
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

/// Any bytes as a payload and as text to pack: what goes in comes out.
fn sealed(raw: &[u8]) {
    let head = Head::seal(Kind::Calls, 1, 2, (3, 4), raw);
    let read = Head::from_bytes(&head.to_bytes());
    assert_eq!(read, Ok(head));
    assert_eq!(head.check(raw), Ok(()));
    // What repeats is stored compressed.
    let text = String::from_utf8_lossy(raw).into_owned();
    for text in [text.repeat(100), text] {
        let packed = meta::encode(&text);
        assert!(packed.len() <= 16 + 6 * text.len());
        assert_eq!(meta::decode::<String>(&packed), Ok(text));
    }
}

/// A frame's head.
fn head(bytes: &[u8]) {
    let Some(bytes) = bytes.first_chunk::<FRAME_HEAD>() else { return };
    if let Ok(head) = Head::from_bytes(bytes) {
        assert_eq!(head.to_bytes(), *bytes);
    }
}
