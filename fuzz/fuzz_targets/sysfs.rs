//! Fuzzes sysfs and procfs values; the body is `cupel_fuzz_bodies::sysfs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cupel_fuzz_bodies::sysfs(data));
