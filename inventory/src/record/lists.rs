//! What operators and schedulers poll: deliveries, maintenance, topology.

use cupel_model::{ComponentKind, RemedyAction, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a node was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryReason {
    /// For the first time.
    Fulfilment,
    /// Again, after it had been taken out for repair.
    RmaReturn,
}

/// A node that was handed over to production (CAP03).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Names this delivery for ever.
    pub id: String,
    /// Stable id of the node.
    pub node: String,
    /// Why.
    pub reason: DeliveryReason,
    /// When it was handed over.
    pub handover_at: Timestamp,
    /// When the inventory was told.
    pub recorded_at: Timestamp,
    /// Region of the node.
    pub region: Option<String>,
    /// Account of the node now.
    pub account: Option<String>,
    /// GPUs in it; null when it has told nothing yet.
    pub gpus: Option<u32>,
}

/// A maintenance event: an occurrence of an enforced finding of warning or above (BFX02).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MaintenanceEvent {
    /// Names it for ever.
    pub ticket_id: String,
    /// Since when the condition holds.
    pub opened_at: Timestamp,
    /// When something new was last learnt of it.
    pub updated_at: Timestamp,
    /// When it was cleared; null while it is open.
    pub closed_at: Option<Timestamp>,
    /// Stable id of the node.
    pub node: String,
    /// Stable id of the hardware: serial number of the part, else the node's id.
    pub hardware_id: String,
    /// What kind of part.
    pub hardware_category: ComponentKind,
    /// Stable code of the fault.
    pub fault_code: String,
    /// The fault in one sentence.
    pub fault_description: String,
    /// What is to be done, mildest step first; the first of them.
    pub action_category: RemedyAction,
    /// Account that the node was reserved for when it was opened.
    pub account: Option<String>,
    /// When the node was handed over to production, at that time.
    pub handover_at: Option<Timestamp>,
}

/// The switches above one instance (NET01), as NVIDIA's topograph reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopologyEntry {
    /// Instance id, as the operator set it.
    pub instance_id: String,
    /// Switch ids: core, spine, leaf.
    pub network_node_path: Vec<String>,
    /// NVLink domain, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_id: Option<String>,
}

/// A page of the topology; an empty one is the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Topology {
    /// By node, in the order in which they first reported.
    pub results: Vec<TopologyEntry>,
}
