//! Fuzzes what the installer reads; the body is `cupel_fuzz_bodies::installation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cupel_fuzz_bodies::installation(data));
