//! Words, symbols and tones: what a state is called, and how it is shown without colour.
//!
//! # Invariants
//! - Every state has a symbol and a word of its own; the tone (a CSS class) only repeats them.

use cupel_model::finding::{Clears, Impact, Scope, Urgency};
use cupel_model::wire::{ChangeKind, Lifecycle, UpgradeOutcome};
use cupel_model::{Component, ComponentKind, EventKind, Mode, Performer, RemedyAction, Severity};
use maud::{Markup, html};

use super::text::{cut, line, told};
use super::view::{Expectation, FindingLine, Place, RackPlace, Standing};

/// A node's standing in a word.
pub fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Unhealthy => "unhealthy",
        Standing::Silent => "silent",
        Standing::Missing => "missing",
        Standing::Unknown => "unknown",
        Standing::Degraded => "degraded",
        Standing::Quiet => "quiet",
        Standing::Healthy => "healthy",
    }
}

/// Its symbol.
pub fn symbol(standing: Standing) -> &'static str {
    match standing {
        Standing::Unhealthy => "✕",
        Standing::Silent => "—",
        Standing::Missing => "○",
        Standing::Unknown => "?",
        Standing::Degraded => "!",
        Standing::Quiet => "·",
        Standing::Healthy => "✓",
    }
}

/// Its tone.
pub fn tone(standing: Standing) -> &'static str {
    match standing {
        Standing::Unhealthy => "bad",
        Standing::Silent | Standing::Missing => "gone",
        Standing::Unknown => "unk",
        Standing::Degraded => "warn",
        Standing::Quiet => "quiet",
        Standing::Healthy => "good",
    }
}

/// What it means for whoever looks.
pub fn meaning(standing: Standing) -> &'static str {
    match standing {
        Standing::Unhealthy => "Unfit for work until what is below is done.",
        Standing::Silent => "It reported before and is late. Its state now is not known.",
        Standing::Missing => "It should be here and has never reported.",
        Standing::Unknown => {
            "Something that must be known could not be determined. That is not healthy."
        }
        Standing::Degraded => "It works. Someone should look at what is below.",
        Standing::Quiet => "It does not report, and that is expected.",
        Standing::Healthy => "Everything that applies was looked at and is well.",
    }
}

/// Symbol and word together, for what has the tone already.
pub fn stands(of: Standing) -> Markup {
    html! { b { (symbol(of)) } " " (standing(of)) }
}

/// Symbol and word together.
pub fn badge(of: Standing) -> Markup {
    html! { span.st.(tone(of)) { (stands(of)) } }
}

/// Severity in capitals.
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "CRITICAL",
        Severity::Warning => "WARNING",
        Severity::Info => "INFO",
    }
}

/// Its symbol.
pub fn severity_symbol(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "✕",
        Severity::Warning => "!",
        Severity::Info => "i",
    }
}

/// Its tone.
pub fn severity_tone(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "bad",
        Severity::Warning => "warn",
        Severity::Info => "info",
    }
}

/// What kind of part, as a technician calls it.
pub fn kind(kind: ComponentKind) -> &'static str {
    match kind {
        ComponentKind::Node => "node",
        ComponentKind::Gpu => "GPU",
        ComponentKind::Nvlink => "NVLink",
        ComponentKind::Nvswitch => "NVSwitch",
        ComponentKind::Rdma => "RDMA adapter",
        ComponentKind::Nic => "network port",
        ComponentKind::Optic => "optic",
        ComponentKind::Pcie => "PCIe device",
        ComponentKind::Dimm => "DIMM",
        ComponentKind::Cpu => "CPU",
        ComponentKind::Nvme => "NVMe drive",
        ComponentKind::Psu => "power supply",
        ComponentKind::Fan => "fan",
        ComponentKind::Bmc => "BMC",
        ComponentKind::Service => "service",
        ComponentKind::Filesystem => "file system",
    }
}

/// Several of a kind.
pub fn kinds(kind: ComponentKind) -> &'static str {
    match kind {
        ComponentKind::Node => "nodes",
        ComponentKind::Gpu => "GPUs",
        ComponentKind::Nvlink => "NVLinks",
        ComponentKind::Nvswitch => "NVSwitches",
        ComponentKind::Rdma => "RDMA adapters",
        ComponentKind::Nic => "network ports",
        ComponentKind::Optic => "optics",
        ComponentKind::Pcie => "PCIe devices",
        ComponentKind::Dimm => "DIMMs",
        ComponentKind::Cpu => "CPUs",
        ComponentKind::Nvme => "NVMe drives",
        ComponentKind::Psu => "power supplies",
        ComponentKind::Fan => "fans",
        ComponentKind::Bmc => "BMCs",
        ComponentKind::Service => "services",
        ComponentKind::Filesystem => "file systems",
    }
}

