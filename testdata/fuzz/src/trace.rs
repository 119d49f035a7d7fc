//! A whole trace file. Run twice: as it is, and with its checksums put right, so that mutations get past them.

use std::io::Cursor;

use shared::trace::calls::{MAX_CALLS, MAX_MAPS};
use shared::trace::frame::{FILE_HEADER, FOOTER, FRAME_HEAD, Kind, file_header, footer};
use shared::trace::reader::{End, Frame, Trace};

/// Reads all there is in a trace.
pub fn run(bytes: &[u8]) {
    read(bytes);
    read(&repair(bytes));
}

fn read(bytes: &[u8]) {
    let Ok(trace) = Trace::open(Cursor::new(bytes)) else { return };
    assert_eq!(trace.bytes, bytes.len() as u64);
    let mut offset = FILE_HEADER as u64;
    for frame in &trace.frames {
        assert_eq!(frame.offset, offset, "frames stand one behind the other");
        offset += FRAME_HEAD as u64 + u64::from(frame.head.length);
        assert!(offset <= trace.bytes);
        read_frame(&trace, frame);
    }
    match &trace.end {
        End::Complete(trailer) => assert_eq!(trailer.index.len(), trace.frames.len()),
        End::Truncated { at, what } => assert!(*at <= trace.bytes && !what.is_empty()),
    }
}

fn read_frame(trace: &Trace<Cursor<&[u8]>>, frame: &Frame) {
    let Ok(payload) = trace.payload(frame) else { return };
    assert_eq!(payload.len() as u64, u64::from(frame.head.length));
    match frame.head.kind {
        Kind::Header | Kind::Trailer | Kind::Unknown(_) => {}
        Kind::Process => drop(trace.process(frame)),
        Kind::Vm => drop(trace.vm(frame)),
        Kind::Gap => drop(trace.gap(frame)),
        Kind::Missed => drop(trace.missed(frame)),
        Kind::Breakdown => drop(trace.breakdown(frame)),
        Kind::Census => drop(trace.census(frame)),
        Kind::Stacks => drop(trace.stacks(frame)),
        Kind::Names => drop(trace.names(frame)),
        Kind::Calls => {
            let Ok(block) = trace.calls(frame) else { return };
            assert_eq!(block.calls.len(), frame.head.count as usize);
            assert!(block.calls.len() <= MAX_CALLS && block.maps.len() <= MAX_MAPS);
            assert!(block.calls.is_sorted_by_key(|call| call.time));
            assert_eq!(block.events().count(), block.calls.len() + block.maps.len());
        }
        Kind::Keyframe => {
            let Ok(keyframe) = trace.keyframe(frame) else { return };
            let heap = keyframe.heap;
            let items = heap.segments.len() + heap.chunks.len() + heap.binned.len() + heap.direct.len();
            // What FORMAT.md promises of unpacked bytes.
            assert!(items <= (4 << 20).max(128 * payload.len()), "each item takes bytes");
            assert_eq!(heap.chunks.len(), frame.head.count as usize);
        }
    }
}

/// The same bytes with a good file header, good checksums in every frame, and a footer that points to the trailer.
fn repair(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() < FILE_HEADER {
        return bytes;
    }
    bytes[..FILE_HEADER].copy_from_slice(&file_header());
    let mut offset = FILE_HEADER;
    while let Some(head) = bytes.get(offset..offset + FRAME_HEAD) {
        let kind = u16::from_le_bytes([head[0], head[1]]);
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let end = offset + FRAME_HEAD + length;
        let Some(payload) = bytes.get(offset + FRAME_HEAD..end) else { break };
        let crc = crc32(payload).to_le_bytes();
        bytes[offset + 32..offset + 36].copy_from_slice(&crc);
        let crc = crc32(&bytes[offset..offset + 36]).to_le_bytes();
        bytes[offset + 36..offset + 40].copy_from_slice(&crc);
        if kind == Kind::Trailer.code() && bytes.len() == end + FOOTER {
            bytes[end..].copy_from_slice(&footer(offset as u64));
        }
        offset = end;
    }
    bytes
}

/// CRC-32 as zlib and PNG have it, bit by bit: a second opinion, too.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 != 0 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}
