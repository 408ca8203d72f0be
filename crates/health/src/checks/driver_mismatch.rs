//! The NVIDIA kernel module and the driver library are of different versions.
//!
//! # What it checks
//! That the version of the loaded kernel module equals the version of the driver library. Where the
//! library does not tell its version, that it started is proof enough: NVML refuses to start over a
//! kernel module of another version.
//!
//! # Why it matters
//! The library refuses a kernel module of another version: after a package upgrade without a
//! reboot running jobs go on, and nothing new starts.
//!
//! # Remedy
//! 1. Let running work end, then reboot the node, so that the new module is loaded.
//! 2. If they still differ, install the driver of the node's baseline whole.
//!
//! # Sources
//! - `/proc/driver/nvidia/version`; `nvmlSystemGetDriverVersion`; NVML's error 18, library and
//!   kernel module mismatch.

use cupel_model::snapshot::WorkerState;
use cupel_model::{Clears, Component, ComponentKind, Evidence, Mode, RemedyAction, Urgency};

use super::driver_absent;
use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::gpu_parts::not_for_gpus;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "driver.mismatch";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::seconds(
        60,
        "an update that is under way replaces module and library one after the other",
    ),
    basis: Basis::State,
    doc: module_doc!("driver_mismatch.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// Versions of module and library, when both are known and differ.
pub(super) fn differing<'a>(context: &Context<'a>) -> Option<(&'a str, &'a str)> {
    let driver = &context.snapshot.driver;
    let module = driver.kernel_version.value()?;
    let library = library(context)?;
    (module != library).then_some((module, library))
}

/// The library's version. One that refuses to start still tells NVML's, which is the driver's
/// behind the number of CUDA: `12.570.158.01`.
fn library<'a>(context: &Context<'a>) -> Option<&'a str> {
    let driver = &context.snapshot.driver;
    driver
        .library_version
        .value()
        .map(String::as_str)
        .or_else(|| {
            let (_, version) = driver.nvml_version.value()?.split_once('.')?;
            version.contains('.').then_some(version)
        })
}

fn evaluate(context: &Context<'_>) -> Outcome {
    if let Some(outcome) = not_for_gpus(context) {
        return outcome;
    }
    let mut outcome = Outcome::default();
    if driver_absent::is_absent(context) {
        outcome.unknown("driver", "it is not there");
        return outcome;
    }
    let driver = &context.snapshot.driver;
    outcome.need("driver", "kernel module", &driver.kernel_version, true);
    let started = matches!(driver.worker, WorkerState::Answered { .. });
    if library(context).is_none() && !started {
        outcome.need("driver", "library", &driver.library_version, true);
    }
    if let Some((module, library)) = differing(context) {
        outcome.find(
            Draft::critical(
                CODE,
                Component::of(ComponentKind::Service),
                format!(
                    "The loaded NVIDIA kernel module is {module} and the driver library {library}: \
                     nothing new can start on the GPUs"
                ),
            )
            .urgency(Urgency::AfterJob)
            .clears(Clears::WhileObserved)
            .evidence(
                Evidence::value("library_version", library)
                    .limit(module, "version of the loaded kernel module"),
            )
            .opt_in(
                RemedyAction::Drain,
                "Let running work end and give no new work",
            )
            .opt_in(
                RemedyAction::RebootNode,
                "Reboot the node, so that the new module is loaded",
            )
            .human(
                RemedyAction::UpdateDriver,
                "If they still differ, install the driver of this node's baseline whole",
            ),
        );
    }
    outcome
}

#[cfg(test)]
fn tells_nothing(node: &mut crate::testing::Node) {
    node.snapshot.driver.library_version = cupel_model::Reading::failed("timed out");
    node.snapshot.driver.nvml_version = cupel_model::Reading::absent("not told");
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "same",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "library upgraded",
        expect: Expect::Fail,
        change: |node| node.snapshot.driver.library_version = "580.65.06".to_owned().into(),
    },
    Case {
        name: "library does not tell and did not start",
        expect: Expect::Unknown,
        change: |node| {
            tells_nothing(node);
            node.snapshot.driver.worker = WorkerState::Failed {
                why: "nvmlInit_v2: timed out".to_owned(),
                hung: None,
            };
        },
    },
    Case {
        name: "library does not tell, and started",
        expect: Expect::Pass,
        change: tells_nothing,
    },
    Case {
        name: "neither tells its version",
        expect: Expect::Unknown,
        change: |node| {
            tells_nothing(node);
            node.snapshot.driver.kernel_version = cupel_model::Reading::failed("EIO");
        },
    },
    Case {
        name: "no platform, and the bus could not be read",
        expect: Expect::Unknown,
        change: crate::testing::unread_bus,
    },
    Case {
        name: "library refuses the module, and tells NVML's version",
        expect: Expect::Fail,
        change: |node| {
            node.snapshot.driver.library_version = cupel_model::Reading::failed("mismatch");
            node.snapshot.driver.nvml_version = "12.580.65.06".to_owned().into();
        },
    },
];
