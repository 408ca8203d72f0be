//! The parts of a node that can be told apart: those with a serial number.
//!
//! # Invariants
//! - A part is named by its kind, its serial number and, where serial numbers are short, its maker.
//! - Each part is listed once, however many functions it has; sorted by kind, slot and serial.
//! - A part whose serial number could not be read is not listed: the store remembers it by its slot.

use std::collections::BTreeMap;

use cupel_model::{Reading, Snapshot};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::name;
use crate::record::PartKind;

/// A part as a node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenPart {
    /// What kind.
    pub kind: PartKind,
    /// Serial number.
    pub serial: String,
    /// What its serial number is unique within, beside its kind: of memory modules, whose numbers
    /// are short, the maker and part number; else empty.
    pub maker: String,
    /// Slot, as a technician finds it.
    pub slot: Option<String>,
    /// PCI address.
    pub pci: Option<String>,
    /// Product name.
    pub model: Option<String>,
    /// Part number.
    pub part_number: Option<String>,
    /// UUID or GUID.
    pub uuid: Option<String>,
    /// Firmware.
    pub firmware: Option<String>,
}

impl SeenPart {
    fn new(kind: PartKind, serial: &Reading<String>) -> Option<Self> {
        Some(Self {
            kind,
            serial: name::serial(serial.value()?)?.to_owned(),
            maker: String::new(),
            slot: None,
            pci: None,
            model: None,
            part_number: None,
            uuid: None,
            firmware: None,
        })
    }

    /// All parts of a node.
    pub fn all(snapshot: &Snapshot) -> Vec<Self> {
        let mut parts: BTreeMap<(PartKind, String, String), Self> = BTreeMap::new();
        let found = node(snapshot)
            .chain(gpus(snapshot))
            .chain(adapters(snapshot))
            .chain(drives(snapshot))
            .chain(modules(snapshot))
            .chain(cards(snapshot));
        for part in found {
            let name = (part.kind, part.serial.clone(), part.maker.clone());
            parts.entry(name).or_insert(part);
        }
        // A card that is an RDMA adapter has the same number as that.
        let adapters: Vec<String> = parts
            .keys()
            .filter(|(kind, _, _)| *kind == PartKind::Rdma)
            .map(|(_, serial, _)| serial.clone())
            .collect();
        parts.retain(|(kind, serial, _), _| *kind != PartKind::Nic || !adapters.contains(serial));
        let mut parts: Vec<_> = parts.into_values().collect();
        parts.sort_by(|a, b| (a.kind, &a.slot, &a.serial).cmp(&(b.kind, &b.slot, &b.serial)));
        parts
    }
}

/// A digest of the parts and their places: the same one, nothing moved.
pub fn digest_of(parts: &[SeenPart]) -> Vec<u8> {
    let mut hasher = Sha256::new();
    for part in parts {
        // Cannot fail: texts and options of texts.
        hasher.update(serde_json::to_vec(part).unwrap_or_default());
        hasher.update([0]);
    }
    hasher.finalize().to_vec()
}

fn text(reading: &Reading<String>) -> Option<String> {
    let text = reading.value()?.trim();
    (!text.is_empty()).then(|| text.chars().take(256).collect())
}

fn node(snapshot: &Snapshot) -> impl Iterator<Item = SeenPart> {
    let node = &snapshot.node;
    let chassis = SeenPart::new(PartKind::Chassis, &node.chassis_serial);
    let board = SeenPart::new(PartKind::Board, &node.board_serial);
    chassis.into_iter().chain(board).map(|part| SeenPart {
        model: text(&node.product),
        ..part
    })
}

fn gpus(snapshot: &Snapshot) -> impl Iterator<Item = SeenPart> {
    snapshot.gpus.iter().filter_map(|gpu| {
        let part = SeenPart::new(PartKind::Gpu, &gpu.identity.serial)?;
        Some(SeenPart {
            slot: text(&gpu.slot),
            pci: gpu.pci.get().map(|pci| pci.to_string()),
            model: text(&gpu.identity.name),
            part_number: text(&gpu.identity.part_number),
            uuid: text(&gpu.identity.uuid),
            firmware: text(&gpu.identity.vbios_version),
            ..part
        })
    })
}

