//! Reads a trace: which frames there are, and each one's payload when asked for. Several parts of one recording are
//! read as one: [`Trace::join`].

use std::io::{Read, Seek, SeekFrom};
use std::sync::Mutex;

use super::breakdown::Breakdown;
use super::calls::Block;
use super::census::Census;
use super::frame::{self, FOOTER, FRAME_HEAD, Head, Kind};
use super::keyframe::Keyframe;
use super::meta::{self, Gap, Header, IndexEntry, Missed, Process, Trailer, Vm};
use super::names::Names;
use super::stacks::Stacks;
use super::{BadPayload, TraceError};

/// How a trace ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With its trailer.
    Complete(Box<Trailer>),
    /// Without one: everything before `at` is whole.
    Truncated {
        /// Offset of the first byte that is no whole frame.
        at: u64,
        /// What is wrong there.
        what: String,
    },
}

/// A frame's place in the file.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Which of the [parts](Trace::parts) holds it, from 0.
    pub part: usize,
    /// Offset of its head.
    pub offset: u64,
    /// Its head.
    pub head: Head,
}

/// An open trace. Payloads are read on demand, from any thread.
#[derive(Debug)]
pub struct Trace<R> {
    pub(super) inputs: Vec<Mutex<R>>,
    /// Every frame but the trailers, in file order, part behind part.
    pub frames: Vec<Frame>,
    /// The first frame.
    pub header: Header,
    /// How it ends; of several parts, the last one. Its trailer's sums are over all parts, without an index.
    pub end: End,
    /// Bytes in all.
    pub bytes: u64,
    /// What it was read from: one file, or parts of one recording in their order.
    pub parts: Vec<Part>,
}

/// A file that a trace was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its first frame.
    pub header: Header,
    /// How it ends.
    pub end: End,
    /// Bytes in it.
    pub bytes: u64,
}

/// Reads the first frame alone: which recording this is, and which part of it.
pub fn read_header(mut input: impl Read) -> Result<Header, TraceError> {
    let at = frame::FILE_HEADER as u64;
    let mut start = Vec::new();
    input.by_ref().take(at).read_to_end(&mut start)?;
    frame::check_file_header(&start)?;
    let mut bytes = Vec::new();
    input.by_ref().take(FRAME_HEAD as u64).read_to_end(&mut bytes)?;
    let Ok(bytes) = <[u8; FRAME_HEAD]>::try_from(bytes) else { return Err(TraceError::Truncated { at }) };
    let head = Head::from_bytes(&bytes).map_err(|e| e.at(at))?;
    if head.kind != Kind::Header {
        let what = format!("the first frame is no header but of kind {}", head.kind.name());
        return Err(TraceError::Damaged { at, what });
    }
    let mut payload = Vec::new();
    input.take(u64::from(head.length)).read_to_end(&mut payload)?;
    if payload.len() as u64 != u64::from(head.length) {
        return Err(TraceError::Truncated { at });
    }
    head.check(&payload).map_err(|e| e.at(at))?;
    meta::decode(&payload).map_err(|e| e.at(at))
}

impl<R: Read + Seek> Trace<R> {
    /// Finds all frames by their heads. An error if nothing of the trace can be used.
    pub fn open(mut input: R) -> Result<Self, TraceError> {
        let bytes = input.seek(SeekFrom::End(0))?;
        input.seek(SeekFrom::Start(0))?;
        let mut start = Vec::new();
        input.by_ref().take(frame::FILE_HEADER as u64).read_to_end(&mut start)?;
        frame::check_file_header(&start)?;
        let mut trace = Trace {
            inputs: vec![Mutex::new(input)],
            frames: Vec::new(),
            header: Header::default(),
            end: nothing(),
            bytes,
            parts: Vec::new(),
        };
        let stop = trace.scan();
        trace.header = match trace.frames.first() {
            Some(first) if first.head.kind == Kind::Header => {
                let first = *first;
                meta::decode(&trace.payload(&first)?).map_err(|e| e.at(first.offset))?
            }
            _ => return Err(stop.err().unwrap_or(TraceError::Truncated { at: frame::FILE_HEADER as u64 })),
        };
        trace.end = match stop.and_then(|trailer| trace.check_trailer(trailer)) {
            Ok(trailer) => End::Complete(Box::new(trailer)),
            Err(TraceError::Io(error)) => return Err(TraceError::Io(error)),
            Err(error @ TraceError::Damaged { at, .. }) | Err(error @ TraceError::Truncated { at }) => {
                End::Truncated { at, what: error.to_string() }
            }
            Err(error) => return Err(error),
        };
        trace.parts.push(Part { header: trace.header.clone(), end: trace.end.clone(), bytes });
        Ok(trace)
    }

    /// Collects frames up to the trailer, which it returns.
    fn scan(&mut self) -> Result<Frame, TraceError> {
        let mut offset = frame::FILE_HEADER as u64;
        loop {
            let mut bytes = [0; FRAME_HEAD];
            if self.bytes - offset < FRAME_HEAD as u64 {
                return Err(TraceError::Truncated { at: offset });
            }
            self.read_at(0, offset, &mut bytes)?;
            let head = Head::from_bytes(&bytes).map_err(|e| e.at(offset))?;
            let end = offset + FRAME_HEAD as u64 + u64::from(head.length);
            if end > self.bytes {
                return Err(TraceError::Truncated { at: offset });
            }
            if head.kind == Kind::Trailer {
                return Ok(Frame { part: 0, offset, head });
            }
            self.frames.push(Frame { part: 0, offset, head });
            offset = end;
        }
    }

