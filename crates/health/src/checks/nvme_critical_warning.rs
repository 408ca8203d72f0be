//! An NVMe drive warns that it is failing.
//!
//! # What it checks
//! The critical warning bits of each NVMe drive's health log, and that the kernel has not given the
//! drive up. Drives over a fabric are left to their server.
//!
//! # Why it matters
//! A drive that is read-only, has lost its spare blocks or its power-loss protection loses data or
//! stops the node; a hot one slows down.
//!
//! # Remedy
//! 1. For temperature: check the drive's air flow.
//! 2. Move the data away and replace the drive, by its slot and serial.
//!
//! # Sources
//! - NVM Express Base Specification, SMART / Health Information log page (02h), critical warning.
//! - Linux, `/sys/class/nvme/*/state`.

use cupel_model::snapshot::NvmeController;
use cupel_model::{Clears, Component, ComponentKind, Evidence, Impact, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::links::named;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect, trouble};

const CODE: &str = "nvme.critical-warning";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("the drive has judged already"),
    basis: Basis::State,
    doc: module_doc!("nvme_critical_warning.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let local = |drive: &&NvmeController| drive.pci.get().is_some() || drive.pci.is_failed();
    for drive in context.snapshot.nvme.iter().filter(local) {
        judge(drive, &mut outcome);
    }
    if let Some(why) = context
        .problem("nvme")
        .filter(|_| context.snapshot.nvme.is_empty())
    {
        outcome.unknown("NVMe drives", why);
    }
    outcome.not_here("no NVMe drive");
    outcome
}

fn judge(drive: &NvmeController, outcome: &mut Outcome) {
    let component = Component {
        kind: ComponentKind::Nvme,
        index: None,
        serial: drive.serial.value().cloned(),
        pci: drive.pci.get(),
        slot: drive.slot.value().cloned(),
    };
    let name = named("NVMe drive", &drive.name, &component);
    if drive.state.value().is_some_and(|state| state == "dead") {
        let text = format!("{name} is dead: the kernel has given it up");
        outcome.find(
            steps(Draft::critical(CODE, component, text), &name)
                .evidence(Evidence::value("state", "dead").limit("live", "kernel")),
        );
        return;
    }
    let Some(health) = outcome.need(&drive.name, "health log", &drive.health, true) else {
        return;
    };
    let warnings = &health.critical_warnings;
    if warnings.is_empty() {
        return;
    }
    let text = format!("{name} warns: {}", warnings.join(", "));
    let only_hot = warnings.iter().all(|warning| warning == "temperature");
    let draft = if only_hot {
        Draft::warning(CODE, component, text).human(
            RemedyAction::RunDiagnostic,
            format!("Check the air flow over {name}"),
        )
    } else {
        let failing = ["reliability", "read-only", "volatile-backup"];
        if warnings
            .iter()
            .any(|warning| failing.contains(&warning.as_str()))
        {
            Draft::critical(CODE, component, text)
        } else {
            Draft::warning(CODE, component, text).impact(Impact::RisksData)
        }
        .clears(Clears::PartReplaced)
    };
    let mut draft = draft.evidence(Evidence::value("critical_warning", warnings.join(", ")));
    if let Some(now) = health.temperature_celsius.get() {
        draft = draft.evidence(Evidence::value("temperature", now.get()).unit("°C"));
    }
    if let Some(spare) = health.available_spare_percent.get() {
        let mut evidence = Evidence::value("available_spare", spare.get()).unit("%");
        if let Some(limit) = health.available_spare_threshold_percent.get() {
            evidence = evidence.limit(limit.get(), "the drive");
        }
        draft = draft.evidence(evidence);
    }
    outcome.find(steps(draft, &name));
}

fn steps(draft: Draft, name: &str) -> Draft {
    draft.human(
        RemedyAction::ReplacePart,
        format!("Move the data away and replace {name}"),
    )
}

#[cfg(test)]
fn warn(node: &mut crate::testing::Node, warning: &str) {
    let mut health = cupel_model::snapshot::NvmeHealth::default();
    health.critical_warnings.push(warning.to_owned());
    node.snapshot.nvme[1].health = health.into();
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "no warning",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "hot",
        expect: Expect::Fail,
        change: |node| warn(node, "temperature"),
    },
    Case {
        name: "read-only",
        expect: Expect::Fail,
        change: |node| warn(node, "read-only"),
    },
    Case {
        name: "an unknown bit",
        expect: Expect::Fail,
        change: |node| warn(node, "bit-7"),
    },
    Case {
        name: "dead",
        expect: Expect::Fail,
        change: |node| node.snapshot.nvme[1].state = "dead".to_owned().into(),
    },
    Case {
        name: "no health log",
        expect: Expect::Unknown,
        change: |node| node.snapshot.nvme[1].health = cupel_model::Reading::failed("EIO"),
    },
    Case {
        name: "no drive can be read",
        expect: Expect::Unknown,
        change: |node| {
            node.snapshot.nvme.clear();
            trouble(node, "nvme", "/sys/class/nvme: Permission denied");
        },
    },
    Case {
        name: "no drive",
        expect: Expect::Skip,
        change: |node| node.snapshot.nvme.clear(),
    },
];
