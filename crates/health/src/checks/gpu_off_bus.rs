//! A GPU has fallen off the PCI bus.
//!
//! # What it checks
//! That each GPU answers on the bus. It counts as lost when its configuration space reads as all ones,
//! when the kernel reported it off the bus (XID 79, or the driver's message without a code), or when
//! the driver had it earlier in this boot and has it no longer. What a program wrote into the kernel
//! log never counts. One lost GPU is one finding: other checks list it as unknown, "off the bus".
//!
//! # Why it matters
//! The GPU is gone for every job on the node, and collective jobs hang on it. Bus numbers shift when a
//! device vanishes, so the slot and the serial last seen there are named: they find the right part.
//!
//! # Remedy
//! 1. Reboot the node; a warm reboot often does not bring the GPU back.
//! 2. Power-cycle the node, so that the GPU loses power.
//! 3. Take the GPU out and put it back; look at its power and riser connections.
//! 4. Replace the GPU.
//!
//! # Sources
//! - Xid catalogue, XID 79: restart the machine.
//! - NVSentinel #155: the driver's messages without an XID.
//! - Linux: `current_link_speed` of a vanished device reads `Unknown`.

use cupel_model::snapshot::RememberedPart;
use cupel_model::{
    Clears, Component, ComponentKind, Evidence, LogSource, Mode, PciAddress, RemedyAction, Scope,
};

use crate::context::{Context, GpuPart, Loss, tells_off_bus};
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::gpu_parts::{gpu_less, gpu_name, none_found};
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "gpu.off-bus";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("what has left the bus does not come back by itself"),
    basis: Basis::State,
    doc: module_doc!("gpu_off_bus.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    if let Some(outcome) = gpu_less(context) {
        return outcome;
    }
    let mut outcome = Outcome::default();
    for part in &context.gpus {
        if let Some(loss) = &part.loss {
            outcome.uses(loss.events.iter().copied());
            let answers = !loss.silent && part.gpu.in_driver.get() == Some(true);
            outcome.find(lost(
                context,
                part.component(ComponentKind::Gpu),
                &part.name(),
                loss,
                answers,
            ));
        } else {
            on_bus(part, &mut outcome);
        }
    }
    for (pci, loss) in &context.vanished {
        outcome.uses(loss.events.iter().copied());
        let part = at(context, *pci);
        let component = part.map_or_else(
            || Component {
                pci: Some(*pci),
                ..Component::of(ComponentKind::Gpu)
            },
            |part| context.component_of(part),
        );
        let name = gpu_name(&component, part.and_then(|part| part.name.as_deref()));
        outcome.find(lost(context, component, &name, loss, false));
    }
    nameless(context, &mut outcome);
    if context.gpus.is_empty() && context.vanished.is_empty() {
        outcome.unknown("GPUs", none_found(context));
    }
    outcome
}

/// A GPU without a sign of loss: whether it could be seen at all.
fn on_bus(part: &GpuPart<'_>, outcome: &mut Outcome) {
    // What the driver answers for is on the bus, whether or not the bus could be read.
    if part.gpu.in_driver.get() == Some(true) {
        outcome.judged();
    } else {
        outcome.need(&part.short(), "PCI configuration", &part.gpu.on_bus, true);
    }
}

/// What was at this address when it was last in good order.
fn at<'a>(context: &Context<'a>, pci: PciAddress) -> Option<&'a RememberedPart> {
    let mut gpus = context.remembered(ComponentKind::Gpu);
    gpus.find(|part| part.pci.is_some_and(|known| known.same_device(pci)))
}

/// The driver's message may name no device: one finding for the node, unless a GPU explains it.
fn nameless(context: &Context<'_>, outcome: &mut Outcome) {
    let log = context.snapshot.kernel_log.iter().enumerate();
    let events: Vec<usize> = log
        .filter(|(_, event)| {
            event.pci.is_none() && event.source != LogSource::User && tells_off_bus(event)
        })
        .map(|(at, _)| at)
        .collect();
    let Some(first) = events.first() else { return };
    if outcome.findings().is_empty() {
        let loss = Loss {
            since: context
                .snapshot
                .kernel_log
                .get(*first)
                .and_then(|event| event.time),
            events: events.clone(),
            ..Loss::default()
        };
        let component = Component::of(ComponentKind::Gpu);
        outcome.find(lost(
            context,
            component,
            "A GPU that the kernel does not name",
            &loss,
            false,
        ));
    }
    outcome.uses(events);
}

