//! What the kernel log tells of memory: which machine checks are memory's, and which module is named.
//!
//! # Invariants
//! - A machine check is memory's by the processor's own error code, or by the decoder's words; what
//!   neither says is a processor's.
//! - A module is named only as the log or EDAC names it; a socket of SMBIOS only where it has just
//!   that name.

use cupel_model::snapshot::Dimm;
use cupel_model::{Component, ComponentKind, Event, EventKind};

use crate::context::Context;

/// Bits of MCi_STATUS that tell a memory controller's error: `000F 0000 1MMM CCCC`.
const MEMORY_CONTROLLER: u64 = 0x0080;
const MEMORY_MASK: u64 = 0xef80;

/// Whether a machine check is of memory.
pub fn is_memory(event: &Event) -> bool {
    if event.code.starts_with("mce.page-") || event.code == "mce.process-killed" {
        return true;
    }
    let raw = &event.raw;
    raw.contains("Uncorrected hardware memory error")
        || raw.contains("Unified Memory Controller")
        || status(raw).is_some_and(|status| status & MEMORY_MASK == MEMORY_CONTROLLER)
}

/// MCi_STATUS of `CPU 24: Machine Check: 0 Bank 7: cc00008000010090`.
fn status(raw: &str) -> Option<u64> {
    let (_, rest) = raw.split_once(" Bank ")?;
    let (_, status) = rest.split_once(": ")?;
    u64::from_str_radix(status.split_ascii_whitespace().next()?, 16).ok()
}

/// Processor socket that a machine check names.
pub fn socket(raw: &str) -> Option<u32> {
    let (_, rest) = raw.split_once(" SOCKET ")?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

/// Whether a firmware-first record is about this kind of section: `memory error`, `processor error`.
pub fn has_section(event: &Event, section: &str) -> bool {
    event.kind == EventKind::Ghes
        && event.raw.lines().any(|line| {
            line.split_once("section_type: ")
                .is_some_and(|(_, kind)| kind.trim().ends_with(section))
        })
}

/// The module that the message names: `… on DIMM_A1 (channel:0 …)`, `DIMM location: CPU0 A1`.
pub fn module(event: &Event) -> Option<&str> {
    let named = match event.kind {
        EventKind::Edac => {
            let (_, rest) = event.raw.split_once(" on ")?;
            rest.split_once(" (").map_or(rest, |(name, _)| name)
        }
        EventKind::Ghes => {
            let (_, rest) = event.raw.split_once("DIMM location: ")?;
            let line = rest.lines().next().unwrap_or_default();
            line.split_once(". DMI").map_or(line, |(name, _)| name)
        }
        EventKind::Xid
        | EventKind::Sxid
        | EventKind::OffBus
        | EventKind::Aer
        | EventKind::Mce
        | EventKind::Nvme
        | EventKind::Mlx5
        | EventKind::Oom
        | EventKind::Lockup
        | EventKind::HungTask
        | EventKind::Thermal
        | EventKind::Driver
        | EventKind::Other => return None,
    };
    let named = named.trim();
    let says = !named.is_empty() && named != "unknown label" && named != "not present";
    says.then_some(named)
}

/// The module as a component: with the serial of the socket that has this very name.
pub fn component(context: &Context<'_>, label: Option<&str>) -> Component {
    let mut dimms = context.snapshot.memory.dimms.iter();
    let dimm = label.and_then(|label| dimms.find(|dimm: &&Dimm| dimm.name == label));
    Component {
        slot: label.map(str::to_owned),
        serial: dimm.and_then(|dimm| dimm.serial.value().cloned()),
        ..Component::of(ComponentKind::Dimm)
    }
}

/// The module in a sentence.
pub fn name(component: &Component) -> String {
    match (&component.slot, &component.serial) {
        (Some(slot), Some(serial)) => format!("Memory module {slot} (serial {serial})"),
        (Some(slot), None) => format!("Memory module {slot}"),
        (None, _) => "A memory module that is not named".to_owned(),
    }
}

/// An event of the kernel log for tests.
#[cfg(test)]
pub fn told(kind: EventKind, code: &str, raw: &str) -> Event {
    let mut event = crate::testing::xid(0, 0, "", None);
    event.kind = kind;
    event.xid = None;
    event.pci = None;
    event.code = code.to_owned();
    event.raw = raw.to_owned();
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_checks_of_memory_and_of_processors() {
        for (raw, memory) in [
            (
                "mce: [Hardware Error]: CPU 24: Machine Check: 0 Bank 7: cc00008000010090",
                true,
            ),
            (
                "mce: [Hardware Error]: CPU 2: Machine Check: 0 Bank 13: bc000000000100c0",
                true,
            ),
            (
                "mce: [Hardware Error]: CPU 24: Machine Check Exception: 5 Bank 3: be00000000800400",
                false,
            ),
            (
                "mce: [Hardware Error]: CPU 1: Machine Check: 0 Bank 0: b200000000000135",
                false,
            ),
            (
                "[Hardware Error]: Uncorrected, software restartable error.\n[Hardware Error]: Unified Memory Controller Ext. Error Code: 0",
                true,
            ),
            ("[Hardware Error]: System Fatal error.", false),
        ] {
            assert_eq!(
                is_memory(&told(EventKind::Mce, "mce.uncorrected", raw)),
                memory,
                "{raw}"
            );
        }
        assert!(is_memory(&told(
            EventKind::Mce,
            "mce.page-lost",
            "Memory failure: 0x1: …"
        )));
    }

    #[test]
    fn sockets_and_modules_are_named_as_they_are_told() {
        let raw = "mce: [Hardware Error]: PROCESSOR 0:606a6 TIME 1700000000 SOCKET 1 APIC 40";
        assert_eq!(socket(raw), Some(1));
        assert_eq!(socket("mce: [Hardware Error]: TSC 0"), None);
        let edac = |raw: &str| told(EventKind::Edac, "edac.uncorrected", raw);
        let ghes = |raw: &str| told(EventKind::Ghes, "ghes.recoverable", raw);
        for (event, wanted) in [
            (
                edac("EDAC MC0: 1 UE memory read error on DIMM_A1 (channel:0 slot:0)"),
                Some("DIMM_A1"),
            ),
            (edac("EDAC MC0: 1 UE on unknown label (channel:0)"), None),
            (edac("EDAC MC0: UE page 0x0, offset 0x0"), None),
            (
                ghes("{1}[Hardware Error]:    DIMM location: not present. DMI handle: 0x0000"),
                None,
            ),
            (
                ghes("{1}[Hardware Error]:    DIMM location: P0 CHANNEL A. DMI"),
                Some("P0 CHANNEL A"),
            ),
        ] {
            assert_eq!(module(&event), wanted, "{}", event.raw);
        }
    }

    #[test]
    fn sections_of_a_record() {
        let memory = "{1}[Hardware Error]: event severity: fatal\n{1}[Hardware Error]:   section_type: memory error";
        let event = told(EventKind::Ghes, "ghes.fatal", memory);
        assert!(has_section(&event, "memory error"));
        assert!(!has_section(&event, "processor error"));
    }
}
