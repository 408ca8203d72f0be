//! What else means something on a GPU server: panics and oopses, file systems, PCIe links, IOMMU.

use cupel_model::EventKind;
use cupel_model::RemedyAction::{self, RebootNode, Reseat, RunDiagnostic};
use cupel_model::Severity::{self, Critical, Info, Warning};

use super::{Opened, device, event};

/// Messages known by how they start.
const STARTS: [(&str, &str, Severity, RemedyAction); 12] = [
    (
        "Kernel panic - not syncing",
        "kernel.panic",
        Critical,
        RebootNode,
    ),
    ("kernel BUG at ", "kernel.oops", Critical, RebootNode),
    ("BUG: unable to handle", "kernel.oops", Critical, RebootNode),
    (
        "BUG: kernel NULL pointer dereference",
        "kernel.oops",
        Critical,
        RebootNode,
    ),
    (
        "general protection fault",
        "kernel.oops",
        Critical,
        RebootNode,
    ),
    ("Oops: ", "kernel.oops", Critical, RebootNode),
    ("Internal error: ", "kernel.oops", Critical, RebootNode),
    (
        "EXT4-fs error (device ",
        "filesystem.error",
        Warning,
        RunDiagnostic,
    ),
    (
        "BTRFS error (device ",
        "filesystem.error",
        Warning,
        RunDiagnostic,
    ),
    (
        "AMD-Vi: Event logged [IO_PAGE_FAULT",
        "iommu.fault",
        Warning,
        RunDiagnostic,
    ),
    ("DMAR: [DMA Read", "iommu.fault", Warning, RunDiagnostic),
    ("DMAR: [DMA Write", "iommu.fault", Warning, RunDiagnostic),
];

/// Messages of a PCI device or port, known by what they say.
const OF_DEVICE: [(&str, &str, Severity, RemedyAction); 7] = [
    ("Link Down", "pcie.slot-link-down", Warning, Reseat),
    ("Card not present", "pcie.slot-empty", Warning, Reseat),
    ("Power fault", "pcie.slot-power-fault", Critical, Reseat),
    (
        "config space inaccessible",
        "pcie.device-inaccessible",
        Critical,
        RebootNode,
    ),
    (
        "device inaccessible",
        "pcie.device-inaccessible",
        Critical,
        RebootNode,
    ),
    (
        "AMD-Vi: Event logged [IO_PAGE_FAULT",
        "iommu.fault",
        Warning,
        RunDiagnostic,
    ),
    (
        "available PCIe bandwidth, limited by",
        "pcie.bandwidth-limited",
        Info,
        RunDiagnostic,
    ),
];

pub(super) fn decode(message: &str) -> Option<Opened> {
    for (start, code, severity, action) in STARTS {
        if message.starts_with(start) {
            return Some(event(EventKind::Other, code, severity, action).into());
        }
    }
    if xfs(message)
        || message.starts_with("EXT4-fs (") && message.contains("Remounting filesystem read-only")
    {
        return Some(event(EventKind::Other, "filesystem.error", Warning, RunDiagnostic).into());
    }
    let (pci, text) = device(message)?;
    let slot = text.starts_with("pciehp: ");
    for (phrase, code, severity, action) in OF_DEVICE {
        // The slot's words are common ones: only pciehp's count.
        if text.contains(phrase) && (slot || !code.starts_with("pcie.slot-")) {
            let mut event = event(EventKind::Other, code, severity, action);
            event.pci = Some(pci);
            return Some(event.into());
        }
    }
    None
}

fn xfs(message: &str) -> bool {
    message.strip_prefix("XFS (").is_some_and(|text| {
        [
            "Corruption",
            "orruption detected",
            "I/O error",
            "shutting down filesystem",
            "Shutting down filesystem",
        ]
        .iter()
        .any(|phrase| text.contains(phrase))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_addresses() {
        for (message, code, pci) in [
            (
                "Kernel panic - not syncing: Fatal machine check",
                Some("kernel.panic"),
                None,
            ),
            (
                "BUG: unable to handle page fault for address: ffff",
                Some("kernel.oops"),
                None,
            ),
            (
                "EXT4-fs error (device nvme0n1p2): ext4_find_entry:1455",
                Some("filesystem.error"),
                None,
            ),
            (
                "XFS (nvme0n1p1): Metadata corruption detected at xfs",
                Some("filesystem.error"),
                None,
            ),
            ("XFS (nvme0n1p1): Mounting V5 Filesystem", None, None),
            (
                "pcieport 0000:16:01.0: pciehp: Slot(12): Link Down",
                Some("pcie.slot-link-down"),
                Some("0000:16:01.0"),
            ),
            (
                "nvidia 0000:3b:00.0: can't change power state from D3cold to D0 (config space inaccessible)",
                Some("pcie.device-inaccessible"),
                Some("0000:3b:00.0"),
            ),
            (
                "pci 0000:3b:00.0: 63.008 Gb/s available PCIe bandwidth, limited by 8.0 GT/s PCIe x8 link at 0000:16:01.0",
                Some("pcie.bandwidth-limited"),
                Some("0000:3b:00.0"),
            ),
            ("igb 0000:01:00.0 eno1: igb: eno1 NIC Link Down", None, None),
        ] {
            let event = decode(message).map(|opened| opened.event);
            assert_eq!(event.as_ref().map(|e| e.code.as_str()), code, "{message}");
            let got = event.and_then(|e| e.pci).map(|p| p.to_string());
            assert_eq!(got.as_deref(), pci, "{message}");
        }
    }
}
