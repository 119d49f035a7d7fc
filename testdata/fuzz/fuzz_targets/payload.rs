//! See [`targets::payload`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::payload::run(bytes));
