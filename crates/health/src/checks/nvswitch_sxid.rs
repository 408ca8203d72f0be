//! An NVSwitch reported a fatal error (SXid).
//!
//! # What it checks
//! The SXids of this boot: those whose line says that they are fatal, one finding for each switch.
//! Others are events. What a program wrote into the kernel log never counts.
//!
//! # Why it matters
//! After a fatal error the switch stops its links: work on every GPU of the fabric fails, and none
//! starts until the fabric is reset.
//!
//! # Remedy
//! 1. Look for an XID of a GPU at the same time: it may be the cause.
//! 2. End all work on the node, then reset all GPUs with their NVLink fabric, or reboot the node.
//! 3. If it returns, run a diagnostic and open a case with the vendor.
//!
//! # Sources
//! - NVIDIA fabric manager user guide, NVSwitch errors. No action is published for a single SXid.

use std::collections::BTreeMap;

use cupel_model::{
    Clears, Component, ComponentKind, Event, EventKind, Evidence, LogSource, Mode, PciAddress,
    RemedyAction, Scope, Severity,
};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "nvswitch.sxid";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("the driver has reported it"),
    basis: Basis::Log,
    doc: module_doc!("nvswitch_sxid.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    let log = &context.snapshot.kernel_log;
    let expected = context
        .platform
        .and_then(|platform| platform.nvswitch.as_ref());
    let here = !context.nvswitches().is_empty()
        || expected.is_some_and(|expected| expected.count.value > 0)
        || log.iter().any(|event| event.kind == EventKind::Sxid);
    if !here {
        if let Some(why) = context.bus_unread() {
            return Outcome::undetermined("NVSwitches", why);
        }
        return Outcome::skipped("no NVSwitch on the PCI bus of this node");
    }
    let mut outcome = Outcome::default();
    outcome.need(
        "kernel log",
        "records",
        &context.snapshot.kernel_log_records,
        true,
    );
    let mut fatal: BTreeMap<Option<PciAddress>, Vec<(usize, &Event)>> = BTreeMap::new();
    for (at, event) in log.iter().enumerate() {
        if event.kind == EventKind::Sxid
            && event.severity == Severity::Critical
            && event.source != LogSource::User
        {
            let switch = event.pci.map(|pci| pci.with_function(0));
            fatal.entry(switch).or_default().push((at, event));
        }
    }
    for (pci, events) in fatal {
        outcome.uses(events.iter().map(|(at, _)| *at));
        if let Some((_, first)) = events.first() {
            outcome.find(draft(context, pci, first, &events));
        }
    }
    outcome
}

fn draft(
    context: &Context<'_>,
    pci: Option<PciAddress>,
    first: &Event,
    events: &[(usize, &Event)],
) -> Draft {
    let mut switches = context.nvswitches().iter();
    let switch = switches.find(|switch| pci.is_some_and(|pci| switch.pci.same_device(pci)));
    let component = Component {
        pci,
        slot: switch.and_then(|switch| switch.slot.value().cloned()),
        ..Component::of(ComponentKind::Nvswitch)
    };
    let name = pci.map_or_else(
        || "An NVSwitch".to_owned(),
        |pci| format!("The NVSwitch at {pci}"),
    );
    let code = first.sxid.unwrap_or_default();
    let mut draft = Draft::critical(
        CODE,
        component,
        format!("{name} reported fatal SXid {code}: its NVLinks stop until the fabric is reset"),
    )
    .scope(Scope::Node)
    .clears(Clears::Reboot)
    .since(first.first.or(first.time));
    for (_, event) in events {
        let name = format!("sxid_{}_count", event.sxid.unwrap_or_default());
        draft = draft.evidence(Evidence::value(&name, event.repeats));
    }
    draft
        .evidence(Evidence::value("kernel_log", first.raw.as_str()))
        .human(
            RemedyAction::RunDiagnostic,
            "Look for an XID of a GPU at the same time: it may be the cause",
        )
        .opt_in(
            RemedyAction::ResetFabric,
            "End all work on the node, then reset all GPUs with their NVLink fabric",
        )
        .opt_in(RemedyAction::RebootNode, "Reboot the node")
        .human(
            RemedyAction::ContactVendor,
            format!("If SXid {code} returns, open a case with the vendor"),
        )
}

#[cfg(test)]
fn sxid(node: &mut crate::testing::Node, severity: Severity, source: LogSource) {
    let mut event = crate::testing::xid(0, 0, "", None);
    event.kind = EventKind::Sxid;
    event.xid = None;
    event.sxid = Some(20034);
    event.code = "sxid.20034".to_owned();
    event.severity = severity;
    event.source = source;
    event.pci = "0000:c5:00.0".parse().ok();
    event.raw = "nvidia-nvswitch3: SXid (PCI:0000:c5:00.0): 20034, …".to_owned();
    node.log(event);
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "a link that recovered",
        expect: Expect::Pass,
        change: |node| sxid(node, Severity::Warning, LogSource::Kernel),
    },
    Case {
        name: "fatal",
        expect: Expect::Fail,
        change: |node| sxid(node, Severity::Critical, LogSource::Kernel),
    },
    Case {
        name: "fatal, written by a program",
        expect: Expect::Pass,
        change: |node| sxid(node, Severity::Critical, LogSource::User),
    },
    Case {
        name: "the log could not be read",
        expect: Expect::Unknown,
        change: |node| {
            sxid(node, Severity::Warning, LogSource::Kernel);
            node.snapshot.kernel_log_records = cupel_model::Reading::failed("EPERM");
        },
    },
    Case {
        name: "no platform, and the bus could not be read",
        expect: Expect::Unknown,
        change: crate::testing::unread_bus,
    },
    Case {
        name: "no NVSwitch",
        expect: Expect::Skip,
        change: |_| {},
    },
];
