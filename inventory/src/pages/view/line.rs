//! A node in one line: where it is, how it stands, what is worst.

use cupel_model::wire::{Lifecycle, Tracked};
use cupel_model::{Component, Confidence, Mode, Severity, Timestamp, Verdict};
use serde::{Deserialize, Serialize};

/// How a node stands: what decides its colour, its word and its place in a list. A node has exactly
/// one; the order is from worst to best and is the order of every list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It reports, and its verdict is unhealthy.
    Unhealthy,
    /// It reported before, is late, and nobody said that it would be.
    Silent,
    /// It is expected and has never reported.
    Missing,
    /// It reports, and something that must be known could not be determined.
    Unknown,
    /// It reports, and its verdict is degraded.
    Degraded,
    /// It is silent, or was never seen, and that is expected: stopped in good order, maintenance,
    /// retired.
    Quiet,
    /// It reports, and its verdict is healthy.
    Healthy,
}

impl Standing {
    /// All of them, worst first.
    pub const ALL: [Self; 7] = [
        Self::Unhealthy,
        Self::Silent,
        Self::Missing,
        Self::Unknown,
        Self::Degraded,
        Self::Quiet,
        Self::Healthy,
    ];

    /// How a node stands that reports with this verdict.
    pub fn reporting(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Healthy => Self::Healthy,
            Verdict::Degraded => Self::Degraded,
            Verdict::Unknown => Self::Unknown,
            Verdict::Unhealthy => Self::Unhealthy,
        }
    }

    /// Whether someone must look.
    pub fn is_sick(self) -> bool {
        match self {
            Self::Unhealthy | Self::Silent | Self::Missing | Self::Unknown | Self::Degraded => true,
            Self::Quiet | Self::Healthy => false,
        }
    }
}

/// What was found against what should have arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expectation {
    /// Nobody has told the inventory what should arrive.
    #[default]
    NoList,
    /// It is on the list and as the list says.
    AsExpected,
    /// It reports and is not on the list.
    Unexpected,
    /// It is on the list, and something is other than the list says.
    Mismatched(Vec<Mismatch>),
}

/// One thing that is other than expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What: `platform`, `rack`, …
    pub what: String,
    /// What the list says.
    pub expected: String,
    /// What was found; `None` when nothing was.
    pub found: Option<String>,
}

/// Where a node stands. What is not set is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RackPlace {
    /// Region.
    pub region: Option<String>,
    /// Site.
    pub site: Option<String>,
    /// Row.
    pub row: Option<String>,
    /// Rack.
    pub rack: Option<String>,
}

/// Where in a rack a node stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which rack.
    pub rack: RackPlace,
    /// Lowest unit that it fills, counted from 1 at the bottom.
    pub unit: Option<u32>,
    /// How many units it fills; drawn as one when not known.
    pub height_units: Option<u32>,
}

/// A finding in one line.
#[derive(Clone, Debug, PartialEq)]
pub struct FindingLine {
    /// Stable code.
    pub code: String,
    /// Which part.
    pub component: Component,
    /// How bad.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
    /// Whether it counts for the verdict.
    pub mode: Mode,
    /// One sentence.
    pub summary: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Whether the newest judgement shows it; if not, it waits to be cleared.
    pub observed: bool,
}

impl From<&Tracked> for FindingLine {
    fn from(tracked: &Tracked) -> Self {
        let finding = &tracked.finding;
        Self {
            code: finding.code.clone(),
            component: finding.component.clone(),
            severity: finding.severity,
            confidence: finding.confidence,
            mode: finding.mode,
            summary: finding.summary.clone(),
            since: finding.since,
            observed: tracked.observed,
        }
    }
}

/// A node in one line or one box.
#[derive(Clone, Debug)]
pub struct NodeLine {
    /// Stable id; of a missing node that has none yet, what its page is found by
    /// (`/nodes/{id}`), e.g. its chassis serial.
    pub id: String,
    /// Host name; `None` where it is not known.
    pub hostname: Option<String>,
    /// Chassis serial, found or expected.
    pub serial: Option<String>,
    /// Where it stands.
    pub place: Place,
    /// How it stands.
    pub standing: Standing,
    /// Whether it is on the list of what should arrive, and as it says.
    pub expectation: Expectation,
    /// What the operator wants of it.
    pub lifecycle: Lifecycle,
    /// Whether work runs on it; `None` where nobody said.
    pub in_use: Option<bool>,
    /// Name of the platform, matched or expected.
    pub platform: Option<String>,
    /// The worst finding that is not cleared (enforced ones before observed ones).
    pub worst: Option<FindingLine>,
    /// How many findings there are beside the worst.
    pub more_findings: u32,
    /// When it last reported, by the server's clock.
    pub last_report: Option<Timestamp>,
}
