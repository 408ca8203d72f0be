//! The NVIDIA driver's own trouble without a code: initialisation, versions, PCI resources.

use std::sync::LazyLock;

use cupel_model::RemedyAction::{ContactVendor, RebootNode, RunDiagnostic, UpdateDriver};
use cupel_model::Severity::{Critical, Warning};
use cupel_model::{EventKind, PciAddress};

use super::{Accept, Opened, Phrase, Phrases, Thread, address, device};
use crate::version::DriverVersion;

/// The first phrase that is found decides; the more special stand first.
static PHRASES: LazyLock<Phrases> = LazyLock::new(|| Phrases::new(&PHRASES_TABLE));
const PHRASES_TABLE: [Phrase; 14] = [
    (
        "API mismatch:",
        "driver.version-mismatch",
        Warning,
        UpdateDriver,
    ),
    (
        "RmInitAdapter failed",
        "driver.init-failed",
        Critical,
        RebootNode,
    ),
    (
        "rm_init_adapter failed",
        "driver.init-failed",
        Critical,
        RebootNode,
    ),
    ("GPU_IS_LOST", "driver.gpu-lost", Critical, RebootNode),
    (
        "GPU lost from the bus",
        "driver.gpu-lost",
        Critical,
        RebootNode,
    ),
    (
        "NVIDIA probe routine failed",
        "driver.probe-failed",
        Critical,
        RunDiagnostic,
    ),
    (
        "NVIDIA probe routine was not called",
        "driver.probe-failed",
        Critical,
        RunDiagnostic,
    ),
    (
        "None of the NVIDIA",
        "driver.probe-failed",
        Critical,
        RunDiagnostic,
    ),
    (
        "No NVIDIA GPU found",
        "driver.probe-failed",
        Critical,
        RunDiagnostic,
    ),
    (
        "This PCI I/O region assigned to your NVIDIA device is invalid",
        "driver.bar-invalid",
        Critical,
        ContactVendor,
    ),
    (
        "request_mem_region failed",
        "driver.bar-invalid",
        Critical,
        ContactVendor,
    ),
    (
        "copy vbios to system memory",
        "driver.vbios-unreadable",
        Critical,
        RunDiagnostic,
    ),
    (
        "is already bound to",
        "driver.bound-elsewhere",
        Warning,
        RunDiagnostic,
    ),
    (
        "installed in this system is not supported",
        "driver.unsupported-gpu",
        Warning,
        UpdateDriver,
    ),
];

/// A message of NVRM that goes on.
#[derive(Debug)]
pub(crate) enum Continued {
    /// "API mismatch": until "components have the same version."
    Mismatch,
    /// "PCI I/O region … invalid": the region and whose it is.
    Region,
}

impl Continued {
    pub fn offer(&self, message: &str) -> Accept {
        let Some(text) = message.trim_start().strip_prefix("NVRM: ") else {
            return Accept::No;
        };
        let (starts, end): (&[&str], &str) = match self {
            Self::Mismatch => (
                &[
                    "this kernel module",
                    "has the version",
                    "make sure that",
                    "components have",
                ],
                "components have",
            ),
            Self::Region => (&["BAR"], "BAR"),
        };
        if text.starts_with(end) {
            Accept::Last
        } else if starts.iter().any(|start| text.starts_with(start)) {
            Accept::More
        } else {
            Accept::No
        }
    }
}

/// The version in "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.86.15  …".
pub(super) fn version(message: &str) -> Option<DriverVersion> {
    let text = message.strip_prefix("NVRM: loading NVIDIA UNIX ")?;
    let (_, rest) = text.split_once("Kernel Module")?;
    let mut tokens = rest.split_ascii_whitespace();
    let token = tokens.find(|token| token.starts_with(|c: char| c.is_ascii_digit()))?;
    token.parse().ok()
}

pub(super) fn decode(message: &str) -> Option<Opened> {
    if let Some(text) = message.strip_prefix("NVRM: ") {
        let mut event = PHRASES.event(EventKind::Driver, text)?;
        event.pci = gpu(text);
        let thread = match event.code.as_str() {
            "driver.version-mismatch" if !text.contains("components have") => {
                Some(Thread::Driver(Continued::Mismatch))
            }
            "driver.bar-invalid" if text.contains("This PCI I/O region") => {
                Some(Thread::Driver(Continued::Region))
            }
            _ => None,
        };
        return Some(Opened { event, thread });
    }
    probe(message).or_else(|| peermem(message))
}

