//! An NVMe drive lost data or stopped answering.
//!
//! # What it checks
//! What the kernel log of this boot tells of each drive: media errors, a controller that went down or
//! could not be reset, and three time-outs, resets or I/O errors or more; and, between two samples,
//! whether the drive counted media errors. A drive that the kernel has given up is left to
//! `nvme.critical-warning`.
//!
//! # Why it matters
//! A file could not be read, or work stood still while the drive was reset. A drive that begins with
//! either seldom stops.
//!
//! # Remedy
//! 1. Read the drive's error log and SMART data.
//! 2. Bring the drive's firmware to the baseline; take the drive out, look at its contacts, put it
//!    back.
//! 3. Move the data away and replace the drive, by its slot and serial.
//!
//! # Sources
//! - Linux, messages of its NVMe driver and of the block layer.
//! - NVM Express Base Specification, SMART / Health Information: Media and Data Integrity Errors.
//! - That three time-outs in a boot are too many is unverified.

use std::collections::BTreeMap;

use cupel_model::snapshot::NvmeController;
use cupel_model::{
    Clears, Component, ComponentKind, Event, EventKind, Evidence, Impact, Mode, RemedyAction,
};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::links::named;
use crate::outcome::Outcome;
use crate::rates::{Interval, times, told};
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect, trouble};

const CODE: &str = "nvme.errors";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Observe,
    window: Window::none("the drive or the kernel has reported it"),
    basis: Basis::Log,
    doc: module_doc!("nvme_errors.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// One of these is enough.
const GRAVE: [&str; 3] = [
    "nvme.controller-down",
    "nvme.medium-error",
    "nvme.reset-failed",
];

/// So many of the others. No published number.
const MANY: u64 = 3;

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let records = &context.snapshot.kernel_log_records;
    let mut drives: BTreeMap<String, Vec<(usize, &Event)>> = BTreeMap::new();
    for (at, event) in told(context, |event| event.kind == EventKind::Nvme) {
        if let Some(name) = drive_of(&event.raw) {
            drives.entry(name).or_default().push((at, event));
        }
    }
    let local = |drive: &&NvmeController| drive.pci.get().is_some() || drive.pci.is_failed();
    for drive in context.snapshot.nvme.iter().filter(local) {
        outcome.need("kernel log", "records", records, false);
        let events = drives.remove(&drive.name).unwrap_or_default();
        // A dead one has its finding.
        if drive.state.value().is_none_or(|state| state != "dead") {
            judge(context, drive, &events, &mut outcome);
        }
    }
    // What is no longer listed is told of by the log alone.
    for (name, events) in drives {
        if !context.snapshot.nvme.iter().any(|drive| drive.name == name) {
            find(
                Component::of(ComponentKind::Nvme),
                &name,
                &events,
                0,
                &mut outcome,
            );
        }
    }
    if let Some(why) = context
        .problem("nvme")
        .filter(|_| context.snapshot.nvme.is_empty())
    {
        outcome.unknown("NVMe drives", why);
    }
    outcome.not_here("no NVMe drive");
    outcome
}

fn judge(
    context: &Context<'_>,
    drive: &NvmeController,
    events: &[(usize, &Event)],
    outcome: &mut Outcome,
) {
    let component = Component {
        kind: ComponentKind::Nvme,
        index: None,
        serial: drive.serial.value().cloned(),
        pci: drive.pci.get(),
        slot: drive.slot.value().cloned(),
    };
    let media = |drive: &NvmeController| drive.health.value()?.media_errors.get();
    let before = Interval::of(context).ok().and_then(|interval| {
        let mut drives = interval.before.nvme.iter();
        media(drives.find(|before| before.serial.value() == drive.serial.value())?)
    });
    // A count that went back is a new baseline.
    let grown = match (media(drive), before) {
        (Some(now), Some(before)) => now.saturating_sub(before),
        (Some(_) | None, _) => 0,
    };
    find(component, &drive.name, events, grown, outcome);
}

