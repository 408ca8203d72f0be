//! The kernel log could not be read.
//!
//! # What it checks
//! That the kernel log of this boot could be read. It raises no finding: where the log could not be
//! read the check is unknown, and so is the verdict if nothing worse was found. A machine without
//! GPUs that has no kernel log to read, such as a container, is skipped.
//!
//! # Why it matters
//! XIDs, machine checks and link errors are told there and nowhere else: without the log a node whose
//! GPU failed an hour ago looks well.
//!
//! # Remedy
//! 1. Run as root; in a container give it `/dev/kmsg`.
//!
//! # Sources
//! - Linux, Documentation/ABI/testing/dev-kmsg; `kernel.dmesg_restrict`.

use cupel_model::{Mode, Reading};

use crate::context::Context;
use crate::doc::module_doc;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "kernel-log.unreadable";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("it finds nothing"),
    basis: Basis::State,
    doc: module_doc!("kernel_log_unreadable.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    let records = &context.snapshot.kernel_log_records;
    if let Reading::Absent(why) = records
        && !context.may_have_gpus()
    {
        return Outcome::skipped(why.as_str());
    }
    let mut outcome = Outcome::default();
    outcome.need("kernel log", "records", records, true);
    outcome
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "readable",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "not permitted",
        expect: Expect::Unknown,
        change: |node| node.snapshot.kernel_log_records = Reading::failed("EPERM"),
    },
    Case {
        name: "not there on a GPU node",
        expect: Expect::Unknown,
        change: |node| node.snapshot.kernel_log_records = Reading::absent("no /dev/kmsg"),
    },
    Case {
        name: "not there, and whether there are GPUs is not known",
        expect: Expect::Unknown,
        change: |node| {
            crate::testing::unread_bus(node);
            node.snapshot.kernel_log_records = Reading::absent("no /dev/kmsg");
        },
    },
    Case {
        name: "not there in a container without GPUs",
        expect: Expect::Skip,
        change: |node| {
            node.platform = None;
            node.snapshot.gpus.clear();
            node.snapshot.pci.clear();
            node.snapshot.kernel_log_records = Reading::absent("no /dev/kmsg");
        },
    },
];
