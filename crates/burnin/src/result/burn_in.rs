//! What came of a burn-in as a whole.

use std::time::Duration;

use cupel_model::units::Seconds;
use cupel_model::{SCHEMA_VERSION, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::measured::CounterChange;
use super::outcome::{BurnInVerdict, Detector, FailureClass, Outcome};
use super::preflight::Preflight;
use super::stage::{StageResult, risen};
use crate::peers::PeerComparison;
use crate::plan::{Plan, seconds};
use crate::run::Run;
use crate::schedule::{Schedule, Slot};

/// What came of a burn-in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BurnInResult {
    /// Version of this JSON.
    pub schema_version: u32,
    /// Which machine it was; null in results of tests.
    #[serde(default)]
    pub machine: Option<Machine>,
    /// Whether it goes on still: a file that says so and whose writer is gone was cut short.
    #[serde(default)]
    pub in_progress: bool,
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
    /// What is known of a run before it begins: incomplete.
    pub fn begun(run: &Run) -> Self {
        let now = Timestamp::from(jiff::Timestamp::now());
        Self {
            schema_version: SCHEMA_VERSION,
            machine: None,
            in_progress: true,
            plan: run.plan.clone(),
            schedule: run.schedule(),
            preflight: run.preflight.clone(),
            started_at: now,
            finished_at: now,
            elapsed_seconds: seconds(Duration::ZERO),
            verdict: Outcome::Incomplete,
            class: None,
            detector: Detector::NotProven,
            cancelled: false,
            stages: Vec::new(),
            counters: Vec::new(),
            peers: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The same with one more stage that has ended.
    pub fn add(&mut self, stage: StageResult) {
        self.stages.push(stage);
        self.class = self.stages.iter().filter_map(|stage| stage.class).max();
        // Incomplete until the run itself says otherwise.
        self.verdict = verdict(&self.stages, false);
        self.detector = detector(&self.stages);
        self.finished_at = Timestamp::from(jiff::Timestamp::now());
        self.elapsed_seconds =
            Seconds::new(self.finished_at.seconds_since(self.started_at).max(0.0))
                .unwrap_or_else(|_| seconds(Duration::ZERO));
    }

    /// The same, cut short: the process that ran it is gone.
    #[must_use]
    pub fn cut_short(mut self, why: &str) -> Self {
        let ended = |slot: &&Slot| !self.stages.iter().any(|stage| stage.name == slot.stage);
        let left: Vec<_> = self
            .schedule
            .slots
            .iter()
            .filter(ended)
            .map(|s| s.stage.to_string())
            .collect();
        self.in_progress = false;
        self.verdict = verdict(&self.stages, false);
        self.notes.push(why.to_owned());
        if !left.is_empty() {
            self.notes
                .push(format!("not run to the end: {}", left.join(", ")));
        }
        self
    }

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
