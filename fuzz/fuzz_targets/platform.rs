//! Fuzzes platform files; the body is `cupel_fuzz_bodies::platform`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cupel_fuzz_bodies::platform(data));
