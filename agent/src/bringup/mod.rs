//! Bring-up: inspect, check, burn in, check again, verdict; journaled, so that it goes on where it
//! was cut short.
//!
//! # Invariants
//! - The state machine ([`state`]) is pure; doing ([`drive`]) and judging ([`judge`]) are apart
//!   from it, one file a step.
//! - Whatever kills it, running it again comes to the verdict that it would have come to.
//!
//! # What is absent
//! No GPU burn-in, no firmware step, no signed record yet.

pub mod burn_in;
pub mod check;
pub mod drive;
pub mod inspect;
pub mod journal;
pub mod judge;
pub mod lease;
mod report;
pub mod state;
pub mod text;

#[cfg(test)]
mod tests;

pub use report::{BringupReport, Phase, StepRecord, StepState};
