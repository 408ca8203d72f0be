//! What was measured: values with floors, series over time, matrices over pairs, counters before
//! and after.
//!
//! # Invariants
//! - Values carry their unit beside them, limits their source; without one: `uncalibrated`.
//! - A series has one point a second, or says how many seconds a point stands for.

use cupel_model::Reading;
use cupel_model::units::{Percent, Seconds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resource::Resource;

/// How much was tested of what was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// What is counted: `processors` or `bytes`.
    pub unit: String,
    /// How many were asked.
    pub asked: u64,
    /// How many were tested from end to end.
    pub covered: u64,
    /// `covered` of `asked`.
    pub percent: Percent,
}

/// What a measured value is held against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Floor {
    /// Nobody published or measured a limit that can be trusted for this machine.
    Uncalibrated,
    /// It must be at least this.
    AtLeast {
        /// The limit.
        value: f64,
        /// Where it comes from; `unverified` when nobody measured it, and then it judges nothing.
        source: String,
    },
    /// It must be at most this.
    AtMost {
        /// The limit.
        value: f64,
        /// Where it comes from; `unverified` when nobody measured it, and then it judges nothing.
        source: String,
    },
}

impl Floor {
    fn source(&self) -> Option<&str> {
        match self {
            Self::Uncalibrated => None,
            Self::AtLeast { source, .. } | Self::AtMost { source, .. } => Some(source),
        }
    }

    /// Whether somebody measured or published it, so that missing it is a failure.
    pub fn is_verified(&self) -> bool {
        self.source()
            .is_some_and(|source| source != cupel_model::platform::UNVERIFIED)
    }
}

/// Something that a stage measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// What, e.g. `verify rate`.
    pub name: String,
    /// Of what, where a stage measures several; null for the stage's own part.
    #[serde(default)]
    pub on: Option<Resource>,
    /// How much.
    pub value: f64,
    /// Of what, e.g. `GB/s`.
    pub unit: String,
    /// What it is held against.
    pub floor: Floor,
    /// What makes its part alike others of the node, e.g. the product's name: then it is compared
    /// with theirs.
    #[serde(default)]
    pub peer_group: Option<String>,
}

impl Measured {
    /// A value for which there is no trustworthy limit.
    pub fn uncalibrated(name: impl Into<String>, value: f64, unit: &str) -> Self {
        Self {
            name: name.into(),
            on: None,
            value: if value.is_finite() { value } else { 0.0 },
            unit: unit.to_owned(),
            floor: Floor::Uncalibrated,
            peer_group: None,
        }
    }

    /// The same, compared with that of other parts of this group.
    #[must_use]
    pub fn among(mut self, group: impl Into<String>) -> Self {
        self.peer_group = Some(group.into());
        self
    }

    /// The same, of one of several parts.
    #[must_use]
    pub fn on(mut self, resource: Resource) -> Self {
        self.on = Some(resource);
        self
    }

    /// The same, held against a floor.
    #[must_use]
    pub fn against(mut self, floor: Floor) -> Self {
        self.floor = floor;
        self
    }

    /// Whether it keeps its floor; `None` without one.
    pub fn holds(&self) -> Option<bool> {
        match self.floor {
            Floor::Uncalibrated => None,
            Floor::AtLeast { value, .. } => Some(self.value >= value),
            Floor::AtMost { value, .. } => Some(self.value <= value),
        }
    }
}

/// A value over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// What, e.g. `power`.
    pub name: String,
    /// Of what.
    pub on: Option<Resource>,
    /// In which unit.
    pub unit: String,
    /// How many seconds a point stands for: 1, or more in a run of many hours.
    pub interval_seconds: Seconds,
    /// Seconds since the run began, and the mean of the interval that begins there.
    pub points: Vec<[f64; 2]>,
}

/// A value for each pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Matrix {
    /// What, e.g. `GPU to GPU, one way, all pairs one after the other`.
    pub name: String,
    /// In which unit.
    pub unit: String,
    /// Names of the rows, e.g. the GPU that sends.
    pub rows: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Row by row; null where there is no pair, or it was not measured.
    pub cells: Vec<Vec<Option<f64>>>,
    /// What every cell is held against.
    pub floor: Floor,
}

/// What a counter tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CounterMeaning {
    /// Errors that error correction repaired.
    EccCorrected,
    /// Errors that it could not repair.
    EccUncorrected,
    /// Rows or pages that were taken out of use.
    Remapped,
    /// Something was sent again or received damaged over a link.
    LinkError,
    /// A driver's or controller's report of an error: XID, media error.
    Reported,
    /// Time or times that something was held down by heat or power.
    Throttled,
    /// Anything else: energy, temperature, data moved.
    Other,
}

/// A counter before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CounterChange {
    /// The source's own name, e.g. `dram-uncorrected`.
    pub name: String,
    /// Of what.
    pub on: Option<Resource>,
    /// The part as a technician finds it, where the source says: a DIMM's label, a link.
    #[serde(default)]
    pub place: Option<String>,
    /// What it tells.
    pub meaning: CounterMeaning,
    /// In which unit; empty for a count.
    pub unit: String,
    /// Before.
    pub before: Reading<f64>,
    /// After.
    pub after: Reading<f64>,
}

impl CounterChange {
    /// By how much it rose; `None` where either reading has no value.
    pub fn rise(&self) -> Option<f64> {
        Some(self.after.value()? - self.before.value()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_hold_both_ways_and_only_with_a_source_do_they_judge() {
        let measured = |floor| Measured::uncalibrated("copy", 10.0, "GB/s").against(floor);
        let at_least = |value, source: &str| Floor::AtLeast {
            value,
            source: source.to_owned(),
        };
        assert_eq!(measured(Floor::Uncalibrated).holds(), None);
        assert_eq!(measured(at_least(10.0, "data sheet")).holds(), Some(true));
        assert_eq!(measured(at_least(10.5, "data sheet")).holds(), Some(false));
        assert!(at_least(1.0, "data sheet").is_verified());
        assert!(!at_least(1.0, "unverified").is_verified());
        let at_most = Floor::AtMost {
            value: 9.0,
            source: "data sheet".to_owned(),
        };
        assert_eq!(measured(at_most).holds(), Some(false));
    }
}
