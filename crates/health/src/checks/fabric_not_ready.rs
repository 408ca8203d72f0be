//! A GPU is not registered with its NVLink fabric.
//!
//! # What it checks
//! On platforms with NVSwitches, that each GPU's fabric registration is `completed` **and** its
//! status `success` **and** its health mask names no trouble; and, since the registration is
//! latched, that the fabric manager's service has not failed or stopped where it runs on the host:
//! unknown where systemd is there and does not tell.
//! Without a platform it applies where a GPU's NVLinks lead to a switch.
//!
//! # Why it matters
//! CUDA does not start on an unregistered GPU (error 802), and a job over eight GPUs fails for one.
//! A state of `completed` alone has been seen beside a status of "insufficient resources", and
//! beside a fabric manager that had been dead for weeks.
//!
//! # Remedy
//! 1. See the fabric manager's log for the first error; its version must equal the driver's.
//! 2. Restart the fabric manager once no work runs on the node.
//! 3. Reset the fabric, or reboot the node.
//! 4. Run a diagnostic of the NVLinks and open a case with the vendor.
//!
//! # Sources
//! - NVML, `nvmlDeviceGetGpuFabricInfo(V)`; NVIDIA fabric manager user guide.
//! - NVSentinel #883 and azhpc-images #506: latched and misleading states.

use cupel_model::snapshot::{Gpu, GpuFabric, NvlinkRemote};
use cupel_model::{Component, ComponentKind, Evidence, Mode, RemedyAction};

use crate::context::{Context, GpuPart};
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::gpu_parts::each_gpu;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};
#[cfg(test)]
use cupel_model::Reading;

const CODE: &str = "fabric.not-ready";
const MANAGER: &str = "nvidia-fabricmanager.service";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::seconds(
        60,
        "GPUs register with the fabric manager one after the other while the node boots",
    ),
    basis: Basis::State,
    doc: module_doc!("fabric_not_ready.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// Whether this GPU should be registered: the platform says so, or else its links lead to a switch.
fn applies(context: &Context<'_>, gpu: &Gpu) -> bool {
    let expected = context
        .platform
        .and_then(|platform| platform.gpu.fabric.as_ref());
    expected.map_or_else(
        || {
            gpu.nvlink.value().is_some_and(|nvlink| {
                let mut links = nvlink.links.iter();
                links.any(|link| link.remote.get() == Some(NvlinkRemote::Switch))
            })
        },
        |expected| expected.value,
    )
}

/// What keeps a GPU from being ready; `None` when it is.
fn trouble(fabric: &GpuFabric, part: &str, outcome: &mut Outcome) -> Option<String> {
    let state = outcome.need(part, "fabric state", &fabric.state, true)?;
    if state != "completed" {
        return Some(format!("registration is {state}"));
    }
    let status = outcome.need(part, "fabric status", &fabric.status, true)?;
    if status != "success" {
        return Some(format!("registration ended with {status}"));
    }
    let health = outcome.need(part, "fabric health", &fabric.health_problems, false)?;
    (!health.is_empty()).then(|| format!("its health mask says {}", health.join(", ")))
}

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut troubled: Vec<(Component, String, String)> = Vec::new();
    let mut asked = 0_usize;
    let mut outcome = each_gpu(context, |part: &GpuPart<'_>, gpu, outcome| {
        if !applies(context, gpu) {
            outcome.not_here("the GPUs have no NVLink fabric");
            return;
        }
        asked += 1;
        if let Some(fabric) = outcome.need(&part.short(), "fabric", &gpu.fabric, true)
            && let Some(why) = trouble(fabric, &part.short(), outcome)
        {
            troubled.push((part.component(ComponentKind::Gpu), part.name(), why));
        }
    });
    if asked == 0 {
        return outcome;
    }
    if troubled.len() > 1 && troubled.len() == asked {
        let (_, _, why) = &troubled[0];
        let text = format!("None of the {asked} GPUs is registered with the NVLink fabric ({why})");
        outcome.find(draft(Component::node(), text, why));
    } else {
        for (component, name, why) in troubled {
            let text = format!("{name} is not ready on the NVLink fabric: {why}");
            outcome.find(draft(component, text, &why));
        }
    }
    if outcome.findings().is_empty() {
        manager(context, &mut outcome);
    }
    outcome
}

fn draft(component: Component, summary: String, why: &str) -> Draft {
    steps(
        Draft::critical(CODE, component, summary)
            .evidence(Evidence::value("fabric", why).limit("completed, success", "NVML")),
    )
}

