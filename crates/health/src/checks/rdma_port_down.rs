//! An RDMA port is down that should be up.
//!
//! # What it checks
//! The state of each port that should be up: because the platform counts on it, because it was up in
//! the sample before, or, without a platform, because all its peers are (the same hardware, at least
//! three others). It makes no difference whether it was switched off. A port that nobody counts on
//! may be down. `INIT` is a link that waits for a subnet manager: a state, not a fault of the node.
//! A software port, which the kernel makes over a network interface, should be up once it was up,
//! until `cupel clear` says that it need not be.
//!
//! # Why it matters
//! A job over several nodes needs every rail; one port down stops it or slows all of its nodes.
//!
//! # Remedy
//! 1. Check the cable and both of its ends; see whether the switch port is enabled.
//! 2. Clean the optic, then exchange the cable or transceiver with a good one.
//! 3. Replace what the fault follows: cable, transceiver or adapter.
//!
//! # Sources
//! - Linux, `/sys/class/infiniband/*/ports/*/state` and `phys_state`.
//! - NVSentinel #1361: a port that is down is a fault only if something says it should be up.
//! - NVIDIA Health Validation (2026): an outage of 30 s is critical.

use cupel_model::{Component, ComponentKind, Evidence, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::outcome::Outcome;
use crate::rdma_groups::{Port, ports, software, tell_unread};
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect, trouble};

const CODE: &str = "rdma.port-down";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::seconds(
        30,
        "an outage of 30 s is one (NVIDIA Health Validation); shorter, a link may train",
    ),
    basis: Basis::State,
    doc: module_doc!("rdma_port_down.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    tell_unread(context, &mut outcome);
    let all = ports(context);
    for port in &all {
        let expected = port
            .group
            .and_then(|at| context.platform.and_then(|platform| platform.rdma.get(at)));
        let was_up = state_before(context, port).is_some_and(|state| state == "ACTIVE");
        let because = if let Some(group) = expected {
            group.ports.source.clone()
        } else if was_up {
            "the sample before".to_owned()
        } else if context.platform.is_none() && peers_are_up(&all, port) {
            "its peers on this node".to_owned()
        } else {
            outcome.not_here("nothing says that a port should be up");
            continue;
        };
        let short = port.short();
        let Some(state) = outcome.need(&short, "port state", &port.port.state, true) else {
            continue;
        };
        if port.is_linked() {
            continue;
        }
        let (name, component) = (port.name(), port.component());
        let physical = port.port.physical_state.value().cloned();
        let told = physical
            .as_ref()
            .map_or_else(String::new, |word| format!(", {word}"));
        let text = format!("{name} is {state}{told}, and should be up");
        let mut draft = if let Some(group) = expected {
            Draft::critical(CODE, component, text).capped(&group.ports)
        } else {
            Draft::warning(CODE, component, text)
        }
        .evidence(Evidence::value("state", state.as_str()).limit("ACTIVE", because));
        if let Some(physical) = &physical {
            draft = draft.evidence(Evidence::value("physical_state", physical.as_str()));
        }
        // A flap and an outage look alike in one sample.
        if state_before(context, port).is_none_or(|before| before != state) {
            draft = draft.provisional();
        }
        if physical.as_deref() == Some("Disabled") {
            draft = draft.human(
                RemedyAction::RunDiagnostic,
                format!("{name} is disabled: see who disabled it, here or on the switch"),
            );
        }
        outcome.find(
            draft
                .human(
                    RemedyAction::CheckCable,
                    format!("Check the cable of {name} and the switch port at its other end"),
                )
                .human(
                    RemedyAction::CleanOptic,
                    format!("Clean the optic of {name}, then exchange cable or transceiver"),
                )
                .human(
                    RemedyAction::ReplacePart,
                    "Replace what the fault follows: cable, transceiver or adapter",
                ),
        );
    }
    outcome.not_here("no RDMA port");
    software_ports(context, &mut outcome);
    outcome
}

/// Those that were up in this boot and are down; what they have in common is the kernel's making, so
/// it is one finding.
fn software_ports(context: &Context<'_>, outcome: &mut Outcome) {
    let mut down = Vec::new();
    for port in software(context) {
        // Its own counter does not tell: it counts a port that is made over an interface that is
        // down as one that went down.
        let was_up = context
            .remembered(ComponentKind::Rdma)
            .any(|part| part.pci.is_none() && part.name.as_ref() == Some(&port.device.name));
        if !was_up {
            continue;
        }
        let state = outcome.need(&port.short(), "port state", &port.port.state, true);
        if let Some(state) = state.filter(|_| !port.is_linked()) {
            down.push((port.short(), state.clone()));
        }
    }
    let Some((_, state)) = down.first() else {
        return;
    };
    let names: Vec<&str> = down.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(", ");
    let text = format!("software RDMA {names} was up before and is {state}");
    let draft = Draft::warning(CODE, Component::of(ComponentKind::Rdma), text)
        .evidence(Evidence::value("state", state.as_str()).limit("ACTIVE", "as it was before"))
        .evidence(Evidence::value("ports", names.as_str()));
    outcome.find(draft.human(
        RemedyAction::RunDiagnostic,
        format!("See who took the network interface below {names} down ('rdma link', 'ip link')"),
    ));
}

