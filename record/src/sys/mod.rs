//! The one place with `unsafe` in it: perf events and their rings, which no well-kept crate wraps with what we need
//! (uprobe PMU, register samples, one ring for several events).

mod event;
mod ring;
mod trace;
mod undertaker;

pub use event::{Counts, PerfEvent, ProbeSpec, Tells};
pub use ring::Ring;
pub use trace::detach;
pub use undertaker::{UNDERTAKER_ARGUMENT, Undertaker, undertaker};
