//! Parts as last seen in good order, so that a lost one keeps its slot and serial.
//!
//! # Invariants
//! - One part a kind and place; a part that is there now and in good order replaces what was
//!   remembered of its place.
//! - A part that is not in good order is not remembered anew, and what was known of it stays.

use std::collections::BTreeMap;

use cupel_model::snapshot::RememberedPart;
use cupel_model::{ComponentKind, Finding, Snapshot};

use crate::context::Context;
use crate::rdma_groups;

/// Kind and place of a part: its slot, else its address, else its name. Functions of one RDMA
/// adapter share the slot: their address tells them apart.
fn place(part: &RememberedPart) -> (ComponentKind, String) {
    let pci = part.pci.map(|pci| pci.to_string());
    let place = if part.kind == ComponentKind::Rdma {
        pci
    } else {
        part.slot.clone().or(pci)
    };
    (
        part.kind,
        place.or_else(|| part.name.clone()).unwrap_or_default(),
    )
}

/// Whether both are the same piece of hardware, wherever it sits.
fn same_part(a: &RememberedPart, b: &RememberedPart) -> bool {
    if a.kind != b.kind {
        return false;
    }
    if a.uuid.is_some() || b.uuid.is_some() {
        return a.uuid == b.uuid;
    }
    a.serial.is_some() && a.serial == b.serial
}

/// What to remember after this snapshot: its parts in good order, over what was remembered before.
/// Sorted by kind and place.
pub fn remember(snapshot: &Snapshot) -> Vec<RememberedPart> {
    let mut parts: BTreeMap<(ComponentKind, String), RememberedPart> = snapshot
        .remembered
        .iter()
        .map(|part| (place(part), part.clone()))
        .collect();
    for part in seen(snapshot) {
        // A part that moved is remembered where it is now.
        parts.retain(|_, old| !same_part(old, &part));
        parts.insert(place(&part), part);
    }
    parts.into_values().collect()
}

/// What stays remembered when a person says that this finding is over: of a part that is missing
/// nothing, for it was taken out on purpose; nor of software ports that are down. A part that is
/// there is remembered anew.
pub fn forget(remembered: &[RememberedPart], finding: &Finding) -> Vec<RememberedPart> {
    let gone = &finding.component;
    let is_gone = |part: &RememberedPart| {
        if finding.code == "rdma.port-down" && gone.pci.is_none() {
            return part.kind == ComponentKind::Rdma && part.pci.is_none();
        }
        finding.code.ends_with("missing")
            && part.kind == gone.kind
            && match &gone.serial {
                Some(serial) => part.serial.as_ref() == Some(serial),
                None => part.pci.is_some() && part.pci == gone.pci,
            }
    };
    remembered
        .iter()
        .filter(|part| !is_gone(part))
        .cloned()
        .collect()
}

