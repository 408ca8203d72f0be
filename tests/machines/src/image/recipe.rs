//! What an image is made of.

use sha2::{Digest as _, Sha256};

/// Debian's release, with systemd 252.
pub const SUITE: &str = "bookworm";

/// Packages, with what they need.
pub const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "libpam-systemd",
    "dbus",
    "udev",
    "kmod",
    "iproute2",
    "procps",
    "openssh-server",
    "pciutils",
    "dmidecode",
    "ipmitool",
    // What systemd-creds opens a TPM with.
    "libtss2-esys-3.0.2-0",
    "libtss2-mu0",
    "libtss2-rc0",
    "libtss2-tcti-device0",
    "qemu-guest-agent",
    "busybox-static",
    "linux-image-amd64",
];

/// Kernel modules that are kept.
pub const MODULES: &[&str] = &[
    "9p",
    "9pnet_virtio",
    "autofs4",
    "configfs",
    "crc32_generic",
    "crc32c_generic",
    "dummy",
    "efivarfs",
    "ext4",
    "ib_uverbs",
    "ipmi_devintf",
    "ipmi_si",
    "loop",
    "mce-inject",
    "nvme",
    "rdma_rxe",
    "tpm_crb",
    "tpm_tis",
    "virtio_blk",
    "virtio_console",
    "virtio_net",
    "virtio_pci",
    "virtio_rng",
];

/// What is done inside, last.
pub const FINISH: &str = include_str!("../../image/finish.sh");

/// Size of the disk, in MiB: room for several versions of Cupel in their development builds.
pub const DISK_MIB: u32 = 3072;

/// Goes up when the builder itself does something else.
const VERSION: u32 = 1;

/// The name of the image that this recipe makes.
pub fn key() -> String {
    let mut hash = Sha256::new();
    let parts = [
        VERSION.to_string(),
        SUITE.to_owned(),
        PACKAGES.join(" "),
        MODULES.join(" "),
        DISK_MIB.to_string(),
        FINISH.to_owned(),
    ];
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let hex: String = hash
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{SUITE}-{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_stable_and_fits_a_path() {
        assert_eq!(key(), key());
        assert!(
            key().chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
            "{}",
            key()
        );
    }
}
