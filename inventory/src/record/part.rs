//! Parts: each keeps its record across slots and nodes.

use cupel_model::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FindingRecord;

/// What kind of part.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PartKind {
    /// Chassis of a node.
    Chassis,
    /// Main board of a node.
    Board,
    /// GPU.
    Gpu,
    /// RDMA adapter.
    Rdma,
    /// Network adapter that offers no RDMA.
    Nic,
    /// NVMe drive.
    Nvme,
    /// Memory module.
    Dimm,
}

/// Where a part is or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Placement {
    /// Stable id of the node.
    pub node: String,
    /// Its host name.
    pub hostname: Option<String>,
    /// Slot, as a technician finds it.
    pub slot: Option<String>,
    /// PCI address, last seen.
    pub pci: Option<String>,
    /// Since when, by the node's clock.
    pub from: Timestamp,
    /// Until when; null: it is there now.
    pub until: Option<Timestamp>,
    /// Since when the node no longer sees it, though nothing else is in its place; null while it
    /// does.
    pub missing_since: Option<Timestamp>,
}

/// A part that is in a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartSummary {
    /// What kind.
    pub kind: PartKind,
    /// Serial number.
    pub serial: String,
    /// Product name.
    pub model: Option<String>,
    /// Part number.
    pub part_number: Option<String>,
    /// UUID or GUID.
    pub uuid: Option<String>,
    /// Firmware, last seen.
    pub firmware: Option<String>,
    /// When it was first seen, anywhere.
    pub first_seen: Timestamp,
    /// Where it is, or was last.
    pub place: Option<Placement>,
}

/// One part with its life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartRecord {
    /// What it is, and where.
    #[serde(flatten)]
    pub part: PartSummary,
    /// Where it was, newest first.
    pub placements: Vec<Placement>,
    /// Its findings, newest first, at most 200.
    pub findings: Vec<FindingRecord>,
}

/// All parts with one serial number: makers give each kind its own numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Parts {
    /// By kind.
    pub parts: Vec<PartRecord>,
}
