//! NVMe controllers and the block errors of their namespaces.

use std::sync::LazyLock;

use cupel_model::EventKind;
use cupel_model::RemedyAction::{ReplacePart, RunDiagnostic};
use cupel_model::Severity::{Critical, Warning};

use super::{Opened, Phrase, Phrases};

/// Messages of `nvme nvmeN: …`.
static CONTROLLER: LazyLock<Phrases> = LazyLock::new(|| Phrases::new(&CONTROLLER_TABLE));
const CONTROLLER_TABLE: [Phrase; 12] = [
    (
        "controller is down",
        "nvme.controller-down",
        Critical,
        RunDiagnostic,
    ),
    (
        "Disabling device after reset failure",
        "nvme.reset-failed",
        Critical,
        ReplacePart,
    ),
    (
        "Removing after probe failure",
        "nvme.reset-failed",
        Critical,
        ReplacePart,
    ),
    (
        "Device not ready",
        "nvme.reset-failed",
        Critical,
        ReplacePart,
    ),
    (
        "Identify Controller failed",
        "nvme.reset-failed",
        Critical,
        ReplacePart,
    ),
    (
        "frozen state error detected",
        "nvme.controller-reset",
        Warning,
        RunDiagnostic,
    ),
    (
        "reset controller",
        "nvme.controller-reset",
        Warning,
        RunDiagnostic,
    ),
    (
        "resetting controller",
        "nvme.controller-reset",
        Warning,
        RunDiagnostic,
    ),
    ("disable controller", "nvme.timeout", Warning, RunDiagnostic),
    ("timeout, ", "nvme.timeout", Warning, RunDiagnostic),
    (
        "failed to set APST",
        "nvme.command-failed",
        Warning,
        RunDiagnostic,
    ),
    ("Abort status:", "nvme.timeout", Warning, RunDiagnostic),
];

/// Messages of the block layer with `dev nvmeNnM`, and of `nvmeNnM: …`.
static BLOCK: LazyLock<Phrases> = LazyLock::new(|| Phrases::new(&BLOCK_TABLE));
const BLOCK_TABLE: [Phrase; 5] = [
    (
        "critical medium error",
        "nvme.medium-error",
        Critical,
        ReplacePart,
    ),
    (
        "Unrecovered Read Error",
        "nvme.medium-error",
        Critical,
        ReplacePart,
    ),
    ("I/O error", "nvme.io-error", Warning, RunDiagnostic),
    (
        "critical target error",
        "nvme.io-error",
        Warning,
        RunDiagnostic,
    ),
    (" (sct 0x", "nvme.io-error", Warning, RunDiagnostic),
];

/// Whether `word` is `nvmeN`, or `nvmeNnM` and its kin.
fn is_device(word: &str) -> bool {
    word.strip_prefix("nvme")
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

pub(super) fn decode(message: &str) -> Option<Opened> {
    let event = if let Some(rest) = message.strip_prefix("nvme ") {
        let (name, text) = rest.split_once(": ")?;
        is_device(name).then_some(())?;
        CONTROLLER.event(EventKind::Nvme, text)?
    } else if let Some((_, rest)) = message
        .split_once("error, dev ")
        .or_else(|| message.split_once("error on dev "))
    {
        let known = ["blk_update_request: ", "critical ", "I/O ", "Buffer I/O "]
            .iter()
            .any(|start| message.starts_with(start));
        (known && is_device(rest)).then_some(())?;
        BLOCK.event(EventKind::Nvme, message)?
    } else {
        let (name, text) = message.split_once(": ")?;
        (is_device(name) && text.contains("@ LBA")).then_some(())?;
        BLOCK.event(EventKind::Nvme, text)?
    };
    Some(event.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        for (message, code) in [
            (
                "nvme nvme0: I/O 22 QID 5 timeout, aborting",
                Some("nvme.timeout"),
            ),
            (
                "nvme nvme0: I/O 22 (I/O Cmd) QID 5 timeout, reset controller",
                Some("nvme.controller-reset"),
            ),
            (
                "nvme nvme0: I/O tag 128 (1080) opcode 0x2 (I/O Cmd) QID 13 timeout, aborting req_op:READ(0) size:4096",
                Some("nvme.timeout"),
            ),
            (
                "nvme nvme3: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0xffff",
                Some("nvme.controller-down"),
            ),
            (
                "nvme nvme3: Removing after probe failure status: -19",
                Some("nvme.reset-failed"),
            ),
            (
                "nvme nvme3: Device not ready; aborting reset, CSTS=0x1",
                Some("nvme.reset-failed"),
            ),
            (
                "blk_update_request: critical medium error, dev nvme0n1, sector 1234 op 0x0:(READ)",
                Some("nvme.medium-error"),
            ),
            (
                "I/O error, dev nvme0n1, sector 1234 op 0x1:(WRITE)",
                Some("nvme.io-error"),
            ),
            (
                "Buffer I/O error on dev nvme0n1p1, logical block 3, lost async page write",
                Some("nvme.io-error"),
            ),
            (
                "nvme0n1: Read(0x2) @ LBA 1234, 8 blocks, Unrecovered Read Error (sct 0x2 / sc 0x81) DNR",
                Some("nvme.medium-error"),
            ),
            ("nvme nvme0: Shutdown timeout set to 10 seconds", None),
            ("nvme nvme0: 32/0/0 default/read/poll queues", None),
            ("I/O error, dev sda, sector 1234", None),
            (
                "nvme 0000:04:00.0: platform quirk: setting simple suspend",
                None,
            ),
        ] {
            let got = decode(message).map(|opened| opened.event.code);
            assert_eq!(got.as_deref(), code, "{message}");
        }
    }
}
