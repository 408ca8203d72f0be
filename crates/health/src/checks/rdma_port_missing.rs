//! RDMA ports that the platform has are not there.
//!
//! # What it checks
//! That each group of the platform finds as many ports of its hardware type and link layer as it has.
//! More ports than that are fine. A missing adapter is named by the slot and serial last seen.
//! An adapter that could not be read may be the one that is looked for: that is unknown.
//! Functions through which a fabric manager reaches NVSwitches are no ports of the node.
//!
//! # Why it matters
//! A rail of the fabric is gone, and with it every job that counts on it. An adapter that firmware did
//! not find is unpowered, badly seated or dead; one without a driver is a matter of software.
//!
//! # Remedy
//! 1. See whether the adapter is on the PCI bus and its driver loaded (`cupel inspect`).
//! 2. Power-cycle the node.
//! 3. Take the adapter out and put it back; replace it.
//!
//! # Sources
//! - The platform file's groups; Linux, `/sys/class/infiniband`.

use cupel_model::snapshot::{RdmaDevice, RememberedPart};
use cupel_model::{Component, ComponentKind, Evidence, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::links::named;
use crate::outcome::Outcome;
use crate::rdma_groups::{ports, tell_unread, unplaced, unread};
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect, trouble};

const CODE: &str = "rdma.port-missing";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::seconds(
        30,
        "adapters are registered one after the other while the node boots",
    ),
    basis: Basis::State,
    doc: module_doc!("rdma_port_missing.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    let Some(platform) = context.platform else {
        return Outcome::skipped("no platform says which RDMA ports this node has");
    };
    let mut outcome = Outcome::default();
    if platform.rdma.is_empty() {
        return Outcome::skipped("the platform counts on no RDMA port");
    }
    tell_unread(context, &mut outcome);
    if unread(context).is_some() {
        return outcome;
    }
    let all = ports(context);
    // Each of these may be a port that is looked for.
    let mut unread: usize = unplaced(context)
        .map(|device| device.ports.len().max(1))
        .sum();
    for device in placed_without_ports(context) {
        if let Some(why) = context.problem("rdma") {
            outcome.unknown(&device.name, format!("no port could be read: {why}"));
            unread += 1;
        }
    }
    for port in all.iter().filter(|port| port.group.is_none()) {
        let device = port.device;
        if device.hca_type.value().is_none() {
            outcome.need(&device.name, "hardware type", &device.hca_type, true);
            unread += 1;
        }
    }
    let mut gone: Vec<&RememberedPart> = context
        .remembered(ComponentKind::Rdma)
        // A software port is no adapter.
        .filter(|part| part.pci.is_some())
        .filter(|part| {
            !context.snapshot.rdma.iter().any(|device| {
                (part.uuid.is_some() && part.uuid.as_ref() == device.node_guid.value())
                    || (part.pci.is_some() && part.pci == device.pci.get())
                    || (device.pci.is_failed() && part.name.as_ref() == Some(&device.name))
            })
        })
        .collect();
    for (at, group) in platform.rdma.iter().enumerate() {
        let wanted = usize::try_from(group.ports.value).unwrap_or(usize::MAX);
        let there = all.iter().filter(|port| port.group == Some(at)).count();
        if there + unread >= wanted {
            outcome.judged();
            continue;
        }
        let short = wanted - there - unread;
        let draft = |component, text, name: &str| {
            Draft::critical(CODE, component, text)
                .capped(&group.ports)
                .evidence(
                    Evidence::value("ports", there).limit(wanted, group.ports.source.as_str()),
                )
                .human(
                    RemedyAction::RunDiagnostic,
                    "See whether the adapter is on the PCI bus and its driver loaded",
                )
                .opt_in(RemedyAction::PowerCycleNode, "Power-cycle the node")
                .human(
                    RemedyAction::Reseat,
                    format!("Take out and put back {name}"),
                )
                .human(RemedyAction::ReplacePart, format!("Replace {name}"))
        };
        let named_ones: Vec<&RememberedPart> = gone.drain(..short.min(gone.len())).collect();
        let unnamed = short - named_ones.len();
        for part in named_ones {
            let component = context.component_of(part);
            let device = part.name.as_deref().unwrap_or("of unknown name");
            let name = named("RDMA adapter", device, &component);
            let text = format!(
                "{name} is missing: {there} of {wanted} ports of group {} are there",
                group.name
            );
            outcome.find(draft(component, text, &name));
        }
        if unnamed > 0 {
            let text = format!(
                "{unnamed} of {wanted} RDMA ports of group {} ({}) {} missing",
                group.name,
                group.hca_types.join(" or "),
                if unnamed == 1 { "is" } else { "are" }
            );
            let component = Component::of(ComponentKind::Rdma);
            outcome.find(draft(component, text, "the missing adapter"));
        }
    }
    outcome
}

