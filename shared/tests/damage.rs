//! Real traces, cut at every byte and flipped at every byte: the reader keeps what is whole and says where it ends.
//! `scripts/fixtures` records them; the `analyze` program is put to a sample of the same in `testdata/tests/damaged.rs`.

use std::io::Cursor;
use std::path::Path;

use shared::trace::TraceError;
use shared::trace::frame::{FILE_HEADER, FRAME_HEAD, Kind};
use shared::trace::reader::{End, Frame, Trace};

const FIXTURES: [&str; 5] = ["gc64", "nogc64", "threads", "nginx", "objects"];

type Bytes<'a> = Cursor<&'a [u8]>;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../testdata/traces/{name}.ljt"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; scripts/fixtures makes it", path.display()))
}

/// Offset of the first byte behind a frame.
fn end(frame: &Frame) -> usize {
    frame.offset as usize + FRAME_HEAD + frame.head.length as usize
}

fn decode(trace: &Trace<Bytes<'_>>, frame: &Frame) -> Result<(), TraceError> {
    match frame.head.kind {
        Kind::Calls => trace.calls(frame).map(drop),
        Kind::Keyframe => trace.keyframe(frame).map(drop),
        Kind::Gap => trace.gap(frame).map(drop),
        Kind::Vm => trace.vm(frame).map(drop),
        Kind::Process => trace.process(frame).map(drop),
        Kind::Missed => trace.missed(frame).map(drop),
        Kind::Breakdown => trace.breakdown(frame).map(drop),
        Kind::Census => trace.census(frame).map(drop),
        Kind::Stacks => trace.stacks(frame).map(drop),
        Kind::Names => trace.names(frame).map(drop),
        Kind::Header | Kind::Trailer | Kind::Unknown(_) => trace.payload(frame).map(drop),
    }
}

#[test]
fn fixtures_are_whole() {
    for name in FIXTURES {
        let bytes = fixture(name);
        let trace = Trace::open(Cursor::new(&bytes[..])).expect(name);
        let End::Complete(trailer) = &trace.end else { panic!("{name}: {:?}", trace.end) };
        assert!(trace.frames.iter().all(|frame| decode(&trace, frame).is_ok()), "{name}");
        let blocks = trace.frames.iter().filter(|frame| frame.head.kind == Kind::Calls);
        assert_eq!(blocks.map(|frame| u64::from(frame.head.count)).sum::<u64>(), trailer.calls, "{name}");
    }
}

#[test]
fn a_cut_at_any_byte_leaves_the_whole_frames_before_it() {
    for name in FIXTURES {
        let bytes = fixture(name);
        let whole = Trace::open(Cursor::new(&bytes[..])).expect(name).frames;
        let first = end(&whole[0]);
        for length in 0..bytes.len() {
            match Trace::open(Cursor::new(&bytes[..length])) {
                Err(TraceError::NotATrace { found, .. }) => {
                    assert_eq!(found, bytes[..length], "{name} cut at {length}")
                }
                Err(TraceError::Truncated { at }) => {
                    let expected = if length < FILE_HEADER { 0 } else { FILE_HEADER as u64 };
                    assert!(at == expected && length < first, "{name} cut at {length}: truncated at {at}");
                }
                Err(error) => panic!("{name} cut at {length}: {error}"),
                Ok(trace) => {
                    assert!(length >= first, "{name} cut at {length}");
                    let kept = whole.iter().take_while(|frame| end(frame) <= length).count();
                    assert_eq!(trace.frames.len(), kept, "{name} cut at {length}");
                    let End::Truncated { at, what } = &trace.end else { panic!("{name} cut at {length} is complete") };
                    assert_eq!(*at as usize, end(&whole[kept - 1]), "{name} cut at {length}");
                    assert!(what.contains(&at.to_string()), "{name} cut at {length}: {what}");
                }
            }
        }
    }
}

#[test]
fn a_flip_of_any_byte_is_seen_and_placed() {
    for name in FIXTURES {
        let mut bytes = fixture(name);
        let whole = Trace::open(Cursor::new(&bytes[..])).expect(name).frames;
        for place in 0..bytes.len() {
            let bit = 1 << (place * 5 % 8);
            bytes[place] ^= bit;
            let hit = whole.iter().find(|frame| (frame.offset as usize..end(frame)).contains(&place));
            match (Trace::open(Cursor::new(&bytes[..])), hit) {
                // The file's header and the first frame: without them there is no trace.
                (Err(_), _) => assert!(place < end(&whole[0]), "byte {place} of {name} makes all of it unreadable"),
                (Ok(trace), Some(hit)) => {
                    let at = match (&trace.end, decode(&trace, hit)) {
                        (End::Truncated { at, .. }, _) => *at,
                        (End::Complete(_), Err(TraceError::Damaged { at, .. })) => at,
                        (_, other) => panic!("byte {place} of {name} goes unseen: {other:?}"),
                    };
                    assert_eq!(at, hit.offset, "byte {place} of {name}");
                }
                // The trailer and the footer behind it.
                (Ok(trace), None) => {
                    let End::Truncated { at, .. } = trace.end else { panic!("byte {place} of {name} goes unseen") };
                    assert_eq!(trace.frames.len(), whole.len(), "byte {place} of {name}");
                    assert_eq!(Some(at as usize), whole.last().map(end), "byte {place} of {name}");
                }
            }
            bytes[place] ^= bit;
        }
    }
}