fn lost(
    context: &Context<'_>,
    component: Component,
    name: &str,
    loss: &Loss,
    answers: bool,
) -> Draft {
    let summary = if answers {
        format!("{name} fell off the PCI bus in this boot, though it answers again")
    } else {
        format!("{name} has fallen off the PCI bus")
    };
    let mut draft = Draft::critical(CODE, component, summary)
        .scope(Scope::Node)
        .clears(Clears::Reboot)
        .since(loss.since);
    if loss.silent {
        draft =
            draft.evidence(Evidence::value("on_bus", false).limit(true, "PCI configuration space"));
    }
    if loss.dropped {
        draft =
            draft.evidence(Evidence::value("in_driver", false).limit(true, "earlier in this boot"));
    }
    let told = loss
        .events
        .first()
        .and_then(|at| context.snapshot.kernel_log.get(*at));
    if let Some(event) = told {
        draft = draft.evidence(Evidence::value("kernel_log", event.raw.as_str()));
    }
    if answers {
        draft = draft.provisional();
    }
    draft
        .opt_in(RemedyAction::RebootNode, "Reboot the node")
        .opt_in(
            RemedyAction::PowerCycleNode,
            "Power-cycle the node, so that the GPU loses power",
        )
        .human(
            RemedyAction::Reseat,
            format!("Take out and put back {name}; look at its power and riser connections"),
        )
        .human(RemedyAction::ReplacePart, format!("Replace {name}"))
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "all answer",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "configuration space is silent",
        expect: Expect::Fail,
        change: |node| node.gpu(3).on_bus = false.into(),
    },
    Case {
        name: "XID 79",
        expect: Expect::Fail,
        change: |node| node.log(crate::testing::xid(3, 79, "RESTART_BM", None)),
    },
    Case {
        name: "XID 79 written by a program",
        expect: Expect::Pass,
        change: |node| {
            let mut event = crate::testing::xid(3, 79, "RESTART_BM", None);
            event.source = LogSource::User;
            node.log(event);
        },
    },
    Case {
        name: "the driver dropped it",
        expect: Expect::Fail,
        change: |node| {
            node.snapshot.remembered = crate::remember(&node.snapshot);
            node.gpu(3).in_driver = false.into();
        },
    },
    Case {
        name: "no GPU is listed where the platform has some",
        expect: Expect::Unknown,
        change: |node| node.snapshot.gpus.clear(),
    },
    Case {
        name: "no platform, and the bus could not be read",
        expect: Expect::Unknown,
        change: crate::testing::unread_bus,
    },
    Case {
        name: "neither bus nor driver tell",
        expect: Expect::Unknown,
        change: |node| {
            node.gpu(3).on_bus = cupel_model::Reading::failed("EIO");
            node.gpu(3).in_driver = cupel_model::Reading::failed("timed out");
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Node, gpu_pci, xid};
    use crate::{Modes, evaluate};

    #[test]
    fn a_lost_gpu_is_one_finding_with_its_old_serial_and_others_call_it_unknown() {
        let mut node = Node::good();
        node.snapshot.remembered = crate::remember(&node.snapshot);
        node.log(xid(3, 79, "RESTART_BM", None));
        node.log(xid(3, 119, "RESET_GPU", None));
        let gpu = node.gpu(3);
        let (pci, slot) = (gpu.pci.clone(), gpu.slot.clone());
        *gpu = cupel_model::snapshot::Gpu {
            pci,
            slot,
            on_bus: false.into(),
            in_driver: false.into(),
            ..Default::default()
        };
        let report = evaluate(&node.snapshot, node.platform.as_ref(), &Modes::default());
        assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
        let finding = &report.findings[0];
        assert_eq!(finding.code, CODE);
        assert_eq!(finding.component.serial.as_deref(), Some("1650123000003"));
        assert_eq!(finding.component.slot.as_deref(), Some("SXM 4"));
        assert_eq!(finding.component.pci, Some(gpu_pci(3)));
        assert_eq!(finding.component.index, Some(3));
        let ecc = report
            .coverage
            .unknown
            .iter()
            .find(|not| not.check == "gpu.ecc-uncorrectable");
        assert_eq!(ecc.expect("unknown").reason, "SXM 4: off the bus");
    }

    #[test]
    fn a_gpu_that_the_driver_lost_keeps_its_socket() {
        let mut node = Node::good();
        node.snapshot.remembered = crate::remember(&node.snapshot);
        let gpu = node.gpu(3);
        *gpu = cupel_model::snapshot::Gpu {
            pci: gpu.pci.clone(),
            slot: "port 0000:5c:01.0".to_owned().into(),
            on_bus: true.into(),
            in_driver: false.into(),
            ..Default::default()
        };
        let report = evaluate(&node.snapshot, node.platform.as_ref(), &Modes::default());
        assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
        assert_eq!(report.findings[0].code, CODE);
        assert_eq!(report.findings[0].component.slot.as_deref(), Some("SXM 4"));
        assert_eq!(
            report.findings[0].component.serial.as_deref(),
            Some("1650123000003")
        );
    }

    #[test]
    fn a_gpu_that_left_the_bus_list_is_named_by_what_is_remembered() {
        let mut node = Node::good();
        node.lose(3);
        node.log(xid(3, 79, "RESTART_BM", None));
        let report = evaluate(&node.snapshot, node.platform.as_ref(), &Modes::default());
        assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
        assert_eq!(report.findings[0].code, CODE);
        assert_eq!(
            report.findings[0].component.serial.as_deref(),
            Some("1650123000003")
        );
        assert!(report.events.is_empty());
    }
}