/// Adapters of which no port is listed.
fn placed_without_ports<'a>(context: &Context<'a>) -> impl Iterator<Item = &'a RdmaDevice> {
    let devices = context.snapshot.rdma.iter();
    devices.filter(|device| device.pci.get().is_some() && device.ports.is_empty())
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "all there",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "one less",
        expect: Expect::Fail,
        change: |node| {
            node.snapshot.rdma.remove(2);
        },
    },
    Case {
        name: "of which kind one is cannot be read",
        expect: Expect::Unknown,
        change: |node| node.snapshot.rdma[2].hca_type = cupel_model::Reading::failed("EIO"),
    },
    Case {
        name: "where one sits cannot be read",
        expect: Expect::Unknown,
        change: |node| node.snapshot.rdma[0].pci = cupel_model::Reading::failed("EIO"),
    },
    Case {
        name: "the ports of one cannot be read",
        expect: Expect::Unknown,
        change: |node| {
            node.snapshot.rdma[2].ports.clear();
            trouble(node, "rdma", "/sys/class/infiniband/mlx5_2/ports: EIO");
        },
    },
    Case {
        name: "none can be read",
        expect: Expect::Unknown,
        change: |node| {
            node.snapshot.rdma.clear();
            trouble(node, "rdma", "/sys/class/infiniband: Permission denied");
        },
    },
    Case {
        name: "none is there",
        expect: Expect::Fail,
        change: |node| node.snapshot.rdma.clear(),
    },
    Case {
        name: "no platform",
        expect: Expect::Skip,
        change: |node| node.platform = None,
    },
    Case {
        name: "a platform without RDMA",
        expect: Expect::Skip,
        change: |node| node.expected().rdma.clear(),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Node;

    #[test]
    fn a_bridge_to_the_switches_is_no_port() {
        let mut node = Node::good();
        let pci = node.snapshot.rdma[2].pci.get();
        for device in &mut node.snapshot.pci {
            if Some(device.address) == pci {
                device.manages_switches = true.into();
            }
        }
        let outcome = evaluate(&Context::new(&node.snapshot, node.platform.as_ref()));
        assert_eq!(outcome.findings().len(), 1);
    }

    #[test]
    fn an_adapter_that_cannot_be_read_is_not_missing_and_hides_none_that_is() {
        let mut node = Node::good();
        node.snapshot.remembered = crate::remember(&node.snapshot);
        node.snapshot.rdma[0].pci = cupel_model::Reading::failed("EIO");
        node.snapshot.rdma[0].node_guid = cupel_model::Reading::failed("EIO");
        let outcome = evaluate(&Context::new(&node.snapshot, node.platform.as_ref()));
        assert!(outcome.findings().is_empty(), "{:#?}", outcome.findings());
        node.snapshot.rdma.remove(2);
        let outcome = evaluate(&Context::new(&node.snapshot, node.platform.as_ref()));
        assert_eq!(outcome.findings().len(), 1);
        let component = &outcome.findings()[0].component;
        assert_eq!(component.serial.as_deref(), Some("MT230000002"));
    }

    #[test]
    fn a_missing_adapter_is_named_by_slot_and_serial() {
        let mut node = Node::good();
        node.snapshot.remembered = crate::remember(&node.snapshot);
        node.snapshot.rdma.remove(2);
        let outcome = evaluate(&Context::new(&node.snapshot, node.platform.as_ref()));
        assert_eq!(outcome.findings().len(), 1);
        let component = &outcome.findings()[0].component;
        assert_eq!(component.serial.as_deref(), Some("MT230000002"));
        assert_eq!(component.slot.as_deref(), Some("33"));
    }
}
