//! The node has fewer NVSwitches than it should.
//!
//! # What it checks
//! That as many NVSwitches are on the PCI bus as the platform has there. A missing one is named by the
//! place where it was last seen. Platforms whose NVSwitches are no PCI devices of the host, such as HGX
//! B200, are skipped.
//!
//! # Why it matters
//! Every GPU of the node reaches the others through every NVSwitch: without one the fabric manager
//! leaves the fabric down or at reduced bandwidth, and jobs over several GPUs fail or are slow.
//!
//! # Remedy
//! 1. See in the kernel log whether the switch was found and its driver loaded.
//! 2. Power-cycle the node, so that the GPU baseboard loses power.
//! 3. Have the GPU baseboard seen to or replaced: NVSwitches are soldered to it.
//!
//! # Sources
//! - The platform file's number of NVSwitches; Linux, `/sys/bus/pci/devices`.
//! - NVIDIA fabric manager user guide, NVSwitch failures.

use cupel_model::snapshot::{PciDevice, RememberedPart};
use cupel_model::{Component, ComponentKind, Evidence, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "nvswitch.missing";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("the part is there or it is not"),
    basis: Basis::State,
    doc: module_doc!("nvswitch_missing.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    let expected = context
        .platform
        .and_then(|platform| platform.nvswitch.as_ref())
        .map(|expected| &expected.count);
    let Some(expected) = expected else {
        return Outcome::skipped("no platform says how many NVSwitches this node has");
    };
    if expected.value == 0 {
        return Outcome::skipped("the platform has no NVSwitch on the PCI bus");
    }
    let wanted = usize::try_from(expected.value).unwrap_or(usize::MAX);
    let switches = context.nvswitches();
    let there = switches.len();
    let mut outcome = Outcome::default();
    if there >= wanted {
        outcome.judged();
        return outcome;
    }
    let unread = context.bus_unread().or_else(|| context.problem("nvswitch"));
    if let Some(why) = unread {
        outcome.unknown("NVSwitches", why);
        return outcome;
    }
    // A function that does not say what it is may be the one that is looked for.
    let nameless: Vec<&PciDevice> = context
        .snapshot
        .pci
        .iter()
        .filter(|device| device.class.is_failed() || device.vendor.is_failed())
        .collect();
    for device in &nameless {
        let name = format!("PCI function {}", device.address);
        outcome.need(&name, "vendor", &device.vendor, true);
        outcome.need(&name, "class", &device.class, true);
    }
    let short = (wanted - there).saturating_sub(nameless.len());
    let here = |part: &&RememberedPart| {
        let mut switches = switches.iter();
        switches.any(|switch| {
            part.pci == Some(switch.pci)
                || (part.slot.is_some() && part.slot.as_ref() == switch.slot.value())
        })
    };
    let gone: Vec<&RememberedPart> = context
        .remembered(ComponentKind::Nvswitch)
        .filter(|part| !here(part))
        .take(short)
        .collect();
    let draft = |component, text| {
        steps(Draft::critical(CODE, component, text))
            .evidence(Evidence::value("nvswitches", there).limit(wanted, expected.source.as_str()))
            .capped(expected)
    };
    for part in &gone {
        let component = context.component_of(part);
        let place = match (&component.slot, component.pci) {
            (Some(slot), Some(pci)) => format!("in {slot} ({pci})"),
            (Some(slot), None) => format!("in {slot}"),
            (None, Some(pci)) => format!("at {pci}"),
            (None, None) => "of unknown place".to_owned(),
        };
        let text = format!(
            "The NVSwitch last seen {place} is missing: {there} of {wanted} are on the PCI bus"
        );
        outcome.find(draft(component, text));
    }
    let unnamed = short - gone.len();
    if unnamed > 0 {
        let text = format!(
            "{unnamed} of {wanted} NVSwitches {} missing from the PCI bus; which one is not known",
            if unnamed == 1 { "is" } else { "are" }
        );
        outcome.find(draft(Component::of(ComponentKind::Nvswitch), text));
    }
    outcome
}

fn steps(draft: Draft) -> Draft {
    draft
        .human(
            RemedyAction::RunDiagnostic,
            "See in the kernel log whether the switch was found and its driver loaded",
        )
        .opt_in(
            RemedyAction::PowerCycleNode,
            "Power-cycle the node, so that its GPU baseboard loses power",
        )
        .human(
            RemedyAction::ContactVendor,
            "Open a case with the vendor: NVSwitches are soldered to the GPU baseboard",
        )
}

#[cfg(test)]
fn switches(node: &mut crate::testing::Node, wanted: u32, there: u8) {
    use cupel_model::Reading;
    use cupel_model::platform::{NvswitchExpectation, Sourced};
    node.expected().nvswitch = Some(NvswitchExpectation {
        count: Sourced {
            value: wanted,
            source: "its maker".to_owned(),
        },
    });
    node.snapshot.nvswitches = (0..there)
        .map(|index| cupel_model::snapshot::Nvswitch {
            pci: cupel_model::PciAddress {
                domain: 0,
                bus: 7 + index,
                device: 0,
                function: 0,
            },
            slot: format!("below 0000:06:0{index}.0").into(),
            driver: "nvidia-nvswitch".to_owned().into(),
            firmware: Reading::absent("no such file"),
        })
        .collect();
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "all there",
        expect: Expect::Pass,
        change: |node| switches(node, 4, 4),
    },
    Case {
        name: "one less",
        expect: Expect::Fail,
        change: |node| switches(node, 4, 3),
    },
    Case {
        name: "none",
        expect: Expect::Fail,
        change: |node| switches(node, 4, 0),
    },
    Case {
        name: "the bus could not be read",
        expect: Expect::Unknown,
        change: |node| {
            switches(node, 4, 0);
            let platform = node.platform.take();
            crate::testing::unread_bus(node);
            node.platform = platform;
        },
    },
    Case {
        name: "the switches could not be read",
        expect: Expect::Unknown,
        change: |node| {
            switches(node, 4, 0);
            crate::testing::trouble(node, "nvswitch", "timed out");
        },
    },
    Case {
        name: "a function does not say what it is",
        expect: Expect::Unknown,
        change: |node| {
            switches(node, 4, 3);
            node.snapshot.pci[0].class = cupel_model::Reading::failed("EIO");
        },
    },
    Case {
        name: "not on the PCI bus of this platform",
        expect: Expect::Skip,
        change: |node| switches(node, 0, 0),
    },
    Case {
        name: "no platform",
        expect: Expect::Skip,
        change: |node| node.platform = None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Node;
    use cupel_model::Severity;
    use cupel_model::platform::UNVERIFIED;

    #[test]
    fn a_missing_switch_is_named_by_where_it_was() {
        let mut node = Node::good();
        switches(&mut node, 4, 4);
        node.snapshot.remembered = crate::remember(&node.snapshot);
        node.snapshot.nvswitches.remove(2);
        let found = evaluate(&Context::new(&node.snapshot, node.platform.as_ref()));
        let [finding] = found.findings() else {
            panic!("{:#?}", found.findings())
        };
        assert_eq!(finding.severity, Severity::Critical);
        assert_eq!(
            finding.component.slot.as_deref(),
            Some("below 0000:06:02.0")
        );
        assert_eq!(
            finding.component.pci.map(|pci| pci.to_string()).as_deref(),
            Some("0000:09:00.0")
        );
    }

    #[test]
    fn an_unverified_count_is_at_most_a_warning() {
        let mut node = Node::good();
        switches(&mut node, 4, 3);
        let expected = node.expected().nvswitch.as_mut().expect("given");
        expected.count.source = UNVERIFIED.to_owned();
        let found = evaluate(&Context::new(&node.snapshot, node.platform.as_ref()));
        assert_eq!(found.findings()[0].severity, Severity::Warning);
        assert!(!found.findings()[0].blocks_allocation());
    }
}
