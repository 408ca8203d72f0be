//! From a [`Snapshot`] and a [`Platform`] to findings and a verdict.
//!
//! # Invariants
//! - Pure and total: no clock, no file, no network; the same snapshot gives the same report, and no
//!   snapshot makes it panic.
//! - Unknown is never well. A check that applies to this node and could not be determined is listed
//!   under `unknown`, and in mode `enforce` makes the verdict `unknown` where nothing worse does.
//!   A check applies when the platform expects its part or the part is there; that is what
//!   *required* means here.
//! - Each check stands in exactly one list of the coverage: `ran`, `skipped` or `unknown`.
//! - A finding's code is the code of its check. Its evidence says what was held against what, and
//!   where that limit comes from; a limit without a source is at most a warning.
//! - One cause gives one finding: what follows from a lost GPU is not reported a second time.
//!
//! # What is absent
//! No rule language, no text layout. A judgement knows no history beyond what the snapshot carries
//! (the sample before, the parts as last seen in good order); the life of findings over time is in
//! [`track`].
//!
//! [`Snapshot`]: cupel_model::Snapshot
//! [`Platform`]: cupel_model::Platform

mod checks;
mod context;
mod doc;
mod docs;
mod draft;
mod evaluate;
mod explain;
mod gpu_parts;
mod hbm;
mod links;
mod memory_errors;
mod modes;
mod outcome;
pub mod platform;
mod rates;
mod rdma_groups;
pub mod registry;
mod remember;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod track;

pub use docs::docs;
pub use evaluate::evaluate;
pub use explain::{Explanation, XidExplanation, explain};
pub use modes::{Modes, UnknownCheck};
pub use registry::{Basis, CHECKS, Check, Window};
pub use remember::{forget, remember};