fn find(
    component: Component,
    name: &str,
    events: &[(usize, &Event)],
    media_errors: u64,
    outcome: &mut Outcome,
) {
    let is_grave = |event: &Event| GRAVE.contains(&event.code.as_str());
    let grave = events.iter().any(|(_, event)| is_grave(event));
    if !grave && media_errors == 0 && times(events) < MANY {
        return;
    }
    outcome.uses(events.iter().map(|(at, _)| *at));
    let name = named("NVMe drive", name, &component);
    let lost = media_errors > 0 || events.iter().any(|(_, e)| e.code == "nvme.medium-error");
    let text = if lost {
        format!("{name} could not read what was written to it")
    } else {
        format!("{name} stopped answering in this boot")
    };
    let first = events.iter().filter_map(|(_, e)| e.first.or(e.time)).min();
    let mut draft = Draft::warning(CODE, component, text)
        .impact(Impact::RisksData)
        .clears(Clears::Reboot)
        .since(first);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, event) in events {
        let count = counts.entry(&event.code).or_default();
        *count = count.saturating_add(event.repeats);
    }
    for (code, count) in counts {
        let evidence = Evidence::value(&format!("{}_count", code.replace(['.', '-'], "_")), count);
        draft = draft.evidence(if GRAVE.contains(&code) {
            evidence.limit(0, "kernel")
        } else {
            evidence.limit(MANY, "unverified")
        });
    }
    if media_errors > 0 {
        draft =
            draft.evidence(Evidence::value("new_media_errors", media_errors).limit(0, "the drive"));
    }
    if let Some((_, event)) = events.first() {
        draft = draft.evidence(Evidence::value("kernel_log", event.raw.as_str()));
    }
    outcome.find(
        draft
            .human(
                RemedyAction::RunDiagnostic,
                format!("Read error log and SMART data of {name}"),
            )
            .human(
                RemedyAction::UpdateFirmware,
                "Bring the drive's firmware to this node's baseline",
            )
            .human(
                RemedyAction::ReplacePart,
                format!("Move the data away and replace {name} if it happens again"),
            ),
    );
}

/// The controller that a message names: `nvme3` of `nvme nvme3: …` and of `… dev nvme3n1, …`.
fn drive_of(raw: &str) -> Option<String> {
    raw.split(|c: char| !c.is_ascii_alphanumeric())
        .find_map(|word| {
            let digits: String = word
                .strip_prefix("nvme")?
                .chars()
                .take_while(char::is_ascii_digit)
                .collect();
            (!digits.is_empty()).then(|| format!("nvme{digits}"))
        })
}

#[cfg(test)]
fn log(node: &mut crate::testing::Node, code: &str, raw: &str, repeats: u64) {
    let mut event = crate::memory_errors::told(EventKind::Nvme, code, raw);
    event.repeats = repeats;
    node.log(event);
}

#[cfg(test)]
fn media_errors(node: &mut crate::testing::Node, count: u64) {
    let health = cupel_model::snapshot::NvmeHealth {
        media_errors: count.into(),
        ..Default::default()
    };
    node.snapshot.nvme[1].health = health.into();
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "a quiet log",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "media errors of long ago",
        expect: Expect::Pass,
        change: |node| {
            media_errors(node, 7);
            node.sample();
        },
    },
    Case {
        name: "a new media error",
        expect: Expect::Fail,
        change: |node| {
            media_errors(node, 7);
            node.sample();
            media_errors(node, 8);
        },
    },
    Case {
        name: "a media error by the log",
        expect: Expect::Fail,
        change: |node| {
            let raw = "critical medium error, dev nvme1n1, sector 1234 op 0x0:(READ)";
            log(node, "nvme.medium-error", raw, 1);
        },
    },
    Case {
        name: "one time-out",
        expect: Expect::Pass,
        change: |node| log(node, "nvme.timeout", "nvme nvme1: I/O 22 QID 5 timeout", 1),
    },
    Case {
        name: "time-outs",
        expect: Expect::Fail,
        change: |node| log(node, "nvme.timeout", "nvme nvme1: I/O 22 QID 5 timeout", 3),
    },
    Case {
        name: "told by a program",
        expect: Expect::Pass,
        change: |node| {
            log(node, "nvme.reset-failed", "nvme nvme1: Device not ready", 1);
            node.snapshot.kernel_log[0].source = cupel_model::LogSource::User;
        },
    },
    Case {
        name: "given up by the kernel",
        expect: Expect::Pass,
        change: |node| {
            log(node, "nvme.reset-failed", "nvme nvme1: Device not ready", 1);
            node.snapshot.nvme[1].state = "dead".to_owned().into();
        },
    },
    Case {
        name: "no longer listed",
        expect: Expect::Fail,
        change: |node| log(node, "nvme.reset-failed", "nvme nvme7: Device not ready", 1),
    },
    Case {
        name: "the log could not be read",
        expect: Expect::Unknown,
        change: |node| node.snapshot.kernel_log_records = cupel_model::Reading::failed("EPERM"),
    },
    Case {
        name: "no drive can be read",
        expect: Expect::Unknown,
        change: |node| {
            node.snapshot.nvme.clear();
            trouble(node, "nvme", "/sys/class/nvme: Permission denied");
        },
    },
    Case {
        name: "no drive",
        expect: Expect::Skip,
        change: |node| node.snapshot.nvme.clear(),
    },
];
