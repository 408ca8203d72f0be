//! Identities of nodes: certificates by which the inventory knows them.

use cupel_model::Timestamp;
use cupel_model::enrolment::KeyProtection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an identity is worth now.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityState {
    /// The node may report with it.
    Active,
    /// Its time is over: the node must be enrolled anew.
    Expired,
    /// The node was enrolled anew, with another key.
    Superseded,
    /// It was taken away.
    Revoked,
}

impl IdentityState {
    /// As it stands in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Revoked => "revoked",
        }
    }
}

/// The identity of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeIdentity {
    /// What it is worth.
    pub state: IdentityState,
    /// What the node's private key is protected by, as the node told.
    pub key_protection: KeyProtection,
    /// When its newest certificate was issued.
    pub issued_at: Timestamp,
    /// Until when that is good.
    pub not_after: Timestamp,
    /// Serial number of the main board that was enrolled, or that a person accepted.
    pub board_serial: Option<String>,
}
