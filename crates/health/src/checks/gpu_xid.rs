//! The driver reported an error of a GPU (XID) that someone must act on.
//!
//! # What it checks
//! The XIDs of this boot, by NVIDIA's catalogue and these rules. All conditions of one GPU make one
//! finding, of which the worst decides; a GPU that is off the bus has its own finding.
//! - 48 alone: reset the GPU; with 63 or 64 beside it: drain and reset.
//! - 64, a failed row remapping: reset, then replace. 63, a recorded one: nothing now.
//! - 94, contained: restart the application. 95, uncontained: reset.
//! - 119 and 120, GSP: reset, and look at the software. 154: what its text says; the latest counts.
//! - 45 alone is what an interrupted job leaves; after another XID it is its consequence. 121 was
//!   corrected.
//! - Errors of applications (13, 31, 43 and every other whose published action is to restart the
//!   application) are events, until three processes ran into them on one GPU and not on half of all.
//! - 144 to 150 by their decoded sub-code. A code without a published action is a warning.
//! - With two samples (`--interval`), XIDs that NVML reported in between stand for those that the
//!   kernel log does not have, as where it cannot be read; one that is in both counts once.
//! - A record that a program wrote into the kernel log is reported and changes no verdict.
//!
//! # Why it matters
//! XIDs tell of uncorrectable memory, dead firmware and broken links before, and after, a job fails;
//! most of them are a job's own fault, and a fleet that drains nodes for those loses them for nothing.
//!
//! # Remedy
//! 1. What the rule of the code says: restart the application, reset the GPU, reboot the node.
//! 2. Run a targeted diagnostic on the GPU.
//! 3. If the code returns, open a case with the vendor. `cupel explain N` tells more of XID N.
//!
//! # Sources
//! - NVIDIA, Xid catalogue, edition of 2025-09-30.
//! - NVSentinel #1710 and #1629: false alarms by XID 45; #1120: one cause, 800,000 lines.

use std::collections::{BTreeMap, BTreeSet};

use cupel_model::{
    Clears, Component, ComponentKind, Event, EventKind, Evidence, Impact, LogSource, Mode,
    PciAddress, RemedyAction, Scope, Severity, Urgency,
};

