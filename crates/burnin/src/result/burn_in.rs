//! What came of a burn-in as a whole.

use cupel_model::Timestamp;
use cupel_model::units::Seconds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::measured::CounterChange;
use super::outcome::{BurnInVerdict, Detector, FailureClass, Outcome};
use super::preflight::Preflight;
use super::stage::{StageResult, risen};
use crate::peers::PeerComparison;
use crate::plan::Plan;
use crate::schedule::Schedule;

/// What came of a burn-in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BurnInResult {
    /// Version of this JSON.
    pub schema_version: u32,
    /// What was asked.
    pub plan: Plan,
    /// What ran when, and why.
    #[serde(default)]
    pub schedule: Schedule,
    /// What the stages need, looked at beforehand.
    #[serde(default)]
    pub preflight: Vec<Preflight>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How long it took, by a clock that never jumps.
    pub elapsed_seconds: Seconds,
    /// The worst of the stages that are required.
    pub verdict: BurnInVerdict,
    /// The worst kind of failure; null when nothing failed.
    #[serde(default)]
    pub class: Option<FailureClass>,
    /// Whether the detectors are to be believed: the worst of the stages.
    pub detector: Detector,
    /// Whether it was cancelled.
    pub cancelled: bool,
    /// Its stages, in the order of the schedule.
    pub stages: Vec<StageResult>,
    /// Counters of the whole node before and after.
    #[serde(default)]
    pub counters: Vec<CounterChange>,
    /// Parts that are alike, against each other.
    #[serde(default)]
    pub peers: Vec<PeerComparison>,
    /// What a reader should know about the whole.
    pub notes: Vec<String>,
}

impl BurnInResult {
    /// The same with the node's counters: what the hardware counted as uncorrectable while the
    /// burn-in ran fails it, whichever stage caused it.
    #[must_use]
    pub fn with_counters(mut self, counters: Vec<CounterChange>) -> Self {
        for counter in &counters {
            let Some((said, fails)) = risen(counter) else {
                continue;
            };
            self.notes.push(said);
            if fails {
                self.verdict = Outcome::Fail;
                self.class = self.class.max(Some(FailureClass::ErrorsCounted));
            }
        }
        self.counters = counters;
        self
    }
}

/// The verdict of these stages. Nothing that passed is no pass.
pub(crate) fn verdict(stages: &[StageResult], all_ran: bool) -> BurnInVerdict {
    let worst = stages
        .iter()
        .map(|stage| match stage.outcome {
            Outcome::Fail => Outcome::Fail,
            Outcome::Unsupported | Outcome::Incomplete if stage.required => Outcome::Incomplete,
            Outcome::Incomplete | Outcome::Unsupported | Outcome::Skipped => Outcome::Skipped,
            Outcome::Pass => Outcome::Pass,
        })
        .max()
        .unwrap_or(Outcome::Skipped);
    match worst {
        Outcome::Fail => Outcome::Fail,
        Outcome::Pass if all_ran => Outcome::Pass,
        Outcome::Pass | Outcome::Skipped | Outcome::Unsupported | Outcome::Incomplete => {
            Outcome::Incomplete
        }
    }
}

/// Whether the detectors are to be believed.
pub(crate) fn detector(stages: &[StageResult]) -> Detector {
    stages
        .iter()
        .filter(|stage| stage.outcome != Outcome::Skipped)
        .map(|stage| stage.proof.detector)
        .max()
        .unwrap_or(Detector::NotProven)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage_kind::{StageKind, StageName};

    fn stage(outcome: Outcome, required: bool) -> StageResult {
        StageResult {
            outcome,
            required,
            ..StageResult::new(StageName::only(StageKind::Cpu))
        }
    }

    #[test]
    fn what_is_missing_is_never_a_pass() {
        use Outcome::{Fail, Incomplete, Pass, Skipped, Unsupported};
        for (stages, verdict_wanted) in [
            (vec![(Pass, true)], Pass),
            (vec![(Pass, true), (Skipped, true)], Pass),
            (vec![(Pass, true), (Unsupported, false)], Pass),
            (vec![(Pass, true), (Unsupported, true)], Incomplete),
            (vec![(Pass, true), (Incomplete, true)], Incomplete),
            (vec![(Pass, true), (Incomplete, true), (Fail, true)], Fail),
            (vec![(Pass, true), (Fail, false)], Fail),
            (vec![(Skipped, true)], Incomplete),
            (vec![], Incomplete),
        ] {
            let stages: Vec<_> = stages.into_iter().map(|(o, r)| stage(o, r)).collect();
            assert_eq!(verdict(&stages, true), verdict_wanted, "{stages:?}");
            if verdict_wanted == Pass {
                assert_eq!(verdict(&stages, false), Incomplete);
            }
        }
    }
}
