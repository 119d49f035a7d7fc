//! Decides when to open a window, with or without a keyframe, and when to close it, so that a process never pays more
//! than its budget. Pure: it is told of times and costs, and knows neither clocks nor processes.
//!
//! The process pays for hits, each at the calibrated price, and for pauses. Windows come at a steady pace that uses up
//! nearly all of the budget; each spends at least as much on calls as on its keyframe. What a window may still spend is a
//! purse that refills at the budget's rate: a quiet process never empties it, and its windows stay open long; a burst
//! empties it within milliseconds, which closes the window.

mod ledger;
mod pause;

use shared::Nanos;

use crate::dice::Dice;

pub use ledger::{Ledger, MINUTE};
pub use pause::Pauses;

/// What the user allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// The share of its time that the process may lose: 0.01 for 1 %.
    pub share: f64,
    /// The longest window.
    pub window: Nanos,
    /// The shortest time from one window's start to the next one's.
    pub every: Nanos,
    /// The longest pause.
    pub max_pause: Nanos,
}

/// Plans use this much of the budget; the rest is for what plans cannot foresee. At 1 % it also keeps the requests that
/// fall into windows, where a saturated server answers several times slower, below one in a thousand.
const PLANNED: f64 = 0.7;
/// Hits cost more than the time they take, in percent: what runs between them finds colder caches, and the breakpoint is
/// there for some milliseconds before and after it counts. By its throughput around windows of 20,000 hits a saturated
/// nginx lost 1.2 to 1.6 times what its hits took in a row (`scripts/bench --only production`).
const IN_ALL: u64 = 130;
/// A window's purse holds so many hits where the budget has them: LuaJIT's collector sweeps in bursts of some ten
/// thousand frees, and a window that ends in the middle of one says little.
const PURSE_HITS: u64 = 20_000;
/// But no more than this share of what a minute has, so that windows come often.
const PURSE_OF_MINUTE: u64 = 8;
/// And never less than this, for then a window would be hardly any.
const MIN_HITS: u64 = 500;
/// Every so many windows, from the first, one ends with a keyframe, too: the replay must arrive there.
const PROOF_EVERY: u64 = 16;

/// What a window is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// It starts at a keyframe. If not, the heap is too large to be copied within the longest pause.
    pub keyframe: bool,
    /// It ends with one.
    pub proof: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing before this moment; ask again then.
    At(Nanos),
    /// Open a window.
    Window(Window),
}

#[derive(Debug, Clone, Copy)]
struct Open {
    since: Nanos,
    /// When the purse was last filled up, and what it held then.
    filled: Nanos,
    purse: f64,
    purse_size: f64,
}

/// The keeper of a process's budget. Times never step back.
#[derive(Debug, Clone)]
pub struct Governor {
    limits: Limits,
    /// What a hit costs in all.
    hit_ns: u64,
    ledger: Ledger,
    pauses: Pauses,
    /// What a window cost beyond its purse, the most of late: hits before it opened, after it was to close, or before
    /// that was noticed.
    beyond: u64,
    windows: u64,
    /// No window before this.
    due: Nanos,
    /// When the last window was asked for.
    started: Nanos,
    /// What was spent since the window was asked for.
    spent_on_window: u64,
    open: Option<Open>,
    dice: Dice,
}

/// From the time that a hit takes to what it costs.
fn in_all(hit_ns: u64) -> u64 {
    (hit_ns * IN_ALL / 100).max(1)
}

impl Governor {
    /// A governor at time `now`. `hit_ns` is the time that a hit takes. `seed` keeps windows off any beat of the process's.
    pub fn new(limits: Limits, hit_ns: u64, now: Nanos, seed: u64) -> Governor {
        Governor {
            limits,
            hit_ns: in_all(hit_ns),
            ledger: Ledger::default(),
            pauses: Pauses::default(),
            beyond: 0,
            windows: 0,
            due: now,
            started: now,
            spent_on_window: 0,
            open: None,
            dice: Dice::new(seed),
        }
    }

    /// No window is asked for before this.
    pub fn due(&self) -> Nanos {
        self.due
    }

    /// Whether a heap of so many bytes can be copied within the longest pause.
    pub fn fits(&mut self, heap_bytes: u64) -> bool {
        self.pauses.fits(heap_bytes, self.limits.max_pause)
    }

    /// How long the stop for a heap of so many bytes is expected to take.
    pub fn expected_pause(&self, heap_bytes: u64) -> Nanos {
        self.pauses.predict(heap_bytes)
    }

