//! Recordings in windows and in parts, made without a recorder: what a plan, a verdict and the rates make of them.

mod cut;
mod growth;
mod map;
mod parts;
mod rates;
mod recorder;
mod timeline;
mod windows;
mod world;
