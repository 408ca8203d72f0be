//! A PCIe link runs slower than it should.
//!
//! # What it checks
//! The speed of the links of GPUs, RDMA adapters and NVMe drives. A GPU's link rests at a lower speed
//! when the GPU is idle: it is judged only while the GPU works (utilisation above zero) or stands in its
//! highest performance state, and otherwise left out. A GPU is held against its platform; other links,
//! and GPUs without a platform, against the most that the device and the port above it both offer. Where
//! the kernel does not tell of a working GPU's link the driver is asked for its PCIe generation, and
//! where neither tells it is unknown.
//!
//! # Why it matters
//! A link that trained at half of its speed halves the bandwidth to the host or the network. It points
//! to poor signals: contacts, risers, cables, retimers.
//!
//! # Remedy
//! 1. Power-cycle the node: links are trained anew.
//! 2. Take the part out, clean and inspect its contacts, and put it back; check risers and cables.
//! 3. Bring firmware of board and retimers to the baseline; replace the part, then the riser or board.
//!
//! # Sources
//! - Linux, `current_link_speed` and `max_link_speed`; NVML, current and highest PCIe generation.
//! - The platform file's speed.

use cupel_model::snapshot::Gpu;
use cupel_model::units::GigatransfersPerSecond;
use cupel_model::{Evidence, Mode, Reading, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::links::{gpus_unseen, linked};
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "pcie.speed";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::seconds(
        60,
        "a link that changes its speed with the load passes through slower ones",
    ),
    basis: Basis::State,
    doc: module_doc!("pcie_speed.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// Whether the GPU's link must be at its full speed now; `None` when it cannot be told.
fn works(gpu: &Gpu) -> Option<bool> {
    let busy = gpu
        .processes
        .utilisation_percent
        .get()
        .map(|percent| percent.get() > 0.0);
    let fastest = gpu.clocks.performance_state.get().map(|state| state == 0);
    match (busy, fastest) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false) | None) | (None, Some(false)) => Some(false),
        (None, None) => None,
    }
}

/// The speed of a PCIe generation.
fn speed_of(generation: &Reading<u32>) -> Reading<GigatransfersPerSecond> {
    generation.clone().and_then(|generation| {
        let speed = match generation {
            1 => 2.5,
            2 => 5.0,
            3 => 8.0,
            4 => 16.0,
            5 => 32.0,
            6 => 64.0,
            other => return Reading::absent(format!("the driver says PCIe generation {other}")),
        };
        GigatransfersPerSecond::new(speed)
            .map_or_else(|error| Reading::failed(error.to_string()), Reading::Value)
    })
}

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    for link in linked(context) {
        if link.has_no_link() {
            outcome.not_here("no PCIe link of its own");
            continue;
        }
        match link.gpu.map(|part| works(part.gpu)) {
            Some(Some(false)) => {
                outcome.not_here("idle: the link may rest");
                continue;
            }
            Some(None) => {
                // A driver that tells nothing of this GPU is other checks' business.
                let blind = link.gpu.and_then(|part| part.blind(context));
                let why = blind.unwrap_or_else(|| "whether it works now is not known".to_owned());
                if context.passed_through() {
                    outcome.not_here("the GPUs are passed through to virtual machines");
                } else {
                    outcome.unknown(&link.short, why);
                }
                continue;
            }
            Some(Some(true)) | None => {}
        }
        let expected = link
            .gpu
            .and(context.platform)
            .and_then(|platform| platform.gpu.pcie_speed_gts.as_ref());
        let seen = link.told(
            |device| &device.current_speed_gts,
            |gpu| speed_of(&gpu.pcie.current_generation),
        );
        let seen = outcome.need(&link.short, "link speed", &seen, expected.is_some());
        let Some(speed) = seen.copied() else { continue };
        let own = link.told(
            |device| &device.max_speed_gts,
            |gpu| speed_of(&gpu.pcie.max_generation),
        );
        let above = link.upstream.and_then(|port| port.max_speed_gts.get());
        let (limit, source) = match (expected, own.get(), above) {
            (Some(expected), _, _) => (expected.value, expected.source.as_str()),
            (None, Some(own), Some(above)) if above < own => (above, "port above the device"),
            (None, Some(own), _) => (own, "device"),
            (None, None, _) => {
                outcome.need(&link.short, "highest link speed", &own, true);
                continue;
            }
        };
        if speed >= limit {
            continue;
        }
        let text = format!("The PCIe link of {} runs at {speed} of {limit}", link.name);
        let mut draft = Draft::warning(CODE, link.component, text).evidence(
            Evidence::value("current_link_speed", speed.get())
                .unit("GT/s")
                .limit(limit.get(), source),
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
                .human(
                    RemedyAction::UpdateFirmware,
                    "Bring the firmware of board and retimers to this node's baseline",
                )
                .human(RemedyAction::ReplacePart, format!("Replace {}", link.name)),
        );
    }
    gpus_unseen(context, &mut outcome);
    outcome.not_here("no PCIe device to judge");
    outcome
}

#[cfg(test)]
fn speed(gts: f64) -> Reading<cupel_model::units::GigatransfersPerSecond> {
    cupel_model::units::GigatransfersPerSecond::new(gts)
        .expect("finite")
        .into()
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
fn slow(node: &mut crate::testing::Node) {
    function(node, 4).current_speed_gts = speed(16.0);
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "full speed",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "half of it at work",
        expect: Expect::Fail,
        change: slow,
    },
    Case {
        name: "half of it at rest",
        expect: Expect::Pass,
        change: |node| {
            slow(node);
            node.gpu(4).clocks.performance_state = 8.into();
        },
    },
    Case {
        name: "a slow drive",
        expect: Expect::Fail,
        change: |node| {
            let last = node.snapshot.pci.last_mut().expect("a drive");
            last.current_speed_gts = speed(8.0);
        },
    },
    Case {
        name: "whether it works is not known",
        expect: Expect::Unknown,
        change: |node| {
            node.gpu(4).clocks.performance_state = Reading::failed("timed out");
            node.gpu(4).processes.utilisation_percent = Reading::failed("timed out");
        },
    },
    Case {
        name: "the kernel does not tell, and the driver does",
        expect: Expect::Pass,
        change: |node| function(node, 4).current_speed_gts = Reading::failed("EIO"),
    },
    Case {
        name: "the kernel does not tell, and the driver says a lower generation",
        expect: Expect::Fail,
        change: |node| {
            function(node, 4).current_speed_gts = Reading::absent("no such file");
            node.gpu(4).pcie.current_generation = 4.into();
        },
    },
    Case {
        name: "nobody tells of GPUs that have a link on this platform",
        expect: Expect::Unknown,
        change: |node| {
            for index in 0..8 {
                function(node, index).current_speed_gts = Reading::absent("no such file");
                node.gpu(index).pcie.current_generation = Reading::unsupported("not offered");
            }
        },
    },
    Case {
        name: "a drive without a link of its own",
        expect: Expect::Pass,
        change: |node| {
            let last = node.snapshot.pci.last_mut().expect("a drive");
            last.current_speed_gts = Reading::absent("no link");
            last.max_speed_gts = Reading::absent("no link");
        },
    },
    Case {
        name: "no device is listed",
        expect: Expect::Unknown,
        change: |node| node.snapshot.pci.clear(),
    },
    Case {
        name: "no platform, and the bus could not be read",
        expect: Expect::Unknown,
        change: crate::testing::unread_bus,
    },
    Case {
        name: "no device",
        expect: Expect::Skip,
        change: crate::testing::empty_bus,
    },
];
