//! The second probe at the door, which takes stacks, on one thread; and which hit each of them belongs to.

use std::collections::VecDeque;
use std::io;

use super::record::{Record, Registers, STACK_BYTES, Sampled};
use crate::hits::Hit;
use crate::sys::{PerfEvent, ProbeSpec, Ring, Tells};

const PAGE: usize = 4096;
/// The ring is made smaller down to this, where no more memory may be locked: one sample fits it.
const RING_LEAST: usize = 16 << 10;

/// A stack that was taken, and of whom nothing but its number is left.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    time: u64,
    arguments: [u64; 4],
    stack: u32,
    /// When its hit was, once that is known.
    hit: Option<u64>,
}

/// The probe on a thread.
#[derive(Debug)]
pub struct StackProbe {
    event: PerfEvent,
    ring: Ring,
    /// Whether the kernel writes a hit's stack behind the hit: it serves one probe after the other.
    behind: bool,
    waiting: VecDeque<Waiting>,
    /// The thread's last hit.
    last: Option<(u64, [u64; 4])>,
    lost: u64,
}

/// A stack, its hit's time, and so a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched {
    /// `CLOCK_MONOTONIC` of its hit in nanoseconds.
    pub hit: u64,
    /// The number of the stack.
    pub stack: u32,
}

impl StackProbe {
    /// Opens it. The breakpoint is the door's.
    pub fn open(door: &ProbeSpec, tid: i32, every: u64, behind: bool, bytes: usize) -> io::Result<StackProbe> {
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
        Ok(StackProbe { event, ring, behind, waiting: VecDeque::new(), last: None, lost: 0 })
    }

    /// Has stacks taken from here on.
    pub fn start(&self) -> io::Result<()> {
        self.event.enable()
    }

    /// Empties the ring; `take` makes a number of a stack.
    pub fn read(&mut self, mut take: impl FnMut(&Sampled<'_>) -> u32) {
        let StackProbe { ring, waiting, lost, .. } = self;
        ring.drain(None, |bytes| match Record::parse(bytes) {
            Record::Sampled(sampled) => {
                let Registers { di, si, dx, cx, .. } = sampled.registers;
                let stack = take(&sampled);
                waiting.push_back(Waiting { time: sampled.time, arguments: [di, si, dx, cx], stack, hit: None });
            }
            Record::Lost(count) => *lost += count,
            Record::Other => {}
        });
    }

    /// Takes the next hit of the thread, before it is passed on. What is known of hits before it goes to `each`.
    pub fn hit(&mut self, hit: &Hit, each: impl FnMut(Matched)) {
        let arguments = [hit.registers.di, hit.registers.si, hit.registers.dx, hit.registers.cx];
        let at = if self.behind { self.last } else { Some((hit.time, arguments)) };
        if self.behind {
            self.match_until(hit.time, at);
            self.give(each);
        } else {
            self.give(each);
            self.match_until(hit.time, at);
        }
        self.last = Some((hit.time, arguments));
    }

    /// All hits so far were taken: what is known of them goes to `each`.
    pub fn rest(&mut self, each: impl FnMut(Matched)) {
        if self.behind {
            self.match_until(u64::MAX, self.last);
        }
        self.give(each);
    }

    /// Those older than `time` that have no hit yet belong to this one, if it has their arguments.
    fn match_until(&mut self, time: u64, hit: Option<(u64, [u64; 4])>) {
        let before = self.waiting.len();
        self.waiting.retain_mut(|waiting| {
            if waiting.hit.is_some() || waiting.time >= time {
                return true;
            }
            waiting.hit = hit.filter(|(_, arguments)| *arguments == waiting.arguments).map(|(time, _)| time);
            waiting.hit.is_some()
        });
        // What belongs to a hit before the first one that was seen is not wanted.
        if hit.is_some() {
            self.lost += (before - self.waiting.len()) as u64;
        }
    }

    fn give(&mut self, mut each: impl FnMut(Matched)) {
        while let Some(Waiting { hit: Some(hit), stack, .. }) = self.waiting.front() {
            each(Matched { hit: *hit, stack: *stack });
            self.waiting.pop_front();
        }
    }

    /// Samples that are missing, since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Leaves the probe, to be closed.
    pub fn into_event(self) -> PerfEvent {
        self.event
    }
}

/// Bytes in the ring for one sample: header, numbers and registers beside the stack.
pub const SAMPLE_BYTES: usize = STACK_BYTES as usize + 160;
