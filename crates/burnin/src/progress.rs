//! One stream of events for as many reporters as there are.

use cupel_model::units::Percent;

use crate::plan::Plan;
use crate::result::{BurnInVerdict, Mismatch, StageResult};
use crate::schedule::Schedule;
use crate::stage::Sample;
use crate::stage_kind::StageName;

/// Something that happened in a burn-in, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// It begins.
    Started {
        /// What it was asked to do.
        plan: Plan,
        /// What runs when.
        schedule: Schedule,
    },
    /// A stage begins.
    StageStarted {
        /// Which.
        stage: StageName,
        /// What it is laid on, e.g. `2 processors` or `11.4 GiB on 1 NUMA node`.
        what: String,
    },
    /// A stage goes on; sent about ten times a second.
    Advanced {
        /// Which.
        stage: StageName,
        /// How far it is.
        done: Percent,
        /// What it does, e.g. `verify inverse, pass 1`.
        doing: String,
    },
    /// A stage measured something.
    Sampled {
        /// Which.
        stage: StageName,
        /// What.
        sample: Sample,
    },
    /// A difference that nobody planted.
    Mismatch {
        /// Which stage found it.
        stage: StageName,
        /// What and where.
        mismatch: Box<Mismatch>,
    },
    /// A stage was given up: it did not end when it was told to.
    GivenUp {
        /// Which.
        stage: StageName,
        /// Why.
        why: String,
    },
    /// A stage ended.
    StageFinished(Box<StageResult>),
    /// It is over.
    Finished {
        /// What came of it.
        verdict: BurnInVerdict,
    },
}
