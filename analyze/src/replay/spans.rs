//! When every call of a VM was recorded: a recording's windows, or all of it.

use std::io::{Read, Seek};

use rayon::prelude::*;
use shared::Nanos;
use shared::call::Call;
use shared::trace::TraceError;
use shared::trace::meta::Window;
use shared::trace::reader::{Frame, Trace};

use super::run::Replayed;
use super::{Life, Plan, Stretch, StretchEnd, WindowAt};

/// A stretch of time in which every call of a VM was recorded.
#[derive(Debug, Clone)]
pub struct Span {
    /// The VM.
    pub vm: u32,
    /// When it begins.
    pub start: Nanos,
    /// When it ends.
    pub end: Nanos,
    /// The window, in a recording of such.
    pub window: Option<Window>,
    /// The calls.
    pub blocks: Vec<Frame>,
}

impl Plan {
    /// The spans, by VM, in order of time. Where there are no windows, each reaches from a keyframe to where calls are
    /// missing, or to the end of its process.
    pub fn spans(&self) -> Vec<Span> {
        if !self.windows.is_empty() {
            let span = |at: &WindowAt| Span {
                vm: at.vm,
                start: at.window.start,
                end: at.window.end,
                window: Some(at.window),
                blocks: at.blocks.clone(),
            };
            return self.windows.iter().map(span).collect();
        }
        let mut spans: Vec<Span> = Vec::new();
        let mut goes_on = false;
        for stretch in &self.stretches {
            let end = self.end_of(stretch);
            match spans.last_mut().filter(|_| goes_on) {
                Some(span) => {
                    span.end = end;
                    span.blocks.extend(&stretch.blocks);
                }
                None => {
                    let (vm, start, blocks) = (stretch.vm, stretch.start(), stretch.blocks.clone());
                    spans.push(Span { vm, start, end, window: None, blocks });
                }
            }
            goes_on = matches!(stretch.end, StretchEnd::Keyframe(..));
        }
        spans
    }

    /// When a stretch ends.
    pub fn end_of(&self, stretch: &Stretch) -> Nanos {
        let end = match stretch.end {
            StretchEnd::Keyframe(frame, _) | StretchEnd::Gap(frame) => frame.head.start,
            StretchEnd::Window(end) | StretchEnd::Part(end) => end,
            StretchEnd::Trace => self.life_of(stretch.vm).and_then(|life| life.ended).unwrap_or(self.end),
        };
        end.max(stretch.start())
    }

    /// Up to when a stretch's heap is known. Where calls are missing or wrong, the last good one is the last moment known.
    pub fn known_until(&self, stretch: &Stretch, replayed: &Replayed) -> Nanos {
        match stretch.end {
            _ if replayed.is_cut_short() => replayed.time,
            StretchEnd::Gap(_) => replayed.time,
            // What a recording ends with: nothing is recorded behind it.
            StretchEnd::Trace if stretch.calls() == 0 => stretch.keyframe.head.end,
            _ => self.end_of(stretch),
        }
    }

    /// When a VM's process was recorded.
    pub fn life_of(&self, vm: u32) -> Option<Life> {
        self.process_of.get(&vm).map(|process| self.lives[*process])
    }
}

/// What calls add up to in each of the spans, all side by side.
pub fn fold<R: Read + Seek + Send, T: Default + Send>(
    trace: &Trace<R>,
    spans: &[Span],
    observe: impl Fn(&mut T, &Call) + Sync,
) -> Vec<Result<T, TraceError>> {
    let one = |span: &Span| {
        let mut sum = T::default();
        for block in &span.blocks {
            trace.calls(block)?.calls.iter().for_each(|call| observe(&mut sum, call));
        }
        Ok(sum)
    };
    spans.par_iter().map(one).collect()
}
