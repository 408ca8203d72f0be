//! Ports and drives as they are drawn.

use cupel_model::snapshot::{NetworkInterface, NvmeController, RdmaDevice, RdmaPort};
use cupel_model::{ComponentKind, PciAddress, Reading};

use super::marks::{Mark, Marks};
use crate::pages::text::{cut, decimal};

/// An adapter's port, a network port or a drive.
pub(super) struct Io {
    pub name: String,
    pub slot: String,
    pub detail: String,
    pub mark: Mark,
    /// A drive: drawn small.
    pub small: bool,
}

/// A reading's text, or nothing where there is no value.
pub(super) fn value(reading: &Reading<String>, most: usize) -> Option<String> {
    reading.value().map(|text| cut(text, most).into_owned())
}

/// `SXM 6`, `slot 7`.
pub(super) fn slot(reading: &Reading<String>) -> String {
    match value(reading, 18) {
        Some(text) if text.starts_with(|c: char| c.is_ascii_digit()) => format!("slot {text}"),
        Some(text) => text,
        None => "slot not known".to_owned(),
    }
}

/// One port of an RDMA adapter.
pub(super) fn port(device: &RdmaDevice, port: &RdmaPort, marks: &Marks<'_>) -> Io {
    let state = value(&port.state, 16);
    let up = state.as_deref() == Some("ACTIVE");
    let mut words: Vec<String> = Vec::new();
    match &state {
        None => words.push("state unreadable".to_owned()),
        Some(state) if up => {
            words.push(state.clone());
            words.push(match port.rate_gbps.get() {
                Some(rate) => format!("{} Gb/s", decimal(rate.get(), 1)),
                None => "rate unreadable".to_owned(),
            });
            words.extend(value(&port.link_layer, 12));
        }
        Some(state) => {
            words.push(state.clone());
            words.extend(value(&port.physical_state, 16));
            words.extend(value(&port.link_layer, 12));
        }
    }
    let name = cut(&device.name, 16).into_owned();
    Io {
        name: match device.ports.len() {
            0 | 1 => name,
            _ => format!("{name}/{}", port.number),
        },
        slot: slot(&device.slot),
        detail: words.join(", "),
        mark: marks
            .port(device.pci.get(), port.number)
            .unwrap_or(match state {
                Some(_) if up => Mark::Well,
                Some(_) => Mark::Idle,
                None => Mark::Unread("state".to_owned()),
            }),
        small: false,
    }
}

/// A network port that is no port of an RDMA adapter.
pub(super) fn network(interface: &NetworkInterface, pci: PciAddress, marks: &Marks<'_>) -> Io {
    let state = value(&interface.state, 12);
    let up = state.as_deref() == Some("up");
    let unread = || "state unreadable".to_owned();
    let mut words = vec![state.clone().unwrap_or_else(unread)];
    if let Some(rate) = interface.rate_gbps.get().filter(|_| up) {
        words.push(format!("{} Gb/s", decimal(rate.get(), 1)));
    }
    words.push("network".to_owned());
    Io {
        name: cut(&interface.name, 18).into_owned(),
        slot: String::new(),
        detail: words.join(", "),
        mark: marks.port(Some(pci), 1).unwrap_or(match state {
            Some(_) if up => Mark::Well,
            Some(_) => Mark::Idle,
            None => Mark::Unread("state".to_owned()),
        }),
        small: false,
    }
}

/// A drive.
pub(super) fn drive(drive: &NvmeController, marks: &Marks<'_>) -> Io {
    let state = value(&drive.state, 12);
    let kinds = [ComponentKind::Nvme, ComponentKind::Pcie];
    let mark = marks.device(
        &kinds,
        drive.pci.get(),
        drive.serial.value().map(String::as_str),
    );
    Io {
        name: cut(&drive.name, 10).into_owned(),
        slot: value(&drive.slot, 8).map_or_else(String::new, |slot| format!("slot {slot}")),
        detail: String::new(),
        mark: mark.unwrap_or(match state.as_deref() {
            Some("live") => Mark::Well,
            Some(_) | None => Mark::Unread("state".to_owned()),
        }),
        small: true,
    }
}
