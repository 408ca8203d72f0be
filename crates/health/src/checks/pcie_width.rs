//! A PCIe link has fewer lanes than it should.
//!
//! # What it checks
//! The width of the links of GPUs, NVSwitches, RDMA adapters and NVMe drives, always: lanes do not rest
//! at idle. A GPU is held against its platform; other links, and GPUs without a platform, against the
//! most that the device and the port above it both offer. Where the kernel does not tell of a GPU's
//! link the driver is asked, and where neither tells it is unknown. A device that is off the bus is left to its
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
use crate::links::{gpus_unseen, linked};
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "pcie.width";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::seconds(30, "a link that trains anew passes through narrower widths"),
    basis: Basis::State,
    doc: module_doc!("pcie_width.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// A link has lanes: 0 is no value.
fn lanes(told: &Reading<u32>) -> Reading<u32> {
    told.clone().and_then(|lanes| match lanes {
        0 => Reading::absent("the driver says 0 lanes"),
        lanes => Reading::Value(lanes),
    })
}

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    for link in linked(context) {
        if link.has_no_link() {
            outcome.not_here("no PCIe link of its own");
            continue;
        }
        let expected = link
            .gpu
            .and(context.platform)
            .and_then(|platform| platform.gpu.pcie_width.as_ref());
        let seen = link.told(
            |device| &device.current_width,
            |gpu| lanes(&gpu.pcie.current_width),
        );
        let Some(width) = outcome
            .need(&link.short, "link width", &seen, expected.is_some())
            .copied()
        else {
            continue;
        };
        let own = link.told(|device| &device.max_width, |gpu| lanes(&gpu.pcie.max_width));
        let above = link
            .upstream
            .and_then(|port| port.max_width.get())
            .filter(|max| *max > 0);
        let (limit, source) = match (expected, own.get(), above) {
            (Some(expected), _, _) => (expected.value, expected.source.as_str()),
            (None, Some(own), Some(above)) => (own.min(above), "device and port above it"),
            (None, Some(own), None) => (own, "device"),
            (None, None, _) => {
                outcome.need(&link.short, "highest link width", &own, true);
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
    gpus_unseen(context, &mut outcome);
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
        name: "the kernel does not tell, and the driver does",
        expect: Expect::Pass,
        change: |node| function(node, 4).current_width = Reading::absent("no such file"),
    },
    Case {
        name: "the kernel does not tell, and the driver says half of the lanes",
        expect: Expect::Fail,
        change: |node| {
            function(node, 4).current_width = Reading::unsupported("EINVAL");
            node.gpu(4).pcie.current_width = 8.into();
        },
    },
    Case {
        name: "nobody tells of GPUs that have a link on this platform",
        expect: Expect::Unknown,
        change: |node| {
            for index in 0..8 {
                function(node, index).current_width = Reading::absent("no such file");
                node.gpu(index).pcie.current_width = Reading::unsupported("not offered");
            }
        },
    },
    Case {
        name: "a passed-through GPU without a link of its own, and no platform",
        expect: Expect::Pass,
        change: |node| {
            node.platform = None;
            node.snapshot.tenancy = cupel_model::snapshot::Tenancy::VmPassthrough;
            let link = function(node, 4);
            link.current_width = Reading::absent("no link");
            link.max_width = Reading::absent("no link");
            let gpu = node.gpu(4);
            gpu.in_driver = false.into();
            gpu.pcie = Default::default();
        },
    },
    Case {
        name: "a drive without a link of its own",
        expect: Expect::Pass,
        change: |node| {
            let last = node.snapshot.pci.last_mut().expect("a drive");
            last.current_width = Reading::absent("no link");
            last.max_width = Reading::absent("no link");
        },
    },
    Case {
        name: "no device is listed",
        expect: Expect::Unknown,
        change: |node| node.snapshot.pci.clear(),
    },
    Case {
        name: "no GPU is listed where the platform has some",
        expect: Expect::Unknown,
        change: |node| node.snapshot.gpus.clear(),
    },
    Case {
        name: "no platform, and the bus could not be read",
        expect: Expect::Unknown,
        change: crate::testing::unread_bus,
    },
    Case {
        name: "where an adapter sits could not be read",
        expect: Expect::Unknown,
        change: |node| node.snapshot.rdma[1].pci = Reading::failed("EIO"),
    },
    Case {
        name: "no device",
        expect: Expect::Skip,
        change: crate::testing::empty_bus,
    },
];
