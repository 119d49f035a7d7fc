//! The collector's cycles, seen in `gc.total`: garbage piles up until a sweep takes it away. LuaJIT collects in small
//! steps while the program goes on, so what the trace shows is a saw-tooth: a cycle ends where the fall ends.
//!
//! A swing counts from a sixteenth of its upper end on, which is far above what a program does between two steps of the
//! collector, and below what a cycle takes with the default settings (about half). One call can make `gc.total` fall by
//! as much without a collector: a table that grew gives back its old part. So a fall is a sweep only if it is a swing
//! even without its largest single step.

use schemars::JsonSchema;
use serde::Serialize;
use shared::Nanos;

use super::points::Gauge;

/// Of its upper end, what a swing takes at least: one part of so many.
const SWING: u64 = 16;

/// A place where `gc.total` turns round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn<M = ()> {
    /// When.
    pub time: Nanos,
    bytes: u64,
    /// The largest single call on the way here that was a falling swing by itself.
    step: u64,
    /// What somebody noted of this moment.
    pub mark: M,
}

/// Whether two heights are a swing apart.
fn is_swing(low: u64, high: u64) -> bool {
    high.saturating_sub(low) >= (high / SWING).max(1)
}

/// Where `gc.total` turned in a stretch, without what can be no part of a swing whatever came before the stretch and
/// comes behind it: feeding these turns to [`Cycles`] is as good as feeding each call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turns<M = ()> {
    turns: Vec<Turn<M>>,
    /// Heights from here to there change nothing.
    low: u64,
    high: u64,
    /// The lowest of all so far.
    lowest: u64,
}

impl<M: Clone + Default> Turns<M> {
    /// The next height.
    #[inline]
    pub fn see(&mut self, time: Nanos, bytes: u64) {
        if bytes < self.low || bytes > self.high || self.turns.is_empty() {
            self.turn(time, bytes, 0);
        }
    }

    /// Whether a cycle may end where the curve may have turned last: it has fallen by a swing, or lies lower than ever in
    /// this stretch.
    #[inline]
    pub fn may_end(&self) -> bool {
        match &self.turns[..] {
            [.., before, last] => last.bytes <= self.lowest || is_swing(last.bytes, before.bytes),
            _ => true,
        }
    }

    /// Notes something of the moment where the curve may have turned last.
    #[inline]
    pub fn mark(&mut self, mark: M) {
        if let Some(last) = self.turns.last_mut() {
            last.mark = mark;
        }
    }

    /// The height before a call and that after it; tells whether the curve may turn there.
    #[inline]
    pub fn step(&mut self, time: Nanos, before: u64, after: u64) -> bool {
        let turns = after < self.low || after > self.high || self.turns.is_empty();
        if turns {
            let step = if is_swing(after, before) { before - after } else { 0 };
            self.turn(time, after, step);
        }
        turns
    }

    fn turn(&mut self, time: Nanos, bytes: u64, step: u64) {
        let turns = &mut self.turns;
        self.lowest = if turns.is_empty() { bytes } else { self.lowest.min(bytes) };
        let mark = M::default();
        match &mut turns[..] {
            // It goes on as it went.
            [.., before, last] if (before.bytes < last.bytes) == (last.bytes < bytes) => {
                *last = Turn { time, bytes, step: step.max(last.step), mark };
            }
            _ => turns.push(Turn { time, bytes, step, mark }),
        }
        // What turned within a larger move and was no swing is taken out of it.
        while let [.., start, one, other, end] = &turns[..] {
            let (low, high) = (one.bytes.min(other.bytes), one.bytes.max(other.bytes));
            let (from, to) = (start.bytes.min(end.bytes), start.bytes.max(end.bytes));
            if is_swing(low, high) || from > low || to < high {
                break;
            }
            let end = Turn { step: end.step.max(one.step), ..end.clone() };
            turns.truncate(turns.len() - 3);
            turns.push(end);
        }
        (self.low, self.high) = match &turns[..] {
            [.., one, other] if !is_swing(one.bytes.min(other.bytes), one.bytes.max(other.bytes)) => {
                (one.bytes.min(other.bytes), one.bytes.max(other.bytes))
            }
            _ => (bytes, bytes),
        };
    }
}

