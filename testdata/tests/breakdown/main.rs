//! Where the memory of real processes goes: every byte in one slice, and known memory in the slice where it belongs.

mod allocators;
mod ending;
mod look;
mod luajit;
mod swap;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
