//! The recorder: finds a LuaJIT VM in a running process, probes its allocator's one door, and writes what passes
//! through it, with exact heap snapshots, into a trace.
#![deny(unsafe_code)]

/// `eprint!` that does not mind a standard error that takes nothing, such as a full disk or a reader who has left: what is
/// recorded must not end for that.
#[macro_export]
macro_rules! say_on {
    ($($words:tt)*) => {{
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!($($words)*).as_bytes());
    }};
}

/// `eprintln!` that does not mind a standard error that takes nothing.
#[macro_export]
macro_rules! say {
    () => { $crate::say_on!("\n") };
    ($($words:tt)*) => { $crate::say_on!("{}\n", format_args!($($words)*)) };
}

pub mod anonymize;
pub mod app;
pub mod attach;
pub mod breakdown;
pub mod calibrate;
pub mod census;
pub mod cli;
pub mod clock;
pub mod control;
pub mod dice;
pub mod door;
pub mod freeze;
pub mod governor;
pub mod group;
pub mod hits;
pub mod image;
pub mod launch;
pub mod locate;
pub mod output;
pub mod platform;
pub mod price;
pub mod priority;
pub mod privilege;
pub mod probes;
pub mod progress;
pub mod recording;
pub mod report;
pub mod session;
pub mod site;
pub mod snapshot;
pub mod stacks;
pub mod status;
pub mod stream;
#[allow(unsafe_code)]
pub mod sys;
pub mod target;
pub mod worker;
