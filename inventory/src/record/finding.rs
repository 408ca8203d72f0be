//! Findings as the inventory keeps them: one record for each occurrence.

use cupel_model::Timestamp;
use cupel_model::wire::Tracked;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who made a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FindingSource {
    /// The node, of itself.
    Node,
    /// The inventory, of a node: it is silent, or its identity is where it should not be.
    Inventory,
}

/// One occurrence of a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FindingRecord {
    /// Names this occurrence for ever: the ticket of the maintenance query.
    pub ticket: String,
    /// Stable id of its node.
    pub node: String,
    /// Host name of its node.
    pub hostname: Option<String>,
    /// Who made it.
    pub source: FindingSource,
    /// When the inventory learnt of it.
    pub opened_at: Timestamp,
    /// When the inventory last learnt something new of it.
    pub updated_at: Timestamp,
    /// When it was cleared, by the clock of whoever made it; null while it is open.
    pub closed_at: Option<Timestamp>,
    /// Why it was cleared; null while it is open.
    pub closed_why: Option<String>,
    /// Account that the node was reserved for when it was opened.
    pub account: Option<String>,
    /// The finding as it was last observed.
    pub tracked: Tracked,
}

/// The ticket of an occurrence.
pub fn ticket(key: i64) -> String {
    format!("F{key}")
}
