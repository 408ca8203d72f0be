//! A PCIe device had errors that its link could not correct.
//!
//! # What it checks
//! For each PCI function: the fatal and non-fatal errors that AER has counted since boot, and what
//! the kernel said of them: uncorrected errors, containment of a port (DPC), a recovery that failed.
//! Requests that a device does not support are left out: a kernel that looks for devices makes them.
//! The kernel tells at the port above a device that the device was not recovered: where that port has
//! no error of its own, it is the device's, and the port is named with it.
//! What a lost GPU leaves behind is left to `gpu.off-bus`. Where firmware owns AER nothing is visible.
//!
//! # Why it matters
//! Data was lost on its way, or the device was cut off and reset. Work that used it has failed, and
//! it is the last sign before a device falls off the bus.
//!
//! # Remedy
//! 1. Look in the kernel log for what happened just before.
//! 2. Reboot the node, so that the device and its link start anew.
//! 3. Take the part out, clean and inspect its contacts, put it back; check risers and cables.
//! 4. Replace the part if it happens again.
//!
//! # Sources
//! - PCI Express Base Specification, Advanced Error Reporting and Downstream Port Containment.
//! - Linux, `aer_dev_fatal` and `aer_dev_nonfatal`, and the messages of its AER driver.

use std::collections::{BTreeMap, BTreeSet};

use cupel_model::snapshot::PciDevice;
use cupel_model::{
    Clears, Component, ComponentKind, Event, EventKind, Evidence, Impact, Mode, PciAddress,
    RemedyAction,
};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::links::{Linked, linked};
use crate::outcome::Outcome;
use crate::rates::told;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "pcie.aer-uncorrected";

/// What the kernel log says of a device, or of the port above it.
const NOT_RECOVERED: &str = "pcie.aer-recovery-failed";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Observe,
    window: Window::none("the hardware has reported it"),
    basis: Basis::Log,
    doc: module_doc!("pcie_aer_uncorrected.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// What is known of the errors of one device.
#[derive(Default)]
struct Errors<'a> {
    /// Counters that are not zero.
    counted: BTreeMap<&'a str, u64>,
    events: Vec<(usize, &'a Event)>,
    /// The port above that told of it.
    port: Option<PciAddress>,
}

impl Errors<'_> {
    /// Nothing but that a recovery failed: of a port, that is said of what is below it.
    fn is_of_what_is_below(&self) -> bool {
        self.counted.is_empty()
            && self
                .events
                .iter()
                .all(|(_, event)| event.code == NOT_RECOVERED)
    }
}

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    if let Some(why) = context.bus_unread() {
        return Outcome::undetermined("PCI", why);
    }
    if context.snapshot.pci.is_empty() {
        return Outcome::skipped("no PCI bus");
    }
    let mut devices: BTreeMap<PciAddress, Errors<'_>> = BTreeMap::new();
    for function in &context.snapshot.pci {
        let short = format!("PCI function {}", function.address);
        let Some(counters) = outcome.need(&short, "AER", &function.aer, false) else {
            continue;
        };
        for counter in counters {
            let Some(count) = counter.value.get().map(|count| count.value) else {
                continue;
            };
            if count > 0 && is_uncorrected(&counter.name) {
                let errors = devices
                    .entry(function.address.with_function(0))
                    .or_default();
                let sum = errors.counted.entry(&counter.name).or_default();
                *sum = sum.saturating_add(count);
            }
        }
    }
    outcome.need(
        "kernel log",
        "records",
        &context.snapshot.kernel_log_records,
        false,
    );
    for (at, event) in told(context, is_told) {
        let Some(pci) = event.pci else { continue };
        let errors = devices.entry(pci.with_function(0)).or_default();
        errors.events.push((at, event));
    }
    devices.retain(|pci, _| !is_of_lost_gpu(context, *pci));
    give_to_devices(context, &mut devices);
    let parts = linked(context);
    for (pci, errors) in devices {
        outcome.uses(errors.events.iter().map(|(at, _)| *at));
        let (component, name) = whose(context, &parts, pci);
        outcome.find(draft(component, &name, &errors));
    }
    outcome
}

/// What a port only tells goes to the device below it that had the error, where just one had.
fn give_to_devices<'a>(context: &Context<'a>, devices: &mut BTreeMap<PciAddress, Errors<'a>>) {
    let ports: Vec<PciAddress> = devices
        .iter()
        .filter(|(_, errors)| errors.is_of_what_is_below())
        .map(|(pci, _)| *pci)
        .collect();
    for port in ports {
        // Ports are functions of one device; only the one that told is meant.
        let told: BTreeSet<PciAddress> = devices
            .get(&port)
            .into_iter()
            .flat_map(|errors| errors.events.iter().filter_map(|(_, event)| event.pci))
            .collect();
        let below: BTreeSet<PciAddress> = context
            .snapshot
            .pci
            .iter()
            .filter(|device| {
                device
                    .upstream
                    .get()
                    .is_some_and(|above| told.contains(&above))
            })
            .map(|device| device.address.with_function(0))
            .filter(|device| *device != port && devices.contains_key(device))
            .collect();
        let below: Vec<PciAddress> = below.into_iter().collect();
        let [device] = below[..] else { continue };
        let Some(told) = devices.remove(&port) else {
            continue;
        };
        if let Some(errors) = devices.get_mut(&device) {
            errors.port = told.events.first().and_then(|(_, event)| event.pci);
            errors.events.extend(told.events);
        }
    }
}

