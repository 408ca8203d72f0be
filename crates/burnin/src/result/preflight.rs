//! What stages need and whether it is there, looked at before any of them begins.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resource::Resource;
use crate::stage_kind::StageKind;

/// Whether a need is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PreflightState {
    /// It is there.
    Met,
    /// It is not needed here.
    NotNeeded,
    /// It is missing: the stages that need it are not begun.
    Missing,
    /// It could not be told; the stages are tried.
    Unknown,
}

/// One thing that stages need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Preflight {
    /// What, e.g. `fabric-manager`.
    pub name: String,
    /// Of what; null for the whole node.
    pub on: Option<Resource>,
    /// Whether it is met.
    pub state: PreflightState,
    /// What was seen, and what to do where it is missing.
    pub why: String,
    /// Which stages need it.
    pub needed_by: Vec<StageKind>,
}
