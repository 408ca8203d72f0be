//! The driver asks for a recovery of a GPU.
//!
//! # What it checks
//! The recovery action that NVML reports for each GPU: none, or a reset, a reboot, a drain, a bus reset
//! or a recovery of the IMEX domain. Drivers before R565 do not offer it. An action that this version
//! of Cupel does not know needs a person; it is never taken for none.
//!
//! # Why it matters
//! A GPU that waits for a reset looks well otherwise, and the next job on it fails.
//!
//! # Remedy
//! 1. What the driver asks for, once the running work has ended.
//! 2. If it asks again for the same GPU, run a targeted diagnostic and open a case with the vendor.
//!
//! # Sources
//! - NVML, `NVML_FI_DEV_GET_GPU_RECOVERY_ACTION` (field 230); Xid catalogue, XID 154.
//! - DCGM #263: a GPU that needs a reset was reported healthy.

use cupel_model::{Clears, ComponentKind, Evidence, Impact, Mode, RemedyAction, Scope};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::gpu_parts::each_gpu;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "gpu.recovery-action";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("the driver has judged already"),
    basis: Basis::State,
    doc: module_doc!("gpu_recovery_action.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    each_gpu(context, |part, gpu, outcome| {
        let reading = &gpu.processes.recovery_action;
        let Some(action) = outcome.need(&part.short(), "recovery action", reading, false) else {
            return;
        };
        if action == "none" {
            return;
        }
        let (component, name) = (part.component(ComponentKind::Gpu), part.name());
        let text = format!("The driver asks for a recovery of {name}: {action}");
        let critical = || Draft::critical(CODE, component.clone(), text.clone());
        let reset = format!("Let running work end, then reset {name}");
        let draft = match action.as_str() {
            "gpu-reset" => critical()
                .clears(Clears::GpuReset)
                .opt_in(RemedyAction::ResetGpu, reset),
            "drain-and-reset" => critical()
                .clears(Clears::GpuReset)
                .opt_in(
                    RemedyAction::Drain,
                    "Let running work end and give no new work",
                )
                .opt_in(RemedyAction::ResetGpu, format!("Reset {name}")),
            "drain-p2p" => Draft::warning(CODE, component, text)
                .clears(Clears::GpuReset)
                .opt_in(
                    RemedyAction::Drain,
                    "Let work that uses peer traffic between GPUs end, and give no new such work",
                )
                .opt_in(RemedyAction::ResetGpu, format!("Reset {name}")),
            "node-reboot" | "system-reboot" => critical()
                .scope(Scope::Node)
                .clears(Clears::Reboot)
                .opt_in(RemedyAction::RebootNode, "Reboot the node"),
            "bus-reset" => critical()
                .opt_in(
                    RemedyAction::ResetBus,
                    format!("Reset the PCI bus above {name}"),
                )
                .opt_in(RemedyAction::RebootNode, "Reboot the node"),
            "recover-imex" => critical()
                .scope(Scope::NvlinkDomain)
                .opt_in(RemedyAction::RecoverImex, "Recover the IMEX domain"),
            _ => Draft::warning(CODE, component, text)
                .impact(Impact::RisksData)
                .clears(Clears::Operator)
                .human(
                    RemedyAction::RunDiagnostic,
                    "Look up this recovery action in the release notes of the driver",
                ),
        };
        outcome.find(
            draft
                .evidence(Evidence::value("recovery_action", action.as_str()).limit("none", "NVML"))
                .human(
                    RemedyAction::ContactVendor,
                    format!("If the driver asks again for {name}, open a case with the vendor"),
                ),
        );
    })
}

#[cfg(test)]
fn set(node: &mut crate::testing::Node, action: &str) {
    node.gpu(7).processes.recovery_action = action.to_owned().into();
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "none",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "reset",
        expect: Expect::Fail,
        change: |node| set(node, "gpu-reset"),
    },
    Case {
        name: "reboot",
        expect: Expect::Fail,
        change: |node| set(node, "node-reboot"),
    },
    Case {
        name: "a new one",
        expect: Expect::Fail,
        change: |node| set(node, "unknown-9"),
    },
    Case {
        name: "does not tell",
        expect: Expect::Unknown,
        change: |node| {
            node.gpu(7).processes.recovery_action = cupel_model::Reading::failed("timed out");
        },
    },
    Case {
        name: "an older driver",
        expect: Expect::Skip,
        change: |node| {
            for gpu in &mut node.snapshot.gpus {
                gpu.processes.recovery_action = cupel_model::Reading::unsupported("older driver");
            }
        },
    },
];
