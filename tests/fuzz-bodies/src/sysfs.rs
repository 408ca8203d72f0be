//! Values of sysfs and tables of procfs: whatever the text, nothing panics, and what is read stands
//! in the text.

use cupel_hardware::{clock, cpus, filesystems, kernel, memory, pci, rdma, smbios, sysfs};

/// One value, then the same bytes as each of the tables.
pub fn sysfs(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    values(text.trim());
    tables(&text);
}

fn values(text: &str) {
    if let Some(digits) = sysfs::hexadecimal(text, 4) {
        assert_eq!(digits.len(), 4);
        assert!(digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    }
    if let Some(address) = sysfs::full_pci_address(text) {
        assert!(
            text.contains(&format!("{:x}", address.function)),
            "{text:?}"
        );
    }
    if let Some(speed) = sysfs::pci_speed(text) {
        assert!(f64::from(speed) >= 0.0);
    }
    if let Some(rate) = sysfs::rdma_rate(text) {
        assert!(f64::from(rate) >= 0.0);
    }
    if let Some(state) = sysfs::rdma_state(text) {
        assert!(!state.is_empty() && text.contains(&state));
    }
    if let Some(guid) = sysfs::guid(text) {
        assert!(guid.eq_ignore_ascii_case(text));
    }
    if let Some(uuid) = smbios::valid_uuid(text) {
        assert!(uuid.eq_ignore_ascii_case(text));
    }
    for bits in [4, 8, 16, 32, 64] {
        if let Some(counter) = rdma::parse_counter(text, bits) {
            assert_eq!(text.parse::<u64>(), Ok(counter.value));
            let maximum = u64::MAX >> (64 - bits);
            assert_eq!(counter.saturated, counter.value == maximum);
        }
    }
    let _ = (sysfs::flag(text), sysfs::count(text), sysfs::decimal(text));
}

fn tables(text: &str) {
    if let Ok(packages) = cpus::packages(text, |_| None) {
        assert!(packages.values().all(|package| package.threads > 0));
    }
    if let Ok(counters) = pci::parse_aer("aer", "fatal", text) {
        assert!(counters.len() <= text.lines().count());
    }
    if let Ok((version, _)) = kernel::parse_nvidia_version(text) {
        assert!(text.contains(&version));
    }
    if let Ok(mounts) = filesystems::parse_mounts(text) {
        assert!(mounts.len() <= text.lines().count());
    }
    let _ = memory::parse_meminfo(text, "MemTotal");
    let _ = clock::parse_boot_time("/proc/stat", text);
}
