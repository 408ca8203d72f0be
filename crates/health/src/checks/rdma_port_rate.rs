//! An RDMA port runs slower than its platform says.
//!
//! # What it checks
//! The rate of each port that is up and belongs to a group of the platform.
//!
//! # Why it matters
//! A collective runs at the speed of its slowest rail: one port at half of its rate slows every node
//! of the job.
//!
//! # Remedy
//! 1. Check the cable and the switch port: type, length, firmware, configured speed.
//! 2. Clean the optic, then exchange the cable or transceiver with a good one.
//! 3. Replace what the fault follows: cable, transceiver or adapter.
//!
//! # Sources
//! - Linux, `/sys/class/infiniband/*/ports/*/rate`; the platform file's rate.

use cupel_model::{Evidence, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::outcome::Outcome;
use crate::rdma_groups::{ports, tell_unread};
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect, trouble};

const CODE: &str = "rdma.port-rate";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::seconds(30, "a link that trains passes through lower rates"),
    basis: Basis::State,
    doc: module_doc!("rdma_port_rate.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    let Some(platform) = context.platform else {
        return Outcome::skipped("no platform says how fast RDMA ports should be");
    };
    let mut outcome = Outcome::default();
    if !platform.rdma.is_empty() {
        tell_unread(context, &mut outcome);
    }
    for port in ports(context) {
        let Some(group) = port.group.and_then(|at| platform.rdma.get(at)) else {
            continue;
        };
        if !port.is_linked() {
            outcome.not_here("a port that is down has no rate");
            continue;
        }
        let rate = outcome.need(&port.short(), "port rate", &port.port.rate_gbps, true);
        let Some(rate) = rate.copied().filter(|rate| *rate < group.rate_gbps.value) else {
            continue;
        };
        let (name, wanted) = (port.name(), &group.rate_gbps);
        outcome.find(
            Draft::warning(
                CODE,
                port.component(),
                format!(
                    "{name} runs at {rate} where this platform has {}",
                    wanted.value
                ),
            )
            .capped(wanted)
            .evidence(
                Evidence::value("rate", rate.get())
                    .unit("Gb/s")
                    .limit(wanted.value.get(), wanted.source.as_str()),
            )
            .human(
                RemedyAction::CheckCable,
                format!("Check the cable of {name} and the speed set on its switch port"),
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
    outcome.not_here("the platform counts on no RDMA port");
    outcome
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
        name: "full rate",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "half of it",
        expect: Expect::Fail,
        change: |node| {
            let rate = cupel_model::units::GigabitsPerSecond::new(200.0).expect("finite");
            node.snapshot.rdma[0].ports[0].rate_gbps = rate.into();
        },
    },
    Case {
        name: "unreadable",
        expect: Expect::Unknown,
        change: |node| {
            node.snapshot.rdma[0].ports[0].rate_gbps = cupel_model::Reading::failed("EIO");
        },
    },
    Case {
        name: "no platform",
        expect: Expect::Skip,
        change: |node| node.platform = None,
    },
];
