//! Which RDMA port belongs to which group of the platform.
//!
//! # Invariants
//! - A port is in at most one group, a group takes at most as many ports as it should have, and
//!   ports that are up are taken first: a port that nobody needs may stay down.
//! - Functions through which a fabric manager reaches its switches are no ports of the node.

use cupel_model::platform::RdmaExpectation;
use cupel_model::snapshot::{RdmaDevice, RdmaPort};
use cupel_model::{Component, ComponentKind, Reading};

use crate::context::Context;
use crate::links::named;
use crate::outcome::Outcome;

/// One port.
#[derive(Clone, Debug)]
pub struct Port<'a> {
    /// Its device.
    pub device: &'a RdmaDevice,
    /// The port.
    pub port: &'a RdmaPort,
    /// Place of its group in the platform's list.
    pub group: Option<usize>,
}

impl Port<'_> {
    /// The port as a finding's component.
    pub fn component(&self) -> Component {
        Component {
            kind: ComponentKind::Rdma,
            index: Some(self.port.number),
            serial: self.device.serial.value().cloned(),
            pci: self.device.pci.get(),
            slot: self.device.slot.value().cloned(),
        }
    }

    /// In few words: `mlx5_0 port 1`.
    pub fn short(&self) -> String {
        format!("{} port {}", self.device.name, self.port.number)
    }

    /// In a sentence.
    pub fn name(&self) -> String {
        let port = format!("{} port {}", self.device.name, self.port.number);
        named("RDMA adapter", &port, &self.component())
    }

    /// Whether it carries traffic.
    pub fn is_up(&self) -> bool {
        self.port
            .state
            .value()
            .is_some_and(|state| state == "ACTIVE")
    }

    /// Whether the kernel says it is up, or would be with a subnet manager.
    pub fn is_linked(&self) -> bool {
        self.port
            .state
            .value()
            .is_some_and(|state| matches!(state.as_str(), "ACTIVE" | "ARMED" | "INIT"))
    }
}

/// Whether a fabric manager uses this function to reach NVSwitches.
fn manages_switches(context: &Context<'_>, device: &RdmaDevice) -> bool {
    device
        .pci
        .get()
        .and_then(|pci| context.pci(pci))
        .is_some_and(|device| device.manages_switches.get() == Some(true))
}

/// Every hardware port, by device and number, with its group.
pub fn ports<'a>(context: &Context<'a>) -> Vec<Port<'a>> {
    let mut ports: Vec<Port<'a>> = context
        .snapshot
        .rdma
        .iter()
        .filter(|device| device.pci.get().is_some() && !manages_switches(context, device))
        .flat_map(|device| {
            device.ports.iter().map(move |port| Port {
                device,
                port,
                group: None,
            })
        })
        .collect();
    let groups = context
        .platform
        .map_or(&[][..], |platform| &platform.rdma[..]);
    let mut room: Vec<u32> = groups.iter().map(|group| group.ports.value).collect();
    // From the closest fit to the loosest; the last round takes what is down.
    let rounds: [fn(&Port<'_>, &RdmaExpectation) -> bool; 3] = [
        |port, group| {
            let rate = port.port.rate_gbps.get();
            port.is_linked() && rate == Some(group.rate_gbps.value)
        },
        |port, _| port.is_linked(),
        |_, _| true,
    ];
    for fits in rounds {
        for port in ports.iter_mut().filter(|port| port.group.is_none()) {
            let place = groups.iter().enumerate().position(|(at, group)| {
                room.get(at).is_some_and(|room| *room > 0)
                    && same_kind(port, group)
                    && fits(port, group)
            });
            if let Some(left) = place.and_then(|at| room.get_mut(at)) {
                *left -= 1;
                port.group = place;
            }
        }
    }
    ports
}

/// Ports that the kernel makes over a network interface (rxe, siw): no hardware, in no group.
pub fn software<'a>(context: &Context<'a>) -> impl Iterator<Item = Port<'a>> {
    let devices = context.snapshot.rdma.iter();
    devices
        .filter(|device| matches!(device.pci, Reading::Absent(_)))
        .flat_map(|device| {
            device.ports.iter().map(move |port| Port {
                device,
                port,
                group: None,
            })
        })
}

/// Devices of which it is not known where they sit, and so whether their ports are this node's.
pub fn unplaced<'a>(context: &Context<'a>) -> impl Iterator<Item = &'a RdmaDevice> {
    let devices = context.snapshot.rdma.iter();
    devices.filter(|device| device.pci.is_failed())
}

/// Why the RDMA devices could not be read, where none is listed.
pub fn unread(context: &Context<'_>) -> Option<String> {
    if context.snapshot.rdma.is_empty() {
        context.problem("rdma")
    } else {
        None
    }
}

/// Tells of ports that could not be judged, since their devices could not be read.
pub fn tell_unread(context: &Context<'_>, outcome: &mut Outcome) {
    if let Some(why) = unread(context) {
        outcome.unknown("RDMA adapters", why);
    }
    for device in unplaced(context) {
        outcome.need(&device.name, "PCI address", &device.pci, true);
    }
}

/// Whether the port is of the group's hardware type and link layer.
pub fn same_kind(port: &Port<'_>, group: &RdmaExpectation) -> bool {
    let kind = port.device.hca_type.value();
    let layer = port.port.link_layer.value();
    kind.is_some_and(|kind| group.hca_types.contains(kind))
        && group
            .link_layer
            .as_ref()
            .is_none_or(|wanted| layer.is_none_or(|layer| *layer == wanted.value))
}
