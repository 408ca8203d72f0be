//! The judgement of one snapshot: findings, verdict, and what was and was not looked at.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::finding::{Finding, Mode, Severity};
use crate::snapshot::Node;

/// Whether the node is fit. "Could not tell" is never healthy.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything that applies was looked at and is well.
    Healthy,
    /// An enforced warning.
    Degraded,
    /// A required check could not be determined.
    Unknown,
    /// An enforced critical finding.
    Unhealthy,
}

impl Verdict {
    /// Any enforced critical finding: unhealthy; else a required check unknown: unknown; else any
    /// enforced warning: degraded; else healthy.
    pub fn of(findings: &[Finding], required_unknown: bool) -> Self {
        let worst = findings
            .iter()
            .filter(|finding| finding.mode == Mode::Enforce)
            .map(|finding| finding.severity)
            .max();
        match worst {
            Some(Severity::Critical) => Self::Unhealthy,
            _ if required_unknown => Self::Unknown,
            Some(Severity::Warning) => Self::Degraded,
            Some(Severity::Info) | None => Self::Healthy,
        }
    }
}

/// A check that did not come to a judgement, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct NotRun {
    /// The check's code.
    pub check: String,
    /// Why.
    pub reason: String,
}

/// What was and was not looked at. Skipped: not applicable here. Unknown: applies, and could not
/// be determined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// Checks that came to a judgement.
    pub ran: Vec<String>,
    /// Checks that do not apply here.
    pub skipped: Vec<NotRun>,
    /// Checks that apply and could not be determined, for all or some of their parts.
    pub unknown: Vec<NotRun>,
}

/// What `cupel check` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckReport {
    /// Version of this JSON.
    pub schema_version: u32,
    /// Which node.
    pub node: Node,
    /// Name of the matching platform; null when none matches.
    pub platform: Option<String>,
    /// The verdict.
    pub verdict: Verdict,
    /// Worst first.
    pub findings: Vec<Finding>,
    /// What happened and became no finding, folded.
    pub events: Vec<Event>,
    /// What was and was not looked at.
    pub coverage: Coverage,
}

impl CheckReport {
    /// Exit code: 1 when a finding blocks allocation (`strict`: any enforced finding of warning or
    /// above), 3 when the verdict is unknown, else 0.
    pub fn exit_code(&self, strict: bool) -> u8 {
        let blocked = self.findings.iter().any(Finding::blocks_allocation);
        let warned = self
            .findings
            .iter()
            .any(|f| f.severity >= Severity::Warning && f.mode == Mode::Enforce);
        if blocked || (strict && warned) {
            1
        } else if self.verdict == Verdict::Unknown {
            3
        } else {
            0
        }
    }
}
