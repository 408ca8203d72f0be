//! What a stage is to the run: a description that is known before it begins, a way to run, and a
//! [`Watch`] through which it is heard and stopped.
//!
//! # Invariants
//! - A stage runs on a thread of its own. It looks at [`Watch::stopped`] at least once a second and
//!   ends soon after: what does not end is given up, its resources count as lost, and the others
//!   go on.
//! - Whatever it did before it was stopped is in its result, which is then incomplete.
//! - Every stage plants faults and looks for them; what compares nothing says so
//!   ([`Detector::None`](crate::Detector::None)).
//!
//! # What is absent
//! No terminal, no file, no lease. A stage does not know which others run.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cupel_model::units::Percent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resource::{Claim, Resource};
use crate::result::{Mismatch, StageResult};
use crate::stage_kind::StageName;

/// What is known of a stage before it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct StageSpec {
    /// Its name, unique in the run.
    pub name: StageName,
    /// What it does to what, for people: `verified arithmetic on 2 processors`.
    pub what: String,
    /// What it is laid on.
    pub claims: Vec<Claim>,
    /// How long it will take.
    pub expected: Duration,
    /// When it is told to stop. What has not ended a while later is given up.
    pub at_most: Duration,
    /// Whether the verdict needs it: what is required and could not be done makes the run
    /// incomplete.
    pub required: bool,
}

/// A part of a burn-in.
pub trait Stage: Send {
    /// What is known of it before it begins.
    fn spec(&self) -> StageSpec;

    /// Runs until it is done or told to stop. The result's name, times, neighbours and series are
    /// filled in by the run.
    fn run(self: Box<Self>, watch: &Watch) -> StageResult;
}

/// Why a stage was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The operator wants to stop.
    Cancelled,
    /// Its time is up.
    TimeUp,
}

/// A measured value at a moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// What, e.g. `power`.
    pub name: String,
    /// Of what.
    pub on: Option<Resource>,
    /// How much.
    pub value: f64,
    /// In which unit, e.g. `W`.
    pub unit: String,
}

/// What a stage tells while it runs.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Advanced { done: Percent, doing: String },
    Sampled(Sample),
    Mismatch(Box<Mismatch>),
    Ended,
}

pub(crate) type Line = (usize, Told);

/// How a stage is heard and stopped. Cheap to clone; threads of the stage may have their own.
#[derive(Clone, Debug)]
pub struct Watch {
    place: usize,
    stop: Arc<AtomicU8>,
    lost: Arc<Mutex<BTreeSet<Resource>>>,
    to: Sender<Line>,
}

const GO_ON: u8 = 0;
const CANCELLED: u8 = 1;
const TIME_UP: u8 = 2;

impl Watch {
    pub(crate) fn new(
        place: usize,
        lost: Arc<Mutex<BTreeSet<Resource>>>,
        to: Sender<Line>,
    ) -> Self {
        Self {
            place,
            stop: Arc::new(AtomicU8::new(GO_ON)),
            lost,
            to,
        }
    }

    /// A watch that nobody listens to, for tests of a single stage.
    pub fn deaf() -> Self {
        let (to, _): (Sender<Line>, Receiver<Line>) = channel();
        Self::new(0, Arc::default(), to)
    }

    /// Tells the stage to stop.
    pub fn stop(&self, why: Stopped) {
        let code = match why {
            Stopped::Cancelled => CANCELLED,
            Stopped::TimeUp => TIME_UP,
        };
        // The first reason stands.
        let _ = self
            .stop
            .compare_exchange(GO_ON, code, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether the stage is to stop, and why.
    pub fn stopped(&self) -> Option<Stopped> {
        match self.stop.load(Ordering::Relaxed) {
            GO_ON => None,
            TIME_UP => Some(Stopped::TimeUp),
            _ => Some(Stopped::Cancelled),
        }
    }

    /// Whether a resource was lost by a stage of this run: leave it alone.
    pub fn is_lost(&self, resource: &Resource) -> bool {
        self.lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(resource)
    }

    /// How far the stage is and what it does; about ten times a second is enough.
    pub fn advance(&self, done: Percent, doing: impl Into<String>) {
        self.tell(Told::Advanced {
            done,
            doing: doing.into(),
        });
    }

    /// A value of now. As often as it is known: the run keeps one a second.
    pub fn sample(&self, name: &str, on: Option<Resource>, value: f64, unit: &str) {
        if value.is_finite() {
            self.tell(Told::Sampled(Sample {
                name: name.to_owned(),
                on,
                value,
                unit: unit.to_owned(),
            }));
        }
    }

    /// A difference that nobody planted, as soon as it is certain. It belongs into the result as
    /// well.
    pub fn mismatch(&self, mismatch: Mismatch) {
        self.tell(Told::Mismatch(Box::new(mismatch)));
    }

    pub(crate) fn ended(&self) {
        self.tell(Told::Ended);
    }

    fn tell(&self, told: Told) {
        // Nobody listens any more when the stage was given up.
        let _ = self.to.send((self.place, told));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_to_stop_stands() {
        let watch = Watch::deaf();
        assert_eq!(watch.stopped(), None);
        watch.stop(Stopped::TimeUp);
        watch.stop(Stopped::Cancelled);
        assert_eq!(watch.clone().stopped(), Some(Stopped::TimeUp));
    }
}
