//! GPUs are on the bus and the NVIDIA driver is not there for them.
//!
//! # What it checks
//! That a node with NVIDIA GPUs on its PCI bus has the NVIDIA kernel module loaded and a driver library
//! to ask, unless its GPUs are passed through to virtual machines. Where no GPU of the platform was
//! seen, a driver that is not there says nothing: that is unknown, and `gpu.missing` has the finding.
//!
//! # Why it matters
//! Without the driver nothing can be computed on the GPUs, and nothing can be known of their
//! health: every check that asks the driver stays unknown.
//!
//! # Remedy
//! 1. See why the module did not load: `dmesg`, DKMS build, Secure Boot, another driver bound.
//! 2. Load or install the driver of the node's baseline.
//! 3. If the GPUs belong to virtual machines, say so in the configuration (`tenancy`).
//!
//! # Sources
//! - Linux, `/proc/driver/nvidia/version` and the `driver` link of each PCI device.

use cupel_model::snapshot::{PciDevice, WorkerState};
use cupel_model::{Component, ComponentKind, Evidence, Mode, Reading, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::gpu_parts::{none_found, not_for_gpus};
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "driver.absent";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::seconds(60, "the driver may be loaded late while the node boots"),
    basis: Basis::State,
    doc: module_doc!("driver_absent.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// Whether there is no driver to ask, so far as the snapshot can tell.
pub(super) fn is_absent(context: &Context<'_>) -> bool {
    let driver = &context.snapshot.driver;
    match (&driver.kernel_version, &driver.worker) {
        (Reading::Absent(_) | Reading::Unsupported(_), _) => true,
        (Reading::Value(_), WorkerState::NotStarted { .. }) => true,
        (Reading::Value(_), WorkerState::Answered { .. } | WorkerState::Failed { .. }) => false,
        (Reading::Failed(_), _) => false,
    }
}

fn evaluate(context: &Context<'_>) -> Outcome {
    if let Some(outcome) = not_for_gpus(context) {
        return outcome;
    }
    let mut outcome = Outcome::default();
    let driver = &context.snapshot.driver;
    if !is_absent(context) {
        outcome.need("driver", "kernel module", &driver.kernel_version, true);
        return outcome;
    }
    let gpus = || {
        context
            .snapshot
            .pci
            .iter()
            .filter(|device| device.is_nvidia_gpu())
    };
    let count = gpus().count().max(context.gpus.len());
    if count == 0 {
        return Outcome::undetermined("GPUs", none_found(context));
    }
    let mut bound: Vec<&str> = gpus()
        .filter_map(|gpu: &PciDevice| gpu.driver.value().map(String::as_str))
        .filter(|name| *name != "nvidia")
        .collect();
    bound.sort_unstable();
    bound.dedup();
    let module = driver.kernel_version.value();
    let why = match (&driver.worker, module) {
        (WorkerState::NotStarted { why }, Some(_)) => format!("no driver library: {why}"),
        (_, Some(_) | None) => "the NVIDIA kernel module is not loaded".to_owned(),
    };
    let mut draft = Draft::critical(
        CODE,
        Component::of(ComponentKind::Service),
        format!("The NVIDIA driver is not there for {count} GPUs on the PCI bus ({why})"),
    )
    .evidence(Evidence::value("gpus_on_pci", count))
    .evidence(Evidence::value(
        "kernel_module",
        module.map_or("none", String::as_str),
    ));
    if !bound.is_empty() {
        draft = draft.evidence(Evidence::value("bound_driver", bound.join(", ")));
    }
    if bound.contains(&"vfio-pci") {
        draft = draft.human(
            RemedyAction::None,
            "If the GPUs belong to virtual machines, set tenancy = \"vm-passthrough\"",
        );
    }
    outcome.find(
        draft
            .human(
                RemedyAction::RunDiagnostic,
                "See in the kernel log why the driver is not loaded (module build, Secure Boot, \
                 another driver bound)",
            )
            .human(
                RemedyAction::UpdateDriver,
                "Install and load the NVIDIA driver of this node's baseline",
            ),
    );
    outcome
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "driver loaded",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "module not loaded",
        expect: Expect::Fail,
        change: |node| {
            node.snapshot.driver.kernel_version = Reading::absent("no such file");
            node.snapshot.driver.worker = WorkerState::NotStarted {
                why: "no driver".to_owned(),
            };
        },
    },
    Case {
        name: "no library",
        expect: Expect::Fail,
        change: |node| {
            node.snapshot.driver.worker = WorkerState::NotStarted {
                why: "no libnvidia-ml.so.1".to_owned(),
            };
        },
    },
    Case {
        name: "version unreadable",
        expect: Expect::Unknown,
        change: |node| node.snapshot.driver.kernel_version = Reading::failed("EACCES"),
    },
    Case {
        name: "no driver, and the bus could not be read",
        expect: Expect::Unknown,
        change: |node| {
            let platform = node.platform.take();
            crate::testing::unread_bus(node);
            node.platform = platform;
            node.snapshot.driver.kernel_version = Reading::absent("no such file");
        },
    },
    Case {
        name: "no driver, no platform, and the bus could not be read",
        expect: Expect::Unknown,
        change: |node| {
            crate::testing::unread_bus(node);
            node.snapshot.driver.kernel_version = Reading::absent("no such file");
        },
    },
    Case {
        name: "no driver, and no GPU was seen",
        expect: Expect::Unknown,
        change: |node| {
            node.snapshot.gpus.clear();
            node.snapshot.pci.clear();
            node.snapshot.driver.kernel_version = Reading::absent("no such file");
        },
    },
    Case {
        name: "passed through",
        expect: Expect::Skip,
        change: |node| {
            node.snapshot.tenancy = cupel_model::snapshot::Tenancy::VmPassthrough;
            node.snapshot.driver.kernel_version = Reading::absent("no such file");
        },
    },
    Case {
        name: "no GPU",
        expect: Expect::Skip,
        change: |node| {
            node.platform = None;
            node.snapshot.gpus.clear();
            node.snapshot.pci.clear();
            node.snapshot.driver.kernel_version = Reading::absent("no such file");
        },
    },
];
