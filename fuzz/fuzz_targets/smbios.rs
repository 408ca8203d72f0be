//! Fuzzes SMBIOS tables; the body is `cupel_fuzz_bodies::smbios`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cupel_fuzz_bodies::smbios(data));