/// Where the curve is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way<M> {
    /// It has risen to here, or to no swing below.
    Up(Turn<M>),
    /// It has fallen by a swing from the first to the second.
    Down(Turn<M>, Turn<M>),
}

/// What is known of a VM's cycles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cycles<M = ()> {
    way: Option<Way<M>>,
    /// The end of the cycle before, if every call since is recorded.
    before: Option<Nanos>,
    /// How many have ended.
    pub count: u64,
    /// From one's end to the next one's.
    pub periods: Periods,
    /// `gc.total` at their ends.
    pub live: Option<Gauge>,
}

/// How long cycles take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Periods {
    /// How many of them are known from end to end.
    pub count: u64,
    /// Together.
    pub sum_ns: u64,
    /// The shortest.
    pub min_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl Periods {
    /// The mean; none of none.
    pub fn mean_ns(&self) -> Option<u64> {
        self.sum_ns.checked_div(self.count)
    }

    fn add(&mut self, ns: u64) {
        self.min_ns = if self.count == 0 { ns } else { self.min_ns.min(ns) };
        self.max_ns = self.max_ns.max(ns);
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.count += 1;
    }
}

impl<M: Clone> Cycles<M> {
    /// Goes on with the next stretch, and tells where cycles ended. One ends for certain only where the next one rises.
    /// What `counts` does not accept is passed over.
    pub fn feed(&mut self, turns: Turns<M>, mut counts: impl FnMut(&Turn<M>) -> bool) {
        for turn in turns.turns {
            let (way, ended) = match self.way.take() {
                None => (Way::Up(turn), None),
                Some(way) => way.go(turn),
            };
            self.way = Some(way);
            let Some((start, end)) = ended else { continue };
            let swept = start.bytes.saturating_sub(end.step);
            if is_swing(end.bytes.min(swept), swept) && counts(&end) {
                self.count += 1;
                if let Some(before) = self.before.replace(end.time) {
                    self.periods.add(end.time.saturating_sub(before));
                }
                let live = Gauge::at(end.bytes);
                self.live = Some(self.live.map_or(live, |known| known.then(&live)));
            }
        }
    }

    /// What follows does not go on here.
    pub fn cut(&mut self) {
        (self.way, self.before) = (None, None);
    }
}

/// A fall: its start, and its end with its largest step.
type Fall<M> = (Turn<M>, Turn<M>);

