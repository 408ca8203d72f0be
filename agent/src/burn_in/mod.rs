//! The burn-in as a person starts it: lay the plan on the machine, show it, ask, run, keep the
//! evidence.
//!
//! # Invariants
//! - The result is on disk from the beginning and after each stage, and says of itself that it goes
//!   on; whatever ends the process, what is on disk is never a pass that was not earned.
//! - The machine's counters are read before and after, also when it was cut short.
//!
//! # What is absent
//! No stage: those are `cupel-burnin`'s.

pub mod compare;
pub mod guard;
pub mod keep;
pub mod perform;
pub mod prepare;
pub mod schedule;
pub mod text;
pub mod view;
