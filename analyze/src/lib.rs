//! The analyzer: replays traces, proves the heap, counts it and draws it.
//!
//! The folders are the pipeline: [`source`] opens a trace, [`replay`] re-executes the allocator ([`model`]) from
//! keyframe to keyframe and judges itself, [`symbols`] names places in files, [`metrics`] counts, [`report`] is what was found, [`output`] writes it,
//! [`commands`] are what a user calls.
#![forbid(unsafe_code)]

pub mod cli;
pub mod commands;
pub mod metrics;
pub mod model;
pub mod output;
pub mod replay;
pub mod report;
mod shapes;
pub mod source;
pub mod symbols;
