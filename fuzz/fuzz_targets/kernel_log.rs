//! Fuzzes the kernel log in every form; the body is `cupel_fuzz_bodies::kernel_log`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cupel_fuzz_bodies::kernel_log(data));
