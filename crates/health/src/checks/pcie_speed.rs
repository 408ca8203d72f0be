//! A PCIe link runs slower than it should.
//!
//! # What it checks
//! The speed of the links of GPUs, RDMA adapters and NVMe drives. A GPU's link rests at a lower speed
//! when the GPU is idle: it is judged only while the GPU works (utilisation above zero) or stands in its
//! highest performance state, and otherwise left out. A GPU is held against its platform; other links,
//! and GPUs without a platform, against the most that the device and the port above it both offer.
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
use cupel_model::{Evidence, Mode, Reading, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::links::linked;
use crate::outcome::Outcome;
use crate::registry::Check;
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "pcie.speed";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
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

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    for link in linked(context) {
        let device = link.device;
        if matches!(device.max_width, Reading::Value(0)) {
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
        let seen = outcome.need(&link.short, "link speed", &device.current_speed_gts, false);
        let Some(speed) = seen.copied() else { continue };
        let expected = link
            .gpu
            .and(context.platform)
            .and_then(|platform| platform.gpu.pcie_speed_gts.as_ref());
        let own = device.max_speed_gts.get();
        let above = link.upstream.and_then(|port| port.max_speed_gts.get());
        let (limit, source) = match (expected, own, above) {
            (Some(expected), _, _) => (expected.value, expected.source.as_str()),
            (None, Some(own), Some(above)) if above < own => (above, "port above the device"),
            (None, Some(own), _) => (own, "device"),
            (None, None, _) => {
                outcome.need(
                    &link.short,
                    "highest link speed",
                    &device.max_speed_gts,
                    false,
                );
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
fn slow(node: &mut crate::testing::Node) {
    let gpu = crate::testing::gpu_pci(4);
    let mut pci = node.snapshot.pci.iter_mut();
    let device = pci
        .find(|device| device.address == gpu)
        .expect("the GPU is on the bus");
    device.current_speed_gts = speed(16.0);
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
        name: "no device",
        expect: Expect::Skip,
        change: |node| node.snapshot.pci.clear(),
    },
];
