//! Many traces at once, as a user calls it: what is in the tables, what is skipped, and what goes wrong.

#[path = "../../examples/generate/program.rs"]
mod program;
#[path = "../../examples/generate/write.rs"]
mod write;

mod bad;
mod called;
mod found;
mod many;
mod partial;
mod stopped;
