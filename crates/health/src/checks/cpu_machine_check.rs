//! A processor reported an error of its own that it could not correct.
//!
//! # What it checks
//! The machine checks of this boot's kernel log that are not memory's: uncorrected, deferred and
//! fatal ones, also those that a processor kept from the boot before; firmware-first records of
//! processors; and storms of corrected ones. All of one socket are one finding. Corrected ones alone
//! are events.
//!
//! # Why it matters
//! A core, cache or interconnect of the processor is failing: results may be wrong, and the next error
//! may end the node.
//!
//! # Remedy
//! 1. End the work on the node.
//! 2. Compare microcode and firmware with the baseline, and look in the management controller's event
//!    log.
//! 3. Replace the processor if it happens again.
//!
//! # Sources
//! - Intel SDM volume 3, machine-check architecture: bits 61 and 57 of MCi_STATUS, error codes.
//! - AMD PPR, MCA_STATUS, as Linux's decoder prints it.

use std::collections::BTreeMap;

use cupel_model::{
    Clears, Component, ComponentKind, Event, EventKind, Evidence, Impact, Mode, RemedyAction,
    Severity,
};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::memory_errors::{has_section, is_memory, socket};
use crate::outcome::Outcome;
use crate::rates::told;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "cpu.machine-check";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("the processor has reported it"),
    basis: Basis::Log,
    doc: module_doc!("cpu_machine_check.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let records = &context.snapshot.kernel_log_records;
    outcome.need("kernel log", "records", records, false);
    let mut sockets: BTreeMap<Option<u32>, Vec<(usize, &Event)>> = BTreeMap::new();
    for (at, event) in told(context, is_told) {
        sockets
            .entry(socket(&event.raw))
            .or_default()
            .push((at, event));
    }
    for (socket, events) in sockets {
        outcome.uses(events.iter().map(|(at, _)| *at));
        outcome.find(draft(socket, &events));
    }
    outcome.not_here("no kernel log");
    outcome
}

/// Whether the event tells of a processor that is not well.
fn is_told(event: &Event) -> bool {
    match event.kind {
        EventKind::Mce => event.code == "mce.storm" || (is_uncorrected(event) && !is_memory(event)),
        EventKind::Ghes => is_uncorrected(event),
        EventKind::Xid
        | EventKind::Sxid
        | EventKind::OffBus
        | EventKind::Aer
        | EventKind::Edac
        | EventKind::Nvme
        | EventKind::Mlx5
        | EventKind::Oom
        | EventKind::Lockup
        | EventKind::HungTask
        | EventKind::Thermal
        | EventKind::Driver
        | EventKind::Other => false,
    }
}

fn is_uncorrected(event: &Event) -> bool {
    let codes = ["mce.deferred", "mce.fatal", "mce.uncorrected"];
    codes.contains(&event.code.as_str())
        || (event.severity >= Severity::Warning && has_section(event, "processor error"))
}

fn draft(socket: Option<u32>, events: &[(usize, &Event)]) -> Draft {
    let component = Component {
        index: socket,
        ..Component::of(ComponentKind::Cpu)
    };
    let name = socket.map_or_else(
        || "A processor that is not named".to_owned(),
        |socket| format!("Processor {socket}"),
    );
    let worst = events.iter().filter(|(_, event)| is_uncorrected(event));
    let worst = worst.map(|(_, event)| event.severity).max();
    let mut draft = match worst {
        Some(Severity::Critical) => Draft::critical(
            CODE,
            component,
            format!("{name} reported errors that it could not correct"),
        ),
        Some(Severity::Warning | Severity::Info) => Draft::warning(
            CODE,
            component,
            format!(
                "{name} reported errors that it could not correct, and that nobody has used yet"
            ),
        )
        .impact(Impact::RisksData),
        None => Draft::warning(
            CODE,
            component,
            format!("{name} reported so many corrected errors that the kernel stopped counting"),
        ),
    };
    let first = events.iter().filter_map(|(_, e)| e.first.or(e.time)).min();
    draft = draft.clears(Clears::Reboot).since(first);
    for (_, event) in events {
        let name = format!("{}_count", event.code.replace(['.', '-'], "_"));
        draft = draft.evidence(Evidence::value(&name, event.repeats));
    }
    if let Some((_, event)) = events.first() {
        draft = draft.evidence(Evidence::value("kernel_log", event.raw.as_str()));
    }
    draft
        .opt_in(
            RemedyAction::Drain,
            "Let running work end and give no new work",
        )
        .human(
            RemedyAction::UpdateFirmware,
            "Compare microcode and firmware with this node's baseline",
        )
        .human(
            RemedyAction::RunDiagnostic,
            "Look in the management controller's event log; run the quick plan of the burn-in",
        )
        .human(
            RemedyAction::ReplacePart,
            format!("If it happens again, replace {}", name.to_lowercase()),
        )
}

#[cfg(test)]
use crate::memory_errors::told as event;

#[cfg(test)]
fn check(node: &mut crate::testing::Node, code: &str, severity: Severity, raw: &str) {
    let mut told = event(EventKind::Mce, code, raw);
    told.severity = severity;
    node.log(told);
}

#[cfg(test)]
const CORE: &str = "mce: [Hardware Error]: CPU 1: Machine Check: 0 Bank 0: b200000000000135\n\
                    mce: [Hardware Error]: PROCESSOR 0:606a6 TIME 1700000000 SOCKET 1 APIC 40";

#[cfg(test)]
const MEMORY: &str = "mce: [Hardware Error]: CPU 2: Machine Check: 0 Bank 13: bc000000000100c0";

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "a quiet log",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "corrected ones",
        expect: Expect::Pass,
        change: |node| check(node, "mce.corrected", Severity::Info, CORE),
    },
    Case {
        name: "an error of a core",
        expect: Expect::Fail,
        change: |node| check(node, "mce.uncorrected", Severity::Critical, CORE),
    },
    Case {
        name: "an error of memory",
        expect: Expect::Pass,
        change: |node| check(node, "mce.uncorrected", Severity::Critical, MEMORY),
    },
    Case {
        name: "a storm",
        expect: Expect::Fail,
        change: |node| {
            let raw = "mce: CMCI storm detected: switching to poll mode";
            check(node, "mce.storm", Severity::Warning, raw);
        },
    },
    Case {
        name: "told by a program",
        expect: Expect::Pass,
        change: |node| {
            check(node, "mce.uncorrected", Severity::Critical, CORE);
            node.snapshot.kernel_log[0].source = cupel_model::LogSource::User;
        },
    },
    Case {
        name: "the log could not be read",
        expect: Expect::Unknown,
        change: |node| node.snapshot.kernel_log_records = cupel_model::Reading::failed("EPERM"),
    },
    Case {
        name: "no kernel log",
        expect: Expect::Skip,
        change: |node| {
            node.snapshot.kernel_log_records = cupel_model::Reading::absent("no /dev/kmsg");
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Node;

    #[test]
    fn one_socket_has_one_finding() {
        let mut node = Node::good();
        check(&mut node, "mce.uncorrected", Severity::Critical, CORE);
        check(&mut node, "mce.deferred", Severity::Warning, CORE);
        check(
            &mut node,
            "mce.storm",
            Severity::Warning,
            "mce: CMCI storm detected",
        );
        let outcome = evaluate(&Context::new(&node.snapshot, None));
        let found: Vec<_> = outcome
            .findings()
            .iter()
            .map(|finding| (finding.component.index, finding.severity))
            .collect();
        let (critical, warning) = (Severity::Critical, Severity::Warning);
        assert_eq!(found, [(None, warning), (Some(1), critical)]);
    }
}
