//! See [`targets::perf`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::perf::run(bytes));
