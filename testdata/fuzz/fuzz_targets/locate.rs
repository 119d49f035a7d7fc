//! See [`targets::locate`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::locate::run(bytes));