/// A part by kind, number and slot: `GPU 3, SXM 6`. Its PCI address where it has no slot.
pub fn part(component: &Component) -> String {
    let mut text = match (component.kind, component.index) {
        (ComponentKind::Rdma, Some(port)) => format!("RDMA port {port}"),
        (of, Some(index)) => format!("{} {index}", kind(of)),
        (of, None) => kind(of).to_owned(),
    };
    match (&component.slot, component.pci) {
        (Some(slot), _) => {
            let slot = line(slot);
            let bare = slot.starts_with(|c: char| c.is_ascii_digit());
            text.push_str(if bare { ", slot " } else { ", " });
            text.push_str(&cut(&slot, 40));
        }
        (None, Some(pci)) => text.push_str(&format!(", PCI {pci}")),
        (None, None) => {}
    }
    text
}

/// A finding in one line: symbol, code, part and slot.
pub fn finding_line(found: &FindingLine) -> Markup {
    html! {
        span.st.(severity_tone(found.severity)) {
            b { (severity_symbol(found.severity)) } " " code { (told(&cut(&found.code, 60))) }
        }
        " " (part(&found.component))
        @if !found.observed { " " span.tag { "waits to clear" } }
        @if found.mode == Mode::Observe { " " span.tag { "observed only" } }
        @if found.confidence == cupel_model::Confidence::Provisional {
            " " span.tag { "provisional" }
        }
    }
}

/// `region / site / row / rack`, as far as it is known.
pub fn rack_name(place: &RackPlace) -> String {
    let parts: Vec<_> = [&place.region, &place.site, &place.row, &place.rack]
        .into_iter()
        .flatten()
        .map(|part| cut(part, 40).into_owned())
        .collect();
    match parts.is_empty() {
        true => "no place set".to_owned(),
        false => parts.join(" / "),
    }
}

/// The same for a list, where the region goes without saying: `osl1 / A03 / r07`.
pub fn short_rack_name(place: &RackPlace) -> String {
    rack_name(&RackPlace {
        region: place.region.clone().filter(|_| place.site.is_none()),
        ..place.clone()
    })
}

/// Where a node stands in its rack: `U17`, `U17–U24`.
pub fn units(place: &Place) -> Option<String> {
    let unit = place.unit?;
    match place.height_units {
        Some(height) if height > 1 => Some(format!("U{unit}–U{}", unit.saturating_add(height - 1))),
        Some(_) | None => Some(format!("U{unit}")),
    }
}

/// What an operator wants of a node, in words.
pub fn lifecycle(lifecycle: Lifecycle) -> &'static str {
    match lifecycle {
        Lifecycle::Provisioning => "provisioning",
        Lifecycle::InService => "in service",
        Lifecycle::Maintenance => "maintenance",
        Lifecycle::Hold => "hold",
        Lifecycle::Quarantined => "quarantined",
        Lifecycle::Retired => "retired",
    }
}

/// What came of a version that is wished, in words.
pub fn upgrade(outcome: UpgradeOutcome) -> &'static str {
    match outcome {
        UpgradeOutcome::Waits => "waits",
        UpgradeOutcome::UnderWay => "under way",
        UpgradeOutcome::Done => "done",
        UpgradeOutcome::Refused => "refused",
        UpgradeOutcome::Reverted => "put back",
    }
}

/// Every lifecycle with its word in a query.
pub const LIFECYCLES: [(Lifecycle, &str); 6] = [
    (Lifecycle::Provisioning, "provisioning"),
    (Lifecycle::InService, "in-service"),
    (Lifecycle::Maintenance, "maintenance"),
    (Lifecycle::Hold, "hold"),
    (Lifecycle::Quarantined, "quarantined"),
    (Lifecycle::Retired, "retired"),
];

/// What the list of what should arrive says of a node; `None` where that needs no word.
pub fn expectation(expectation: &Expectation) -> Option<&'static str> {
    match expectation {
        Expectation::NoList | Expectation::AsExpected => None,
        Expectation::Unexpected => Some("unexpected"),
        Expectation::Mismatched(_) => Some("mismatched"),
    }
}

