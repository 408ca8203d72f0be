//! Runs every check of the registry and adds up the verdict.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use cupel_model::report::NotRun;
use cupel_model::{
    CheckReport, Coverage, Finding, Mode, Platform, SCHEMA_VERSION, Snapshot, Verdict,
};

use crate::context::Context;
use crate::modes::Modes;
use crate::outcome::Standing;
use crate::registry::CHECKS;

/// Judges one snapshot against the platform it should be.
///
/// A check in mode `observe` changes no verdict, whether it finds something or cannot be
/// determined. `events` of the report are those of the kernel log that became no finding.
pub fn evaluate(snapshot: &Snapshot, platform: Option<&Platform>, modes: &Modes) -> CheckReport {
    let context = Context::new(snapshot, platform);
    let mut findings: Vec<Finding> = Vec::new();
    let mut coverage = Coverage::default();
    let mut used = BTreeSet::new();
    let mut required_unknown = false;
    for check in CHECKS {
        let mode = modes.of(check);
        let outcome = (check.evaluate)(&context);
        let name = check.code.to_owned();
        match outcome.standing() {
            Standing::Ran => coverage.ran.push(name),
            Standing::Skipped(reason) => coverage.skipped.push(NotRun {
                check: name,
                reason,
            }),
            Standing::Unknown(reason) => {
                required_unknown |= mode == Mode::Enforce;
                coverage.unknown.push(NotRun {
                    check: name,
                    reason,
                });
            }
        }
        let (found, events) = outcome.into_parts();
        used.extend(events);
        findings.extend(found.into_iter().map(|finding| Finding {
            mode: match mode {
                Mode::Enforce => finding.mode,
                Mode::Observe => Mode::Observe,
            },
            ..finding
        }));
    }
    findings.sort_by(worst_first);
    let events = snapshot
        .kernel_log
        .iter()
        .enumerate()
        .filter(|(at, _)| !used.contains(at))
        .map(|(_, event)| event.clone())
        .collect();
    CheckReport {
        schema_version: SCHEMA_VERSION,
        node: snapshot.node.clone(),
        platform: platform.map(|platform| platform.name.clone()),
        verdict: Verdict::of(&findings, required_unknown),
        findings,
        events,
        coverage,
    }
}

/// The order of findings in a report: the worst first, those that count before those that do not.
pub(crate) fn worst_first(a: &Finding, b: &Finding) -> Ordering {
    b.severity
        .cmp(&a.severity)
        .then_with(|| a.mode.cmp(&b.mode))
        .then_with(|| a.code.cmp(&b.code))
        .then_with(|| a.component.cmp(&b.component))
}
