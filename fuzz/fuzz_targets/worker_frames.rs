//! Fuzzes frames of a GPU worker; the body is `cupel_fuzz_bodies::worker_frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cupel_fuzz_bodies::worker_frames(data));