/// A step's action as an order.
pub fn action(action: RemedyAction) -> &'static str {
    match action {
        RemedyAction::None => "Nothing to do",
        RemedyAction::CheckApp => "Look at the application",
        RemedyAction::RestartApp => "Restart the application",
        RemedyAction::ResetGpu => "Reset the GPU",
        RemedyAction::ResetFabric => "Reset the NVLink fabric",
        RemedyAction::RestartService => "Restart the service",
        RemedyAction::RebootNode => "Reboot the node",
        RemedyAction::PowerCycleNode => "Power-cycle the node",
        RemedyAction::AcCycleNode => "Take mains power away and give it back",
        RemedyAction::Drain => "Drain the node",
        RemedyAction::ResetBus => "Reset the PCI bus",
        RemedyAction::RecoverImex => "Recover the IMEX domain",
        RemedyAction::Reseat => "Reseat the part",
        RemedyAction::CheckCable => "Check the cable",
        RemedyAction::CleanOptic => "Clean the optic",
        RemedyAction::UpdateFirmware => "Update the firmware",
        RemedyAction::UpdateDriver => "Update the driver",
        RemedyAction::RunDiagnostic => "Run a diagnostic",
        RemedyAction::ReplacePart => "Replace the part",
        RemedyAction::ContactVendor => "Open a case with the vendor",
    }
}

/// Who may take a step.
pub fn performer(by: Performer) -> &'static str {
    match by {
        Performer::Automatic => "the agent does it",
        Performer::OptIn => "the agent if that is switched on, else a person",
        Performer::Human => "a person",
    }
}

/// What a finding means for work.
pub fn impact(impact: Impact) -> &'static str {
    match impact {
        Impact::None => "no effect on work",
        Impact::DegradesPerformance => "work runs slower",
        Impact::RisksData => "results may be wrong or lost",
        Impact::BlocksAllocation => "the node must not be given work",
    }
}

/// When to act.
pub fn urgency(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::None => "no hurry",
        Urgency::NextWindow => "act in the next maintenance window",
        Urgency::AfterJob => "act when the running job has ended",
        Urgency::Now => "act now",
    }
}

/// How far a finding reaches.
pub fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Job => "one job",
        Scope::Gpu => "one GPU",
        Scope::Node => "the node",
        Scope::NvlinkDomain => "the NVLink domain",
        Scope::Rack => "the rack",
    }
}

/// What ends a finding.
pub fn clears(clears: Clears) -> &'static str {
    match clears {
        Clears::WhileObserved => "when it is no longer observed",
        Clears::GpuReset => "with a GPU reset",
        Clears::Reboot => "with a reboot",
        Clears::PartReplaced => "with a new part",
        Clears::Operator => "when a person says so",
    }
}

/// What happened to a finding.
pub fn change(change: ChangeKind) -> &'static str {
    match change {
        ChangeKind::Raised => "raised",
        ChangeKind::Confirmed => "confirmed",
        ChangeKind::Changed => "changed",
        ChangeKind::Cleared => "cleared",
    }
}

/// What kind of thing an event is about.
pub fn event_kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Xid => "XID",
        EventKind::Sxid => "SXid",
        EventKind::OffBus => "off the bus",
        EventKind::Aer => "PCIe AER",
        EventKind::Mce => "machine check",
        EventKind::Edac => "EDAC",
        EventKind::Ghes => "firmware (GHES)",
        EventKind::Nvme => "NVMe",
        EventKind::Mlx5 => "mlx5",
        EventKind::Oom => "out of memory",
        EventKind::Lockup => "lockup",
        EventKind::HungTask => "hung task",
        EventKind::Thermal => "thermal",
        EventKind::Driver => "driver",
        EventKind::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_standing_can_be_told_without_colour() {
        let symbols: BTreeSet<_> = Standing::ALL.iter().map(|s| symbol(*s)).collect();
        let words: BTreeSet<_> = Standing::ALL.iter().map(|s| standing(*s)).collect();
        assert_eq!(symbols.len(), Standing::ALL.len());
        assert_eq!(words.len(), Standing::ALL.len());
    }

    #[test]
    fn parts_are_named_by_slot() {
        let mut component = Component {
            kind: ComponentKind::Gpu,
            index: Some(3),
            serial: None,
            pci: "0000:9b:00.0".parse().ok(),
            slot: Some("SXM 4".to_owned()),
        };
        assert_eq!(part(&component), "GPU 3, SXM 4");
        component.slot = None;
        assert_eq!(part(&component), "GPU 3, PCI 0000:9b:00.0");
        component.kind = ComponentKind::Rdma;
        component.slot = Some("12".to_owned());
        component.index = Some(1);
        assert_eq!(part(&component), "RDMA port 1, slot 12");
        assert_eq!(part(&Component::node()), "node");
    }

    #[test]
    fn units_are_a_range() {
        let mut place = Place {
            unit: Some(17),
            height_units: Some(8),
            ..Place::default()
        };
        assert_eq!(units(&place).as_deref(), Some("U17–U24"));
        place.height_units = None;
        assert_eq!(units(&place).as_deref(), Some("U17"));
    }

    #[test]
    fn lifecycles_have_the_word_that_is_read_back() {
        for (value, word) in LIFECYCLES {
            assert_eq!(serde_json::to_value(value).expect("json"), word);
        }
    }
}
