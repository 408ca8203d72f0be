//! What is near what, from the PCI tree of a snapshot.
//!
//! # Invariants
//! - Nearness is told by the PCIe root port that devices share, and the NUMA node that the kernel
//!   names; a device whose bridges or node are not known stands under "not known", never guessed.
//! - A GPU that is gone is drawn as it was last seen, and said to be gone.

use std::collections::{BTreeMap, BTreeSet};

use cupel_model::snapshot::{PciDevice, RdmaDevice, Snapshot};
use cupel_model::wire::Tracked;
use cupel_model::{ComponentKind, PciAddress};

use super::gpu::{DrawnGpu, gpu, lost};
use super::io::{Io, drive, network, port, value};
use super::links::{Links, State};
use super::marks::{Mark, Marks};
use crate::pages::text::{count, cut, decimal};

/// Most devices that are drawn.
const MOST: usize = 96;
/// Deepest PCI tree that is followed.
const DEEPEST: usize = 32;

/// What shares a PCIe root port with a GPU.
#[derive(Default)]
pub(super) struct Group {
    pub ios: Vec<Io>,
    pub gpus: Vec<DrawnGpu>,
}

/// What is near one processor.
#[derive(Default)]
pub(super) struct Numa {
    pub name: String,
    pub groups: Vec<Group>,
    /// What shares no root port with a GPU.
    pub others: Vec<Io>,
}

/// An NVSwitch as it is drawn.
pub(super) struct Switch {
    pub name: String,
    pub detail: String,
    pub mark: Mark,
}

/// A node.
pub(super) struct Map {
    pub numas: Vec<Numa>,
    pub switches: Vec<Switch>,
    /// Whether any GPU has NVLinks, or ought to.
    pub nvlink: bool,
    /// Devices that were left out because there are too many.
    pub left_out: usize,
    /// Adapters through which a fabric manager reaches the NVSwitches.
    managers: Vec<String>,
    gpus_well: usize,
    gpus: usize,
    ports_up: usize,
    ports: usize,
}

/// PCI functions by address.
pub(super) struct Tree<'a> {
    devices: BTreeMap<PciAddress, &'a PciDevice>,
}

impl Tree<'_> {
    /// The root port above a device; `None` where the bridges are not known.
    fn root(&self, address: PciAddress) -> Option<PciAddress> {
        let mut at = address;
        for _ in 0..DEEPEST {
            let device = self.devices.get(&at)?;
            match device.upstream.get() {
                Some(above) => at = above,
                None => break,
            }
        }
        (at != address).then_some(at)
    }

    fn numa(&self, address: Option<PciAddress>) -> Option<u32> {
        self.devices.get(&address?)?.numa_node.get()
    }

    /// `32 GT/s ×16`
    pub(super) fn link(&self, address: Option<PciAddress>) -> Option<String> {
        let device = self.devices.get(&address?)?;
        let speed = device.current_speed_gts.get()?;
        let width = device.current_width.get()?;
        Some(format!("{} GT/s ×{width}", decimal(speed.get(), 1)))
    }
}

impl Map {
    pub(super) fn of(snapshot: &Snapshot, findings: &[Tracked]) -> Self {
        let marks = Marks::of(findings);
        let tree = Tree {
            devices: snapshot
                .pci
                .iter()
                .map(|device| (device.address, device))
                .collect(),
        };
        let mut map = Self {
            numas: Vec::new(),
            switches: switches(snapshot, &marks),
            nvlink: false,
            left_out: 0,
            managers: Vec::new(),
            gpus_well: 0,
            gpus: snapshot.gpus.len(),
            ports_up: 0,
            ports: 0,
        };
        let mut numas: BTreeMap<Option<u32>, Numa> = BTreeMap::new();
        let mut groups: BTreeMap<(Option<u32>, PciAddress), Group> = BTreeMap::new();
        let mut left = MOST;
        for one in &snapshot.gpus {
            let pci = one.pci.get();
            let drawn = gpu(one, snapshot, &marks, &tree);
            map.gpus_well += usize::from(drawn.mark == Mark::Well);
            map.nvlink |= drawn.links != Links::None;
            if left == 0 {
                map.left_out += 1;
                continue;
            }
            left -= 1;
            let numa = tree.numa(pci);
            match pci.and_then(|pci| tree.root(pci)) {
                Some(root) => groups.entry((numa, root)).or_default().gpus.push(drawn),
                None => numas.entry(numa).or_default().groups.push(Group {
                    gpus: vec![drawn],
                    ..Group::default()
                }),
            }
        }
        for (pci, io) in map.ios(snapshot, &marks, &tree) {
            if left == 0 {
                map.left_out += 1;
                continue;
            }
            left -= 1;
            let numa = tree.numa(pci);
            let root = pci.and_then(|pci| tree.root(pci));
            match root.and_then(|root| groups.get_mut(&(numa, root))) {
                Some(group) => group.ios.push(io),
                None => numas.entry(numa).or_default().others.push(io),
            }
        }
        for ((numa, _), group) in groups {
            numas.entry(numa).or_default().groups.push(group);
        }
        map.numas = numas
            .into_iter()
            .map(|(number, numa)| named(number, numa, snapshot))
            .collect();
        // The kernel's "no node" sorts first; what is not known stands last.
        map.numas
            .sort_by_key(|numa| numa.name.starts_with("NUMA node not"));
        let gone = lost(snapshot, &marks);
        if !gone.is_empty() {
            map.gpus += gone.len();
            map.numas.push(Numa {
                name: "Not found on the PCI bus".to_owned(),
                groups: gone
                    .into_iter()
                    .take(MOST)
                    .map(|gpu| Group {
                        gpus: vec![gpu],
                        ..Group::default()
                    })
                    .collect(),
                others: Vec::new(),
            });
        }
        map
    }

