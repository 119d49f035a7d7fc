//! The trace that all sessions write into: one file, a stream, or one part after the other.
//!
//! A session writes to the part it has joined and goes over to the next one at a keyframe, which it writes to both. So
//! an old part stays open until the last session has left it, and every part is whole.

mod pen;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use shared::Nanos;
use shared::trace::TraceError;
use shared::trace::meta::{Cost, Header, Trailer};
use shared::trace::writer::Writer;

use crate::output::{Output, Sink};
use crate::stacks::symbols::Symbols;
pub use pen::Pen;

/// When a new part begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotate {
    /// Once the part has so many bytes.
    Bytes(u64),
    /// After so long.
    Time(Duration),
}

/// What a trace's end takes: the index of frames, and what is under way when the limit is seen.
const RESERVE: u64 = 64 << 10;

/// A part being written.
#[derive(Debug)]
pub struct Part {
    number: u64,
    since: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// None once it is ended.
    writer: Option<Writer<Sink>>,
    sessions: usize,
    /// Whether sessions may still join.
    current: bool,
    lost: u64,
    unattributed: u64,
}

/// A recording on its way.
#[derive(Debug)]
pub struct Recording {
    output: Output,
    header: Header,
    rotate: Option<Rotate>,
    max_size: Option<u64>,
    /// `CLOCK_MONOTONIC` at time 0.
    base: u64,
    current: Mutex<Option<Arc<Part>>>,
    /// In the parts that have ended.
    ended_bytes: AtomicU64,
    calls: AtomicU64,
    next_vm: AtomicU32,
    /// No more may be written: the size limit is reached, or writing failed.
    full: AtomicBool,
    cost: Mutex<Cost>,
    symbols: Option<Symbols>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recording {
    /// A recording into `output`, which is opened when the first session joins.
    pub fn new(output: Output, header: Header, rotate: Option<Rotate>, max_size: Option<u64>) -> Recording {
        Recording {
            base: header.clock_start_ns,
            output,
            header,
            rotate,
            max_size,
            current: Mutex::default(),
            ended_bytes: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            next_vm: AtomicU32::new(1),
            full: AtomicBool::new(false),
            cost: Mutex::default(),
            symbols: None,
        }
    }

    /// The same, with what names are looked up in kept beside it, if it is a file.
    pub fn with_symbols(mut self) -> Recording {
        if let Output::File { path, .. } = &self.output {
            self.symbols = Some(Symbols::beside(path));
        }
        self
    }

    /// What names are looked up in, if that is to be kept.
    pub fn symbols(&self) -> Option<&Symbols> {
        self.symbols.as_ref()
    }

    /// `CLOCK_MONOTONIC` at time 0.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Whether names are to be left out and addresses shifted.
    pub fn anonymized(&self) -> bool {
        self.header.anonymized
    }

    /// A number for a VM.
    pub fn number_vm(&self) -> u32 {
        self.next_vm.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a session has joined, so that there is a trace.
    pub fn begun(&self) -> bool {
        lock(&self.current).is_some()
    }

    /// Whether nothing more may be written.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Where it goes.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The files it is in: of several parts the first and the last one.
    pub fn files(&self) -> String {
        let last = lock(&self.current).as_ref().map_or(0, |part| part.number);
        let of_part = |number| Some(self.output.path(number)?.display().to_string());
        match (of_part(1), of_part(last)) {
            (Some(first), Some(last)) if self.rotate.is_some() && first != last => format!("{first} to {last}"),
            (Some(first), _) if self.rotate.is_some() => first,
            _ => self.output.to_string(),
        }
    }

    /// Bytes written so far, in all parts.
    pub fn bytes(&self) -> u64 {
        let current = lock(&self.current).clone();
        let open = current.map_or(0, |part| lock(&part.state).writer.as_ref().map_or(0, Writer::bytes));
        self.ended_bytes.load(Ordering::Relaxed) + open
    }

    /// Calls written so far, in all parts that have ended.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Tells what all sessions together have cost so far; it goes into the next trailer.
    pub fn set_cost(&self, cost: Cost) {
        *lock(&self.cost) = cost;
    }

    fn open_part(&self, number: u64) -> Result<Arc<Part>, anyhow::Error> {
        let header = Header { part: if self.rotate.is_some() { number } else { 0 }, ..self.header.clone() };
        let sink = self.output.open(header.part)?;
        let writer = Writer::new(sink, &header)?;
        let state = State { writer: Some(writer), sessions: 0, current: true, lost: 0, unattributed: 0 };
        Ok(Arc::new(Part { number, since: Instant::now(), state: Mutex::new(state) }))
    }

    /// A place to write in the current part.
    pub fn join(self: &Arc<Self>) -> Result<Pen> {
        let mut current = lock(&self.current);
        let part = match &*current {
            Some(part) => Arc::clone(part),
            None => Arc::clone(current.insert(self.open_part(1)?)),
        };
        Ok(Pen::new(Arc::clone(self), part))
    }

    /// Begins a new part if one is due. To be called now and then, by one thread.
    pub fn rotate_if_due(&self) -> Result<()> {
        let (Some(rotate), Some(part)) = (self.rotate, lock(&self.current).clone()) else { return Ok(()) };
        let due = match rotate {
            Rotate::Bytes(most) => lock(&part.state).writer.as_ref().is_some_and(|writer| writer.bytes() >= most),
            Rotate::Time(longest) => part.since.elapsed() >= longest,
        };
        if due && !self.is_full() {
            let next = self.open_part(part.number + 1)?;
            *lock(&self.current) = Some(next);
            lock(&part.state).current = false;
            self.end_if_left(&part)?;
        }
        Ok(())
    }

    /// Ends a part that nobody writes to any more.
    fn end_if_left(&self, part: &Part) -> Result<(), TraceError> {
        let mut state = lock(&part.state);
        if state.sessions == 0 && !state.current {
            let reason = format!("goes on in part {}", part.number + 1);
            self.end(&mut state, Trailer { reason, ..Trailer::default() })?;
        }
        Ok(())
    }

    fn end(&self, state: &mut State, trailer: Trailer) -> Result<Trailer, TraceError> {
        let Some(writer) = state.writer.take() else { return Ok(trailer) };
        let (calls, now) = (writer.calls(), self.now());
        let cost = *lock(&self.cost);
        let trailer = Trailer { lost: state.lost, unattributed: state.unattributed, calls, cost, ..trailer };
        let bytes = writer.finish(now, trailer.clone())?;
        self.ended_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.calls.fetch_add(calls, Ordering::Relaxed);
        Ok(trailer)
    }

    /// Ends the last part, after all sessions have left. Returns its trailer; nothing if there is no part.
    pub fn finish(&self, trailer: Trailer) -> Result<Option<Trailer>, TraceError> {
        let Some(part) = lock(&self.current).clone() else { return Ok(None) };
        self.end(&mut lock(&part.state), trailer).map(Some)
    }

    /// The time in the trace of now.
    pub fn now(&self) -> Nanos {
        crate::clock::monotonic_ns().saturating_sub(self.base)
    }
}
