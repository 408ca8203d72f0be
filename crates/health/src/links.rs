//! PCIe links to judge: which devices, and what each link could be.
//!
//! # Invariants
//! - One link is judged once: functions of one device share it.
//! - Sysfs comes first; what it does not tell of a GPU's link, the driver may.
//! - The limit is the platform's where it has one; else the most that the device and the port
//!   above it both offer, so that a slot which is narrower by design is no fault.

use std::collections::BTreeSet;

use cupel_model::snapshot::{Gpu, PciDevice};
use cupel_model::{Component, ComponentKind, PciAddress, Reading};

use crate::context::{Context, GpuPart};
use crate::gpu_parts::none_found;
use crate::outcome::Outcome;

/// A device whose link is judged.
#[derive(Debug)]
pub struct Linked<'c, 'a> {
    /// The device as a component.
    pub component: Component,
    /// In a sentence.
    pub name: String,
    /// In few words.
    pub short: String,
    /// Its PCI function, where the snapshot has it.
    pub device: Option<&'a PciDevice>,
    /// The port above it, where the snapshot has it.
    pub upstream: Option<&'a PciDevice>,
    /// Set for a GPU.
    pub gpu: Option<&'c GpuPart<'a>>,
    /// Why the bus tells nothing of the device, where it does not.
    unlisted: String,
}

impl<'a> Linked<'_, 'a> {
    /// The device is a function without a link of its own, as a virtual function says it.
    pub fn has_no_link(&self) -> bool {
        let width = self.device.and_then(|device| device.max_width.get());
        width == Some(0)
    }

    /// What is known of the link: by sysfs, else by the driver of a GPU.
    pub fn told<T: Clone>(
        &self,
        sysfs: fn(&PciDevice) -> &Reading<T>,
        nvml: fn(&Gpu) -> Reading<T>,
    ) -> Reading<T> {
        let by_sysfs = self.device.map_or_else(
            || Reading::failed(self.unlisted.as_str()),
            |device| sysfs(device).clone(),
        );
        // A GPU that the driver does not list has nothing to tell.
        let gpu = self
            .gpu
            .filter(|part| part.gpu.in_driver.get() == Some(true));
        match (by_sysfs, gpu) {
            (by_sysfs @ Reading::Value(_), _) | (by_sysfs, None) => by_sysfs,
            (by_sysfs, Some(part)) => match nvml(part.gpu) {
                by_driver @ (Reading::Value(_) | Reading::Failed(_)) => by_driver,
                Reading::Absent(_) | Reading::Unsupported(_) => by_sysfs,
            },
        }
    }
}

/// Every GPU, NVSwitch, RDMA adapter and NVMe drive with a place on the PCI bus, GPUs first.
pub fn linked<'c, 'a>(context: &'c Context<'a>) -> Vec<Linked<'c, 'a>> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    let unlisted = context
        .bus_unread()
        .unwrap_or_else(|| "its PCI function is not listed".to_owned());
    let mut add = |component: Component,
                   names: (String, String),
                   pci: &Reading<PciAddress>,
                   gpu: Option<&'c GpuPart<'a>>| {
        let (name, short) = names;
        // Where a part sits may not be known; a GPU has a link all the same. What is not on PCI
        // has none.
        let applies = match pci {
            Reading::Value(pci) => seen.insert(pci.with_function(0)),
            Reading::Failed(_) => true,
            Reading::Absent(_) | Reading::Unsupported(_) => gpu.is_some(),
        };
        if applies {
            let device = component.pci.and_then(|pci| context.pci(pci));
            let upstream = device
                .and_then(|device| device.upstream.get())
                .and_then(|above| context.pci(above));
            all.push(Linked {
                component,
                name,
                short,
                device,
                upstream,
                gpu,
                unlisted: pci.why().unwrap_or(&unlisted).to_owned(),
            });
        }
    };
    for part in context.gpus.iter().filter(|part| part.loss.is_none()) {
        add(
            part.component(ComponentKind::Gpu),
            (part.name(), part.short()),
            &part.gpu.pci,
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
        add(component, (name.clone(), name), &switch.pci.into(), None);
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
        add(component, (name, device.name.clone()), &device.pci, None);
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
        add(component, (name, drive.name.clone()), &drive.pci, None);
    }
    all
}

/// Tells of GPUs that the node has or may have, and of which none is listed.
pub fn gpus_unseen(context: &Context<'_>, outcome: &mut Outcome) {
    if context.gpus.is_empty() && context.may_have_gpus() && !context.passed_through() {
        outcome.unknown("GPUs", none_found(context));
    }
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
