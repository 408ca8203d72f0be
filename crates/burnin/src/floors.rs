//! What measured values are held against: data of the platform, looked up by stage and name.
//!
//! # Invariants
//! - A value without an entry of its own name and unit is uncalibrated; none is derived.

use cupel_model::Platform;
use cupel_model::platform::FloorExpectation;

use crate::result::{Floor, Measured};
use crate::stage_kind::StageKind;

/// The floors of a platform.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Floors(Vec<FloorExpectation>);

impl Floors {
    /// Those of a platform; none where none matches.
    pub fn of(platform: Option<&Platform>) -> Self {
        Self(platform.map_or_else(Vec::new, |platform| platform.floors.clone()))
    }

    /// The floor of a value.
    pub fn find(&self, stage: StageKind, name: &str, unit: &str) -> Floor {
        let entry = self
            .0
            .iter()
            .find(|entry| entry.stage == stage.name() && entry.name == name && entry.unit == unit);
        match entry.map(|entry| (&entry.at_least, &entry.at_most)) {
            Some((Some(limit), _)) => Floor::AtLeast {
                value: limit.value,
                source: limit.source.clone(),
            },
            Some((None, Some(limit))) => Floor::AtMost {
                value: limit.value,
                source: limit.source.clone(),
            },
            Some((None, None)) | None => Floor::Uncalibrated,
        }
    }

    /// The value with its floor.
    pub fn hold(&self, stage: StageKind, measured: Measured) -> Measured {
        let floor = self.find(stage, &measured.name, &measured.unit);
        measured.against(floor)
    }

    /// Entries that no stage will ever look up, because there is no such stage.
    pub fn unknown(&self) -> Vec<&str> {
        self.0
            .iter()
            .map(|entry| entry.stage.as_str())
            .filter(|stage| stage.parse::<StageKind>().is_err())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_model::platform::Sourced;

    #[test]
    fn every_floor_of_a_known_platform_belongs_to_a_stage_and_has_a_source() {
        for platform in cupel_health::platform::embedded() {
            let floors = Floors::of(Some(platform));
            assert!(floors.unknown().is_empty(), "{}", platform.name);
            assert!(!floors.0.is_empty(), "{}", platform.name);
        }
    }

    #[test]
    fn a_floor_is_found_by_stage_name_and_unit() {
        let floors = Floors(vec![FloorExpectation {
            stage: "gpu-links".to_owned(),
            name: "copy, one way".to_owned(),
            unit: "GB/s".to_owned(),
            at_least: Some(Sourced {
                value: 316.0,
                source: "a page".to_owned(),
            }),
            at_most: None,
        }]);
        let found = floors.find(StageKind::GpuLinks, "copy, one way", "GB/s");
        assert!(matches!(found, Floor::AtLeast { value: 316.0, .. }));
        for (stage, name, unit) in [
            (StageKind::GpuMemory, "copy, one way", "GB/s"),
            (StageKind::GpuLinks, "copy", "GB/s"),
            (StageKind::GpuLinks, "copy, one way", "GiB/s"),
        ] {
            assert_eq!(floors.find(stage, name, unit), Floor::Uncalibrated);
        }
        assert!(floors.unknown().is_empty());
    }
}