    /// The trailer, if it tells of the frames that are there and nothing but the footer follows it.
    fn check_trailer(&self, at: Frame) -> Result<Trailer, TraceError> {
        let damaged = |what: &str| Err(TraceError::Damaged { at: at.offset, what: what.into() });
        let trailer: Trailer = meta::decode(&self.payload(&at)?).map_err(|e| e.at(at.offset))?;
        let end = at.offset + FRAME_HEAD as u64 + u64::from(at.head.length);
        let mut footer = [0; FOOTER];
        if self.bytes - end != FOOTER as u64 {
            return damaged("the trailer is not followed by the footer alone");
        }
        self.read_at(0, end, &mut footer)?;
        if footer != frame::footer(at.offset) {
            return damaged("the footer does not point to the trailer");
        }
        let found = self.frames.iter().map(|Frame { offset, head, .. }| IndexEntry {
            offset: *offset,
            kind: head.kind.code(),
            vm: head.vm,
            count: head.count,
            start: head.start,
            end: head.end,
        });
        if !found.eq(trailer.index.iter().copied()) {
            return damaged("the trailer's index does not tell of the frames in the file");
        }
        Ok(trailer)
    }

    fn read_at(&self, part: usize, offset: u64, bytes: &mut [u8]) -> Result<(), TraceError> {
        let mut input = self.inputs[part].lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        input.seek(SeekFrom::Start(offset))?;
        Ok(input.read_exact(bytes)?)
    }

    /// A frame's payload, checked.
    pub fn payload(&self, frame: &Frame) -> Result<Vec<u8>, TraceError> {
        // `scan` has seen that the file holds this many bytes.
        let mut payload = vec![0; frame.head.length as usize];
        self.read_at(frame.part, frame.offset + FRAME_HEAD as u64, &mut payload)?;
        frame.head.check(&payload).map_err(|e| self.bad(frame, e))?;
        Ok(payload)
    }

    /// What is wrong with a frame's payload, with its place: of several parts, also in which one.
    fn bad(&self, frame: &Frame, BadPayload(what): BadPayload) -> TraceError {
        let what = match &*self.parts {
            [_, _, ..] => format!("{what} (in part {})", self.parts[frame.part].header.part),
            _ => what,
        };
        TraceError::Damaged { at: frame.offset, what }
    }

    /// A block of calls.
    pub fn calls(&self, frame: &Frame) -> Result<Block, TraceError> {
        Block::decode(&self.payload(frame)?, frame.head.count, frame.head.start).map_err(|e| self.bad(frame, e))
    }

    /// A keyframe.
    pub fn keyframe(&self, frame: &Frame) -> Result<Keyframe, TraceError> {
        let keyframe = Keyframe::decode(&self.payload(frame)?).map_err(|e| self.bad(frame, e))?;
        let chunks = keyframe.heap.chunks.len();
        if chunks as u64 != u64::from(frame.head.count) {
            let what = format!("keyframe: {chunks} chunks, its head says {}", frame.head.count);
            return Err(self.bad(frame, BadPayload(what)));
        }
        Ok(keyframe)
    }

    /// What the blocks of the VM's keyframe before it are.
    pub fn census(&self, frame: &Frame) -> Result<Census, TraceError> {
        let census = Census::decode(&self.payload(frame)?).map_err(|e| self.bad(frame, e))?;
        let labels = census.labels.len();
        if labels as u64 != u64::from(frame.head.count) {
            let what = format!("census: {labels} labels, its head says {}", frame.head.count);
            return Err(self.bad(frame, BadPayload(what)));
        }
        Ok(census)
    }

    /// Who made some of a VM's calls.
    pub fn stacks(&self, frame: &Frame) -> Result<Stacks, TraceError> {
        let stacks = Stacks::decode(&self.payload(frame)?).map_err(|e| self.bad(frame, e))?;
        let samples = stacks.samples.len();
        if samples as u64 != u64::from(frame.head.count) {
            let what = format!("stacks: {samples} samples, its head says {}", frame.head.count);
            return Err(self.bad(frame, BadPayload(what)));
        }
        Ok(stacks)
    }

    /// Where the functions of the VM's census before it were written.
    pub fn names(&self, frame: &Frame) -> Result<Names, TraceError> {
        let names = Names::decode(&self.payload(frame)?).map_err(|e| self.bad(frame, e))?;
        let protos = names.protos.len();
        if protos as u64 != u64::from(frame.head.count) {
            let what = format!("names: {protos} protos, its head says {}", frame.head.count);
            return Err(self.bad(frame, BadPayload(what)));
        }
        Ok(names)
    }

    /// A gap.
    pub fn gap(&self, frame: &Frame) -> Result<Gap, TraceError> {
        meta::decode(&self.payload(frame)?).map_err(|e| self.bad(frame, e))
    }

    /// A keyframe that was not taken.
    pub fn missed(&self, frame: &Frame) -> Result<Missed, TraceError> {
        meta::decode(&self.payload(frame)?).map_err(|e| self.bad(frame, e))
    }

    /// Where a process's memory went.
    pub fn breakdown(&self, frame: &Frame) -> Result<Breakdown, TraceError> {
        meta::decode(&self.payload(frame)?).map_err(|e| self.bad(frame, e))
    }

    /// A VM.
    pub fn vm(&self, frame: &Frame) -> Result<Vm, TraceError> {
        meta::decode(&self.payload(frame)?).map_err(|e| self.bad(frame, e))
    }

    /// A process.
    pub fn process(&self, frame: &Frame) -> Result<Process, TraceError> {
        meta::decode(&self.payload(frame)?).map_err(|e| self.bad(frame, e))
    }
}

fn nothing() -> End {
    End::Truncated { at: 0, what: String::new() }
}
