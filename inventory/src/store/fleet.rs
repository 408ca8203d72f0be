//! What lists of the whole fleet are made of: nodes, and entries that no node has come for.

use cupel_model::wire::{Lifecycle, Tracked};
use cupel_model::{Severity, Timestamp};

use crate::record::{Difference, ExpectationState};

/// Where a rack is. What is not set is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RackName {
    /// Region.
    pub region: Option<String>,
    /// Site.
    pub site: Option<String>,
    /// Row.
    pub row: Option<String>,
    /// Rack.
    pub rack: Option<String>,
}

/// Which lines are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetFilter {
    /// Only with these standings; all when it is empty. The numbers are those of
    /// [`crate::derive::standing`].
    pub standings: Vec<i64>,
    /// Also those that are not as expected, whatever their standing; with no standings: only those.
    pub unexpected: bool,
    /// Likewise those of which something is other than expected.
    pub mismatched: bool,
    /// In this region.
    pub region: Option<String>,
    /// At this site.
    pub site: Option<String>,
    /// In this row.
    pub row: Option<String>,
    /// In this rack.
    pub rack: Option<String>,
    /// Only what is in exactly this rack, unset parts of its name included.
    pub exactly: Option<RackName>,
    /// Of this platform.
    pub platform: Option<String>,
    /// With this lifecycle.
    pub lifecycle: Option<Lifecycle>,
    /// With an open finding of this code.
    pub code: Option<String>,
    /// Id, name, serial or instance contains this.
    pub q: Option<String>,
}

/// A node, or an entry that no node has come for, in a line.
#[derive(Clone, Debug)]
pub struct FleetLine {
    /// Stable id; of an entry its chassis serial.
    pub id: String,
    /// Host name, found or expected.
    pub hostname: Option<String>,
    /// Chassis serial, else system serial.
    pub serial: Option<String>,
    /// Where it stands.
    pub rack: RackName,
    /// Lowest unit.
    pub unit: Option<u32>,
    /// How many units.
    pub height_units: Option<u32>,
    /// How it stands: 0 is worst.
    pub standing: i64,
    /// Whether it is on the list.
    pub expectation: ExpectationState,
    /// What is other than expected.
    pub differences: Vec<Difference>,
    /// What the operator wants of it.
    pub lifecycle: Lifecycle,
    /// Whether work runs on it.
    pub in_use: Option<bool>,
    /// Platform, found or expected.
    pub platform: Option<String>,
    /// The worst open finding.
    pub worst: Option<Tracked>,
    /// Open findings.
    pub findings: u32,
    /// When it last reported.
    pub last_report: Option<Timestamp>,
}

/// Lines of one page.
#[derive(Clone, Debug, Default)]
pub struct FleetPage {
    /// Worst first.
    pub lines: Vec<FleetLine>,
    /// How many there are over all pages.
    pub matching: u64,
}

/// How many lines of a rack stand how.
#[derive(Clone, Debug)]
pub struct RackCount {
    /// Which.
    pub rack: RackName,
    /// By standing.
    pub standings: [u32; 7],
    /// Nodes that nobody expected.
    pub unexpected: u32,
    /// Nodes of which something is other than expected.
    pub mismatched: u32,
}

/// How many nodes have an open finding of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeCount {
    /// The code.
    pub code: String,
    /// The worst severity.
    pub severity: Severity,
    /// Nodes.
    pub nodes: u32,
}

/// What can be chosen in filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// Regions.
    pub regions: Vec<String>,
    /// Sites.
    pub sites: Vec<String>,
    /// Platforms.
    pub platforms: Vec<String>,
}
