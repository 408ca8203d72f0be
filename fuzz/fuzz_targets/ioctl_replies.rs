//! Fuzzes NVMe log pages and IPMI replies; the body is `cupel_fuzz_bodies::ioctl_replies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cupel_fuzz_bodies::ioctl_replies(data));
