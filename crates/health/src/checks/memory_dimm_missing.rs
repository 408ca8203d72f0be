//! A memory module is missing.
//!
//! # What it checks
//! That as many memory sockets hold a module as the platform has. The empty socket is named: by what was
//! in it when it was last seen, or by SMBIOS where just as many sockets are empty as modules are missing.
//! Without a platform, a socket that held a module earlier and is empty now is a warning.
//!
//! # Why it matters
//! The node has less memory, and less memory bandwidth for the processor that owns the channel. Firmware
//! takes out a module that fails its training without telling the operating system.
//!
//! # Remedy
//! 1. See in the management controller's event log whether the module failed its training.
//! 2. Take the module out and put it back; exchange it with a good one to see what the fault follows.
//! 3. Replace the module, or the board if the socket is at fault.
//!
//! # Sources
//! - SMBIOS type 17: device locator and size.
//! - The platform file's number of modules.

use cupel_model::snapshot::RememberedPart;
use cupel_model::{Clears, Component, ComponentKind, Evidence, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "memory.dimm-missing";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("firmware lists modules once a boot"),
    basis: Basis::State,
    doc: module_doc!("memory_dimm_missing.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    let memory = &context.snapshot.memory;
    let expected = context
        .platform
        .and_then(|platform| platform.memory.as_ref());
    let mut outcome = Outcome::default();
    if memory.dimms.is_empty() && (expected.is_some() || memory.dimms_source.is_failed()) {
        let why = memory.dimms_source.why().unwrap_or("none was found");
        outcome.unknown("memory modules", why);
        return outcome;
    }
    let unread = memory
        .dimms
        .iter()
        .filter(|dimm| dimm.size_bytes.is_failed())
        .count();
    for dimm in memory
        .dimms
        .iter()
        .filter(|dimm| dimm.size_bytes.is_failed())
    {
        outcome.need(&dimm.name, "size", &dimm.size_bytes, true);
    }
    let here = memory
        .dimms
        .iter()
        .filter(|dimm| dimm.size_bytes.value().is_some());
    let there = here.clone().count();
    let gone: Vec<&RememberedPart> = context
        .remembered(ComponentKind::Dimm)
        .filter(|part| {
            !here.clone().any(|dimm| {
                part.slot.as_ref() == Some(&dimm.name)
                    || (part.serial.is_some() && part.serial.as_ref() == dimm.serial.value())
            })
        })
        .collect();
    let Some(expected) = expected.map(|expected| &expected.dimms) else {
        if context.remembered(ComponentKind::Dimm).next().is_none() {
            outcome.not_here("no platform says how many memory modules this node has");
        } else {
            outcome.judged();
        }
        for part in gone {
            let component = context.component_of(part);
            let text = format!(
                "{} held a module when last seen and is empty",
                socket(&component)
            );
            outcome.find(
                steps(Draft::warning(CODE, component, text))
                    .clears(Clears::Operator)
                    .evidence(
                        Evidence::value("modules", there)
                            .limit(there + 1, "parts last seen in good order"),
                    ),
            );
        }
        return outcome;
    };
    let wanted = usize::try_from(expected.value).unwrap_or(usize::MAX);
    // What could not be read may well be there.
    if there + unread >= wanted {
        outcome.judged();
        return outcome;
    }
    let short = wanted - there - unread;
    let mut missing: Vec<Component> = gone.iter().map(|part| context.component_of(part)).collect();
    missing.truncate(short);
    if missing.is_empty() {
        let empty: Vec<Component> = memory
            .dimms
            .iter()
            .filter(|dimm| dimm.size_bytes.value().is_none() && !dimm.size_bytes.is_failed())
            .map(|dimm| Component {
                slot: Some(dimm.name.clone()),
                ..Component::of(ComponentKind::Dimm)
            })
            .collect();
        if empty.len() == short {
            missing = empty;
        }
    }
    let unnamed = short - missing.len();
    let draft = |component, text| {
        steps(Draft::critical(CODE, component, text))
            .capped(expected)
            .evidence(Evidence::value("modules", there).limit(wanted, expected.source.as_str()))
    };
    for component in missing {
        let text = format!(
            "{} is empty: {there} of {wanted} memory modules are there",
            socket(&component)
        );
        outcome.find(draft(component, text));
    }
    if unnamed > 0 {
        let text = format!(
            "{unnamed} of {wanted} memory modules {} missing; which socket is empty is not known",
            if unnamed == 1 { "is" } else { "are" }
        );
        outcome.find(draft(Component::of(ComponentKind::Dimm), text));
    }
    outcome
}

fn socket(component: &Component) -> String {
    let slot = component.slot.as_deref().unwrap_or("?");
    match &component.serial {
        Some(serial) => format!("Memory socket {slot} (last held serial {serial})"),
        None => format!("Memory socket {slot}"),
    }
}

fn steps(draft: Draft) -> Draft {
    draft
        .human(
            RemedyAction::RunDiagnostic,
            "See in the management controller's event log whether a module failed its training",
        )
        .human(
            RemedyAction::Reseat,
            "Take the module out and put it back, or exchange it with a good one",
        )
        .human(
            RemedyAction::ReplacePart,
            "Replace the module, or the board if the socket fails",
        )
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "all there",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "an empty socket",
        expect: Expect::Fail,
        change: |node| {
            node.snapshot.memory.dimms[4].size_bytes = cupel_model::Reading::absent("empty");
        },
    },
    Case {
        name: "one less, and no platform",
        expect: Expect::Fail,
        change: |node| {
            node.snapshot.remembered = crate::remember(&node.snapshot);
            node.snapshot.memory.dimms.remove(4);
            node.platform = None;
        },
    },
    Case {
        name: "one unreadable",
        expect: Expect::Unknown,
        change: |node| {
            node.snapshot.memory.dimms[4].size_bytes = cupel_model::Reading::failed("bad record");
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

    #[test]
    fn the_empty_socket_is_named_with_the_serial_it_held() {
        let mut node = Node::good();
        node.snapshot.remembered = crate::remember(&node.snapshot);
        let dimm = &mut node.snapshot.memory.dimms[4];
        dimm.size_bytes = cupel_model::Reading::absent("empty");
        dimm.serial = cupel_model::Reading::absent("empty");
        let outcome = evaluate(&Context::new(&node.snapshot, node.platform.as_ref()));
        assert_eq!(outcome.findings().len(), 1);
        let component = &outcome.findings()[0].component;
        assert_eq!(component.slot.as_deref(), Some("A05"));
        assert_eq!(component.serial.as_deref(), Some("D00004"));
    }
}
