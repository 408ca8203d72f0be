//! The node has fewer or other GPUs than it should.
//!
//! # What it checks
//! That as many GPUs are there as the platform has, and that the driver lists each one that is on the
//! PCI bus. A missing GPU is named by the slot that is empty and the serial last seen there. Without a
//! platform, a slot that held a GPU earlier and holds none now is a warning. A GPU that fell off the
//! bus in this boot is the finding of `gpu.off-bus` and not counted here again.
//!
//! # Why it matters
//! A job that asks for all GPUs of the node cannot start. A GPU that firmware did not find at boot is
//! most often unpowered, badly seated or dead.
//!
//! # Remedy
//! 1. Reboot the node, then power-cycle it: a GPU that did not train its link may come back.
//! 2. Take the GPU out and put it back; look at its power and riser connections.
//! 3. Replace the GPU.
//!
//! # Sources
//! - The platform file's GPU count.
//! - NVML, `nvmlDeviceGetCount_v2`; Linux, `/sys/bus/pci/devices`.

use cupel_model::snapshot::{RememberedPart, WorkerState};
use cupel_model::{Clears, Component, ComponentKind, Evidence, Mode, RemedyAction, Scope};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::gpu_parts::gpu_name;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "gpu.missing";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("the part is there or it is not"),
    basis: Basis::State,
    doc: module_doc!("gpu_missing.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    unlisted(context, &mut outcome);
    let mut absent = absentees(context);
    let present = context.gpus.len() + context.vanished.len();
    let Some(platform) = context.platform else {
        if let Some(why) = context.bus_unread().filter(|_| !absent.is_empty()) {
            outcome.unknown("GPUs", why);
            return outcome;
        }
        if absent.is_empty() && !context.has_gpus() {
            return Outcome::skipped("no platform says how many GPUs this node has");
        }
        if absent.is_empty() && context.snapshot.remembered.is_empty() {
            outcome.not_here("no platform says how many GPUs this node has");
        } else {
            outcome.judged();
        }
        for part in absent {
            outcome.find(gone(context, part, present).clears(Clears::Operator));
        }
        return outcome;
    };
    let expected = &platform.gpu.count;
    let wanted = usize::try_from(expected.value).unwrap_or(usize::MAX);
    if let Some(problem) = context.bus_unread().filter(|_| present < wanted) {
        outcome.unknown("GPUs", problem);
        return outcome;
    }
    outcome.judged();
    if present > wanted {
        outcome.find(
            Draft::warning(
                CODE,
                Component::node(),
                format!("{present} GPUs are there where this platform has {wanted}"),
            )
            .capped(expected)
            .evidence(Evidence::value("gpus", present).limit(wanted, expected.source.as_str()))
            .human(
                RemedyAction::None,
                "Compare the machine with its platform file (`cupel platform show`)",
            ),
        );
        return outcome;
    }
    let short = wanted - present;
    if present == 0 && short > 1 {
        let text = format!("None of the {wanted} GPUs of this platform is on the PCI bus");
        let draft = steps(
            Draft::critical(CODE, Component::node(), text),
            "the GPU baseboard",
        )
        .evidence(Evidence::value("gpus", 0).limit(wanted, expected.source.as_str()));
        outcome.find(draft.capped(expected));
        return outcome;
    }
    absent.truncate(short);
    let named = absent.len();
    let mut missing: Vec<Component> = absent
        .iter()
        .map(|part| context.component_of(part))
        .collect();
    missing.extend(empty_slots(context, &missing, short - named));
    let names: Vec<Option<&str>> = absent.iter().map(|part| part.name.as_deref()).collect();
    for (at, component) in missing.iter().enumerate() {
        let model = names.get(at).copied().flatten();
        let name = gpu_name(component, model);
        let text = format!("{name} is missing: {present} of {wanted} GPUs are on the PCI bus");
        let draft = steps(Draft::critical(CODE, component.clone(), text), &name)
            .evidence(Evidence::value("gpus", present).limit(wanted, expected.source.as_str()));
        outcome.find(draft.capped(expected));
    }
    let unnamed = short - missing.len();
    if unnamed > 0 {
        let text = format!(
            "{unnamed} of {wanted} GPUs {} missing; which slot is empty is not known",
            if unnamed == 1 { "is" } else { "are" }
        );
        let component = Component::of(ComponentKind::Gpu);
        let draft = steps(Draft::critical(CODE, component, text), "the missing GPU")
            .scope(Scope::Node)
            .evidence(Evidence::value("gpus", present).limit(wanted, expected.source.as_str()));
        outcome.find(draft.capped(expected));
    }
    outcome
}

/// GPUs on the bus that a driver which answers does not list.
fn unlisted(context: &Context<'_>, outcome: &mut Outcome) {
    if context.passed_through()
        || !matches!(context.snapshot.driver.worker, WorkerState::Answered { .. })
    {
        return;
    }
    for part in &context.gpus {
        if part.loss.is_some() || part.gpu.in_driver.get() != Some(false) {
            continue;
        }
        let name = part.name();
        let text = format!("{name} is on the PCI bus and the driver does not list it");
        outcome.find(
            steps(
                Draft::critical(CODE, part.component(ComponentKind::Gpu), text),
                &name,
            )
            .evidence(Evidence::value("in_driver", false).limit(true, "PCI bus")),
        );
    }
}

