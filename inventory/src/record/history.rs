//! What happened to a node, newest first.

use cupel_model::wire::{BringupSummary, ChangeKind, NodeEvent};
use cupel_model::{Component, Severity, Timestamp, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PartKind;

/// Which entries of a history are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HistoryKind {
    /// Findings that were raised, confirmed, changed, cleared.
    Finding,
    /// Verdicts.
    Verdict,
    /// Reboots.
    Boot,
    /// Bring-ups.
    Bringup,
    /// Events of the kernel log.
    Event,
    /// Parts that came and went.
    Part,
    /// What operators set.
    Record,
    /// Farewells.
    Stopping,
    /// What became of its identity.
    Identity,
}

/// What became of a node's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityStep {
    /// It got one; one that it had before is superseded.
    Enrolled,
    /// It was taken away.
    Revoked,
    /// A person accepted the machine as it is.
    Accepted,
}

/// What happened to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PartMove {
    /// It is in this node now.
    Arrived,
    /// It moved to another slot of this node.
    Moved,
    /// Another part is in its place, or it is elsewhere.
    Left,
    /// The node no longer sees it, and nothing else is in its place.
    Missing,
    /// The node sees it again.
    Back,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Happened {
    /// Something happened to a finding.
    Finding {
        /// Which occurrence.
        ticket: String,
        /// What.
        change: ChangeKind,
        /// Why, in a sentence.
        why: String,
        /// Stable code.
        code: String,
        /// Which part.
        component: Box<Component>,
        /// How bad it was after it.
        severity: Severity,
        /// One sentence.
        summary: String,
    },
    /// The verdict changed.
    Verdict {
        /// Before; null when it is the first.
        from: Option<Verdict>,
        /// After.
        to: Verdict,
        /// Why, where the inventory changed it.
        why: Option<String>,
    },
    /// The node runs another boot.
    Boot {
        /// The new boot id.
        boot: String,
        /// The one before; null when it is the first.
        previous: Option<String>,
    },
    /// A bring-up ended.
    Bringup {
        /// What came of it.
        summary: BringupSummary,
    },
    /// The kernel log told something; folded over reports.
    Event {
        /// What.
        event: Box<NodeEvent>,
    },
    /// A part came or went.
    Part {
        /// What kind.
        part: PartKind,
        /// Serial number.
        serial: String,
        /// Product name.
        model: Option<String>,
        /// Slot.
        slot: Option<String>,
        /// What happened to it.
        moved: PartMove,
    },
    /// An operator set something.
    Record {
        /// Name of the token.
        by: String,
        /// Names of the fields, with their values after it.
        set: serde_json::Map<String, serde_json::Value>,
    },
    /// The service ended in good order.
    Stopping {
        /// Why.
        why: String,
    },
    /// Something became of its identity.
    Identity {
        /// What.
        step: IdentityStep,
        /// More, in a sentence.
        why: String,
    },
}

/// One entry of a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryEntry {
    /// When, by the clock of whoever told it.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub happened: Happened,
}

/// One line of the stream of changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Grows; null for what is not kept.
    pub id: Option<i64>,
    /// When, by the server's clock.
    pub at: Timestamp,
    /// Stable id of the node.
    pub node: Option<String>,
    /// Region of the node.
    pub region: Option<String>,
    /// Site of the node.
    pub site: Option<String>,
    /// Row of the node.
    pub row: Option<String>,
    /// Rack of the node.
    pub rack: Option<String>,
    /// What changed.
    pub what: String,
    /// Verdict of the node now.
    pub verdict: Option<Verdict>,
    /// The finding, for events of type `finding`.
    pub finding: Option<ChangedFinding>,
}

/// A finding in the stream of changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangedFinding {
    /// Which condition of which part.
    pub id: String,
    /// Which occurrence.
    pub ticket: String,
    /// Stable code.
    pub code: String,
    /// How bad.
    pub severity: Severity,
    /// One sentence.
    pub summary: String,
}