/// The address in "GPU 0000:3b:00.0: …", "GPU at PCI:0000:3b:00: …".
fn gpu(text: &str) -> Option<PciAddress> {
    let rest = text.strip_prefix("GPU ")?;
    let rest = rest.strip_prefix("at ").unwrap_or(rest);
    rest.split_ascii_whitespace().next().and_then(address)
}

/// "nvidia: probe of 0000:3b:00.0 failed with error -1", and the newer spelling with the device
/// first. Of NVIDIA's and Mellanox's drivers and NVMe only.
fn probe(message: &str) -> Option<Opened> {
    const DRIVERS: [&str; 3] = ["nvidia", "mlx5_core", "nvme"];
    let (driver, pci) = if let Some((driver, rest)) = message.split_once(": probe of ") {
        let (token, rest) = rest.split_once(' ')?;
        rest.starts_with("failed with error").then_some(())?;
        (driver, address(token)?)
    } else {
        let (pci, rest) = device(message)?;
        let rest = rest.strip_prefix("probe with driver ")?;
        let (driver, rest) = rest.split_once(' ')?;
        rest.starts_with("failed with error").then_some(())?;
        (driver, pci)
    };
    if !DRIVERS.contains(&driver) {
        return None;
    }
    let mut event = super::event(
        EventKind::Driver,
        "driver.probe-failed",
        Critical,
        RunDiagnostic,
    );
    event.pci = Some(pci);
    Some(event.into())
}

fn peermem(message: &str) -> Option<Opened> {
    let text = message.strip_prefix("nvidia-peermem ")?;
    text.contains("ERROR").then(|| {
        super::event(
            EventKind::Driver,
            "driver.peermem-error",
            Warning,
            RunDiagnostic,
        )
        .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_addresses() {
        for (message, code, pci) in [
            (
                "NVRM: GPU 0000:3b:00.0: RmInitAdapter failed! (0x24:0x72:1568)",
                "driver.init-failed",
                Some("0000:3b:00.0"),
            ),
            (
                "NVRM: GPU 0000:3b:00.0: rm_init_adapter failed, device minor number 0",
                "driver.init-failed",
                Some("0000:3b:00.0"),
            ),
            (
                "NVRM: nvCheckOkFailedNoLog: Check failed: GPU lost from the bus [NV_ERR_GPU_IS_LOST] (0x0000000F) returned from x",
                "driver.gpu-lost",
                None,
            ),
            (
                "NVRM: The NVIDIA probe routine failed for 1 device(s).",
                "driver.probe-failed",
                None,
            ),
            (
                "nvidia: probe of 0000:3b:00.0 failed with error -1",
                "driver.probe-failed",
                Some("0000:3b:00.0"),
            ),
            (
                "nvidia 0000:3b:00.0: probe with driver nvidia failed with error -1",
                "driver.probe-failed",
                Some("0000:3b:00.0"),
            ),
            (
                "nvidia-peermem nv_get_p2p_free_callback:127 ERROR detected invalid context, skipping further processing",
                "driver.peermem-error",
                None,
            ),
            (
                "NVRM: API mismatch: the client has the version 535.1, but",
                "driver.version-mismatch",
                None,
            ),
        ] {
            let event = decode(message).expect(message).event;
            assert_eq!(event.code, code, "{message}");
            assert_eq!(
                event.pci.map(|p| p.to_string()).as_deref(),
                pci,
                "{message}"
            );
        }
        for message in [
            "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu",
            "NVRM: GPU at PCI:0000:3b:00: GPU-0a",
            "snd_hda_intel: probe of 0000:3b:00.1 failed with error -2",
        ] {
            assert!(decode(message).is_none(), "{message}");
        }
    }

    #[test]
    fn the_driver_says_its_version() {
        for (message, want) in [
            (
                "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 2 2025",
                Some("570.86.15"),
            ),
            (
                "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build",
                Some("580.65.06"),
            ),
            (
                "NVRM: loading NVIDIA UNIX Open Kernel Module for aarch64",
                None,
            ),
        ] {
            assert_eq!(version(message).map(|v| v.to_string()).as_deref(), want);
        }
    }
}
