//! The second probe at the door, which takes stacks, on one thread.

use std::io;

use super::Pace;
use super::matcher::{Matched, Matcher};
use super::record::{Record, Registers, STACK_BYTES, Sampled};
use crate::clock::monotonic_ns;
use crate::hits::{Hit, Registers as Hits};
use crate::sys::{PerfEvent, ProbeSpec, Ring, Tells};

const PAGE: usize = 4096;
/// The ring is made smaller down to this, where no more memory may be locked: one sample fits it.
const RING_LEAST: usize = 16 << 10;

/// The probe on a thread.
#[derive(Debug)]
pub struct StackProbe {
    event: PerfEvent,
    ring: Ring,
    matcher: Matcher,
    pace: Pace,
    /// Samples since the pace was changed.
    since: u64,
    /// The first sample after this time is no good: the change made it.
    changed: Option<u64>,
}

/// So many samples come at one pace.
const STEADY: u64 = 16;

impl StackProbe {
    /// Opens it. The breakpoint is the door's.
    pub fn open(door: &ProbeSpec, tid: i32, mut pace: Pace, bytes: usize) -> io::Result<StackProbe> {
        let every = pace.draw();
        // Nobody waits for this ring: the hits', which fills too, is waited for.
        let spec = ProbeSpec { watermark: Some(u32::MAX), tells: Tells::Stack { every }, ..door.clone() };
        let event = PerfEvent::open(&spec, tid)?;
        let mut bytes = bytes.next_power_of_two();
        let ring = loop {
            match Ring::map(&event, bytes / PAGE) {
                Err(error) if error.kind() == io::ErrorKind::QuotaExceeded && bytes > RING_LEAST => bytes /= 2,
                mapped => break mapped?,
            }
        };
        Ok(StackProbe { event, ring, matcher: Matcher::default(), pace, since: 0, changed: None })
    }

    /// Has stacks taken from here on.
    pub fn start(&self) -> io::Result<()> {
        self.event.enable()
    }

    /// Empties the ring; `take` makes a number of a stack.
    pub fn read(&mut self, mut take: impl FnMut(&Sampled<'_>) -> u32) {
        let StackProbe { ring, matcher, since, changed, .. } = self;
        ring.drain(None, |bytes| match Record::parse(bytes) {
            Record::Sampled(sampled) if changed.is_some_and(|changed| sampled.time > changed) => *changed = None,
            Record::Sampled(sampled) => {
                *since += 1;
                let Registers { di, si, dx, cx, .. } = sampled.registers;
                let stack = take(&sampled);
                matcher.stack(sampled.time, [di, si, dx, cx], stack);
            }
            Record::Lost(count) => matcher.lost += count,
            Record::Other => {}
        });
        if self.since >= STEADY && self.pace.mean > 1 {
            let now = monotonic_ns();
            // Where it cannot be changed it stays as it is.
            if self.event.set_period(self.pace.draw()).is_ok() {
                (self.since, self.changed) = (0, Some(now));
            }
        }
    }

    /// Takes the next hit of the thread, before it is passed on. What is known of hits before it goes to `each`.
    pub fn hit(&mut self, hit: &Hit, each: impl FnMut(Matched)) {
        let Hits { di, si, dx, cx, .. } = hit.registers;
        self.matcher.hit(hit.time, [di, si, dx, cx], each);
    }

    /// All hits so far were taken: what is known of them goes to `each`.
    pub fn rest(&mut self, each: impl FnMut(Matched)) {
        self.matcher.rest(each);
    }

    /// Samples that are missing, since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.matcher.lost)
    }

    /// Leaves the probe, to be closed.
    pub fn into_event(self) -> PerfEvent {
        self.event
    }
}

/// Bytes in the ring for one sample: header, numbers and registers beside the stack.
pub const SAMPLE_BYTES: usize = STACK_BYTES as usize + 160;
