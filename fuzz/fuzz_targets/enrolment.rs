//! Fuzzes what a node reads of its identity; the body is `cupel_fuzz_bodies::enrolment`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cupel_fuzz_bodies::enrolment(data));