use super::gpu_xid_nvml::not_in_log;
use super::gpu_xid_rules::{Class, Rule, class};
use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::gpu_parts::{gpu_less, gpu_name};
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "gpu.xid";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("the driver has reported it"),
    basis: Basis::Log,
    doc: module_doc!("gpu_xid.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// So many processes with an application's error on one GPU make it the GPU's. No published number.
const PROCESSES: usize = 3;

/// Place in the kernel log; of what NVML reported there is none.
type Place = Option<usize>;

/// The XIDs of one GPU.
#[derive(Default)]
struct Told<'a> {
    conditions: Vec<(Place, &'a Event, Rule)>,
    applications: Vec<(Place, &'a Event)>,
    codes: BTreeSet<u32>,
    /// Written by programs.
    claimed: Vec<(Place, &'a Event)>,
}

impl Told<'_> {
    fn processes(&self) -> usize {
        let pids: BTreeSet<u32> = self
            .applications
            .iter()
            .filter_map(|(_, e)| e.pid)
            .collect();
        pids.len()
    }
}

fn evaluate(context: &Context<'_>) -> Outcome {
    if let Some(outcome) = gpu_less(context) {
        return outcome;
    }
    let mut outcome = Outcome::default();
    outcome.need(
        "kernel log",
        "records",
        &context.snapshot.kernel_log_records,
        true,
    );
    let by_nvml = not_in_log(context.snapshot);
    let told = told(context, &by_nvml);
    let suspects = told
        .values()
        .filter(|told| told.processes() >= PROCESSES)
        .count();
    // The same error on half of the GPUs is the application's.
    let everywhere = suspects > 1 && suspects * 2 >= context.gpus.len();
    for (pci, told) in &told {
        let (component, name, lost) = whose(context, *pci);
        if lost {
            continue;
        }
        if let Some(draft) = condition(told, component.clone(), &name) {
            outcome.uses(told.conditions.iter().filter_map(|(at, _, _)| *at));
            outcome.find(draft);
        } else if told.processes() >= PROCESSES && !everywhere {
            outcome.uses(told.applications.iter().filter_map(|(at, _)| *at));
            outcome.find(repeated(told, component.clone(), &name));
        }
        if let Some((_, event)) = told.claimed.first() {
            outcome.uses(told.claimed.iter().filter_map(|(at, _)| *at));
            outcome.find(
                Draft::info(
                    CODE,
                    component,
                    format!(
                        "A program, not the kernel, wrote XID {} about {name} into the kernel log",
                        event.xid.unwrap_or_default()
                    ),
                )
                .observed()
                .since(event.first.or(event.time))
                .evidence(Evidence::value("kernel_log", event.raw.as_str())),
            );
        }
    }
    outcome
}

/// The XIDs by GPU: those of the kernel log, and those of NVML.
fn told<'a>(context: &Context<'a>, by_nvml: &'a [Event]) -> BTreeMap<Option<PciAddress>, Told<'a>> {
    let mut all: BTreeMap<Option<PciAddress>, Told<'a>> = BTreeMap::new();
    let mut recovery: BTreeMap<Option<PciAddress>, (Place, &'a Event)> = BTreeMap::new();
    let logged = context.snapshot.kernel_log.iter().enumerate();
    let logged = logged.map(|(at, event)| (Some(at), event));
    for (at, event) in logged.chain(by_nvml.iter().map(|event| (None, event))) {
        let (EventKind::Xid, Some(code)) = (event.kind, event.xid) else {
            continue;
        };
        let gpu = event.pci.map(|pci| pci.with_function(0));
        let told = all.entry(gpu).or_default();
        let class = class(event);
        if event.source == LogSource::User {
            if code == 79 || matches!(class, Class::Condition(_)) {
                told.claimed.push((at, event));
            }
            continue;
        }
        told.codes.insert(code);
        if code == 154 {
            let last = |event: &Event| event.last.or(event.time);
            let kept = recovery.entry(gpu).or_insert((at, event));
            if last(event) >= last(kept.1) {
                *kept = (at, event);
            }
            continue;
        }
        match class {
            Class::Event => {}
            Class::Application => told.applications.push((at, event)),
            Class::Condition(rule) => told.conditions.push((at, event, rule)),
        }
    }
    for (gpu, (at, event)) in recovery {
        if let Class::Condition(rule) = class(event) {
            all.entry(gpu)
                .or_default()
                .conditions
                .push((at, event, rule));
        }
    }
    all
}

/// Component and name of the GPU at this address, and whether it is off the bus.
fn whose(context: &Context<'_>, pci: Option<PciAddress>) -> (Component, String, bool) {
    let Some(pci) = pci else {
        let component = Component::of(ComponentKind::Gpu);
        return (
            component,
            "a GPU that the kernel does not name".to_owned(),
            false,
        );
    };
    let mut gpus = context.gpus.iter();
    if let Some(part) = gpus.find(|part| part.gpu.pci.get().is_some_and(|own| own.same_device(pci)))
    {
        return (
            part.component(ComponentKind::Gpu),
            part.name(),
            part.loss.is_some(),
        );
    }
    let lost = context.vanished.contains_key(&pci);
    let mut remembered = context.remembered(ComponentKind::Gpu);
    match remembered.find(|part| part.pci.is_some_and(|known| known.same_device(pci))) {
        Some(part) => {
            let component = context.component_of(part);
            let name = gpu_name(&component, part.name.as_deref());
            (component, name, lost)
        }
        None => {
            let component = Component {
                pci: Some(pci),
                ..Component::of(ComponentKind::Gpu)
            };
            let name = gpu_name(&component, None);
            (component, name, lost)
        }
    }
}

/// One finding for all conditions of a GPU: the worst decides, the earliest among equals.
fn condition(told: &Told<'_>, component: Component, name: &str) -> Option<Draft> {
    // 154 only repeats what another XID already means, unless it stands alone.
    let worst = told
        .conditions
        .iter()
        .rev()
        .max_by_key(|(_, event, rule)| (rule.severity, event.xid != Some(154)))?;
    let (at, event, rule) = worst;
    let code = event.xid.unwrap_or_default();
    let mnemonic = event
        .mnemonic
        .as_deref()
        .map_or_else(String::new, |word| format!(" ({word})"));
    let summary = format!("{name} reported {} in XID {code}{mnemonic}", rule.meaning);
    let with_remap = code == 48 && (told.codes.contains(&63) || told.codes.contains(&64));
    let action = if with_remap {
        RemedyAction::Drain
    } else {
        rule.action
    };
    let draft = match rule.severity {
        Severity::Critical => Draft::critical(CODE, component, summary),
        Severity::Warning | Severity::Info => Draft::warning(CODE, component, summary),
    };
    let mut draft = draft
        .since(event.first.or(event.time))
        .clears(Clears::GpuReset);
    if code == 94 {
        draft = draft.scope(Scope::Job).impact(Impact::RisksData);
    }
    for (_, event, _) in &told.conditions {
        let code = event.xid.unwrap_or_default();
        draft = draft.evidence(Evidence::value(&format!("xid_{code}_count"), event.repeats));
    }
    let source = at.map_or("nvml_event", |_| "kernel_log");
    draft = draft.evidence(Evidence::value(source, event.raw.as_str()));
    Some(steps(draft, action, code, name))
}

fn steps(draft: Draft, action: RemedyAction, code: u32, name: &str) -> Draft {
    let reset = format!("Let running work end, then reset {name}");
    let draft = match action {
        RemedyAction::RestartApp => draft
            .human(action, "Start the application that was hit again")
            .opt_in(
                RemedyAction::ResetGpu,
                format!("At the next convenient time reset {name}"),
            ),
        RemedyAction::Drain => draft
            .opt_in(action, "Let running work end and give no new work")
            .opt_in(RemedyAction::ResetGpu, format!("Reset {name}")),
        RemedyAction::RebootNode => draft
            .clears(Clears::Reboot)
            .opt_in(action, "Reboot the node"),
        RemedyAction::Reseat => draft.clears(Clears::Operator).human(
            action,
            format!("Check seating and power connections of {name}"),
        ),
        RemedyAction::UpdateDriver => draft
            .clears(Clears::Reboot)
            .human(action, "Bring driver and firmware to this node's baseline"),
        RemedyAction::ResetBus => draft
            .opt_in(action, format!("Reset the PCI bus above {name}"))
            .opt_in(RemedyAction::RebootNode, "Reboot the node"),
        RemedyAction::RecoverImex => draft
            .scope(Scope::NvlinkDomain)
            .opt_in(action, "Recover the IMEX domain"),
        RemedyAction::ContactVendor => draft.clears(Clears::Operator),
        RemedyAction::ResetGpu
        | RemedyAction::None
        | RemedyAction::CheckApp
        | RemedyAction::ResetFabric
        | RemedyAction::RestartService
        | RemedyAction::PowerCycleNode
        | RemedyAction::AcCycleNode
        | RemedyAction::CheckCable
        | RemedyAction::CleanOptic
        | RemedyAction::UpdateFirmware
        | RemedyAction::RunDiagnostic
        | RemedyAction::ReplacePart => draft.opt_in(RemedyAction::ResetGpu, reset),
    };
    let draft = draft.human(
        RemedyAction::RunDiagnostic,
        format!("Run a targeted diagnostic on {name}"),
    );
    if code == 64 {
        return draft.human(RemedyAction::ReplacePart, format!("Replace {name}"));
    }
    draft.human(
        RemedyAction::ContactVendor,
        format!("If XID {code} returns, open a case with the vendor (`cupel explain {code}`)"),
    )
}

/// Errors of applications that no single application explains.
fn repeated(told: &Told<'_>, component: Component, name: &str) -> Draft {
    let codes: BTreeSet<u32> = told
        .applications
        .iter()
        .filter_map(|(_, e)| e.xid)
        .collect();
    let codes: Vec<String> = codes.iter().map(u32::to_string).collect();
    let count = told.processes();
    Draft::warning(
        CODE,
        component,
        format!(
            "{count} processes ran into errors of applications (XID {}) on {name} alone",
            codes.join(", ")
        ),
    )
    .impact(Impact::RisksData)
    .urgency(Urgency::AfterJob)
    .clears(Clears::Operator)
    .since(
        told.applications
            .iter()
            .filter_map(|(_, e)| e.first.or(e.time))
            .min(),
    )
    .evidence(Evidence::value("processes", count).limit(PROCESSES, "unverified"))
    .human(
        RemedyAction::CheckApp,
        "Compare the jobs: one application that fails everywhere is its own fault",
    )
    .human(
        RemedyAction::RunDiagnostic,
        format!("Run a targeted diagnostic on {name}"),
    )
    .human(
        RemedyAction::ContactVendor,
        "If it fails, open a case with the vendor",
    )
}

#[cfg(test)]
use crate::testing::{reported, xid};

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "a quiet log",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "no platform, and the bus could not be read",
        expect: Expect::Unknown,
        change: crate::testing::unread_bus,
    },
    Case {
        name: "one application failed",
        expect: Expect::Pass,
        change: |node| node.log(xid(2, 31, "RESTART_APP", Some(100))),
    },
    Case {
        name: "three applications failed on one GPU",
        expect: Expect::Fail,
        change: |node| {
            for pid in 100..103 {
                node.log(xid(2, 31, "RESTART_APP", Some(pid)));
            }
        },
    },
    Case {
        name: "the same application failed on all GPUs",
        expect: Expect::Pass,
        change: |node| {
            for gpu in 0..8 {
                for pid in 100..103 {
                    node.log(xid(gpu, 31, "RESTART_APP", Some(pid)));
                }
            }
        },
    },
    Case {
        name: "interrupted jobs",
        expect: Expect::Pass,
        change: |node| {
            for pid in 100..120 {
                node.log(xid(2, 45, "WORKFLOW_XID_45", Some(pid)));
            }
        },
    },
    Case {
        name: "corrected, and recorded",
        expect: Expect::Pass,
        change: |node| {
            node.log(xid(2, 121, "IGNORE", None));
            node.log(xid(2, 63, "IGNORE", None));
        },
    },
    Case {
        name: "uncontained memory error",
        expect: Expect::Fail,
        change: |node| node.log(xid(2, 95, "RESET_GPU", Some(100))),
    },
    Case {
        name: "the log could not be read",
        expect: Expect::Unknown,
        change: |node| node.snapshot.kernel_log_records = cupel_model::Reading::failed("EPERM"),
    },
    Case {
        name: "NVML reported what the log does not have",
        expect: Expect::Fail,
        change: |node| reported(node, &[(2, 95)]),
    },
    Case {
        name: "NVML reported an application's error",
        expect: Expect::Pass,
        change: |node| reported(node, &[(2, 31)]),
    },
    Case {
        name: "no GPU",
        expect: Expect::Skip,
        change: |node| {
            node.platform = None;
            node.snapshot.gpus.clear();
            node.snapshot.pci.clear();
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Node;
    use cupel_model::Finding;

    fn found(events: impl IntoIterator<Item = Event>) -> Vec<Finding> {
        let mut node = Node::good();
        events.into_iter().for_each(|event| node.log(event));
        evaluate(&Context::new(&node.snapshot, node.platform.as_ref()))
            .findings()
            .to_vec()
    }

    fn first_step(findings: &[Finding]) -> RemedyAction {
        findings[0].remedy[0].action
    }

    #[test]
    fn one_gpu_has_one_finding_and_the_worst_decides() {
        let found = found([
            xid(2, 94, "RESTART_APP", None),
            xid(2, 48, "WORKFLOW_XID_48", None),
            xid(2, 45, "WORKFLOW_XID_45", None),
            xid(5, 94, "RESTART_APP", None),
        ]);
        assert_eq!(found.len(), 2);
        assert!(found[0].summary.contains("XID 48"), "{}", found[0].summary);
        assert_eq!(found[0].severity, Severity::Critical);
        assert_eq!(found[0].component.serial.as_deref(), Some("1650123000002"));
        assert_eq!(found[1].severity, Severity::Warning);
        assert_eq!(first_step(&found[1..]), RemedyAction::RestartApp);
    }

    #[test]
    fn with_a_remapping_48_drains_first() {
        assert_eq!(
            first_step(&found([xid(2, 48, "WORKFLOW_XID_48", None)])),
            RemedyAction::ResetGpu
        );
        let both = [
            xid(2, 48, "WORKFLOW_XID_48", None),
            xid(2, 63, "IGNORE", None),
        ];
        assert_eq!(first_step(&found(both)), RemedyAction::Drain);
    }

    #[test]
    fn the_latest_154_counts() {
        let at = |second: i64, text: &str| {
            let mut event = xid(2, 154, "XID_154", None);
            event.raw = format!("154, GPU recovery action changed from 0x0 to {text}");
            event.last =
                Some(cupel_model::Timestamp::from_microseconds(second * 1_000_000).expect("time"));
            event
        };
        assert_eq!(found([at(10, "0x1 (GPU Reset Required)")]).len(), 1);
        let cleared = [at(10, "0x1 (GPU Reset Required)"), at(20, "0x0 (None)")];
        assert_eq!(found(cleared), Vec::new());
    }

    #[test]
    fn where_the_log_cannot_be_read_nvml_tells() {
        let mut node = Node::good();
        node.snapshot.kernel_log_records = cupel_model::Reading::failed("EPERM");
        reported(&mut node, &[(2, 95), (5, 48), (6, 154)]);
        let context = Context::new(&node.snapshot, node.platform.as_ref());
        let outcome = evaluate(&context);
        assert!(matches!(
            outcome.standing(),
            crate::outcome::Standing::Unknown(_)
        ));
        let found: Vec<_> = outcome
            .findings()
            .iter()
            .map(|found| (found.component.index, found.severity))
            .collect();
        let (critical, warning) = (Severity::Critical, Severity::Warning);
        assert_eq!(
            found,
            [(Some(2), critical), (Some(5), critical), (Some(6), warning)]
        );
        let sources = |found: &Finding| found.evidence.iter().any(|one| one.name == "nvml_event");
        assert!(outcome.findings().iter().all(sources));
        assert!(outcome.into_parts().1.is_empty());
    }

    #[test]
    fn what_is_in_the_log_and_in_nvml_counts_once() {
        let mut node = Node::good();
        node.log(xid(2, 95, "RESET_GPU", Some(100)));
        let alone = evaluate(&Context::new(&node.snapshot, None)).into_parts();
        reported(&mut node, &[(2, 95)]);
        let both = evaluate(&Context::new(&node.snapshot, None)).into_parts();
        assert_eq!(both, alone);
        // What a program wrote takes no XID of the driver away.
        node.snapshot.kernel_log[0].source = LogSource::User;
        let forged = evaluate(&Context::new(&node.snapshot, None));
        assert_eq!(forged.findings()[0].severity, Severity::Critical);
    }

    #[test]
    fn what_a_program_wrote_changes_no_verdict() {
        let mut event = xid(2, 95, "RESET_GPU", None);
        event.source = LogSource::User;
        let found = found([event]);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].mode, found[0].severity),
            (Mode::Observe, Severity::Info)
        );
    }
}
