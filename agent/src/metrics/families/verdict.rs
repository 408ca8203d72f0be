//! Verdict, findings and coverage.

use cupel_model::wire::Tracked;
use cupel_model::{Confidence, Mode, Severity, Verdict};

use crate::metrics::family::{Family, Group, Unit};
use crate::metrics::parts::Parts;
use crate::metrics::text::{Sink, labels};
use crate::render::words::word;

const VERDICTS: [Verdict; 4] = [
    Verdict::Healthy,
    Verdict::Degraded,
    Verdict::Unknown,
    Verdict::Unhealthy,
];

const SEVERITIES: [Severity; 3] = [Severity::Critical, Severity::Warning, Severity::Info];

const MODES: [Mode; 2] = [Mode::Enforce, Mode::Observe];

pub(super) const GROUP: Group = Group {
    title: "Verdict and findings",
    source: "health",
    families: &[
        Family::gauge(
            "cupel_verdict",
            Unit::None,
            &["verdict"],
            "1 for the verdict that holds (healthy, degraded, unknown, unhealthy), 0 for the others. Before the first judgement it is unknown.",
            |at, out| {
                let report = at.view.report;
                let holds = report.map_or(Verdict::Unknown, |report| report.verdict);
                for verdict in VERDICTS {
                    let name = word(&verdict);
                    out.put("", &[("verdict", &name)], verdict == holds);
                }
            },
        ),
        Family::gauge(
            "cupel_allocation_blocked",
            Unit::None,
            &[],
            "1 if a confirmed finding forbids giving work to the node, 0 if none does: what the scheduler's hook says.",
            |at, out| out.some("", at.view.report.map(|_| blocked(at.view.tracked))),
        ),
        Family::gauge(
            "cupel_findings",
            Unit::None,
            &["severity", "mode"],
            "Findings that are not cleared, by severity and by mode (enforce counts for the verdict, observe does not).",
            |at, out| {
                for severity in SEVERITIES {
                    for mode in MODES {
                        let count = at
                            .view
                            .tracked
                            .iter()
                            .filter(|t| (t.finding.severity, t.finding.mode) == (severity, mode))
                            .count();
                        let labels = [("severity", &*word(&severity)), ("mode", &*word(&mode))];
                        out.put("", &labels, count);
                    }
                }
            },
        ),
        Family::info(
            "cupel_finding",
            &[
                "id",
                "code",
                "severity",
                "kind",
                "index",
                "slot",
                "serial",
                "pci",
                "confidence",
                "mode",
                "observed",
            ],
            "Always 1: a finding that is not cleared, with the part that it is about. observed is no while it waits for its clear rule.",
            |at, out| at.view.tracked.iter().for_each(|t| finding(t, out)),
        ),
        Family::gauge(
            "cupel_finding_since_timestamp_seconds",
            Unit::Time,
            &["id", "code"],
            "When this occurrence of a finding began, in seconds since 1970-01-01 UTC.",
            |at, out| {
                for tracked in at.view.tracked {
                    out.some(&name(tracked), tracked.finding.since);
                }
            },
        ),
        Family::gauge(
            "cupel_finding_recurrences",
            Unit::None,
            &["id", "code"],
            "How often a finding came back within the last 24 hours, the present occurrence left out.",
            |at, out| {
                for tracked in at.view.tracked {
                    out.put(&name(tracked), &[], u64::from(tracked.flaps));
                }
            },
        ),
        Family::gauge(
            "cupel_checks",
            Unit::None,
            &["result"],
            "Checks by result: ran, skipped (does not apply here), unknown (applies and could not be determined).",
            |at, out| {
                let Some(report) = at.view.report else { return };
                let coverage = &report.coverage;
                out.put("", &[("result", "ran")], coverage.ran.len());
                out.put("", &[("result", "skipped")], coverage.skipped.len());
                out.put("", &[("result", "unknown")], coverage.unknown.len());
            },
        ),
        Family::gauge(
            "cupel_check_unknown",
            Unit::None,
            &["check"],
            "1 if a check that applies here could not be determined, 0 if it ran. A check that does not apply has no sample.",
            check_unknown,
        ),
    ],
};

/// Only what is confirmed, enforced and forbids work counts, as for the hook.
fn blocked(findings: &[Tracked]) -> bool {
    let confirmed = |t: &&Tracked| t.finding.confidence == Confidence::Confirmed;
    let mut confirmed = findings.iter().filter(confirmed);
    confirmed.any(|t| t.finding.blocks_allocation())
}

fn name(tracked: &Tracked) -> String {
    labels(&[("id", &tracked.id), ("code", &tracked.finding.code)])
}

fn finding(tracked: &Tracked, out: &mut Sink) {
    let found = &tracked.finding;
    let part = &found.component;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let index = part.index.map(|index| index.to_string());
    let pci = part.pci.map(|pci| pci.to_string());
    out.one(
        &name(tracked),
        &[
            ("severity", &word(&found.severity)),
            ("kind", &word(&part.kind)),
            ("index", &text(&index)),
            ("slot", &text(&part.slot)),
            ("serial", &text(&part.serial)),
            ("pci", &text(&pci)),
            ("confidence", &word(&found.confidence)),
            ("mode", &word(&found.mode)),
            ("observed", if tracked.observed { "yes" } else { "no" }),
        ],
    );
}

fn check_unknown(at: &Parts<'_>, out: &mut Sink) {
    let Some(report) = at.view.report else { return };
    for check in &report.coverage.ran {
        out.put("", &[("check", check)], false);
    }
    for entry in &report.coverage.unknown {
        out.one("", &[("check", &entry.check)]);
    }
}
