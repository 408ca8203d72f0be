//! PCIe links to judge: which devices, and what each link could be.
//!
//! # Invariants
//! - One link is judged once: functions of one device share it.
//! - The limit is the platform's where it has one; else the most that the device and the port
//!   above it both offer, so that a slot which is narrower by design is no fault.

use std::collections::BTreeSet;

use cupel_model::snapshot::PciDevice;
use cupel_model::{Component, ComponentKind, PciAddress};

use crate::context::{Context, GpuPart};

/// A device whose link is judged.
#[derive(Debug)]
pub struct Linked<'c, 'a> {
    /// The device as a component.
    pub component: Component,
    /// In a sentence.
    pub name: String,
    /// In few words.
    pub short: String,
    /// Its PCI function.
    pub device: &'a PciDevice,
    /// The port above it, where the snapshot has it.
    pub upstream: Option<&'a PciDevice>,
    /// Set for a GPU.
    pub gpu: Option<&'c GpuPart<'a>>,
}

/// Every GPU, NVSwitch, RDMA adapter and NVMe drive on the PCI bus, GPUs first.
pub fn linked<'c, 'a>(context: &'c Context<'a>) -> Vec<Linked<'c, 'a>> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    let mut add = |component: Component, name: String, short: String, gpu| {
        let Some(device) = component.pci.and_then(|pci| context.pci(pci)) else {
            return;
        };
        if seen.insert(device.address.with_function(0)) {
            let upstream = device.upstream.get().and_then(|above| context.pci(above));
            all.push(Linked {
                component,
                name,
                short,
                device,
                upstream,
                gpu,
            });
        }
    };
    for part in context.gpus.iter().filter(|part| part.loss.is_none()) {
        add(
            part.component(ComponentKind::Gpu),
            part.name(),
            part.short(),
            Some(part),
        );
    }
    for switch in context.nvswitches() {
        let component = Component {
            pci: Some(switch.pci),
            slot: switch.slot.value().cloned(),
            ..Component::of(ComponentKind::Nvswitch)
        };
        let name = format!("NVSwitch at {}", switch.pci);
        add(component, name.clone(), name, None);
    }
    for device in &context.snapshot.rdma {
        let component = Component {
            kind: ComponentKind::Rdma,
            index: None,
            serial: device.serial.value().cloned(),
            pci: device.pci.get(),
            slot: device.slot.value().cloned(),
        };
        let name = named("RDMA adapter", &device.name, &component);
        add(component, name, device.name.clone(), None);
    }
    for drive in &context.snapshot.nvme {
        let component = Component {
            kind: ComponentKind::Nvme,
            index: None,
            serial: drive.serial.value().cloned(),
            pci: drive.pci.get(),
            slot: drive.slot.value().cloned(),
        };
        let name = named("NVMe drive", &drive.name, &component);
        add(component, name, drive.name.clone(), None);
    }
    all
}

/// A part in a sentence: `NVMe drive nvme0 in slot 12 (serial S6…, 0000:01:00.0)`.
pub fn named(what: &str, name: &str, component: &Component) -> String {
    let mut text = format!("{what} {name}");
    if let Some(slot) = &component.slot {
        text.push_str(&format!(" in slot {slot}"));
    }
    let serial = component
        .serial
        .as_ref()
        .map(|serial| format!("serial {serial}"));
    let pci = component.pci.map(|pci: PciAddress| pci.to_string());
    let known: Vec<String> = [serial, pci].into_iter().flatten().collect();
    if !known.is_empty() {
        text.push_str(&format!(" ({})", known.join(", ")));
    }
    text
}
