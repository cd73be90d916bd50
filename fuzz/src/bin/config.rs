//! See `targets::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| afluente_fuzz::targets::config(data));