fn is_uncorrected(name: &str) -> bool {
    let counted = name
        .strip_prefix("fatal/")
        .or_else(|| name.strip_prefix("nonfatal/"));
    counted.is_some_and(|name| !name.starts_with("TOTAL_") && name != "UnsupReq")
}

fn is_told(event: &Event) -> bool {
    let codes = [
        "pcie.aer-fatal",
        "pcie.aer-nonfatal",
        NOT_RECOVERED,
        "pcie.dpc",
    ];
    event.kind == EventKind::Aer
        && codes.contains(&event.code.as_str())
        && !event.raw.contains("UnsupReq")
}

/// Whether this is a GPU that is off the bus, or the port above it.
fn is_of_lost_gpu(context: &Context<'_>, pci: PciAddress) -> bool {
    if context.vanished.contains_key(&pci) {
        return true;
    }
    let lost = context.gpus.iter().filter(|part| part.loss.is_some());
    lost.filter_map(|part| part.gpu.pci.get()).any(|gpu| {
        let above = context.pci(gpu).and_then(|device| device.upstream.get());
        gpu.same_device(pci) || above.is_some_and(|above| above.same_device(pci))
    })
}

fn draft(component: Component, name: &str, errors: &Errors<'_>) -> Draft {
    let has = |code: &str| errors.events.iter().any(|(_, event)| event.code == code);
    let fatal = has("pcie.aer-fatal")
        || has("pcie.dpc")
        || errors.counted.keys().any(|name| name.starts_with("fatal/"));
    let failed = has(NOT_RECOVERED);
    let draft = if failed {
        let text = format!("{name} had a PCIe error from which it was not recovered");
        Draft::critical(CODE, component, text)
    } else if fatal {
        let text = format!("{name} had fatal PCIe errors in this boot: it was cut off and reset");
        Draft::warning(CODE, component, text).impact(Impact::RisksData)
    } else {
        let text = format!("{name} had PCIe errors in this boot that its link could not correct");
        Draft::warning(CODE, component, text).impact(Impact::RisksData)
    };
    let first = errors.events.iter().filter_map(|(_, e)| e.first.or(e.time));
    let mut draft = draft.clears(Clears::Reboot).since(first.min());
    for (name, count) in &errors.counted {
        let name = format!("aer_{}", name.replace('/', "_"));
        draft = draft.evidence(Evidence::value(&name, *count).limit(0, "PCI Express"));
    }
    if let Some((_, event)) = errors.events.first() {
        draft = draft.evidence(Evidence::value("kernel_log", event.raw.as_str()));
    }
    if let Some(port) = errors.port {
        draft = draft.evidence(Evidence::value("told_by_port", port.to_string()));
    }
    draft
        .human(
            RemedyAction::RunDiagnostic,
            "See in the kernel log what happened just before",
        )
        .opt_in(RemedyAction::RebootNode, "Reboot the node")
        .human(
            RemedyAction::Reseat,
            format!("Take out {name}, clean and inspect its contacts, and put it back"),
        )
        .human(
            RemedyAction::ReplacePart,
            format!("If it happens again, replace {name}"),
        )
}

/// The part at this address; what is no part that Cupel knows is a PCI device.
fn whose(context: &Context<'_>, parts: &[Linked<'_, '_>], pci: PciAddress) -> (Component, String) {
    let own = |link: &&Linked<'_, '_>| link.component.pci.is_some_and(|own| own.same_device(pci));
    if let Some(link) = parts.iter().find(own) {
        return (link.component.clone(), link.name.clone());
    }
    let slot = context
        .pci(pci)
        .and_then(|device: &PciDevice| device.slot.value().cloned());
    let name = match &slot {
        Some(slot) => format!("PCI device in slot {slot} ({pci})"),
        None => format!("PCI device at {pci}"),
    };
    let component = Component {
        pci: Some(pci),
        slot,
        ..Component::of(ComponentKind::Pcie)
    };
    (component, name)
}

#[cfg(test)]
fn counted(node: &mut crate::testing::Node, name: &str) {
    let mut functions = node.snapshot.pci.iter_mut();
    let function = functions.find(|f| f.address == crate::testing::gpu_pci(2));
    function.expect("the GPU").aer = vec![cupel_model::snapshot::NamedCounter {
        name: name.into(),
        value: cupel_model::Counter::exact(1).into(),
    }]
    .into();
}