    /// Whether one more keyframe is within the budget at `now`.
    pub fn affords_keyframe(&mut self, now: Nanos, heap_bytes: u64) -> bool {
        let pause = self.pauses.predict(heap_bytes);
        self.fits(heap_bytes) && self.ledger.last_minute(now) + pause <= self.minute()
    }

    /// What the process may lose of a minute, in nanoseconds.
    fn minute(&self) -> u64 {
        (self.limits.share * MINUTE as f64) as u64
    }

    /// What a window is to be, what its keyframes and what its calls may cost.
    fn plan(&self, heap_bytes: u64) -> (Window, u64, u64) {
        let pause = self.pauses.predict(heap_bytes);
        let keyframe = pause <= self.limits.max_pause;
        let proof = keyframe && self.windows.is_multiple_of(PROOF_EVERY);
        let keyframes = pause * (u64::from(keyframe) + u64::from(proof));
        let earned = (self.limits.share * PLANNED * self.limits.every as f64) as u64;
        let purse = (PURSE_HITS * self.hit_ns).min(self.minute() / PURSE_OF_MINUTE).max(MIN_HITS * self.hit_ns);
        let calls = earned.saturating_sub(keyframes + self.beyond).max(keyframes).max(purse);
        (Window { keyframe, proof }, keyframes, calls)
    }

    /// What to do at `now`, while no window is open and the process's heaps have so many bytes.
    pub fn next(&mut self, now: Nanos, heap_bytes: u64) -> Next {
        if now < self.due {
            return Next::At(self.due);
        }
        let (window, keyframes, calls) = self.plan(heap_bytes);
        let cost = keyframes + calls + self.beyond;
        if self.ledger.last_minute(now) + cost > self.minute() {
            // Where even one window is too much for a minute, the first one is still taken: nothing would be known.
            if self.windows > 0 || self.ledger.total() > 0 {
                let room = self.minute().saturating_sub(cost);
                self.due = self.ledger.falls_to(now, room).max(now + self.limits.every);
                return Next::At(self.due);
            }
        }
        self.windows += 1;
        (self.started, self.spent_on_window) = (now, 0);
        Next::Window(window)
    }

    /// The time from a window's start to the next one's, by what one costs; a quarter more or less, by chance.
    fn spacing(&mut self, cost: u64) -> Nanos {
        let chance = 0.75 + self.dice.draw() as f64 / (1u64 << 53) as f64 / 2.0;
        let paid_off = cost as f64 / (self.limits.share * PLANNED);
        (paid_off.max(self.limits.every as f64) * chance) as Nanos
    }

    /// A window has begun.
    pub fn opened(&mut self, now: Nanos, heap_bytes: u64) {
        let purse = self.plan(heap_bytes).2 as f64;
        self.open = Some(Open { since: now, filled: now, purse, purse_size: purse });
    }

    /// Whether the window may stay open.
    pub fn keeps(&mut self, now: Nanos) -> bool {
        let rate = self.limits.share * PLANNED;
        let full = self.ledger.last_minute(now) + self.beyond >= self.minute();
        let Some(open) = &mut self.open else { return false };
        open.purse = (open.purse + rate * now.saturating_sub(open.filled) as f64).min(open.purse_size);
        open.filled = now;
        open.purse > 0.0 && !full && now.saturating_sub(open.since) < self.limits.window
    }

    /// The window asked for last has ended, and its probes are closed. When the next one comes depends on what it cost.
    pub fn closed(&mut self) {
        if let Some(open) = self.open.take() {
            let beyond = (-open.purse).max(0.0) as u64;
            self.beyond = beyond.max(self.beyond - self.beyond / 4);
        }
        self.due = self.started.saturating_add(self.spacing(self.spent_on_window));
    }

    /// Sets the time that a hit takes, for those that are still to come.
    pub fn set_price(&mut self, hit_ns: u64) {
        self.hit_ns = in_all(hit_ns);
    }

    /// Hits that the process paid for.
    pub fn hits(&mut self, now: Nanos, hits: u64) {
        let ns = hits.saturating_mul(self.hit_ns);
        self.ledger.spend(now, ns);
        self.spent_on_window += ns;
        if let Some(open) = &mut self.open {
            open.purse -= ns as f64;
        }
    }

    /// A pause that the process paid for.
    pub fn paused(&mut self, now: Nanos, ns: Nanos) {
        self.ledger.spend(now, ns);
        self.spent_on_window += ns;
    }

    /// Learns from a stop: see [`Pauses::learn`].
    pub fn learn_pause(&mut self, stop_ns: Nanos, copy_ns: Nanos, bytes: u64) {
        self.pauses.learn(stop_ns, copy_ns, bytes);
    }

    /// What the process has paid.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}
