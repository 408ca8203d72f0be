//! A call of the NVIDIA driver did not come back, or the driver did not initialise.
//!
//! # What it checks
//! That every call of the driver came back before its deadline, and that the driver initialised. The
//! finding names the call and since when it hangs. A worker process that could not even be killed
//! sleeps in the kernel and is called wedged.
//!
//! # Why it matters
//! Whatever asks the driver next about this GPU may hang too: jobs, container starts, resets. A GPU
//! with a hung driver cannot be trusted, and its health cannot be known.
//!
//! # Remedy
//! 1. Let work on the other GPUs end; start nothing new on this node.
//! 2. Reset the GPU, if the driver lets it.
//! 3. Reboot the node; if it does not go down by itself, power-cycle it.
//! 4. If it comes back, replace the GPU.
//!
//! # Sources
//! - NVSentinel #1576 and #1748, gpud #117, go-nvml #152: the driver hangs and its monitor with it.
//! - NVIDIA open-gpu-kernel-modules #1333: calls in uninterruptible sleep.

use cupel_model::snapshot::{HungCall, WorkerState};
use cupel_model::{Clears, Component, ComponentKind, Evidence, Mode, RemedyAction, Scope};

use super::{driver_absent, driver_mismatch};
use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::gpu_parts::no_gpus;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "gpu.driver-hung";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("the deadline of the call has passed already"),
    basis: Basis::State,
    doc: module_doc!("gpu_driver_hung.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    if let Some(outcome) = no_gpus(context) {
        return outcome;
    }
    let mut outcome = Outcome::default();
    if driver_absent::is_absent(context) {
        outcome.unknown("driver", "it is not there");
        return outcome;
    }
    match &context.snapshot.driver.worker {
        // A call that hung is named below; one that crashed its process has told nothing.
        WorkerState::Answered { replaced } if *replaced > 0 && !any_hung(context) => {
            let why = format!("{replaced} processes that asked it ended before their answer");
            outcome.unknown("driver", why);
        }
        WorkerState::Answered { .. } => outcome.judged(),
        WorkerState::NotStarted { why } => outcome.unknown("driver", why.as_str()),
        // A library that refuses the module of another version is that check's finding.
        WorkerState::Failed { .. } if driver_mismatch::differing(context).is_some() => {
            outcome.unknown("driver", "module and library are of different versions");
        }
        WorkerState::Failed { why, hung } => outcome.find(whole_driver(why, hung.as_ref())),
    }
    for part in &context.gpus {
        let Some(hung) = &part.gpu.hung else { continue };
        let name = part.name();
        let stuck = if hung.wedged {
            ", and its process cannot be killed"
        } else {
            ""
        };
        let mut draft = Draft::critical(
            CODE,
            part.component(ComponentKind::Gpu),
            format!(
                "The driver call {} on {name} hangs since {}{stuck}",
                hung.call, hung.since
            ),
        );
        if hung.wedged {
            draft = draft.scope(Scope::Node);
        }
        outcome.find(steps(draft, hung, &name));
    }
    outcome
}

fn any_hung(context: &Context<'_>) -> bool {
    context.gpus.iter().any(|part| part.gpu.hung.is_some())
}

fn whole_driver(why: &str, hung: Option<&HungCall>) -> Draft {
    let component = Component::of(ComponentKind::Service);
    let Some(hung) = hung else {
        return Draft::critical(
            CODE,
            component,
            format!(
                "The NVIDIA driver did not initialise ({why}): the health of all GPUs is unknown"
            ),
        )
        .evidence(Evidence::value("initialisation", why))
        .human(
            RemedyAction::RunDiagnostic,
            "See in the kernel log why the driver failed",
        )
        .opt_in(RemedyAction::RebootNode, "Reboot the node")
        .human(
            RemedyAction::UpdateDriver,
            "Install the driver of this node's baseline whole",
        );
    };
    let stuck = if hung.wedged {
        ", and its process cannot be killed"
    } else {
        ""
    };
    let draft = Draft::critical(
        CODE,
        component,
        format!(
            "The NVIDIA driver hangs in {} since {}{stuck}: the health of all GPUs is unknown",
            hung.call, hung.since
        ),
    );
    steps(draft, hung, "the GPUs")
}

fn steps(draft: Draft, hung: &HungCall, name: &str) -> Draft {
    let draft = draft
        .since(Some(hung.since))
        .clears(Clears::Reboot)
        .evidence(Evidence::value("call", hung.call.as_str()))
        .evidence(Evidence::value("since", hung.since.to_string()))
        .evidence(Evidence::value("wedged", hung.wedged))
        .opt_in(
            RemedyAction::Drain,
            "Let running work end and give no new work",
        );
    let draft = if hung.wedged {
        draft
    } else {
        draft.opt_in(RemedyAction::ResetGpu, format!("Reset {name}"))
    };
    draft
        .opt_in(RemedyAction::RebootNode, "Reboot the node")
        .opt_in(
            RemedyAction::PowerCycleNode,
            "Power-cycle the node through its management controller if it does not go down",
        )
        .human(
            RemedyAction::ReplacePart,
            format!("If it hangs again, replace {name}"),
        )
}

#[cfg(test)]
fn hung(wedged: bool) -> HungCall {
    HungCall {
        call: "nvmlDeviceGetTemperature".to_owned(),
        since: cupel_model::Timestamp::from_microseconds(1_767_323_000_000_000).expect("time"),
        wedged,
    }
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "every call came back",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "one GPU hangs",
        expect: Expect::Fail,
        change: |node| node.gpu(4).hung = Some(hung(false)),
    },
    Case {
        name: "one GPU hangs for good",
        expect: Expect::Fail,
        change: |node| node.gpu(4).hung = Some(hung(true)),
    },
    Case {
        name: "initialisation hangs",
        expect: Expect::Fail,
        change: |node| {
            node.snapshot.driver.worker = WorkerState::Failed {
                why: "nvmlInit_v2 did not come back".to_owned(),
                hung: Some(hung(false)),
            };
        },
    },
    Case {
        name: "a call crashed its process",
        expect: Expect::Unknown,
        change: |node| node.snapshot.driver.worker = WorkerState::Answered { replaced: 1 },
    },
    Case {
        name: "no driver to ask",
        expect: Expect::Unknown,
        change: |node| {
            node.snapshot.driver.worker = WorkerState::NotStarted {
                why: "no libnvidia-ml.so.1".to_owned(),
            };
        },
    },
];
