//! What is in a file, as JSON.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use shared::trace::meta::{Header, Missed, Process, Trailer, Vm, Window};
use shared::trace::reader::{self, Frame};

use crate::replay::Plan;
use crate::shapes;
use crate::source::FileTrace;

/// What is in a file: header, frames, windows, and what is missing. All times count from the recording's start.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Document<'a> {
    /// The trace's name.
    source: String,
    /// Bytes of all its files.
    bytes: u64,
    /// How it ends.
    end: End<'a>,
    /// What it says of itself.
    #[schemars(with = "shapes::Header")]
    header: &'a Header,
    /// Its files.
    parts: Vec<Part>,
    /// Parts of the recording that are not there, by their numbers.
    parts_missing: Vec<u64>,
    /// The recorded processes.
    processes: Vec<ProcessFacts<'a>>,
    /// The VMs by their numbers.
    #[schemars(with = "BTreeMap<u32, shapes::Vm>")]
    vms: &'a BTreeMap<u32, Vm>,
    /// The windows, in mode `sample`.
    windows: Vec<WindowFacts<'a>>,
    /// How many breakdowns there are.
    breakdowns: usize,
    /// Keyframes that were to be taken and were not.
    missed: Vec<MissedFacts<'a>>,
    /// Frames beside the heaps' that could not be read.
    damage: &'a [String],
    /// Every frame.
    frames: Vec<FrameFacts>,
}

/// How a trace ends.
#[derive(Debug, Serialize, JsonSchema)]
struct End<'a> {
    /// With its trailer.
    complete: bool,
    /// The trailer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<shapes::Trailer>")]
    trailer: Option<&'a Trailer>,
    /// Else the offset of the first byte that is no whole frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    /// And what is wrong there.
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<&'a str>,
}

/// A file of a recording.
#[derive(Debug, Serialize, JsonSchema)]
struct Part {
    /// Which part of the recording it is, from 1; 0 if it has one part only.
    part: u64,
    /// Its bytes.
    bytes: u64,
    /// It ends with its trailer.
    complete: bool,
}

/// A recorded process.
#[derive(Debug, Serialize, JsonSchema)]
struct ProcessFacts<'a> {
    /// What the trace says of it.
    #[serde(flatten)]
    #[schemars(with = "shapes::Process")]
    process: &'a Process,
    /// When it was found.
    found_ns: u64,
    /// When its part of the recording ended, if the trace tells.
    ended_ns: Option<u64>,
}

/// A window as one VM has it.
#[derive(Debug, Serialize, JsonSchema)]
struct WindowFacts<'a> {
    /// The VM.
    vm: u32,
    /// It starts at a keyframe, so that it can be replayed.
    from_keyframe: bool,
    /// It ends with a keyframe, too.
    to_keyframe: bool,
    /// What the trace says of it.
    #[schemars(with = "shapes::Window")]
    window: &'a Window,
}

/// A keyframe that was to be taken and was not.
#[derive(Debug, Serialize, JsonSchema)]
struct MissedFacts<'a> {
    /// When.
    time_ns: u64,
    /// What the trace says of it.
    #[schemars(with = "shapes::Missed")]
    missed: &'a Missed,
}

/// A frame.
#[derive(Debug, Serialize, JsonSchema)]
struct FrameFacts {
    /// The part it stands in.
    part: u64,
    /// Offset of its head in that file.
    offset: u64,
    /// What it holds: `calls`, `keyframe` ...
    kind: String,
    /// Bytes of its payload.
    bytes: u64,
    /// The VM it is of; 0 if none.
    vm: u32,
    /// How many things it holds.
    count: u32,
    /// Its first moment.
    start_ns: u64,
    /// Its last moment.
    end_ns: u64,
}

impl<'a> Document<'a> {
    /// All of a trace.
    pub fn of(source: String, trace: &'a FileTrace, plan: &'a Plan) -> Document<'a> {
        let end = match &trace.end {
            reader::End::Complete(trailer) => End { complete: true, trailer: Some(&**trailer), at: None, what: None },
            reader::End::Truncated { at, what } => {
                End { complete: false, trailer: None, at: Some(*at), what: Some(what) }
            }
        };
        let part = |part: &reader::Part| Part {
            part: part.header.part,
            bytes: part.bytes,
            complete: matches!(part.end, reader::End::Complete(_)),
        };
        let processes = plan.processes.iter().zip(&plan.lives);
        let windows = plan.windows.iter().map(|at| WindowFacts {
            vm: at.vm,
            from_keyframe: at.keyframe,
            to_keyframe: at.proven,
            window: &at.window,
        });
        let frame = |Frame { part, offset, head }: &Frame| FrameFacts {
            part: trace.parts[*part].header.part,
            offset: *offset,
            kind: head.kind.name().to_owned(),
            bytes: u64::from(head.length),
            vm: head.vm,
            count: head.count,
            start_ns: head.start,
            end_ns: head.end,
        };
        Document {
            source,
            bytes: trace.bytes,
            end,
            header: &trace.header,
            parts: trace.parts.iter().map(part).collect(),
            parts_missing: trace.missing_parts(),
            processes: processes
                .map(|(process, life)| ProcessFacts { process, found_ns: life.found, ended_ns: life.ended })
                .collect(),
            vms: &plan.vms,
            windows: windows.collect(),
            breakdowns: plan.breakdowns.len(),
            missed: plan.missed.iter().map(|(time, missed)| MissedFacts { time_ns: *time, missed }).collect(),
            damage: &plan.damage,
            frames: trace.frames.iter().map(frame).collect(),
        }
    }
}
