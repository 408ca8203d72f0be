//! NVIDIA ConnectX and BlueField adapters (`mlx5_core dddd:bb:dd.f[ netdev]: …`).

use std::sync::LazyLock;

use cupel_model::EventKind;
use cupel_model::RemedyAction::{
    self, CheckCable, RebootNode, Reseat, RunDiagnostic, UpdateFirmware,
};
use cupel_model::Severity::{Critical, Info, Warning};

use super::{Opened, Phrase, Phrases, device};

/// The first phrase that is found decides; the more special stand first.
static PHRASES: LazyLock<Phrases> = LazyLock::new(|| Phrases::new(&PHRASES_TABLE));
const PHRASES_TABLE: [Phrase; 26] = [
    (
        "health compromised",
        "mlx5.health-compromised",
        Critical,
        RunDiagnostic,
    ),
    (
        "Fatal error",
        "mlx5.firmware-error",
        Critical,
        RunDiagnostic,
    ),
    (
        "firmware internal error",
        "mlx5.firmware-error",
        Critical,
        UpdateFirmware,
    ),
    ("FW error", "mlx5.firmware-error", Critical, UpdateFirmware),
    (
        "assert_var[0]",
        "mlx5.firmware-error",
        Critical,
        UpdateFirmware,
    ),
    (
        "unrecoverable hardware error",
        "mlx5.hardware-error",
        Critical,
        RunDiagnostic,
    ),
    (
        "handling bad device here",
        "mlx5.device-failed",
        Critical,
        RebootNode,
    ),
    (
        "PCI slot is unavailable",
        "mlx5.device-failed",
        Critical,
        RebootNode,
    ),
    (
        "health recovery failed",
        "mlx5.device-failed",
        Critical,
        RebootNode,
    ),
    (
        "health recovery succeeded",
        "mlx5.recovered",
        Info,
        RemedyAction::None,
    ),
    (
        "insufficient power on the PCIe slot",
        "mlx5.insufficient-power",
        Warning,
        Reseat,
    ),
    (
        "in pre-initializing state, aborting",
        "mlx5.firmware-hung",
        Critical,
        RebootNode,
    ),
    (
        "in initializing state, aborting",
        "mlx5.firmware-hung",
        Critical,
        RebootNode,
    ),
    (
        "Will cause a leak of a command resource",
        "mlx5.command-timeout",
        Warning,
        RunDiagnostic,
    ),
    (
        "cmd_exec timeout",
        "mlx5.command-timeout",
        Warning,
        RunDiagnostic,
    ),
    (
        "High temperature",
        "mlx5.high-temperature",
        Warning,
        RunDiagnostic,
    ),
    (
        "High Temperature",
        "mlx5.high-temperature",
        Warning,
        RunDiagnostic,
    ),
    ("temp_warn", "mlx5.high-temperature", Warning, RunDiagnostic),
    ("Cable error", "mlx5.cable-error", Warning, CheckCable),
    (
        "Cable unplugged",
        "mlx5.cable-unplugged",
        Warning,
        CheckCable,
    ),
    (
        "Cable plugged",
        "mlx5.cable-plugged",
        Info,
        RemedyAction::None,
    ),
    ("NETDEV WATCHDOG", "mlx5.tx-timeout", Warning, RunDiagnostic),
    (
        "TX timeout detected",
        "mlx5.tx-timeout",
        Warning,
        RunDiagnostic,
    ),
    ("Link down", "mlx5.link-down", Warning, CheckCable),
    ("Link up", "mlx5.link-up", Info, RemedyAction::None),
    (
        ") failed, status ",
        "mlx5.command-failed",
        Warning,
        RunDiagnostic,
    ),
];

pub(super) fn decode(message: &str) -> Option<Opened> {
    if message.starts_with("mlx5_core ") {
        let (pci, text) = device(message)?;
        let mut event = PHRASES.event(EventKind::Mlx5, text)?;
        event.pci = Some(pci);
        return Some(event.into());
    }
    watchdog(message)
}

/// "NETDEV WATCHDOG: eth0 (mlx5_core): transmit queue 3 timed out".
fn watchdog(message: &str) -> Option<Opened> {
    let text = message.strip_prefix("NETDEV WATCHDOG: ")?;
    text.contains("(mlx5_core)")
        .then(|| super::event(EventKind::Mlx5, "mlx5.tx-timeout", Warning, RunDiagnostic).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_addresses() {
        for (message, code) in [
            (
                "mlx5_core 0000:19:00.0: poll_health:857:(pid 0): device's health compromised - reached miss count",
                "mlx5.health-compromised",
            ),
            (
                "mlx5_core 0000:19:00.0: print_health_info:424:(pid 0): synd 0x1: firmware internal error",
                "mlx5.firmware-error",
            ),
            (
                "mlx5_core 0000:19:00.0: wait_func:1151:(pid 77): ACCESS_REG(0x805) timeout. Will cause a leak of a command resource",
                "mlx5.command-timeout",
            ),
            (
                "mlx5_core 0000:19:00.0: mlx5_cmd_out_err:808:(pid 1): ACCESS_REG(0x805) op_mod(0x1) failed, status bad parameter(0x3), syndrome (0x1)",
                "mlx5.command-failed",
            ),
            (
                "mlx5_core 0000:19:00.0: Port module event[error]: module 0, Cable error, Bus stuck(I2C or data shorted)",
                "mlx5.cable-error",
            ),
            (
                "mlx5_core 0000:19:00.0: Port module event[error]: module 0, Cable error, High Temperature",
                "mlx5.high-temperature",
            ),
            (
                "mlx5_core 0000:19:00.0: Port module event: module 0, Cable unplugged",
                "mlx5.cable-unplugged",
            ),
            (
                "mlx5_core 0000:19:00.0: mlx5_pcie_event:299:(pid 9): Detected insufficient power on the PCIe slot (27W).",
                "mlx5.insufficient-power",
            ),
            ("mlx5_core 0000:19:00.0 eth0: Link down", "mlx5.link-down"),
        ] {
            let event = decode(message).expect(message).event;
            assert_eq!(event.code, code, "{message}");
            assert_eq!(event.pci.expect("address").to_string(), "0000:19:00.0");
        }
        for message in [
            "mlx5_core 0000:19:00.0: firmware version: 28.39.1002",
            "mlx5_core 0000:19:00.0: 252.048 Gb/s available PCIe bandwidth (32.0 GT/s PCIe x8 link)",
            "NETDEV WATCHDOG: eth0 (ixgbe): transmit queue 3 timed out",
        ] {
            assert!(decode(message).is_none(), "{message}");
        }
    }
}