/// The port's state in the sample before.
fn state_before<'a>(context: &Context<'a>, port: &Port<'_>) -> Option<&'a String> {
    let before = &context.snapshot.previous.as_ref()?.snapshot;
    let device = before
        .rdma
        .iter()
        .find(|device| device.name == port.device.name)?;
    let same = device
        .ports
        .iter()
        .find(|before| before.number == port.port.number)?;
    same.state.value()
}

/// Whether at least three others of the same hardware and place in their adapter are all up.
fn peers_are_up(all: &[Port<'_>], port: &Port<'_>) -> bool {
    let place = |port: &Port<'_>| {
        let function = port.device.pci.get().map(|pci| pci.function);
        (
            port.device.hca_type.value().cloned(),
            function,
            port.port.number,
        )
    };
    let mut peers = all
        .iter()
        .filter(|other| !std::ptr::eq(*other, port) && place(other) == place(port));
    let count = peers.clone().count();
    port.device.hca_type.value().is_some() && count >= 3 && peers.all(Port::is_linked)
}

#[cfg(test)]
fn down(node: &mut crate::testing::Node) {
    let port = &mut node.snapshot.rdma[1].ports[0];
    port.state = "DOWN".to_owned().into();
    port.physical_state = "Polling".to_owned().into();
}

/// rxe over an interface that is down: no PCI function.
#[cfg(test)]
fn software_down(node: &mut crate::testing::Node, was_up: bool) {
    let mut device = node.snapshot.rdma[1].clone();
    device.name = "rxe0".to_owned();
    device.pci = cupel_model::Reading::absent("no PCI device");
    device.hca_type = cupel_model::Reading::absent("no such file");
    node.snapshot.rdma.push(device);
    if was_up {
        node.snapshot.remembered = crate::remember(&node.snapshot);
    }
    let port = node.snapshot.rdma.last_mut().expect("it").ports.first_mut();
    let port = port.expect("its port");
    port.state = "DOWN".to_owned().into();
    port.physical_state = "Disabled".to_owned().into();
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "where an adapter sits cannot be read",
        expect: Expect::Unknown,
        change: |node| node.snapshot.rdma[0].pci = cupel_model::Reading::failed("EIO"),
    },
    Case {
        name: "no adapter can be read",
        expect: Expect::Unknown,
        change: |node| {
            node.snapshot.rdma.clear();
            trouble(node, "rdma", "/sys/class/infiniband: Permission denied");
        },
    },
    Case {
        name: "all up",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "one down",
        expect: Expect::Fail,
        change: down,
    },
    Case {
        name: "one that was switched off",
        expect: Expect::Fail,
        change: |node| {
            down(node);
            node.snapshot.rdma[1].ports[0].physical_state = "Disabled".to_owned().into();
        },
    },
    Case {
        name: "a software port that was up before",
        expect: Expect::Fail,
        change: |node| software_down(node, true),
    },
    Case {
        name: "a software port that never was up",
        expect: Expect::Pass,
        change: |node| software_down(node, false),
    },
    Case {
        name: "one waits for a subnet manager",
        expect: Expect::Pass,
        change: |node| node.snapshot.rdma[1].ports[0].state = "INIT".to_owned().into(),
    },
    Case {
        name: "one down that nobody counts on",
        expect: Expect::Pass,
        change: |node| {
            down(node);
            node.expected().rdma[0].ports.value = 3;
        },
    },
    Case {
        name: "one down among peers, and no platform",
        expect: Expect::Fail,
        change: |node| {
            down(node);
            node.platform = None;
        },
    },
    Case {
        name: "went down between the samples",
        expect: Expect::Fail,
        change: |node| {
            node.sample();
            down(node);
            node.platform = None;
            node.snapshot.rdma.truncate(2);
        },
    },
    Case {
        name: "unreadable",
        expect: Expect::Unknown,
        change: |node| {
            node.snapshot.rdma[1].ports[0].state = cupel_model::Reading::failed("EIO");
        },
    },
    Case {
        name: "no adapter",
        expect: Expect::Skip,
        change: |node| {
            node.platform = None;
            node.snapshot.rdma.clear();
        },
    },
];