fn steps(draft: Draft) -> Draft {
    draft
        .human(
            RemedyAction::RunDiagnostic,
            "Read the fabric manager's log for its first error; its version must equal the driver's",
        )
        .opt_in(
            RemedyAction::RestartService,
            format!("Restart {MANAGER} once no work runs on the node"),
        )
        .opt_in(RemedyAction::ResetFabric, "Reset the NVLink fabric with all GPUs idle")
        .opt_in(RemedyAction::RebootNode, "Reboot the node")
        .human(RemedyAction::ContactVendor, "Open a case with the vendor, with both logs")
}

/// The registration is latched: a manager that died since leaves it `completed`.
fn manager(context: &Context<'_>, outcome: &mut Outcome) {
    let mut services = context.snapshot.services.iter();
    let service = services.find(|service| service.name == MANAGER);
    let in_container = context
        .snapshot
        .driver
        .library_path
        .value()
        .is_some_and(|path| path.contains("/run/nvidia/driver"));
    match service {
        // Without systemd, as in a container, there is no unit to have died.
        Some(service) if !in_container => {
            outcome.need(MANAGER, "state", &service.active_state, false);
        }
        None => {
            if let Some(why) = context.problem("services").filter(|_| !in_container) {
                outcome.unknown(MANAGER, why);
            }
        }
        Some(_) => {}
    }
    let state = service.and_then(|service| service.active_state.value());
    let Some(state) = state.filter(|state| *state == "failed" || *state == "inactive") else {
        return;
    };
    // A driver in a container has its fabric manager there, and the host's unit rests.
    if state == "inactive" && in_container {
        return;
    }
    outcome.find(steps(
        Draft::critical(
            CODE,
            Component::of(ComponentKind::Service),
            format!(
                "{MANAGER} is {state}, though the GPUs still say that they are registered: new \
                 work may not start"
            ),
        )
        .evidence(Evidence::value("active_state", state.as_str()).limit("active", "systemd")),
    ));
}

#[cfg(test)]
fn fabric(node: &mut crate::testing::Node, index: usize) -> &mut GpuFabric {
    match &mut node.gpu(index).fabric {
        Reading::Value(fabric) => fabric,
        Reading::Absent(why) | Reading::Unsupported(why) | Reading::Failed(why) => panic!("{why}"),
    }
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "registered",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "in progress",
        expect: Expect::Fail,
        change: |node| fabric(node, 2).state = "in-progress".to_owned().into(),
    },
    Case {
        name: "completed without success",
        expect: Expect::Fail,
        change: |node| fabric(node, 2).status = "insufficient-resources".to_owned().into(),
    },
    Case {
        name: "degraded bandwidth",
        expect: Expect::Fail,
        change: |node| {
            fabric(node, 2).health_problems = vec!["degraded-bandwidth".to_owned()].into();
        },
    },
    Case {
        name: "manager dead, registration latched",
        expect: Expect::Fail,
        change: |node| {
            node.snapshot.services.iter_mut().for_each(|service| {
                service.active_state = "failed".to_owned().into();
            });
        },
    },
    Case {
        name: "systemd does not tell of the manager",
        expect: Expect::Unknown,
        change: |node| node.snapshot.services[0].active_state = Reading::failed("timed out"),
    },
    Case {
        name: "no service could be read",
        expect: Expect::Unknown,
        change: |node| {
            node.snapshot.services.clear();
            crate::testing::trouble(node, "services", "timed out");
        },
    },
    Case {
        name: "no systemd, as in a container",
        expect: Expect::Pass,
        change: |node| node.snapshot.services[0].active_state = Reading::unsupported("no systemd"),
    },
    Case {
        name: "no such unit",
        expect: Expect::Pass,
        change: |node| node.snapshot.services[0].active_state = Reading::absent("no such unit"),
    },
    Case {
        name: "does not tell",
        expect: Expect::Unknown,
        change: |node| node.gpu(2).fabric = Reading::failed("timed out"),
    },
    Case {
        name: "not offered where the platform has a fabric",
        expect: Expect::Unknown,
        change: |node| node.gpu(2).fabric = Reading::unsupported("function not found"),
    },
    Case {
        name: "PCIe GPUs",
        expect: Expect::Skip,
        change: |node| {
            node.expected().gpu.fabric.as_mut().expect("given").value = false;
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Node;

    #[test]
    fn one_cause_for_all_gpus_is_one_finding() {
        let mut node = Node::good();
        for index in 0..8 {
            fabric(&mut node, index).state = "not-started".to_owned().into();
        }
        let outcome = evaluate(&Context::new(&node.snapshot, node.platform.as_ref()));
        assert_eq!(outcome.findings().len(), 1);
        assert_eq!(outcome.findings()[0].component.kind, ComponentKind::Node);
    }
}
