//! The life of findings over time: raised, confirmed, changed, cleared.
//!
//! # Invariants
//! - Pure: time comes in as a [`Moment`], what was known before as a [`TrackerState`]. A tracker
//!   that is restored from its state goes on as if it had never ended.
//! - Spans are measured by the time since boot; the wall clock may jump and only dates things.
//! - What is observed is raised at once, as provisional, and confirmed after its check's window. It
//!   is raised once, however its part is called: by serial, slot or address.
//! - What could not be determined clears nothing. A check that is unknown for one of its parts
//!   counts as unknown for all.
//! - A finding is cleared by its own rule, or by an operator, and by nothing else.
//! - Memory is bounded. Findings beyond the bound are counted and stay in the report; they are not
//!   tracked.
//!
//! # What is absent
//! No judgement of the machine (that is `evaluate`), no storing, no sending, no remedies tried.

mod absence;
mod identity;
mod life;
mod matching;
mod moment;
mod parts;
mod settings;
mod tracker;

pub use moment::Moment;
pub use settings::Settings;
pub use tracker::{StateError, Tracker, TrackerState};
