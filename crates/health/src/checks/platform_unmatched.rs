//! No platform file matches this machine.
//!
//! # What it checks
//! That the machine is one of the known platforms: by SMBIOS manufacturer, product name and the PCI ids
//! of its GPUs, each exactly. It is information only; what needs a platform is then skipped.
//!
//! # Why it matters
//! Without a platform nobody says how many GPUs, ports, drives and modules this machine should have: a
//! part that was never there is not missed.
//!
//! # Remedy
//! 1. On a node that is known to be good, write a platform file: `cupel platform derive`.
//!
//! # Sources
//! - SMBIOS type 1; the files under `platforms/`.

use cupel_model::snapshot::PciDevice;
use cupel_model::{Component, Evidence, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "platform.unmatched";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("what the machine is called does not change"),
    basis: Basis::State,
    doc: module_doc!("platform_unmatched.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    if context.platform.is_some() {
        outcome.judged();
        return outcome;
    }
    let node = &context.snapshot.node;
    outcome.need("machine", "manufacturer", &node.manufacturer, false);
    outcome.need("machine", "product name", &node.product, false);
    let text = |reading: &cupel_model::Reading<String>| {
        reading
            .value()
            .cloned()
            .unwrap_or_else(|| "not known".to_owned())
    };
    let (manufacturer, product) = (text(&node.manufacturer), text(&node.product));
    let mut ids: Vec<String> = context
        .snapshot
        .pci
        .iter()
        .filter(|device| device.is_nvidia_gpu())
        .filter_map(PciDevice::id)
        .collect();
    ids.sort();
    ids.dedup();
    let mut draft = Draft::info(
        CODE,
        Component::node(),
        format!(
            "No platform file matches this machine ({manufacturer}, {product}): what it should \
             have is not known"
        ),
    )
    .evidence(Evidence::value("manufacturer", manufacturer))
    .evidence(Evidence::value("product", product));
    if !ids.is_empty() {
        draft = draft.evidence(Evidence::value("gpu_pci_ids", ids.join(", ")));
    }
    outcome.find(draft.human(
        RemedyAction::None,
        "On a node that is known to be good, write a platform file with `cupel platform derive`",
    ));
    outcome
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "matched",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "unmatched",
        expect: Expect::Fail,
        change: |node| node.platform = None,
    },
    Case {
        name: "SMBIOS unreadable",
        expect: Expect::Unknown,
        change: |node| {
            node.platform = None;
            node.snapshot.node.product = cupel_model::Reading::failed("EIO");
        },
    },
];
