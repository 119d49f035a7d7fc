//! The recorder: finds a LuaJIT VM in a running process, probes its allocator's one door, and writes what passes
//! through it, with exact heap snapshots, into a trace.
#![deny(unsafe_code)]

pub mod app;
pub mod calibrate;
pub mod cli;
pub mod door;
pub mod freeze;
pub mod hits;
pub mod image;
pub mod launch;
pub mod locate;
pub mod output;
pub mod privilege;
pub mod probes;
pub mod report;
pub mod session;
pub mod site;
pub mod snapshot;
pub mod stream;
#[allow(unsafe_code)]
pub mod sys;
pub mod target;
