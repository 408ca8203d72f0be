//! Memory of the host had errors that could not be corrected.
//!
//! # What it checks
//! The uncorrected errors that EDAC has counted since boot, by module; and what the kernel log of
//! this boot tells of them: EDAC, machine checks of memory, firmware-first records (also of the boot
//! before, which such an error may have ended), and pages that the kernel had to give up. What
//! several of these witnesses tell of one module is one finding.
//!
//! # Why it matters
//! Data was lost. The process that used it was killed, or the node went down with it; the module is
//! likely to fail again.
//!
//! # Remedy
//! 1. End the work on the node.
//! 2. Look up the module in the management controller's event log: it knows the socket.
//! 3. Replace the module; test the node's memory before it works again.
//!
//! # Sources
//! - Linux, EDAC's `ue_count`, and the messages of its machine-check and APEI drivers.
//! - mcelog's default for uncorrected errors of a module: one a day.

use std::collections::BTreeMap;

use cupel_model::{Clears, Event, EventKind, Evidence, Impact, Mode, RemedyAction, Severity};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::memory_errors::{component, has_section, is_memory, module, name};
use crate::outcome::Outcome;
use crate::rates::told;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect, trouble};

const CODE: &str = "memory.ecc-uncorrected";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("the memory controller has reported it"),
    basis: Basis::Log,
    doc: module_doc!("memory_ecc_uncorrected.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// What is known of one module, or of one that nobody names.
#[derive(Default)]
struct Errors<'a> {
    counted: u64,
    events: Vec<(usize, &'a Event)>,
}

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut modules: BTreeMap<Option<&str>, Errors<'_>> = BTreeMap::new();
    if let Some(why) = context.problem("edac") {
        outcome.unknown("EDAC", why);
    }
    for counter in &context.snapshot.memory.edac {
        let Some(count) = outcome.need(
            &counter.name,
            "uncorrected errors",
            &counter.uncorrected,
            false,
        ) else {
            continue;
        };
        if count.value > 0 {
            let name = counter.label.value().unwrap_or(&counter.name);
            let errors = modules.entry(Some(name)).or_default();
            errors.counted = errors.counted.saturating_add(count.value);
        }
    }
    let records = &context.snapshot.kernel_log_records;
    outcome.need("kernel log", "records", records, false);
    for (at, event) in told(context, is_told) {
        // Who is not named by the log may be the one that EDAC has counted.
        let named = module(event).or_else(|| match modules.keys().next() {
            Some(only) if modules.len() == 1 => *only,
            Some(_) | None => None,
        });
        modules.entry(named).or_default().events.push((at, event));
    }
    // Events without a name, beside modules with one, tell the same story.
    if modules.len() > 1
        && let Some(nameless) = modules.remove(&None)
    {
        outcome.uses(nameless.events.iter().map(|(at, _)| *at));
    }
    for (label, errors) in modules {
        outcome.uses(errors.events.iter().map(|(at, _)| *at));
        outcome.find(draft(context, label, &errors));
    }
    outcome.not_here("no witness of memory errors: no EDAC driver and no kernel log");
    outcome
}

