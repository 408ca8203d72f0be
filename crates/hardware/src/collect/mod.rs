//! The whole machine, once: every source on its own thread and with its own deadline, joined into
//! one snapshot.
//!
//! # Invariants
//! - Collecting ends: after the longest deadline, and what GPU workers are given.
//! - A source that is late costs its own readings, which say so; it is also listed as a problem.
//! - What belongs together is joined by PCI address: an adapter's slot and serial are those of its
//!   function.

mod firmware;
mod late;
mod log;
mod machine;
mod options;

pub use machine::collect;
pub use options::{CollectOptions, Deadlines};