fn seen(snapshot: &Snapshot) -> Vec<RememberedPart> {
    let seen_at = snapshot.taken_at;
    let context = Context::new(snapshot, None);
    let gpus = context.gpus.iter().filter_map(|part| {
        let gpu = part.gpu;
        let well = part.loss.is_none()
            && gpu.on_bus.get() != Some(false)
            && gpu.in_driver.get() == Some(true)
            && gpu.identity.uuid.value().is_some();
        well.then(|| RememberedPart {
            kind: ComponentKind::Gpu,
            index: gpu.index.get(),
            slot: gpu.slot.value().cloned(),
            pci: gpu.pci.get(),
            serial: gpu.identity.serial.value().cloned(),
            uuid: gpu.identity.uuid.value().cloned(),
            name: gpu.identity.name.value().cloned(),
            seen_at,
        })
    });
    let dimms = snapshot.memory.dimms.iter().filter_map(|dimm| {
        dimm.size_bytes.get().map(|_| RememberedPart {
            kind: ComponentKind::Dimm,
            index: None,
            slot: Some(dimm.name.clone()),
            pci: None,
            serial: dimm.serial.value().cloned(),
            uuid: None,
            name: dimm.part_number.value().cloned(),
            seen_at,
        })
    });
    let drives = snapshot.nvme.iter().filter_map(|drive| {
        let well = drive.pci.get().is_some()
            && drive.state.value().is_none_or(|state| state != "dead")
            && drive.serial.value().is_some();
        well.then(|| RememberedPart {
            kind: ComponentKind::Nvme,
            index: None,
            slot: drive.slot.value().cloned(),
            pci: drive.pci.get(),
            serial: drive.serial.value().cloned(),
            uuid: None,
            name: drive.model.value().cloned(),
            seen_at,
        })
    });
    let adapters = snapshot.rdma.iter().filter_map(|device| {
        device.pci.get().map(|pci| RememberedPart {
            kind: ComponentKind::Rdma,
            index: match &device.ports[..] {
                [port] => Some(port.number),
                [..] => None,
            },
            slot: device.slot.value().cloned(),
            pci: Some(pci),
            serial: device.serial.value().cloned(),
            uuid: device.node_guid.value().cloned(),
            name: Some(device.name.clone()),
            seen_at,
        })
    });
    // A software port sits nowhere: its name is its place. Only that it was up makes it a part.
    let software = rdma_groups::software(&context).filter_map(|port| {
        port.is_up().then(|| RememberedPart {
            kind: ComponentKind::Rdma,
            index: Some(port.port.number),
            slot: None,
            pci: None,
            serial: None,
            uuid: None,
            name: Some(port.device.name.clone()),
            seen_at,
        })
    });
    let switches = snapshot.nvswitches.iter().map(|switch| RememberedPart {
        kind: ComponentKind::Nvswitch,
        index: None,
        slot: switch.slot.value().cloned(),
        pci: Some(switch.pci),
        serial: None,
        uuid: None,
        name: None,
        seen_at,
    });
    gpus.chain(dimms)
        .chain(drives)
        .chain(adapters)
        .chain(software)
        .chain(switches)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::good;
    use cupel_model::Reading;

    fn gpu(parts: &[RememberedPart], slot: &str) -> RememberedPart {
        parts
            .iter()
            .find(|part| part.kind == ComponentKind::Gpu && part.slot.as_deref() == Some(slot))
            .cloned()
            .expect("remembered")
    }

    #[test]
    fn a_lost_gpu_keeps_what_was_known_of_it() {
        let mut node = good();
        node.remembered = remember(&node);
        let lost = node.gpus.get_mut(3).expect("GPU");
        lost.on_bus = false.into();
        lost.identity.serial = Reading::failed("off the bus");
        let parts = remember(&node);
        assert_eq!(parts, node.remembered);
        assert_eq!(
            gpu(&parts, "SXM 4").serial.as_deref(),
            Some("1650123000003")
        );
    }

    #[test]
    fn a_software_port_is_remembered_once_it_was_up_and_until_a_person_says_that_it_is_over() {
        let mut node = good();
        let mut rxe = node.rdma[0].clone();
        rxe.name = "rxe0".to_owned();
        rxe.pci = Reading::absent("no PCI device");
        rxe.ports[0].state = "DOWN".to_owned().into();
        node.rdma.push(rxe);
        let known = |node: &Snapshot| {
            let mut parts = remember(node).into_iter();
            parts.any(|part| part.name.as_deref() == Some("rxe0"))
        };
        assert!(!known(&node));
        node.rdma[4].ports[0].state = "ACTIVE".to_owned().into();
        assert!(known(&node));
        node.remembered = remember(&node);
        node.rdma[4].ports[0].state = "DOWN".to_owned().into();
        assert!(known(&node));
        let report = crate::evaluate(&node, None, &crate::Modes::default());
        let finding = report.findings.iter().find(|f| f.code == "rdma.port-down");
        let finding = finding.expect("a finding");
        assert!(
            finding.summary.contains("rxe0 port 1"),
            "{}",
            finding.summary
        );
        node.remembered = forget(&node.remembered, finding);
        assert!(!known(&node));
    }

    #[test]
    fn a_new_part_in_the_slot_replaces_the_old_and_a_moved_one_is_not_kept_twice() {
        let mut node = good();
        node.remembered = remember(&node);
        let count = node.remembered.len();
        node.gpus.get_mut(3).expect("GPU").identity.serial = "1999999999999".to_owned().into();
        let parts = remember(&node);
        assert_eq!(
            gpu(&parts, "SXM 4").serial.as_deref(),
            Some("1999999999999")
        );
        assert_eq!(parts.len(), count);
        node.memory.dimms.get_mut(0).expect("DIMM").name = "B01".to_owned();
        assert_eq!(remember(&node).len(), count);
    }
}
