//! A PCIe link has fewer lanes than it should.
//!
//! # What it checks
//! The width of the links of GPUs, NVSwitches, RDMA adapters and NVMe drives, always: lanes do not rest
//! at idle. A GPU is held against its platform; other links, and GPUs without a platform, against the
//! most that the device and the port above it both offer. A device that is off the bus is left to its
//! own finding, and virtual functions have no link of their own.
//!
//! # Why it matters
//! Half of the lanes is half of the bandwidth to the host or the network, and one such node slows every
//! job that spans it. Lost lanes point to a dirty or bent contact, a riser or a cable.
//!
//! # Remedy
//! 1. Power-cycle the node: links are trained anew.
//! 2. Take the part out, clean and inspect its contacts, and put it back; check risers and cables.
//! 3. Replace the part, then the riser or board.
//!
//! # Sources
//! - Linux, `current_link_width` and `max_link_width`; PCI Express Base Specification, link status.
//! - The platform file's width.

use cupel_model::{Evidence, Mode, Reading, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::links::linked;
use crate::outcome::Outcome;
use crate::registry::Check;
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "pcie.width";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    doc: module_doc!("pcie_width.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    for link in linked(context) {
        let device = link.device;
        // A virtual function says 0.
        if matches!(device.max_width, Reading::Value(0)) {
            outcome.not_here("no PCIe link of its own");
            continue;
        }
        let seen = match &device.current_width {
            // The driver may tell what sysfs cannot.
            Reading::Failed(_) => link
                .gpu
                .map_or(&device.current_width, |part| &part.gpu.pcie.current_width),
            Reading::Value(_) | Reading::Absent(_) | Reading::Unsupported(_) => {
                &device.current_width
            }
        };
        let Some(width) = outcome
            .need(&link.short, "link width", seen, false)
            .copied()
        else {
            continue;
        };
        let expected = link
            .gpu
            .and(context.platform)
            .and_then(|platform| platform.gpu.pcie_width.as_ref());
        let own = device.max_width.get();
        let above = link
            .upstream
            .and_then(|port| port.max_width.get())
            .filter(|max| *max > 0);
        let (limit, source) = match (expected, own, above) {
            (Some(expected), _, _) => (expected.value, expected.source.as_str()),
            (None, Some(own), Some(above)) => (own.min(above), "device and port above it"),
            (None, Some(own), None) => (own, "device"),
            (None, None, _) => {
                outcome.need(&link.short, "highest link width", &device.max_width, false);
                continue;
            }
        };
        if width >= limit {
            continue;
        }
        let text = format!(
            "The PCIe link of {} has {width} of {limit} lanes",
            link.name
        );
        let mut draft = Draft::warning(CODE, link.component, text).evidence(
            Evidence::value("current_link_width", width)
                .unit("lanes")
                .limit(limit, source),
        );
        if let Some(expected) = expected {
            draft = draft.capped(expected);
        }
        outcome.find(
            draft
                .opt_in(
                    RemedyAction::PowerCycleNode,
                    "Power-cycle the node, so that its links are trained anew",
                )
                .human(
                    RemedyAction::Reseat,
                    format!(
                        "Take out {}, clean and inspect its contacts, and put it back; check \
                         risers and cables",
                        link.name
                    ),
                )
                .human(RemedyAction::ReplacePart, format!("Replace {}", link.name)),
        );
    }
    outcome.not_here("no PCIe device to judge");
    outcome
}

#[cfg(test)]
fn function(
    node: &mut crate::testing::Node,
    index: usize,
) -> &mut cupel_model::snapshot::PciDevice {
    let gpu = crate::testing::gpu_pci(index);
    let mut pci = node.snapshot.pci.iter_mut();
    pci.find(|device| device.address == gpu)
        .expect("the GPU is on the bus")
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "all lanes",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "a GPU with half of its lanes",
        expect: Expect::Fail,
        change: |node| function(node, 4).current_width = 8.into(),
    },
    Case {
        name: "a drive with one lane",
        expect: Expect::Fail,
        change: |node| {
            let last = node.snapshot.pci.last_mut().expect("a drive");
            last.current_width = 1.into();
        },
    },
    Case {
        name: "a narrow slot by design",
        expect: Expect::Pass,
        change: |node| {
            let drive = node.snapshot.pci.last().expect("a drive").clone();
            let mut port = drive.clone();
            port.address.bus = 0xf0;
            port.max_width = 2.into();
            let last = node.snapshot.pci.last_mut().expect("a drive");
            last.current_width = 2.into();
            last.upstream = port.address.into();
            node.snapshot.pci.push(port);
        },
    },
    Case {
        name: "unreadable",
        expect: Expect::Unknown,
        change: |node| {
            function(node, 4).current_width = Reading::failed("EIO");
            node.gpu(4).pcie.current_width = Reading::failed("timed out");
        },
    },
    Case {
        name: "no device",
        expect: Expect::Skip,
        change: |node| node.snapshot.pci.clear(),
    },
];
