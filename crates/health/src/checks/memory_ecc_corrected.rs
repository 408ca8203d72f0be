//! A memory module of the host has many errors that were corrected.
//!
//! # What it checks
//! The corrected errors that EDAC counts, by module: since boot as a number a day, and between two
//! samples. A controller's errors that belong to no module count as one.
//!
//! # Why it matters
//! Each costs some time, a storm of them stalls processors; and a module that has many is likely to
//! have one that cannot be corrected.
//!
//! # Remedy
//! 1. Look up the module in the management controller's event log: it knows the socket.
//! 2. At the next maintenance exchange the module with a good one, and see whether the errors follow.
//! 3. Replace the module, or the board if they stay with the socket.
//!
//! # Sources
//! - mcelog's default for corrected errors of a module: ten in 24 hours. It is of 2009; that it holds
//!   for DDR5 is unverified.
//! - Linux, EDAC's `ce_count`.

use cupel_model::snapshot::EdacCounter;
use cupel_model::{Evidence, Impact, Mode, RemedyAction, Urgency};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::memory_errors::{component, name};
use crate::outcome::Outcome;
use crate::rates::{Interval, Moved, a_day, moved, rounded, whole};
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect, trouble};

const CODE: &str = "memory.ecc-corrected";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Observe,
    window: Window::none("it is counted over a day"),
    basis: Basis::State,
    doc: module_doc!("memory_ecc_corrected.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// Corrected errors a day and module (mcelog).
const A_DAY: f64 = 10.0;

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    if let Some(why) = context.problem("edac") {
        outcome.unknown("EDAC", why);
    }
    let interval = Interval::of(context).ok();
    for counter in &context.snapshot.memory.edac {
        judge(context, interval.as_ref(), counter, &mut outcome);
    }
    outcome.not_here("no EDAC driver: corrected errors are not visible");
    outcome
}

fn judge(
    context: &Context<'_>,
    interval: Option<&Interval<'_>>,
    counter: &EdacCounter,
    outcome: &mut Outcome,
) {
    let reading = &counter.corrected;
    let Some(now) = outcome
        .need(&counter.name, "corrected errors", reading, false)
        .copied()
    else {
        return;
    };
    if whole(now.value) < A_DAY {
        return;
    }
    let uptime = &context.snapshot.node.uptime_seconds;
    let Some(uptime) = outcome.need("node", "uptime", uptime, true) else {
        return;
    };
    let since_boot = a_day(now.value, uptime.get());
    let before = interval.and_then(|interval| {
        let mut all = interval.before.memory.edac.iter();
        all.find(|before| before.name == counter.name)?
            .corrected
            .get()
    });
    let burst = match moved(now, before) {
        Moved::By(more) => more,
        Moved::Anew | Moved::Saturated => 0,
    };
    if since_boot < A_DAY && whole(burst) < A_DAY {
        return;
    }
    let label = counter.label.value().unwrap_or(&counter.name);
    let component = component(context, Some(label));
    let name = name(&component);
    let mut draft = Draft::warning(
        CODE,
        component,
        format!("{name} has many errors that were corrected"),
    )
    .impact(Impact::RisksData)
    .urgency(Urgency::NextWindow)
    .evidence(
        Evidence::value("corrected_errors_a_day", rounded(since_boot))
            .unit("1/d")
            .limit(A_DAY, "mcelog"),
    )
    .evidence(Evidence::value("corrected_errors", now.value));
    if burst > 0 {
        draft = draft.evidence(Evidence::value("corrected_errors_between_samples", burst));
    }
    outcome.find(
        draft
            .human(
                RemedyAction::RunDiagnostic,
                "Look up the socket in the management controller's event log",
            )
            .human(
                RemedyAction::Reseat,
                "At the next maintenance exchange the module with a good one; see whether the \
                 errors follow",
            )
            .human(
                RemedyAction::ReplacePart,
                "Replace the module, or the board if the errors stay with the socket",
            ),
    );
}

#[cfg(test)]
fn edac(node: &mut crate::testing::Node, corrected: u64) {
    node.snapshot.memory.edac = vec![EdacCounter {
        name: "mc0/dimm1".to_owned(),
        label: "A02".to_owned().into(),
        corrected: cupel_model::Counter::exact(corrected).into(),
        uncorrected: cupel_model::Counter::exact(0).into(),
    }];
}

#[cfg(test)]
fn up_for(node: &mut crate::testing::Node, days: f64) {
    let uptime = cupel_model::units::Seconds::new(days * 86_400.0);
    node.snapshot.node.uptime_seconds = uptime.expect("finite").into();
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "nine in a day",
        expect: Expect::Pass,
        change: |node| edac(node, 9),
    },
    Case {
        name: "ten within the first hours",
        expect: Expect::Fail,
        change: |node| {
            edac(node, 10);
            up_for(node, 0.1);
        },
    },
    Case {
        name: "fifty in ten days",
        expect: Expect::Pass,
        change: |node| {
            edac(node, 50);
            up_for(node, 10.0);
        },
    },
    Case {
        name: "fifty in ten days, twenty of them now",
        expect: Expect::Fail,
        change: |node| {
            edac(node, 30);
            up_for(node, 10.0);
            node.sample();
            edac(node, 50);
        },
    },
    Case {
        name: "counters that cannot be read",
        expect: Expect::Unknown,
        change: |node| trouble(node, "edac", "/sys/devices/system/edac/mc: EIO"),
    },
    Case {
        name: "no EDAC driver",
        expect: Expect::Skip,
        change: |_| {},
    },
];