#[cfg(test)]
fn log(node: &mut crate::testing::Node, code: &str, source: cupel_model::LogSource) {
    let mut event = crate::testing::xid(2, 0, "", None);
    event.kind = EventKind::Aer;
    event.xid = None;
    event.code = code.to_owned();
    event.source = source;
    node.log(event);
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "no error",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "a fatal one, counted",
        expect: Expect::Fail,
        change: |node| counted(node, "fatal/MalfTLP"),
    },
    Case {
        name: "a non-fatal one, counted",
        expect: Expect::Fail,
        change: |node| counted(node, "nonfatal/CmpltTO"),
    },
    Case {
        name: "a request that is not supported",
        expect: Expect::Pass,
        change: |node| counted(node, "nonfatal/UnsupReq"),
    },
    Case {
        name: "corrected ones",
        expect: Expect::Pass,
        change: |node| counted(node, "correctable/BadTLP"),
    },
    Case {
        name: "told by the kernel",
        expect: Expect::Fail,
        change: |node| log(node, "pcie.dpc", cupel_model::LogSource::Kernel),
    },
    Case {
        name: "told by a program",
        expect: Expect::Pass,
        change: |node| log(node, "pcie.dpc", cupel_model::LogSource::User),
    },
    Case {
        name: "recovered",
        expect: Expect::Pass,
        change: |node| log(node, "pcie.aer-recovered", cupel_model::LogSource::Kernel),
    },
    Case {
        name: "a GPU that is off the bus",
        expect: Expect::Pass,
        change: |node| {
            counted(node, "fatal/DLP");
            node.gpu(2).on_bus = false.into();
        },
    },
    Case {
        name: "counters that cannot be read",
        expect: Expect::Unknown,
        change: |node| node.snapshot.pci[0].aer = cupel_model::Reading::failed("EIO"),
    },
    Case {
        name: "the bus could not be read",
        expect: Expect::Unknown,
        change: crate::testing::unread_bus,
    },
    Case {
        name: "nothing on the bus",
        expect: Expect::Skip,
        change: crate::testing::empty_bus,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Node;

    #[test]
    fn one_device_has_one_finding_that_names_it() {
        let mut node = Node::good();
        counted(&mut node, "fatal/MalfTLP");
        let source = cupel_model::LogSource::Kernel;
        log(&mut node, "pcie.aer-fatal", source);
        log(&mut node, "pcie.aer-recovery-failed", source);
        let outcome = evaluate(&Context::new(&node.snapshot, node.platform.as_ref()));
        let [finding] = outcome.findings() else {
            panic!("{:#?}", outcome.findings())
        };
        assert_eq!(finding.component.serial.as_deref(), Some("1650123000002"));
        assert!(
            finding.summary.contains("not recovered"),
            "{}",
            finding.summary
        );
        assert_eq!(outcome.clone().into_parts().1.len(), 2);
    }

    /// The port above the GPU of [`counted`], in the snapshot.
    fn port(node: &mut Node) -> PciAddress {
        let port: PciAddress = "0000:00:05.1".parse().expect("address");
        let mut above = node.snapshot.pci[0].clone();
        above.address = port;
        above.upstream = cupel_model::Reading::absent("root bus");
        node.snapshot.pci.insert(0, above);
        let gpu = crate::testing::gpu_pci(2);
        for function in &mut node.snapshot.pci {
            if function.address == gpu {
                function.upstream = port.into();
            }
        }
        port
    }

    fn told_at(node: &mut Node, port: PciAddress, code: &str) {
        log(node, code, cupel_model::LogSource::Kernel);
        let event = node.snapshot.kernel_log.last_mut().expect("an event");
        event.pci = Some(port);
    }

    #[test]
    fn what_a_port_tells_of_the_device_below_it_is_one_finding_of_that_device() {
        let mut node = Node::good();
        let port = port(&mut node);
        counted(&mut node, "nonfatal/CmpltTO");
        told_at(&mut node, port, NOT_RECOVERED);
        let outcome = evaluate(&Context::new(&node.snapshot, node.platform.as_ref()));
        let [finding] = outcome.findings() else {
            panic!("{:#?}", outcome.findings())
        };
        assert_eq!(finding.component.serial.as_deref(), Some("1650123000002"));
        assert_eq!(finding.severity, cupel_model::Severity::Critical);
        let told = finding.evidence.iter().find(|e| e.name == "told_by_port");
        assert_eq!(told.expect("the port").value, port.to_string());
    }

    #[test]
    fn a_port_with_an_error_of_its_own_has_its_own_finding() {
        for own in ["pcie.dpc", "pcie.aer-nonfatal"] {
            let mut node = Node::good();
            let port = port(&mut node);
            counted(&mut node, "nonfatal/CmpltTO");
            told_at(&mut node, port, own);
            told_at(&mut node, port, NOT_RECOVERED);
            let outcome = evaluate(&Context::new(&node.snapshot, node.platform.as_ref()));
            assert_eq!(outcome.findings().len(), 2, "{own}");
        }
        // Nothing below it is known to have had one.
        let mut node = Node::good();
        let port = port(&mut node);
        told_at(&mut node, port, NOT_RECOVERED);
        let outcome = evaluate(&Context::new(&node.snapshot, node.platform.as_ref()));
        let [finding] = outcome.findings() else {
            panic!("{:#?}", outcome.findings())
        };
        assert_eq!(finding.component.pci, Some(port.with_function(0)));
    }
}
