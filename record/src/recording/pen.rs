//! What a session writes with.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;
use shared::trace::TraceError;
use shared::trace::writer::Writer;

use super::{Part, RESERVE, Recording, lock};
use crate::output::Sink;

/// A session's place in a part.
#[derive(Debug)]
pub struct Pen {
    recording: Arc<Recording>,
    part: Arc<Part>,
}

impl Pen {
    pub(super) fn new(recording: Arc<Recording>, part: Arc<Part>) -> Pen {
        lock(&part.state).sessions += 1;
        Pen { recording, part }
    }

    /// The recording it belongs to.
    pub fn recording(&self) -> &Arc<Recording> {
        &self.recording
    }

    /// Writes something. Once the limit is reached, only what ends a session is still written: `last`.
    pub fn write(
        &self,
        last: bool,
        write: impl FnOnce(&mut Writer<Sink>) -> Result<(), TraceError>,
    ) -> Result<(), TraceError> {
        let before = self.recording.ended_bytes.load(Ordering::Relaxed);
        let mut state = lock(&self.part.state);
        let Some(writer) = &mut state.writer else { return Ok(()) };
        if self.recording.is_full() && !last {
            return Ok(());
        }
        if let Err(error) = write(writer) {
            self.recording.full.store(true, Ordering::Relaxed);
            return Err(error);
        }
        let written = before + writer.bytes();
        if self.recording.max_size.is_some_and(|most| written + RESERVE.max(written / 8) >= most) {
            self.recording.full.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether something of so many bytes stays within the size limit.
    pub fn has_room(&self, bytes: u64) -> bool {
        let Some(most) = self.recording.max_size else { return true };
        let open = lock(&self.part.state).writer.as_ref().map_or(0, Writer::bytes);
        self.recording.ended_bytes.load(Ordering::Relaxed) + open + bytes + RESERVE / 2 < most
    }

    /// Says that there is no more room, which ends the recording.
    pub fn fill(&self) {
        self.recording.full.store(true, Ordering::Relaxed);
    }

    /// Counts hits the kernel dropped, and calls of no VM we know.
    pub fn count(&self, lost: u64, unattributed: u64) {
        let mut state = lock(&self.part.state);
        state.lost += lost;
        state.unattributed += unattributed;
    }

    /// Puts what was written on disk.
    pub fn flush(&self) -> Result<(), TraceError> {
        match &mut lock(&self.part.state).writer {
            Some(writer) => writer.flush(),
            None => Ok(()),
        }
    }

    /// Whether a new part has begun, so that this one is to be left.
    pub fn is_old(&self) -> bool {
        !lock(&self.part.state).current
    }

    /// Leaves the part for the current one.
    pub fn move_on(&mut self) -> Result<()> {
        let next = self.recording.join()?;
        let old = std::mem::replace(self, next);
        drop(old);
        Ok(())
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        lock(&self.part.state).sessions -= 1;
        // A part that cannot be ended is readable up to here; the recording fails at its next write.
        if self.recording.end_if_left(&self.part).is_err() {
            self.recording.full.store(true, Ordering::Relaxed);
        }
    }
}
