//! Fuzzes the configuration file; the body is `cupel_fuzz_bodies::configuration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cupel_fuzz_bodies::configuration(data));
