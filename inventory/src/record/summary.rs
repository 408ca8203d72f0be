//! The fleet in numbers (CAP01, CAP05).

use cupel_model::Verdict;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nodes and the GPUs in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Capacity {
    /// Nodes.
    pub nodes: u64,
    /// GPUs that they last told of.
    pub gpus: u64,
}

/// What a summary is grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// Region.
    Region,
    /// Region and site.
    Site,
    /// Region, site and row.
    Row,
    /// Region, site, row and rack.
    Rack,
    /// NVLink domain.
    NvlinkDomain,
    /// Switch: a node counts under every switch above it.
    Switch,
    /// Account.
    Account,
    /// Platform.
    Platform,
}

/// Nodes by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ByVerdict {
    /// Everything that applies was looked at and is well.
    pub healthy: u64,
    /// An enforced warning.
    pub degraded: u64,
    /// Could not be determined.
    pub unknown: u64,
    /// An enforced critical finding.
    pub unhealthy: u64,
}

/// The numbers of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Numbers {
    /// All nodes that ever reported and are not retired.
    pub all: Capacity,
    /// Handed over to production.
    pub delivered: Capacity,
    /// Of these, with verdict healthy.
    pub healthy: Capacity,
    /// Of these, reserved for an account.
    pub reserved: Capacity,
    /// Of these, with work on them.
    pub in_use: Capacity,
    /// All nodes, by verdict.
    pub verdicts: ByVerdict,
    /// Nodes that are silent although they should not be.
    pub silent: u64,
    /// Findings of severity critical that are open.
    pub critical_findings: u64,
    /// Findings of severity warning that are open.
    pub warning_findings: u64,
    /// The worst verdict among the nodes; null when there are none.
    pub worst: Option<Verdict>,
}

/// What names a group; fields that the grouping does not have are null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupKey {
    /// Region.
    pub region: Option<String>,
    /// Site.
    pub site: Option<String>,
    /// Row.
    pub row: Option<String>,
    /// Rack.
    pub rack: Option<String>,
    /// NVLink domain, switch, account or platform.
    pub name: Option<String>,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// Which; everything null: nodes of which this is not known.
    pub key: GroupKey,
    /// Its numbers.
    pub numbers: Numbers,
}

/// The fleet in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// The whole fleet.
    pub fleet: Numbers,
    /// What the groups are made by; null when none were asked for.
    pub by: Option<By>,
    /// The groups, by name, at most 10,000.
    pub groups: Vec<Group>,
}
