//! The parts of a view with their labels, written once and used by every family.
//!
//! # Invariants
//! - A part's labels do not change while it is there: a GPU that the driver no longer lists keeps
//!   the index that it had in good order.
//! - `gpu` (NVML index) is what people say, `pci` what stays: an index moves when the driver leaves
//!   a GPU out.

use std::collections::BTreeSet;

use cupel_model::snapshot::{
    Bmc, Gpu, NetworkInterface, Nvlink, NvmeController, PciDevice, RdmaDevice, RdmaPort,
};
use cupel_model::{ComponentKind, PciAddress, Reading, Snapshot};

use super::text::{label, labels};
use super::view::View;

/// Labels of everything about a GPU.
pub(super) const GPU: &[&str] = &["gpu", "pci"];
/// Labels of everything about an NVLink.
pub(super) const NVLINK: &[&str] = &["gpu", "pci", "link"];
/// Labels of everything about an RDMA device.
pub(super) const DEVICE: &[&str] = &["device"];
/// Labels of everything about an RDMA port.
pub(super) const PORT: &[&str] = &["device", "port"];
/// Labels of everything about a network interface.
pub(super) const INTERFACE: &[&str] = &["interface"];
/// Labels of everything about an NVMe drive.
pub(super) const DRIVE: &[&str] = &["drive"];
/// Labels of everything about a PCI function.
pub(super) const PCI: &[&str] = &["pci"];

/// A part with its labels.
pub(super) struct Part<'a, T> {
    pub labels: String,
    pub is: &'a T,
}

/// The view and its parts, in the order of the snapshot.
pub(super) struct Parts<'a> {
    pub view: &'a View<'a>,
    pub snapshot: Option<&'a Snapshot>,
    pub gpus: Vec<Part<'a, Gpu>>,
    pub nvlinks: Vec<Part<'a, Nvlink>>,
    pub devices: Vec<Part<'a, RdmaDevice>>,
    pub ports: Vec<Part<'a, RdmaPort>>,
    pub interfaces: Vec<Part<'a, NetworkInterface>>,
    pub drives: Vec<Part<'a, NvmeController>>,
    pub pci: Vec<Part<'a, PciDevice>>,
    /// Functions that are always told of: GPUs, NVSwitches, RDMA adapters, NVMe drives, and the
    /// bridge above each.
    watched: BTreeSet<PciAddress>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(view: &'a View<'a>) -> Self {
        let mut parts = Self {
            view,
            snapshot: view.snapshot,
            gpus: Vec::new(),
            nvlinks: Vec::new(),
            devices: Vec::new(),
            ports: Vec::new(),
            interfaces: Vec::new(),
            drives: Vec::new(),
            pci: Vec::new(),
            watched: BTreeSet::new(),
        };
        if let Some(snapshot) = view.snapshot {
            parts.fill(snapshot);
        }
        parts
    }

    fn fill(&mut self, snapshot: &'a Snapshot) {
        for gpu in &snapshot.gpus {
            let place = labels_of_gpu(snapshot, gpu);
            for link in gpu.nvlink.value().into_iter().flat_map(|all| &all.links) {
                let mut labels = place.clone();
                label(&mut labels, "link", &link.index.to_string());
                self.nvlinks.push(Part { labels, is: link });
            }
            self.gpus.push(Part {
                labels: place,
                is: gpu,
            });
        }
        for device in &snapshot.rdma {
            let name = labels(&[("device", &device.name)]);
            for port in &device.ports {
                let mut labels = name.clone();
                label(&mut labels, "port", &port.number.to_string());
                self.ports.push(Part { labels, is: port });
            }
            self.devices.push(Part {
                labels: name,
                is: device,
            });
        }
        self.interfaces = named(&snapshot.network, "interface", |is| &is.name);
        self.drives = named(&snapshot.nvme, "drive", |is| &is.name);
        self.watched = watched(snapshot);
        self.pci = snapshot
            .pci
            .iter()
            .map(|device| Part {
                labels: labels(&[("pci", &device.address.to_string())]),
                is: device,
            })
            .collect();
    }

    /// Functions that are always told of.
    pub(super) fn watched(&self) -> impl Iterator<Item = &Part<'a, PciDevice>> {
        self.pci
            .iter()
            .filter(|part| self.watched.contains(&part.is.address))
    }

    /// Functions that are told of when there is something to tell.
    pub(super) fn unwatched(&self) -> impl Iterator<Item = &Part<'a, PciDevice>> {
        self.pci
            .iter()
            .filter(|part| !self.watched.contains(&part.is.address))
    }

    /// Labels of what an event names: of the GPU where it is one, else the address.
    pub(super) fn labels_at(&self, pci: Option<PciAddress>) -> String {
        let Some(pci) = pci else {
            return String::new();
        };
        let gpu = self
            .gpus
            .iter()
            .find(|part| part.is.pci.get().is_some_and(|own| own.same_device(pci)));
        match gpu {
            Some(part) => part.labels.clone(),
            None => labels(&[("pci", &pci.to_string())]),
        }
    }

    /// The management controller, where it answers.
    pub(super) fn bmc(&self) -> Option<&'a Bmc> {
        self.snapshot.and_then(|snapshot| snapshot.bmc.value())
    }
}

/// A reading's text as a label's value: empty where there is none.
pub(super) fn said(reading: &Reading<String>) -> &str {
    reading.value().map(String::as_str).unwrap_or_default()
}

/// A reading as a label's value: empty where there is none.
pub(super) fn shown<T: ToString>(reading: &Reading<T>) -> String {
    reading.value().map(T::to_string).unwrap_or_default()
}

fn named<'a, T>(list: &'a [T], name: &str, of: fn(&T) -> &String) -> Vec<Part<'a, T>> {
    list.iter()
        .map(|is| Part {
            labels: labels(&[(name, of(is))]),
            is,
        })
        .collect()
}

fn labels_of_gpu(snapshot: &Snapshot, gpu: &Gpu) -> String {
    let remembered = || {
        let pci = gpu.pci.get()?;
        let mut known = snapshot.remembered.iter();
        known
            .find(|part| part.kind == ComponentKind::Gpu && part.pci == Some(pci))?
            .index
    };
    let index = gpu.index.get().or_else(remembered);
    let index = index.map(|index| index.to_string()).unwrap_or_default();
    labels(&[("gpu", &index), ("pci", &shown(&gpu.pci))])
}

fn watched(snapshot: &Snapshot) -> BTreeSet<PciAddress> {
    let gpus = snapshot.gpus.iter().map(|gpu| gpu.pci.get());
    let switches = snapshot.nvswitches.iter().map(|switch| Some(switch.pci));
    let adapters = snapshot.rdma.iter().map(|device| device.pci.get());
    let drives = snapshot.nvme.iter().map(|drive| drive.pci.get());
    let mut watched: BTreeSet<PciAddress> = gpus
        .chain(switches)
        .chain(adapters)
        .chain(drives)
        .flatten()
        .collect();
    let bridges: Vec<PciAddress> = snapshot
        .pci
        .iter()
        .filter(|device| watched.contains(&device.address))
        .filter_map(|device| device.upstream.get())
        .collect();
    watched.extend(bridges);
    watched
}
