//! What should arrive, and what did.

use cupel_model::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::settings::NAME;

/// One node that should be there. Fields but the serial may be null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectedEntry {
    /// Serial number of the chassis, as on its label.
    #[schemars(length(min = 1, max = 128), regex(pattern = NAME))]
    pub chassis_serial: String,
    /// Name of the platform.
    #[serde(default)]
    #[schemars(length(min = 1, max = 128), regex(pattern = NAME))]
    pub platform: Option<String>,
    /// Host name.
    #[serde(default)]
    #[schemars(length(min = 1, max = 128), regex(pattern = NAME))]
    pub hostname: Option<String>,
    /// Region.
    #[serde(default)]
    #[schemars(length(min = 1, max = 128), regex(pattern = NAME))]
    pub region: Option<String>,
    /// Site.
    #[serde(default)]
    #[schemars(length(min = 1, max = 128), regex(pattern = NAME))]
    pub site: Option<String>,
    /// Row.
    #[serde(default)]
    #[schemars(length(min = 1, max = 128), regex(pattern = NAME))]
    pub row: Option<String>,
    /// Rack.
    #[serde(default)]
    #[schemars(length(min = 1, max = 128), regex(pattern = NAME))]
    pub rack: Option<String>,
    /// Lowest unit that it fills, counted from 1 at the bottom.
    #[serde(default)]
    #[schemars(range(min = 1, max = 99))]
    pub unit: Option<u32>,
    /// How many units it fills.
    #[serde(default)]
    #[schemars(range(min = 1, max = 99))]
    pub height_units: Option<u32>,
    /// NVLink domain.
    #[serde(default)]
    #[schemars(length(min = 1, max = 128), regex(pattern = NAME))]
    pub nvlink_domain: Option<String>,
    /// Ids of the switches above it: leaf, spine, core.
    #[serde(default)]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 128), regex(pattern = NAME)))]
    pub switch_path: Option<Vec<String>>,
}

/// What became of an entry.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectedState {
    /// No node with this serial has reported.
    Missing,
    /// It has, and is as expected.
    Present,
    /// It has, and something is other than expected.
    Mismatched,
}

/// One thing that is other than expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Name of the field.
    pub field: String,
    /// What the list says.
    pub expected: String,
    /// What was found; null when nothing was.
    pub found: Option<String>,
}

/// An entry and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedRecord {
    /// What became of it.
    pub state: ExpectedState,
    /// Stable id of the node with this serial; null while it is missing.
    pub node: Option<String>,
    /// What is other than expected.
    pub differences: Vec<Difference>,
    /// What the list says.
    pub entry: ExpectedEntry,
}

/// A node that nobody expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnexpectedNode {
    /// Stable id.
    pub node: String,
    /// Host name.
    pub hostname: Option<String>,
    /// Serial number of its chassis.
    pub chassis_serial: Option<String>,
    /// System serial number (service tag).
    pub serial: Option<String>,
    /// When it first reported.
    pub first_seen: Timestamp,
}

/// The list of what should arrive, with what did: a page of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedList {
    /// Grows with every change of the list.
    pub revision: i64,
    /// How many entries there are.
    pub total: u64,
    /// How many of them are missing.
    pub missing: u64,
    /// How many are present and as expected.
    pub present: u64,
    /// How many are present and other than expected.
    pub mismatched: u64,
    /// How many nodes nobody expected.
    pub unexpected: u64,
    /// Entries, in the order of the list.
    pub items: Vec<ExpectedRecord>,
    /// Cursor of the next page of entries; null on the last.
    pub next: Option<super::Cursor>,
    /// Nodes that nobody expected, oldest first, at most 500; only on the first page.
    pub unexpected_nodes: Vec<UnexpectedNode>,
}

/// What a new list did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedChange {
    /// Revision of the list now.
    pub revision: i64,
    /// Entries that are new.
    pub added: u64,
    /// Entries that are other than before.
    pub changed: u64,
    /// Entries that are gone.
    pub removed: u64,
    /// Entries in all.
    pub total: u64,
}

/// How a new list meets the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectedMode {
    /// It is the list from now on; what it does not name is no longer expected.
    #[default]
    Replace,
    /// Its entries are added, or replace those with the same serial; the others stay.
    Merge,
}
