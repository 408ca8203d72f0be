//! The node has less memory than its memory modules, or its platform, promise.
//!
//! # What it checks
//! That the memory modules add up to the platform's size (modules that are missing altogether are the
//! finding of `memory.dimm-missing`), and that the kernel uses nearly all of what the modules hold.
//!
//! # Why it matters
//! A module of the wrong size, or memory that firmware has mapped out after errors, makes jobs fail for
//! want of memory that the scheduler believes to be there.
//!
//! # Remedy
//! 1. See in the management controller's event log whether firmware mapped memory out.
//! 2. Compare each module's size with the order; replace the wrong or failed one.
//!
//! # Sources
//! - SMBIOS type 17; `MemTotal` of `/proc/meminfo`.
//! - The share that a kernel keeps for itself is unverified: 10 per cent is allowed.

use cupel_model::units::Bytes;
use cupel_model::{Component, Evidence, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "memory.size";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("firmware sets the size once a boot"),
    basis: Basis::State,
    doc: module_doc!("memory_size.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// Share of the modules that the kernel must use, in per cent. It keeps some for itself.
const USED_PERCENT: u128 = 90;

fn evaluate(context: &Context<'_>) -> Outcome {
    let memory = &context.snapshot.memory;
    let mut outcome = Outcome::default();
    let sizes: Vec<u64> = memory
        .dimms
        .iter()
        .filter_map(|dimm| dimm.size_bytes.get())
        .map(Bytes::get)
        .collect();
    let expected = context
        .platform
        .and_then(|platform| platform.memory.as_ref());
    for dimm in memory
        .dimms
        .iter()
        .filter(|dimm| dimm.size_bytes.is_failed())
    {
        outcome.need(&dimm.name, "size", &dimm.size_bytes, true);
    }
    if sizes.is_empty() {
        if expected.is_some() || memory.dimms_source.is_failed() {
            let why = memory.dimms_source.why().unwrap_or("none was found");
            outcome.unknown("memory modules", why);
        } else {
            outcome.not_here("no memory modules are listed");
        }
        return outcome;
    }
    let modules: u64 = sizes.iter().copied().fold(0, u64::saturating_add);
    if let Some(expected) = expected {
        outcome.judged();
        let wanted = expected.total_bytes.value;
        let all_there = u32::try_from(sizes.len()).unwrap_or(u32::MAX) >= expected.dimms.value;
        if all_there && modules < wanted.get() {
            let text = format!(
                "The memory modules hold {} where this platform has {}",
                Bytes(modules).human(),
                wanted.human()
            );
            outcome.find(
                steps(Draft::critical(CODE, Component::node(), text))
                    .capped(&expected.total_bytes)
                    .evidence(
                        Evidence::value("modules", modules)
                            .unit("B")
                            .limit(wanted.get(), expected.total_bytes.source.as_str()),
                    ),
            );
            return outcome;
        }
    }
    let Some(total) = outcome.need("memory", "MemTotal", &memory.total_bytes, true) else {
        return outcome;
    };
    if u128::from(total.get()) * 100 < u128::from(modules) * USED_PERCENT {
        let text = format!(
            "The kernel uses {} of the {} in the memory modules",
            total.human(),
            Bytes(modules).human()
        );
        outcome.find(
            steps(Draft::warning(CODE, Component::node(), text)).evidence(
                Evidence::value("mem_total", total.get()).unit("B").limit(
                    modules / 100 * 90,
                    "90 % of the modules by SMBIOS; the share is unverified",
                ),
            ),
        );
    }
    outcome
}

fn steps(draft: Draft) -> Draft {
    draft
        .human(
            RemedyAction::RunDiagnostic,
            "See in the management controller's event log whether firmware mapped memory out",
        )
        .human(
            RemedyAction::ReplacePart,
            "Compare each module's size (`cupel inspect`) and replace the wrong or failed one",
        )
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "as it should be",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "a smaller module",
        expect: Expect::Fail,
        change: |node| node.snapshot.memory.dimms[3].size_bytes = Bytes(32 << 30).into(),
    },
    Case {
        name: "mapped out by firmware",
        expect: Expect::Fail,
        change: |node| node.snapshot.memory.total_bytes = Bytes(1_900_000_000_000).into(),
    },
    Case {
        name: "a missing module is another check's finding",
        expect: Expect::Pass,
        change: |node| {
            node.snapshot.memory.dimms.remove(0);
            node.snapshot.memory.total_bytes = Bytes(2_100_000_000_000).into();
        },
    },
    Case {
        name: "SMBIOS unreadable",
        expect: Expect::Unknown,
        change: |node| {
            node.snapshot.memory.dimms.clear();
            node.snapshot.memory.dimms_source = cupel_model::Reading::failed("EACCES");
        },
    },
    Case {
        name: "no SMBIOS and no platform",
        expect: Expect::Skip,
        change: |node| {
            node.platform = None;
            node.snapshot.memory.dimms.clear();
            node.snapshot.memory.dimms_source = cupel_model::Reading::absent("no SMBIOS");
        },
    },
];
