//! The state machine of a bring-up: pure, so that every way through it can be tested.
//!
//! ```text
//! inspect -> check-before -> burn-in -> check-after -> judge -> finished
//!                              ^  |
//!                              +--+ interrupted: the same step again
//! ```
//!
//! # Invariants
//! - A state holds what the steps before it found, and nothing else is needed to go on: whoever
//!   has the state can finish the bring-up.
//! - [`next`] reads no clock and no machine.

use cupel_burnin::BurnInResult;
use cupel_model::{CheckReport, Snapshot};
use serde::{Deserialize, Serialize};

use super::report::{BringupReport, Phase};

/// Which step is to be done, with all that the steps before it found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum State {
    /// Nothing is known yet.
    Inspect {},
    /// The machine is known.
    CheckBefore {
        /// The machine as it was found.
        snapshot: Box<Snapshot>,
    },
    /// It is judged as it was found.
    BurnIn {
        /// The machine as it was found.
        snapshot: Box<Snapshot>,
        /// Judged before the load.
        before: Box<CheckReport>,
    },
    /// It was loaded.
    CheckAfter {
        /// The machine as it was found.
        snapshot: Box<Snapshot>,
        /// Judged before the load.
        before: Box<CheckReport>,
        /// The load.
        burn_in: BurnIn,
    },
    /// It is judged again.
    Judge {
        /// The machine as it was found.
        snapshot: Box<Snapshot>,
        /// Judged before the load.
        before: Box<CheckReport>,
        /// The load.
        burn_in: BurnIn,
        /// Judged after the load.
        after: Box<CheckReport>,
    },
    /// There is nothing left to do.
    Finished {
        /// What it came to.
        report: Box<BringupReport>,
    },
}

/// What came of the load, or why it could not be laid on the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum BurnIn {
    /// It ran.
    Ran(Box<BurnInResult>),
    /// It could not be started.
    NotRun {
        /// Why.
        why: String,
    },
}

/// What doing a step came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Observed {
    /// [`Phase::Inspect`] found this machine.
    Inspected(Box<Snapshot>),
    /// [`Phase::CheckBefore`] or [`Phase::CheckAfter`] judged it so.
    Checked(Box<CheckReport>),
    /// [`Phase::BurnIn`] ended.
    BurnedIn(BurnIn),
    /// [`Phase::Judge`] wrote this report.
    Judged(Box<BringupReport>),
    /// The operator cut the step short.
    Cancelled,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Go on from this state.
    To(State),
    /// Stop here; the same step is done again next time.
    Stay,
}

impl State {
    /// The step to be done; `None` when there is none left.
    pub fn phase(&self) -> Option<Phase> {
        match self {
            Self::Inspect {} => Some(Phase::Inspect),
            Self::CheckBefore { .. } => Some(Phase::CheckBefore),
            Self::BurnIn { .. } => Some(Phase::BurnIn),
            Self::CheckAfter { .. } => Some(Phase::CheckAfter),
            Self::Judge { .. } => Some(Phase::Judge),
            Self::Finished { .. } => None,
        }
    }

    /// The machine as it was found, once it was.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        match self {
            Self::Inspect {} => None,
            Self::CheckBefore { snapshot }
            | Self::BurnIn { snapshot, .. }
            | Self::CheckAfter { snapshot, .. }
            | Self::Judge { snapshot, .. } => Some(snapshot),
            Self::Finished { report } => Some(&report.snapshot),
        }
    }
}

/// Where a state leads when its step was done. What does not belong to the state leaves it as it
/// is, so that the step is done again.
pub fn next(state: &State, observed: Observed) -> Step {
    match (state.clone(), observed) {
        (State::Inspect {}, Observed::Inspected(snapshot)) => {
            Step::To(State::CheckBefore { snapshot })
        }
        (State::CheckBefore { snapshot }, Observed::Checked(before)) => {
            Step::To(State::BurnIn { snapshot, before })
        }
        (State::BurnIn { snapshot, before }, Observed::BurnedIn(burn_in)) => {
            Step::To(State::CheckAfter {
                snapshot,
                before,
                burn_in,
            })
        }
        (
            State::CheckAfter {
                snapshot,
                before,
                burn_in,
            },
            Observed::Checked(after),
        ) => Step::To(State::Judge {
            snapshot,
            before,
            burn_in,
            after,
        }),
        (State::Judge { .. }, Observed::Judged(report)) => Step::To(State::Finished { report }),
        (
            State::Inspect {}
            | State::CheckBefore { .. }
            | State::BurnIn { .. }
            | State::CheckAfter { .. }
            | State::Judge { .. }
            | State::Finished { .. },
            Observed::Inspected(_)
            | Observed::Checked(_)
            | Observed::BurnedIn(_)
            | Observed::Judged(_)
            | Observed::Cancelled,
        ) => Step::Stay,
    }
}