    /// Ports, network ports and drives, each with its PCI address.
    fn ios(
        &mut self,
        snapshot: &Snapshot,
        marks: &Marks<'_>,
        tree: &Tree<'_>,
    ) -> Vec<(Option<PciAddress>, Io)> {
        let mut ios = Vec::new();
        let mut rdma: Vec<&RdmaDevice> = snapshot.rdma.iter().collect();
        rdma.sort_by_key(|device| natural(&device.name));
        let mut seen = BTreeSet::new();
        for device in rdma {
            let pci = device.pci.get();
            seen.extend(pci);
            let own = pci.and_then(|pci| tree.devices.get(&pci));
            if own.is_some_and(|own| own.manages_switches.get() == Some(true)) {
                self.managers.push(cut(&device.name, 16).into_owned());
                continue;
            }
            for one in &device.ports {
                let io = port(device, one, marks);
                self.ports += 1;
                self.ports_up +=
                    usize::from(one.state.value().is_some_and(|state| state == "ACTIVE"));
                ios.push((pci, io));
            }
        }
        for interface in &snapshot.network {
            let Some(pci) = interface.pci.get().filter(|pci| !seen.contains(pci)) else {
                continue;
            };
            ios.push((Some(pci), network(interface, pci, marks)));
        }
        ios.extend(
            snapshot
                .nvme
                .iter()
                .map(|one| (one.pci.get(), drive(one, marks))),
        );
        ios
    }

    pub(super) fn is_empty(&self) -> bool {
        self.numas.is_empty() && self.switches.is_empty()
    }

    /// The drawing in words.
    pub(super) fn summary(&self) -> String {
        let mut text = match (self.gpus, self.gpus - self.gpus_well.min(self.gpus)) {
            (0, _) => "No GPU is on the PCI bus.".to_owned(),
            (gpus, 0) => format!("{}, none marked.", plural(gpus, "GPU")),
            (gpus, marked) => format!("{}, {marked} marked.", plural(gpus, "GPU")),
        };
        if self.nvlink {
            let gpus = || {
                self.numas
                    .iter()
                    .flat_map(|numa| &numa.groups)
                    .flat_map(|group| &group.gpus)
            };
            let links: Vec<_> = gpus().flat_map(|gpu| gpu.links.read()).collect();
            let up = links.iter().filter(|link| link.state == State::Up).count();
            text.push_str(&match links.len() {
                0 => " None of its NVLinks could be read".to_owned(),
                all => format!(" NVLinks: {up} of {all} that could be read are up"),
            });
            let unread = gpus()
                .filter(|gpu| matches!(gpu.links, Links::Unread(_)))
                .count();
            if unread > 0 && !links.is_empty() {
                let gpus = plural(unread, "GPU");
                text.push_str(&format!("; those of {gpus} could not be read"));
            }
            text.push('.');
        }
        if self.ports > 0 {
            text.push_str(&format!(
                " RDMA: {} of {} active.",
                self.ports_up,
                plural(self.ports, "port")
            ));
        }
        if !self.managers.is_empty() {
            let names = self.managers.join(", ");
            text.push_str(&format!(
                " Through {names} a fabric manager reaches the NVSwitches: no ports of the node."
            ));
        }
        text
    }
}

fn plural(number: usize, noun: &str) -> String {
    count(u64::try_from(number).unwrap_or(u64::MAX), noun)
}

fn natural(name: &str) -> (String, u64) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem.to_owned(), name[stem.len()..].parse().unwrap_or(0))
}

fn switches(snapshot: &Snapshot, marks: &Marks<'_>) -> Vec<Switch> {
    let kinds = [ComponentKind::Nvswitch, ComponentKind::Pcie];
    let switches = snapshot.nvswitches.iter().take(16).enumerate();
    switches
        .map(|(at, switch)| Switch {
            name: format!("NVSwitch {at}"),
            detail: switch.pci.to_string(),
            mark: marks
                .device(&kinds, Some(switch.pci), None)
                .unwrap_or(Mark::Well),
        })
        .collect()
}

/// The NUMA node with its name, and its processor's where there is one socket a node.
fn named(number: Option<u32>, numa: Numa, snapshot: &Snapshot) -> Numa {
    let sockets: Vec<_> = snapshot
        .cpus
        .sockets
        .iter()
        .filter(|socket| socket.populated.get() != Some(false))
        .collect();
    let one_each =
        snapshot.cpus.numa_nodes.get().map(u64::from) == u64::try_from(sockets.len()).ok();
    let socket = number
        .filter(|_| one_each)
        .and_then(|number| sockets.get(usize::try_from(number).ok()?));
    let name = match (number, socket) {
        (None, _) => "NUMA node not known".to_owned(),
        (Some(number), None) => format!("NUMA {number}"),
        (Some(number), Some(socket)) => {
            let model = value(&socket.model, 48).unwrap_or_else(|| "model not known".to_owned());
            format!("NUMA {number}, {}, {model}", cut(&socket.name, 12))
        }
    };
    Numa { name, ..numa }
}