impl<M: Clone> Way<M> {
    /// The way on, and the fall that has ended.
    fn go(self, turn: Turn<M>) -> (Way<M>, Option<Fall<M>>) {
        match self {
            Way::Up(top) if turn.bytes > top.bytes => (Way::Up(turn), None),
            Way::Up(top) if is_swing(turn.bytes, top.bytes) => (Way::Down(top, turn), None),
            Way::Down(top, end) if turn.bytes < end.bytes => {
                (Way::Down(top, Turn { step: turn.step.max(end.step), ..turn }), None)
            }
            Way::Down(top, end) if is_swing(end.bytes, turn.bytes) => (Way::Up(turn), Some((top, end))),
            way => (way, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// The cycles of a curve given by its heights, cut into stretches behind so many heights each.
    fn cycles(heights: &[u64], cuts: &[usize]) -> (Cycles<Option<Nanos>>, Vec<Nanos>) {
        let (mut cycles, mut ends) = (Cycles::default(), Vec::new());
        let mut turns = Turns::default();
        for (at, height) in heights.iter().enumerate() {
            let turned = match at {
                0 => {
                    turns.see(0, *height);
                    true
                }
                _ => turns.step(at as Nanos, heights[at - 1], *height),
            };
            // Wherever a cycle may end, that is noted.
            if turned && turns.may_end() {
                turns.mark(Some(at as Nanos));
            }
            if cuts.contains(&at) || at + 1 == heights.len() {
                cycles.feed(std::mem::take(&mut turns), |end| {
                    assert_eq!(end.mark, Some(end.time));
                    ends.push(end.time);
                    true
                });
                turns.see(at as Nanos, *height);
                turns.mark(Some(at as Nanos));
            }
        }
        (cycles, ends)
    }

    /// A saw-tooth from 1000 to 2000 with noise, falling in steps of 40.
    fn saw(teeth: usize) -> Vec<u64> {
        let up = (0..100u64).flat_map(|at| [1000 + at * 10, 1000 + at * 10 + 25]);
        let down = (0..25u64).flat_map(|at| [2000 - at * 40, 2000 - at * 40 + 15]);
        let tooth: Vec<u64> = up.chain(down).collect();
        (0..teeth).flat_map(|_| tooth.clone()).chain([1000]).collect()
    }

    #[test]
    fn teeth_are_counted_and_noise_is_not() {
        let (cycles, ends) = cycles(&saw(5), &[]);
        // The last one has not ended for certain.
        assert_eq!((cycles.count, ends.len()), (4, 4));
        assert_eq!((cycles.periods.count, cycles.periods.mean_ns()), (3, Some(250)));
        assert_eq!(cycles.live, Some(Gauge { first: 1000, min: 1000, max: 1000, last: 1000 }));
    }

    #[test]
    fn a_table_that_grows_is_no_cycle() {
        // Its new part is there before its old one goes.
        let mut heights: Vec<u64> = Vec::new();
        for size in (3..12).map(|power| 1u64 << power) {
            heights.extend((0..size).map(|at| 1000 + size * 40 + at));
            heights.extend([1000 + size * 40 + size + size * 80]);
        }
        assert_eq!(cycles(&heights, &[]).0.count, 0);
        let swept: Vec<u64> =
            heights.iter().copied().chain((0..50).map(|at| 80_000 - at * 1000)).chain([90_000]).collect();
        assert_eq!(cycles(&swept, &[]).0.count, 1);
    }

    #[test]
    fn where_calls_are_missing_no_period_is_known() {
        let (mut cycles, mut turns) = (Cycles::default(), Turns::<()>::default());
        saw(2).iter().enumerate().for_each(|(at, height)| turns.see(at as Nanos, *height));
        cycles.feed(turns.clone(), |_| true);
        cycles.cut();
        cycles.feed(turns, |_| true);
        assert_eq!((cycles.count, cycles.periods.count), (2, 0));
    }

    /// By the definition, height for height.
    fn naive(heights: &[u64]) -> Vec<Nanos> {
        let mut ends = Vec::new();
        let (mut top, mut end, mut step) = (heights[0], None::<(Nanos, u64)>, 0);
        for (at, pair) in heights.windows(2).enumerate() {
            let (before, height, time) = (pair[0], pair[1], at as Nanos + 1);
            let fall = if is_swing(height, before) { before - height } else { 0 };
            match end {
                None if height > top => top = height,
                None if is_swing(height, top) => (end, step) = (Some((time, height)), fall),
                Some((_, low)) if height < low => (end, step) = (Some((time, height)), fall.max(step)),
                Some((when, low)) if is_swing(low, height) => {
                    let swept = top.saturating_sub(step);
                    if is_swing(low.min(swept), swept) {
                        ends.push(when);
                    }
                    (top, end, step) = (height, None, 0);
                }
                _ => {}
            }
        }
        ends
    }

    proptest! {
        #[test]
        fn any_cuts_give_the_same_cycles(
            moves in vec((0..4u8, 0..200i64), 2..400),
            cuts in vec(0..400usize, 0..12),
        ) {
            let mut height = 1000i64;
            let heights: Vec<u64> = moves.iter().map(|(kind, size)| {
                height += match kind { 0 => *size, 1 => -size, 2 => size / 20, _ => -size / 10 };
                height = height.clamp(0, 3000);
                height as u64
            }).collect();
            let (whole, ends) = cycles(&heights, &[]);
            prop_assert_eq!(&ends, &naive(&heights));
            let (parts, same) = cycles(&heights, &cuts);
            prop_assert_eq!((parts.count, parts.periods, parts.live, same), (whole.count, whole.periods, whole.live, ends));
        }
    }
}
