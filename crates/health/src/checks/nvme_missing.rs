//! An NVMe drive is missing.
//!
//! # What it checks
//! That as many NVMe drives are on the PCI bus as the platform has. The missing drive is named by the
//! slot and serial last seen. Without a platform, a drive that was there earlier and is gone is a
//! warning.
//!
//! # Why it matters
//! Scratch space, a cache or half of a mirror is gone, and jobs that stage data locally fail.
//!
//! # Remedy
//! 1. See in the kernel log whether the drive dropped out; power-cycle the node.
//! 2. Take the drive out and put it back.
//! 3. Replace the drive.
//!
//! # Sources
//! - The platform file's number of drives; Linux, `/sys/class/nvme`.

use cupel_model::snapshot::RememberedPart;
use cupel_model::{Clears, Component, ComponentKind, Evidence, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::links::named;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect, trouble};

const CODE: &str = "nvme.missing";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("the part is there or it is not"),
    basis: Basis::State,
    doc: module_doc!("nvme_missing.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let drives = &context.snapshot.nvme;
    let unread = drives.iter().filter(|drive| drive.pci.is_failed()).count();
    for drive in drives.iter().filter(|drive| drive.pci.is_failed()) {
        outcome.need(&drive.name, "PCI address", &drive.pci, true);
    }
    if let Some(why) = context.problem("nvme").filter(|_| drives.is_empty()) {
        let counted = context
            .platform
            .is_some_and(|platform| platform.nvme.is_some());
        if counted || context.remembered(ComponentKind::Nvme).next().is_some() {
            return Outcome::undetermined("NVMe drives", why);
        }
    }
    let there = drives
        .iter()
        .filter(|drive| drive.pci.get().is_some())
        .count();
    let here = |part: &RememberedPart| {
        drives.iter().any(|drive| match &part.serial {
            Some(serial) => drive.serial.value() == Some(serial),
            None => part.pci.is_some() && part.pci == drive.pci.get(),
        })
    };
    // A new drive in the slot took the old one's place.
    let replaced = |part: &RememberedPart| {
        drives
            .iter()
            .any(|drive| part.slot.is_some() && part.slot.as_ref() == drive.slot.value())
    };
    let mut gone: Vec<&RememberedPart> = context
        .remembered(ComponentKind::Nvme)
        .filter(|part| !here(part) && !replaced(part))
        .collect();
    let expected = context.platform.and_then(|platform| platform.nvme.as_ref());
    let Some(expected) = expected.map(|expected| &expected.count) else {
        if context.remembered(ComponentKind::Nvme).next().is_some() {
            outcome.judged();
        } else {
            outcome.not_here("no platform says how many NVMe drives this node has");
        }
        for part in gone {
            let (component, name) = about(context, part);
            let text = format!("{name}, last seen {}, is missing", part.seen_at);
            outcome.find(
                steps(Draft::warning(CODE, component, text), &name)
                    .clears(Clears::Operator)
                    .evidence(
                        Evidence::value("drives", there)
                            .limit(there + 1, "parts last seen in good order"),
                    ),
            );
        }
        return outcome;
    };
    let wanted = usize::try_from(expected.value).unwrap_or(usize::MAX);
    if there + unread >= wanted {
        outcome.judged();
        return outcome;
    }
    let short = wanted - there - unread;
    gone.truncate(short);
    let unnamed = short - gone.len();
    let draft = |component, text, name: &str| {
        steps(Draft::critical(CODE, component, text), name)
            .capped(expected)
            .evidence(Evidence::value("drives", there).limit(wanted, expected.source.as_str()))
    };
    for part in gone {
        let (component, name) = about(context, part);
        let text = format!("{name} is missing: {there} of {wanted} drives are there");
        outcome.find(draft(component, text, &name));
    }
    if unnamed > 0 {
        let text = format!(
            "{unnamed} of {wanted} NVMe drives {} missing; which slot is empty is not known",
            if unnamed == 1 { "is" } else { "are" }
        );
        outcome.find(draft(
            Component::of(ComponentKind::Nvme),
            text,
            "the missing drive",
        ));
    }
    outcome
}

fn about(context: &Context<'_>, part: &RememberedPart) -> (Component, String) {
    let component = context.component_of(part);
    let model = part.name.as_deref().unwrap_or("of unknown model");
    let name = named("NVMe drive", model, &component);
    (component, name)
}

fn steps(draft: Draft, name: &str) -> Draft {
    draft
        .opt_in(RemedyAction::PowerCycleNode, "Power-cycle the node")
        .human(
            RemedyAction::Reseat,
            format!("Take out and put back {name}"),
        )
        .human(RemedyAction::ReplacePart, format!("Replace {name}"))
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
            node.snapshot.nvme.remove(1);
        },
    },
    Case {
        name: "one less, and no platform",
        expect: Expect::Fail,
        change: |node| {
            node.snapshot.remembered = crate::remember(&node.snapshot);
            node.snapshot.nvme.remove(1);
            node.platform = None;
        },
    },
    Case {
        name: "one replaced",
        expect: Expect::Pass,
        change: |node| {
            node.snapshot.remembered = crate::remember(&node.snapshot);
            node.snapshot.nvme[1].serial = "S69999999".to_owned().into();
        },
    },
    Case {
        name: "one that cannot be located",
        expect: Expect::Unknown,
        change: |node| node.snapshot.nvme[1].pci = cupel_model::Reading::failed("EIO"),
    },
    Case {
        name: "none can be read",
        expect: Expect::Unknown,
        change: |node| {
            node.snapshot.nvme.clear();
            trouble(node, "nvme", "/sys/class/nvme: Permission denied");
        },
    },
    Case {
        name: "none is there",
        expect: Expect::Fail,
        change: |node| node.snapshot.nvme.clear(),
    },
    Case {
        name: "no platform and no history",
        expect: Expect::Skip,
        change: |node| node.platform = None,
    },
];
