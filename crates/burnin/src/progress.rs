//! One stream of events for as many reporters as there are.

use cupel_model::units::Percent;

use crate::plan::{Plan, StageKind};
use crate::result::{BurnInVerdict, Mismatch, StageResult};

/// Something that happened in a burn-in, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// It begins.
    Started {
        /// What it was asked to do.
        plan: Plan,
    },
    /// A stage begins.
    StageStarted {
        /// Which.
        stage: StageKind,
        /// What it is laid on, e.g. `2 processors` or `11.4 GiB on 1 NUMA node`.
        what: String,
    },
    /// A stage goes on; sent about ten times a second.
    Advanced {
        /// Which.
        stage: StageKind,
        /// How far it is.
        done: Percent,
        /// What it does, e.g. `verify inverse, pass 1`.
        doing: String,
    },
    /// A difference that nobody planted.
    Mismatch(Box<Mismatch>),
    /// A stage ended.
    StageFinished(Box<StageResult>),
    /// It is over.
    Finished {
        /// What came of it.
        verdict: BurnInVerdict,
    },
}