fn adapters(snapshot: &Snapshot) -> impl Iterator<Item = SeenPart> {
    snapshot.rdma.iter().filter_map(|device| {
        let part = SeenPart::new(PartKind::Rdma, &device.serial)?;
        Some(SeenPart {
            slot: text(&device.slot),
            pci: device.pci.get().map(|pci| pci.with_function(0).to_string()),
            model: text(&device.hca_type),
            part_number: text(&device.board_id),
            uuid: text(&device.system_guid).or_else(|| text(&device.node_guid)),
            firmware: text(&device.firmware),
            ..part
        })
    })
}

fn drives(snapshot: &Snapshot) -> impl Iterator<Item = SeenPart> {
    snapshot.nvme.iter().filter_map(|drive| {
        // A drive over a fabric is no part of this node.
        let pci = drive.pci.get()?;
        let part = SeenPart::new(PartKind::Nvme, &drive.serial)?;
        Some(SeenPart {
            slot: text(&drive.slot),
            pci: Some(pci.to_string()),
            model: text(&drive.model),
            firmware: text(&drive.firmware),
            ..part
        })
    })
}

fn modules(snapshot: &Snapshot) -> impl Iterator<Item = SeenPart> {
    snapshot.memory.dimms.iter().filter_map(|dimm| {
        dimm.size_bytes.get()?;
        let part = SeenPart::new(PartKind::Dimm, &dimm.serial)?;
        let maker = [text(&dimm.manufacturer), text(&dimm.part_number)];
        Some(SeenPart {
            maker: maker.into_iter().flatten().collect::<Vec<_>>().join(" "),
            slot: Some(dimm.name.chars().take(256).collect()),
            model: text(&dimm.manufacturer),
            part_number: text(&dimm.part_number),
            ..part
        })
    })
}

/// Network cards that tell their number in VPD.
fn cards(snapshot: &Snapshot) -> impl Iterator<Item = SeenPart> {
    snapshot.pci.iter().filter_map(|device| {
        let class = device.class.value()?;
        if !class.starts_with("02") || device.manages_switches.get() == Some(true) {
            return None;
        }
        let part = SeenPart::new(PartKind::Nic, &device.serial)?;
        Some(SeenPart {
            slot: text(&device.slot),
            pci: Some(device.address.with_function(0).to_string()),
            model: device.id(),
            part_number: text(&device.part_number),
            ..part
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_health::testing::good;

    fn count(parts: &[SeenPart], kind: PartKind) -> usize {
        parts.iter().filter(|part| part.kind == kind).count()
    }

    #[test]
    fn every_part_with_a_serial_is_listed_once() {
        let mut snapshot = good();
        snapshot.node.board_serial = "BRD0001".to_owned().into();
        let mut second = snapshot.rdma[0].clone();
        second.name = "mlx5_9".to_owned();
        snapshot.rdma.push(second);
        snapshot.pci[9].serial = snapshot.rdma[0].serial.clone();
        let parts = SeenPart::all(&snapshot);
        assert_eq!(count(&parts, PartKind::Gpu), 8);
        assert_eq!(count(&parts, PartKind::Rdma), 4);
        assert_eq!(count(&parts, PartKind::Nic), 0);
        assert_eq!(count(&parts, PartKind::Nvme), 2);
        assert_eq!(count(&parts, PartKind::Dimm), 32);
        assert_eq!(count(&parts, PartKind::Board), 1);
        assert_eq!(count(&parts, PartKind::Chassis), 0, "not read");
    }

    #[test]
    fn the_digest_tells_when_something_moved() {
        let mut snapshot = good();
        let before = digest_of(&SeenPart::all(&snapshot));
        snapshot.gpus[0].thermal.temperature_celsius = Reading::failed("busy");
        assert_eq!(digest_of(&SeenPart::all(&snapshot)), before);
        snapshot.gpus[0].slot = "SXM 9".to_owned().into();
        assert_ne!(digest_of(&SeenPart::all(&snapshot)), before);
    }

    #[test]
    fn modules_with_the_same_number_of_other_makers_are_two() {
        let mut snapshot = good();
        let number = snapshot.memory.dimms[0].serial.clone();
        snapshot.memory.dimms[1].serial = number;
        snapshot.memory.dimms[1].manufacturer = "Other".to_owned().into();
        assert_eq!(count(&SeenPart::all(&snapshot), PartKind::Dimm), 32);
    }
}