/// Remembered GPUs whose slot is empty now and that sit in no other.
fn absentees<'a>(context: &Context<'a>) -> Vec<&'a RememberedPart> {
    let here = |part: &RememberedPart| {
        context.gpus.iter().any(|now| {
            let gpu = now.gpu;
            let same = |known: &Option<String>, read: Option<&String>| {
                known.is_some() && known.as_ref() == read
            };
            now.remembered
                .is_some_and(|known| std::ptr::eq(known, part))
                || same(&part.slot, gpu.slot.value())
                || same(&part.serial, gpu.identity.serial.value())
                || same(&part.uuid, gpu.identity.uuid.value())
                || (part.slot.is_none() && part.pci.is_some() && part.pci == gpu.pci.get())
        }) || part
            .pci
            .is_some_and(|pci| context.vanished.contains_key(&pci.with_function(0)))
    };
    context
        .remembered(ComponentKind::Gpu)
        .filter(|part| !here(part))
        .collect()
}

/// Slots of the platform in which no GPU sits, when they are just as many as are looked for.
fn empty_slots(context: &Context<'_>, named: &[Component], wanted: usize) -> Vec<Component> {
    let taken = |name: &String| {
        context
            .gpus
            .iter()
            .any(|part| part.slot.as_ref() == Some(name))
            || named.iter().any(|part| part.slot.as_ref() == Some(name))
    };
    let slots = context
        .platform
        .map_or(&[][..], |platform| &platform.slots[..]);
    let empty: Vec<Component> = slots
        .iter()
        .filter(|slot| !taken(&slot.name))
        .map(|slot| Component {
            slot: Some(slot.name.clone()),
            ..Component::of(ComponentKind::Gpu)
        })
        .collect();
    if empty.len() == wanted {
        empty
    } else {
        Vec::new()
    }
}

/// A GPU that was there earlier, on a node of which no platform is known.
fn gone(context: &Context<'_>, part: &RememberedPart, present: usize) -> Draft {
    let component = context.component_of(part);
    let name = gpu_name(&component, part.name.as_deref());
    let text = format!(
        "{name}, last seen {}, is no longer on the PCI bus",
        part.seen_at
    );
    steps(Draft::warning(CODE, component, text), &name).evidence(
        Evidence::value("gpus", present).limit(present + 1, "parts last seen in good order"),
    )
}

fn steps(draft: Draft, name: &str) -> Draft {
    draft
        .opt_in(RemedyAction::RebootNode, "Reboot the node")
        .opt_in(
            RemedyAction::PowerCycleNode,
            "Power-cycle the node, so that its GPUs lose power",
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
        name: "all there",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "one missing",
        expect: Expect::Fail,
        change: |node| node.lose(5),
    },
    Case {
        name: "one too many",
        expect: Expect::Fail,
        change: |node| node.expected().gpu.count.value = 7,
    },
    Case {
        name: "not in the driver since boot",
        expect: Expect::Fail,
        change: |node| node.gpu(5).in_driver = false.into(),
    },
    Case {
        name: "gone, and no platform",
        expect: Expect::Fail,
        change: |node| {
            node.lose(5);
            node.platform = None;
        },
    },
    Case {
        name: "the bus could not be read",
        expect: Expect::Unknown,
        change: |node| {
            let platform = node.platform.take();
            crate::testing::unread_bus(node);
            node.platform = platform;
        },
    },
    Case {
        name: "the bus could not be read, and GPUs were there earlier",
        expect: Expect::Unknown,
        change: |node| {
            node.snapshot.remembered = crate::remember(&node.snapshot);
            crate::testing::unread_bus(node);
        },
    },
    Case {
        name: "no platform and no history",
        expect: Expect::Skip,
        change: |node| node.platform = None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Node;
    use cupel_model::Severity;
    use cupel_model::platform::{SlotName, UNVERIFIED};

    fn found(node: &Node) -> Vec<cupel_model::Finding> {
        evaluate(&Context::new(&node.snapshot, node.platform.as_ref()))
            .findings()
            .to_vec()
    }

    #[test]
    fn a_missing_gpu_is_named_by_slot_and_old_serial() {
        let mut node = Node::good();
        node.lose(5);
        let found = found(&node);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].component.slot.as_deref(), Some("SXM 6"));
        assert_eq!(found[0].component.serial.as_deref(), Some("1650123000005"));
    }

    #[test]
    fn without_a_memory_the_platforms_slot_is_named() {
        let mut node = Node::good();
        node.snapshot.gpus.remove(5);
        node.expected().slots = (1..=8)
            .map(|module| SlotName {
                name: format!("SXM {module}"),
                module_id: Some(module),
                pci_slot: None,
            })
            .collect();
        let found = found(&node);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].component.slot.as_deref(), Some("SXM 6"));
    }

    #[test]
    fn an_unverified_count_is_at_most_a_warning() {
        let mut node = Node::good();
        node.lose(5);
        node.expected().gpu.count.source = UNVERIFIED.to_owned();
        assert_eq!(found(&node)[0].severity, Severity::Warning);
        assert!(!found(&node)[0].blocks_allocation());
    }

    #[test]
    fn a_replaced_gpu_is_not_missing() {
        let mut node = Node::good();
        node.snapshot.remembered = crate::remember(&node.snapshot);
        node.gpu(5).identity.serial = "1999999999999".to_owned().into();
        assert!(found(&node).is_empty());
    }
}
