//! A file system of this node reported errors, or can no longer be written.
//!
//! # What it checks
//! What the kernel log of this boot tells of errors of ext4, XFS and Btrfs, by device; and, between
//! two samples, whether a file system that was writable is mounted read-only now, which the kernel
//! does to one with errors.
//!
//! # Why it matters
//! Data may be damaged, and what the node writes next is lost: logs, results, container images.
//!
//! # Remedy
//! 1. See in the kernel log whether the drive below it failed first.
//! 2. Move the data away, take the file system out of use and check it (`fsck`, `xfs_repair`).
//! 3. Reboot the node; replace the drive if it is at fault.
//!
//! # Sources
//! - Linux, messages of ext4, XFS and Btrfs; the mount option `errors=remount-ro` of ext4.

use std::collections::BTreeMap;

use cupel_model::snapshot::Filesystem;
use cupel_model::{
    Clears, Component, ComponentKind, Event, Evidence, Impact, Mode, RemedyAction, Urgency,
};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::outcome::Outcome;
use crate::rates::{times, told};
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "filesystem.errors";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Observe,
    window: Window::none("the kernel has reported it"),
    basis: Basis::Log,
    doc: module_doc!("filesystem_errors.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// What is known of one device.
#[derive(Default)]
struct Trouble<'a> {
    events: Vec<(usize, &'a Event)>,
    turned: bool,
}

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let records = &context.snapshot.kernel_log_records;
    outcome.need("kernel log", "records", records, false);
    let mut devices: BTreeMap<String, Trouble<'_>> = BTreeMap::new();
    for (at, event) in told(context, |event| event.code == "filesystem.error") {
        let device = device_of(&event.raw).unwrap_or_default().to_owned();
        devices.entry(device).or_default().events.push((at, event));
    }
    let before = context.snapshot.previous.as_ref();
    for filesystem in context
        .snapshot
        .filesystems
        .iter()
        .filter(|now| now.read_only)
    {
        let was_writable = before.is_some_and(|previous| {
            let mut all = previous.snapshot.filesystems.iter();
            all.any(|then| then.name == filesystem.name && !then.read_only)
        });
        if was_writable {
            outcome.judged();
            let device = short(&filesystem.device).to_owned();
            devices.entry(device).or_default().turned = true;
        }
    }
    for (device, trouble) in devices {
        outcome.uses(trouble.events.iter().map(|(at, _)| *at));
        outcome.find(draft(context, &device, &trouble));
    }
    outcome.not_here("no kernel log");
    outcome
}

/// `nvme0n1p2` of `/dev/nvme0n1p2`.
fn short(device: &str) -> &str {
    device.rsplit('/').next().unwrap_or(device)
}

/// The device in `EXT4-fs error (device nvme0n1p2): …`, `XFS (md0): …`.
fn device_of(raw: &str) -> Option<&str> {
    let (_, rest) = raw.split_once('(')?;
    let (inside, _) = rest.split_once(')')?;
    let name = inside.strip_prefix("device ").unwrap_or(inside);
    // Btrfs adds a state: `device sda1 state EA`.
    name.split_ascii_whitespace().next()
}

fn draft(context: &Context<'_>, device: &str, trouble: &Trouble<'_>) -> Draft {
    let mut all = context.snapshot.filesystems.iter();
    let mounted = all.find(|filesystem: &&Filesystem| short(&filesystem.device) == device);
    let place = match mounted {
        Some(filesystem) => Some(filesystem.name.clone()),
        None if device.is_empty() => None,
        None => Some(device.to_owned()),
    };
    let name = place.as_ref().map_or_else(
        || "A file system that the kernel does not name".to_owned(),
        |place| format!("The file system {place}"),
    );
    let component = Component {
        slot: place,
        ..Component::of(ComponentKind::Filesystem)
    };
    let read_only = mounted.is_some_and(|filesystem| filesystem.read_only);
    let text = if read_only {
        format!("{name} can no longer be written")
    } else {
        format!("{name} reported errors in this boot")
    };
    let first = trouble
        .events
        .iter()
        .filter_map(|(_, e)| e.first.or(e.time));
    let mut draft = Draft::warning(CODE, component, text)
        .impact(Impact::RisksData)
        .urgency(Urgency::AfterJob)
        .clears(Clears::Reboot)
        .since(first.min());
    if trouble.turned {
        draft =
            draft.evidence(Evidence::value("read_only", true).limit(false, "the sample before"));
    }
    if let Some((_, event)) = trouble.events.first() {
        draft = draft
            .evidence(Evidence::value("errors", times(&trouble.events)))
            .evidence(Evidence::value("kernel_log", event.raw.as_str()));
    }
    draft
        .human(
            RemedyAction::RunDiagnostic,
            "See in the kernel log whether the drive below it failed first",
        )
        .human(
            RemedyAction::RebootNode,
            "Move the data away, check the file system, and reboot the node",
        )
        .human(
            RemedyAction::ReplacePart,
            "Replace the drive if it is at fault",
        )
}

#[cfg(test)]
fn root(node: &mut crate::testing::Node, read_only: bool) {
    node.snapshot.filesystems = vec![Filesystem {
        name: "/".to_owned(),
        device: "/dev/nvme0n1p2".to_owned(),
        kind: "ext4".to_owned(),
        read_only,
        total_bytes: cupel_model::Reading::absent("test"),
        free_bytes: cupel_model::Reading::absent("test"),
    }];
}

#[cfg(test)]
fn log(node: &mut crate::testing::Node, raw: &str) {
    let kind = cupel_model::EventKind::Other;
    node.log(crate::memory_errors::told(kind, "filesystem.error", raw));
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "a quiet log",
        expect: Expect::Pass,
        change: |node| root(node, false),
    },
    Case {
        name: "read-only by design",
        expect: Expect::Pass,
        change: |node| {
            root(node, true);
            node.sample();
        },
    },
    Case {
        name: "turned read-only",
        expect: Expect::Fail,
        change: |node| {
            root(node, false);
            node.sample();
            root(node, true);
        },
    },
    Case {
        name: "errors by the log",
        expect: Expect::Fail,
        change: |node| {
            log(
                node,
                "EXT4-fs error (device nvme0n1p2): ext4_lookup:1785: …",
            )
        },
    },
    Case {
        name: "told by a program",
        expect: Expect::Pass,
        change: |node| {
            log(
                node,
                "EXT4-fs error (device nvme0n1p2): ext4_lookup:1785: …",
            );
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
    fn the_finding_names_where_the_device_is_mounted() {
        for (raw, wanted) in [
            ("EXT4-fs error (device nvme0n1p2): ext4_lookup", "/"),
            ("XFS (md0): Corruption detected", "md0"),
            ("BTRFS error (device sda1 state EA): bdev", "sda1"),
        ] {
            let mut node = Node::good();
            root(&mut node, false);
            log(&mut node, raw);
            let outcome = evaluate(&Context::new(&node.snapshot, None));
            let slot = outcome.findings()[0].component.slot.clone();
            assert_eq!(slot.as_deref(), Some(wanted), "{raw}");
        }
    }
}
