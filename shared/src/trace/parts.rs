//! Several parts of one recording, read as one trace.

use super::meta::Trailer;
use super::reader::{End, Part, Trace};

/// Why traces cannot be read as one. The numbers are their places in the list given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apart {
    /// They are not parts of the same recording.
    Foreign(usize, usize),
    /// They are the same part of it.
    Twice(usize, usize),
}

impl<R> Trace<R> {
    /// Puts parts in their order and reads them as one. A single trace stays as it is; of none there is no trace.
    pub fn join(traces: Vec<Trace<R>>) -> Result<Option<Trace<R>>, Apart> {
        if traces.len() < 2 {
            return Ok(traces.into_iter().next());
        }
        let of = |trace: &Trace<R>| (trace.header.recording.clone(), trace.header.part);
        let known: Vec<(String, u64)> = traces.iter().map(of).collect();
        for (at, (recording, part)) in known.iter().enumerate().skip(1) {
            if recording.is_empty() || *recording != known[0].0 {
                return Err(Apart::Foreign(0, at));
            }
            if let Some(twin) = known[..at].iter().position(|(_, other)| other == part) {
                return Err(Apart::Twice(twin, at));
            }
        }
        let mut traces = traces;
        traces.sort_by_key(|trace| trace.header.part);
        let mut joined: Option<Trace<R>> = None;
        for trace in traces {
            match &mut joined {
                None => joined = Some(trace),
                Some(joined) => joined.append(trace),
            }
        }
        Ok(joined.map(|mut joined| {
            joined.end = end_of(&joined.parts);
            joined
        }))
    }

    fn append(&mut self, other: Trace<R>) {
        let shift = self.inputs.len();
        self.frames.extend(other.frames.into_iter().map(|mut frame| {
            frame.part += shift;
            frame
        }));
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.inputs.extend(other.inputs);
        self.parts.extend(other.parts);
    }

    /// The trailers that there are, in the order of the parts.
    pub fn trailers(&self) -> impl DoubleEndedIterator<Item = &Trailer> {
        self.parts.iter().filter_map(Part::trailer)
    }

    /// Parts of the recording that are missing between the first and the last one there is. Each is a whole trace, so
    /// a recording may be looked at from any part on.
    pub fn missing_parts(&self) -> Vec<u64> {
        let mut missing = Vec::new();
        let mut next = self.parts.first().map_or(0, |part| part.header.part);
        for part in self.parts.iter().map(|part| part.header.part).filter(|part| *part > 0) {
            // A header may claim any number; nobody wants to read more than a few.
            missing.extend((next..part).take(1000));
            next = part.saturating_add(1);
        }
        missing
    }
}

impl Part {
    /// Its trailer, if it has one.
    pub fn trailer(&self) -> Option<&Trailer> {
        match &self.end {
            End::Complete(trailer) => Some(trailer),
            End::Truncated { .. } => None,
        }
    }
}

/// The last part's end, with sums over all parts: trailers tell of their own, but for what the recording cost.
fn end_of(parts: &[Part]) -> End {
    let Some(last) = parts.last() else { return End::Truncated { at: 0, what: String::new() } };
    let number = last.header.part;
    match &last.end {
        End::Truncated { at, what } => End::Truncated { at: *at, what: format!("part {number}: {what}") },
        End::Complete(trailer) => {
            let sum = |of: fn(&Trailer) -> u64| {
                parts.iter().filter_map(Part::trailer).map(of).fold(0u64, |sum, value| sum.saturating_add(value))
            };
            End::Complete(Box::new(Trailer {
                calls: sum(|trailer| trailer.calls),
                maps: sum(|trailer| trailer.maps),
                lost: sum(|trailer| trailer.lost),
                unattributed: sum(|trailer| trailer.unattributed),
                index: Vec::new(),
                ..(**trailer).clone()
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::meta::Header;
    use super::super::writer::Writer;
    use super::*;
    use std::io::Cursor;

    fn part(recording: &str, part: u64) -> Trace<Cursor<Vec<u8>>> {
        let header = Header { recording: recording.into(), part, ..Header::default() };
        let mut bytes = Vec::new();
        let writer = Writer::new(&mut bytes, &header).unwrap();
        writer.finish(part, Trailer { lost: part, unattributed: 10, ..Trailer::default() }).unwrap();
        Trace::open(Cursor::new(bytes)).unwrap()
    }

    #[test]
    fn parts_are_put_in_order_and_summed() {
        let joined = Trace::join(vec![part("a", 3), part("a", 1)]).unwrap().unwrap();
        assert_eq!(joined.parts.iter().map(|part| part.header.part).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(joined.frames.iter().map(|frame| frame.part).collect::<Vec<_>>(), [0, 1]);
        let End::Complete(trailer) = &joined.end else { panic!("complete") };
        assert_eq!((trailer.lost, trailer.unattributed), (4, 20));
        assert_eq!(joined.missing_parts(), [2]);
        assert!(joined.frames.iter().all(|frame| joined.payload(frame).is_ok()));
    }

    #[test]
    fn others_are_refused() {
        assert_eq!(Trace::join(vec![part("a", 1), part("b", 2)]).unwrap_err(), Apart::Foreign(0, 1));
        assert_eq!(Trace::join(vec![part("", 0), part("", 0)]).unwrap_err(), Apart::Foreign(0, 1));
        assert_eq!(Trace::join(vec![part("a", 1), part("a", 2), part("a", 1)]).unwrap_err(), Apart::Twice(0, 2));
        assert!(part("a", 1).missing_parts().is_empty() && part("", 0).missing_parts().is_empty());
        assert!(part("a", 3).missing_parts().is_empty(), "a recording may be read from any part on");
    }
}
