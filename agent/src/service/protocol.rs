//! What is said over the service's Unix socket: one JSON object a line, a question, then answers.
//!
//! # Invariants
//! - A question or answer that is not understood is refused with a sentence, never guessed at.
//! - Whoever may connect may ask; to release the driver or to clear a finding takes root, or whoever
//!   the service runs as, by the credentials that the kernel gives.

use serde::{Deserialize, Serialize};

use cupel_model::Event;
use cupel_model::wire::{BringupSummary, FindingChange};

/// Longest question, in bytes.
pub const QUESTION_BYTES: usize = 64 * 1024;

/// A question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// The state of the service: one `Status`.
    Status {},
    /// The last snapshot.
    Snapshot {},
    /// What happened: the kernel log of this boot, then, with `follow`, all that comes.
    Events {
        /// Go on with what comes.
        follow: bool,
    },
    /// Let go of every driver handle for a while, so that a GPU can be reset.
    Release {
        /// For how long.
        seconds: f64,
    },
    /// Take the driver up again before the time is over.
    Resume {},
    /// A person says that a finding is over.
    Clear {
        /// Which.
        id: String,
        /// Why.
        because: String,
    },
    /// Load the configuration and the identity again.
    Reload {},
    /// A bring-up ended: report it.
    Bringup {
        /// What came of it.
        summary: Box<BringupSummary>,
    },
}

impl Ask {
    /// Whether it changes what the service does.
    pub fn is_control(&self) -> bool {
        match self {
            Self::Release { .. }
            | Self::Resume {}
            | Self::Clear { .. }
            | Self::Reload {}
            | Self::Bringup { .. } => true,
            Self::Status {} | Self::Snapshot {} | Self::Events { .. } => false,
        }
    }
}

/// One line of what happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "happened", rename_all = "kebab-case")]
pub enum Happened {
    /// The kernel log told of something; folded over a short while.
    Event {
        /// What.
        event: Box<Event>,
    },
    /// A finding was raised, confirmed, changed or cleared.
    Finding {
        /// What.
        change: Box<FindingChange>,
    },
    /// The reader was too slow: so many were left out.
    Missed {
        /// How many.
        count: u64,
    },
}

/// An answer that is no document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Done, and what came of it.
    Done(String),
    /// Refused: nothing was changed.
    Refused(String),
    /// The question was not understood.
    Error(String),
}
