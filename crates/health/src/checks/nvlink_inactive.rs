//! NVLinks of a GPU are not active.
//!
//! # What it checks
//! That each GPU has as many active NVLinks as the platform's GPUs have. Without a platform a GPU is
//! held against its peers: the most links that any GPU of the node has active. GPUs without NVLink are
//! skipped: a PCIe card has none to be down.
//!
//! # Why it matters
//! A GPU that lost a link slows every collective on the node, or keeps the fabric from starting.
//!
//! # Remedy
//! 1. Reset the GPU with its fabric, once no work runs: links are trained anew.
//! 2. Reboot the node.
//! 3. Check the seating of the GPU; run a diagnostic of its NVLinks.
//! 4. Replace the GPU or the baseboard; which of the two the diagnostic tells.
//!
//! # Sources
//! - NVML, `nvmlDeviceGetNvLinkState`; the platform file's number of links.
//! - NVIDIA Health Validation (2026): inactive NVLinks are critical.
//! - NVSentinel #1481: PCIe GPUs have no NVLink to be down.

use cupel_model::snapshot::Gpu;
use cupel_model::{Clears, Component, ComponentKind, Evidence, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::gpu_parts::each_gpu;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "nvlink.inactive";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::seconds(
        30,
        "links train again after a reset and while the fabric starts",
    ),
    basis: Basis::State,
    doc: module_doc!("nvlink_inactive.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn active(gpu: &Gpu) -> Option<usize> {
    let links = &gpu.nvlink.value()?.links;
    Some(
        links
            .iter()
            .filter(|link| link.active.get() == Some(true))
            .count(),
    )
}

fn evaluate(context: &Context<'_>) -> Outcome {
    let expected = context
        .platform
        .and_then(|platform| platform.gpu.nvlinks.as_ref());
    let most = context
        .gpus
        .iter()
        .filter_map(|part| active(part.gpu))
        .max();
    let (wanted, source) = match expected {
        Some(expected) => {
            let wanted = usize::try_from(expected.value).unwrap_or(usize::MAX);
            (wanted, expected.source.as_str())
        }
        None => (most.unwrap_or(0), "the other GPUs of this node"),
    };
    if wanted == 0 && (expected.is_some() || most.is_some()) {
        return Outcome::skipped("the GPUs of this node have no NVLink");
    }
    each_gpu(context, |part, gpu, outcome| {
        let short = part.short();
        let Some(nvlink) = outcome.need(&short, "NVLink", &gpu.nvlink, expected.is_some()) else {
            return;
        };
        let mut down: Vec<u32> = Vec::new();
        let mut unread = 0_usize;
        for link in &nvlink.links {
            match link.active.get() {
                Some(true) => {}
                Some(false) => down.push(link.index),
                None if link.active.is_failed() => {
                    unread += 1;
                    outcome.need(&short, "NVLink state", &link.active, true);
                }
                None => {}
            }
        }
        let up = active(gpu).unwrap_or(0);
        if up + unread >= wanted {
            return;
        }
        // Links that are not even listed are down as well; they have no number to name.
        let name = part.name();
        let text = if let [one] = down[..] {
            format!("NVLink {one} of {name} is not active: {up} of {wanted} links are")
        } else {
            format!("{up} of {wanted} NVLinks of {name} are active")
        };
        let component = Component {
            index: if let [one] = down[..] {
                Some(one)
            } else {
                None
            },
            ..part.component(ComponentKind::Nvlink)
        };
        let draft = if expected.is_some() {
            Draft::critical(CODE, component, text)
        } else {
            Draft::warning(CODE, component, text)
        };
        let numbers: Vec<String> = down.iter().map(u32::to_string).collect();
        let mut draft = draft
            .clears(Clears::WhileObserved)
            .evidence(Evidence::value("active_links", up).limit(wanted, source));
        if !numbers.is_empty() {
            draft = draft.evidence(Evidence::value("inactive_links", numbers.join(", ")));
        }
        if let Some(expected) = expected {
            draft = draft.capped(expected);
        }
        outcome.find(
            draft
                .opt_in(
                    RemedyAction::ResetFabric,
                    "Once no work runs, reset all GPUs of the node with their NVLink fabric",
                )
                .opt_in(RemedyAction::RebootNode, "Reboot the node")
                .human(RemedyAction::Reseat, format!("Check the seating of {name}"))
                .human(
                    RemedyAction::RunDiagnostic,
                    format!("Run an NVLink diagnostic on {name}"),
                )
                .human(
                    RemedyAction::ReplacePart,
                    format!("Replace {name}, or the baseboard if the diagnostic blames it"),
                ),
        );
    })
}

#[cfg(test)]
fn links(node: &mut crate::testing::Node) -> &mut Vec<cupel_model::snapshot::Nvlink> {
    use cupel_model::Reading;
    match &mut node.gpu(2).nvlink {
        Reading::Value(nvlink) => &mut nvlink.links,
        Reading::Absent(why) | Reading::Unsupported(why) | Reading::Failed(why) => panic!("{why}"),
    }
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "all active",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "one inactive",
        expect: Expect::Fail,
        change: |node| links(node)[7].active = false.into(),
    },
    Case {
        name: "one inactive, and no platform",
        expect: Expect::Fail,
        change: |node| {
            links(node)[7].active = false.into();
            node.platform = None;
        },
    },
    Case {
        name: "none listed",
        expect: Expect::Fail,
        change: |node| links(node).clear(),
    },
    Case {
        name: "one unreadable",
        expect: Expect::Unknown,
        change: |node| links(node)[7].active = cupel_model::Reading::failed("timed out"),
    },
    Case {
        name: "not offered where the platform has them",
        expect: Expect::Unknown,
        change: |node| node.gpu(2).nvlink = cupel_model::Reading::unsupported("not supported"),
    },
    Case {
        name: "PCIe GPUs",
        expect: Expect::Skip,
        change: |node| {
            node.expected().gpu.nvlinks.as_mut().expect("given").value = 0;
            for gpu in &mut node.snapshot.gpus {
                gpu.nvlink = cupel_model::Reading::unsupported("not supported");
            }
        },
    },
];
