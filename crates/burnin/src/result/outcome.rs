//! How a stage and a run ended, and how much is to be believed of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What came of a stage, or of a run. In order: the later, the worse.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// There is no such part here: nothing to test, nothing missed.
    Skipped,
    /// All that was asked was done, every bit was right, and no floor was missed.
    Pass,
    /// The part is there and cannot be tested here, e.g. because a program is not installed.
    Unsupported,
    /// Less was done than was asked, and what was done was right.
    Incomplete,
    /// A bit was wrong, a floor was missed, errors were counted, or the detector is broken.
    Fail,
}

/// What came of the whole run.
pub type BurnInVerdict = Outcome;

/// What kind of failure it is. In order: the later, the worse.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// A measured value is far below those of like parts of the same node.
    BelowPeers,
    /// A measured value missed its floor.
    BelowFloor,
    /// The hardware counted errors that it could not correct.
    ErrorsCounted,
    /// The part hung, was lost, or stopped at its limit.
    Lost,
    /// A planted fault was missed: nothing that was found right is known to be right.
    DetectorBroken,
    /// Data was wrong; error correction noticed something, or there is none to ask.
    DataMismatch,
    /// Data was wrong and the hardware's error correction noticed nothing: the worst there is, for
    /// nothing else would have told.
    SilentDataMismatch,
}

impl FailureClass {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::BelowPeers => "a part is slower than its peers",
            Self::BelowFloor => "a measured value missed its floor",
            Self::ErrorsCounted => "the hardware counted uncorrectable errors",
            Self::Lost => "a part hung or was lost",
            Self::DetectorBroken => "detector broken",
            Self::DataMismatch => "data was wrong",
            Self::SilentDataMismatch => {
                "data was wrong and no error counter moved: silent data corruption"
            }
        }
    }
}

/// Whether the detector has been shown to find what it is there to find. In order: the later, the
/// worse.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Detector {
    /// The stage compares no data: there is nothing to prove.
    None,
    /// Every planted fault was found at its word and bit.
    Proven,
    /// The run ended before faults were planted and looked for.
    NotProven,
    /// A planted fault was missed.
    Broken,
}

/// The planted faults and how many were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proof {
    /// Whether the detector is to be believed.
    pub detector: Detector,
    /// How many faults were planted.
    pub planted: u64,
    /// How many of them were found at their word and bit.
    pub found: u64,
}

impl Proof {
    /// Of a stage that compares no data.
    pub fn none() -> Self {
        Self {
            detector: Detector::None,
            planted: 0,
            found: 0,
        }
    }

    /// `whole`: every planted fault had its chance to be found.
    pub fn of(planted: u64, found: u64, whole: bool) -> Self {
        let detector = if planted == 0 {
            Detector::NotProven
        } else if found == planted {
            Detector::Proven
        } else if whole {
            Detector::Broken
        } else {
            Detector::NotProven
        };
        Self {
            detector,
            planted,
            found,
        }
    }
}
