//! Who allocates, in traces made without a recorder: the shares against the truth, and names from files of all kinds.

mod elf;
mod made;
mod names;
mod shares;

#[path = "../sampled/world.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod world;
