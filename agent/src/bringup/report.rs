//! What a bring-up says in the end: `bringup.json`.

use cupel_burnin::BurnInResult;
use cupel_model::snapshot::Node;
use cupel_model::units::Seconds;
use cupel_model::{CheckReport, Snapshot, Timestamp, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The steps of a bring-up, in order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Find out what the machine is.
    Inspect,
    /// Judge it before it is loaded.
    CheckBefore,
    /// Load it and verify every result.
    BurnIn,
    /// Read it anew and judge it after the load.
    CheckAfter,
    /// Say what came of it and write the report.
    Judge,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [
        Self::Inspect,
        Self::CheckBefore,
        Self::BurnIn,
        Self::CheckAfter,
        Self::Judge,
    ];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inspect => "inspect",
            Self::CheckBefore => "check-before",
            Self::BurnIn => "burn-in",
            Self::CheckAfter => "check-after",
            Self::Judge => "judge",
        }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// It was done to its end.
    Done,
    /// It was cut short (killed, cancelled, power lost) and done again later.
    Interrupted,
}

/// One step as it happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepRecord {
    /// Which.
    pub name: Phase,
    /// How it ended.
    pub state: StepState,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, by a clock that never jumps; null when it was interrupted.
    pub elapsed_seconds: Option<Seconds>,
    /// What came of it, in a line.
    pub detail: String,
}

/// What a bring-up says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BringupReport {
    /// Version of this JSON.
    pub schema_version: u32,
    /// Version of the cupel that finished it.
    pub cupel_version: String,
    /// Which machine.
    pub node: Node,
    /// Name of the matching platform; null when none matches.
    pub platform: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// The verdict: the worst of both checks and the burn-in.
    pub verdict: Verdict,
    /// Why it is not healthy, worst first; empty when it is.
    pub reasons: Vec<String>,
    /// Exit code of the command: 0 nothing blocks allocation, 1 something does, 3 unknown.
    pub exit_code: u8,
    /// What was done, in order, interruptions among it.
    pub steps: Vec<StepRecord>,
    /// The machine as it was found.
    pub snapshot: Box<Snapshot>,
    /// Judged before it was loaded.
    pub before: CheckReport,
    /// The burn-in; null when its stages could not be laid on this machine.
    pub burn_in: Option<BurnInResult>,
    /// Judged after it was loaded.
    pub after: CheckReport,
}
