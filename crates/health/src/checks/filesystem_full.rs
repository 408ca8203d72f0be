//! A local file system is almost full.
//!
//! # What it checks
//! The room that root has left on each local file system that is written to. A network file system is
//! not asked: it may hang. Small ones (below 1 GiB, as for firmware) are left out.
//!
//! # Why it matters
//! Jobs fail where they write their results, and the node's own logs stop, just when they are needed.
//!
//! # Remedy
//! 1. Find out what fills it: core dumps, container images, logs, left-over scratch data.
//! 2. Delete what nobody needs; set limits for what filled it.
//!
//! # Sources
//! - Linux, `statvfs`.
//! - That 5 % are too few is unverified; it is the share that ext4 keeps back for root.

use cupel_model::units::Bytes;
use cupel_model::{Component, ComponentKind, Evidence, Impact, Mode, RemedyAction, Urgency};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect, trouble};

const CODE: &str = "filesystem.full";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Observe,
    window: Window::seconds(60, "a job may fill it for a moment"),
    basis: Basis::State,
    doc: module_doc!("filesystem_full.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// Share that must be free, in per cent. No published number.
const FREE_PERCENT: u128 = 5;

/// Smaller ones are not judged.
const SMALLEST: Bytes = Bytes(1 << 30);

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    if let Some(why) = context.problem("filesystems") {
        outcome.unknown("file systems", why);
    }
    for filesystem in &context.snapshot.filesystems {
        let name = &filesystem.name;
        if filesystem.read_only {
            outcome.not_here("mounted read-only");
            continue;
        }
        let total = outcome.need(name, "size", &filesystem.total_bytes, false);
        let free = outcome.need(name, "free room", &filesystem.free_bytes, false);
        let (Some(total), Some(free)) = (total, free) else {
            continue;
        };
        let enough = u128::from(free.get()) * 100 >= u128::from(total.get()) * FREE_PERCENT;
        if *total < SMALLEST || enough {
            continue;
        }
        let component = Component {
            slot: Some(name.clone()),
            ..Component::of(ComponentKind::Filesystem)
        };
        let text = format!(
            "The file system {name} is almost full: {} are free",
            free.human()
        );
        outcome.find(
            Draft::warning(CODE, component, text)
                .impact(Impact::RisksData)
                .urgency(Urgency::NextWindow)
                .evidence(Evidence::value("free", free.get()).unit("B").limit(
                    total.get() / 100 * 5,
                    "5 % of its size; the share is unverified",
                ))
                .evidence(Evidence::value("size", total.get()).unit("B"))
                .evidence(Evidence::value("device", filesystem.device.as_str()))
                .human(
                    RemedyAction::RunDiagnostic,
                    format!("Find out what fills {name}, and delete what nobody needs"),
                ),
        );
    }
    outcome.not_here("no local file system whose size is known");
    outcome
}

#[cfg(test)]
fn root(node: &mut crate::testing::Node, total: u64, free: u64) {
    node.snapshot.filesystems = vec![cupel_model::snapshot::Filesystem {
        name: "/".to_owned(),
        device: "/dev/nvme0n1p2".to_owned(),
        kind: "ext4".to_owned(),
        read_only: false,
        total_bytes: Bytes(total).into(),
        free_bytes: Bytes(free).into(),
    }];
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "half full",
        expect: Expect::Pass,
        change: |node| root(node, 400 << 30, 200 << 30),
    },
    Case {
        name: "almost full",
        expect: Expect::Fail,
        change: |node| root(node, 400 << 30, 19 << 30),
    },
    Case {
        name: "a small one",
        expect: Expect::Pass,
        change: |node| root(node, 500 << 20, 1 << 20),
    },
    Case {
        name: "read-only",
        expect: Expect::Skip,
        change: |node| {
            root(node, 400 << 30, 0);
            node.snapshot.filesystems[0].read_only = true;
        },
    },
    Case {
        name: "a network file system",
        expect: Expect::Skip,
        change: |node| {
            root(node, 1, 1);
            node.snapshot.filesystems[0].free_bytes = cupel_model::Reading::unsupported("nfs");
            node.snapshot.filesystems[0].total_bytes = cupel_model::Reading::unsupported("nfs");
        },
    },
    Case {
        name: "the sizes could not be read",
        expect: Expect::Unknown,
        change: |node| {
            root(node, 1, 1);
            node.snapshot.filesystems[0].free_bytes = cupel_model::Reading::failed("timed out");
        },
    },
    Case {
        name: "the mounts could not be read",
        expect: Expect::Unknown,
        change: |node| trouble(node, "filesystems", "/proc/mounts: EIO"),
    },
];