/// Whether the event tells of uncorrected memory.
fn is_told(event: &Event) -> bool {
    match event.kind {
        EventKind::Edac => event.code == "edac.uncorrected",
        EventKind::Mce => {
            let codes = [
                "mce.fatal",
                "mce.page-lost",
                "mce.page-offlined",
                "mce.process-killed",
                "mce.uncorrected",
            ];
            codes.contains(&event.code.as_str()) && is_memory(event)
        }
        EventKind::Ghes => {
            event.severity >= Severity::Warning && has_section(event, "memory error")
        }
        EventKind::Xid
        | EventKind::Sxid
        | EventKind::OffBus
        | EventKind::Aer
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

fn draft(context: &Context<'_>, label: Option<&str>, errors: &Errors<'_>) -> Draft {
    let component = component(context, label);
    let name = name(&component);
    // A page that was given up before anybody used it cost nothing yet.
    let only_given_up = errors.counted == 0
        && errors
            .events
            .iter()
            .all(|(_, event)| event.code == "mce.page-offlined");
    let before = errors.counted == 0
        && errors
            .events
            .iter()
            .all(|(_, event)| event.code.starts_with("ghes.previous-boot-"));
    let mut draft = if only_given_up {
        let text = format!("{name} has bad pages, which the kernel has taken out of use");
        Draft::warning(CODE, component, text).impact(Impact::RisksData)
    } else if before {
        let text = format!("{name} had uncorrected errors in the boot before this one");
        Draft::critical(CODE, component, text)
    } else {
        let text = format!("{name} had errors in this boot that could not be corrected");
        Draft::critical(CODE, component, text)
    };
    let first = errors.events.iter().filter_map(|(_, e)| e.first.or(e.time));
    draft = draft.clears(Clears::Reboot).since(first.min());
    if errors.counted > 0 {
        draft = draft.evidence(
            Evidence::value("uncorrected_errors", errors.counted).limit(0, "mcelog: one a day"),
        );
    }
    for (_, event) in &errors.events {
        let name = format!("{}_count", event.code.replace(['.', '-'], "_"));
        draft = draft.evidence(Evidence::value(&name, event.repeats));
    }
    if let Some((_, event)) = errors.events.first() {
        draft = draft.evidence(Evidence::value("kernel_log", event.raw.as_str()));
    }
    draft
        .opt_in(
            RemedyAction::Drain,
            "Let running work end and give no new work",
        )
        .human(
            RemedyAction::RunDiagnostic,
            "Look up the socket in the management controller's event log",
        )
        .human(
            RemedyAction::ReplacePart,
            "Replace the module, and test the node's memory before it works again",
        )
}

#[cfg(test)]
use crate::memory_errors::told as event;

#[cfg(test)]
fn edac(node: &mut crate::testing::Node, corrected: u64, uncorrected: u64) {
    node.snapshot
        .memory
        .edac
        .push(cupel_model::snapshot::EdacCounter {
            name: format!("mc0/dimm{}", node.snapshot.memory.edac.len()),
            label: "A02".to_owned().into(),
            corrected: cupel_model::Counter::exact(corrected).into(),
            uncorrected: cupel_model::Counter::exact(uncorrected).into(),
        });
}

#[cfg(test)]
const FATAL: &str = "{1}[Hardware Error]: event severity: fatal\n\
                     {1}[Hardware Error]:   section_type: memory error";

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "nothing counted, nothing told",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "corrected errors",
        expect: Expect::Pass,
        change: |node| {
            edac(node, 400, 0);
            let raw = "EDAC MC0: 1 CE memory read error on A02 (channel:0)";
            node.log(event(EventKind::Edac, "edac.corrected", raw));
        },
    },
    Case {
        name: "an uncorrected error, counted",
        expect: Expect::Fail,
        change: |node| edac(node, 0, 1),
    },
    Case {
        name: "told by EDAC",
        expect: Expect::Fail,
        change: |node| {
            let raw = "EDAC MC0: 1 UE memory read error on A02 (channel:0)";
            node.log(event(EventKind::Edac, "edac.uncorrected", raw));
        },
    },
    Case {
        name: "told by firmware",
        expect: Expect::Fail,
        change: |node| {
            let mut fatal = event(EventKind::Ghes, "ghes.previous-boot-fatal", FATAL);
            fatal.severity = Severity::Critical;
            node.log(fatal);
        },
    },
    Case {
        name: "a page given up",
        expect: Expect::Fail,
        change: |node| {
            let raw = "Memory failure: 0x1234: recovery action for dirty LRU page: Recovered";
            node.log(event(EventKind::Mce, "mce.page-offlined", raw));
        },
    },
    Case {
        name: "a machine check of a processor",
        expect: Expect::Pass,
        change: |node| {
            let raw = "mce: [Hardware Error]: CPU 1: Machine Check: 0 Bank 0: b200000000000135";
            node.log(event(EventKind::Mce, "mce.uncorrected", raw));
        },
    },
    Case {
        name: "told by a program",
        expect: Expect::Pass,
        change: |node| {
            let raw = "EDAC MC0: 1 UE memory read error on A02 (channel:0)";
            let mut forged = event(EventKind::Edac, "edac.uncorrected", raw);
            forged.source = cupel_model::LogSource::User;
            node.log(forged);
        },
    },
    Case {
        name: "counters that cannot be read",
        expect: Expect::Unknown,
        change: |node| trouble(node, "edac", "/sys/devices/system/edac/mc: EIO"),
    },
    Case {
        name: "neither EDAC nor a kernel log",
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
    fn what_several_witnesses_tell_of_one_module_is_one_finding() {
        let mut node = Node::good();
        edac(&mut node, 0, 1);
        let raw = "EDAC MC0: 1 UE memory read error on A02 (channel:0)";
        node.log(event(EventKind::Edac, "edac.uncorrected", raw));
        let raw = "mce: [Hardware Error]: CPU 2: Machine Check: 0 Bank 13: bc000000000100c0";
        node.log(event(EventKind::Mce, "mce.uncorrected", raw));
        let outcome = evaluate(&Context::new(&node.snapshot, None));
        let [finding] = outcome.findings() else {
            panic!("{:#?}", outcome.findings())
        };
        assert_eq!(finding.component.slot.as_deref(), Some("A02"));
        assert_eq!(finding.component.serial.as_deref(), Some("D00001"));
        assert_eq!(finding.severity, Severity::Critical);
        assert_eq!(outcome.clone().into_parts().1.len(), 2);
    }
}
