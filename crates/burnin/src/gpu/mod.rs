//! GPU stages: patterns over memory, verified arithmetic, power, links. Each runs in a GPU worker,
//! a process of its own, and is judged here.
//!
//! # Invariants
//! - One worker a GPU and job. A GPU that hangs costs its own stages; the others run on.
//! - A worker's word is taken for what was found, never for a verdict.

mod compute;
mod job;
mod links;
mod memory;
mod mismatch;
mod power;
mod preflight;
mod set;

pub use mismatch::GpuMismatch;
pub use set::{GpuSet, GpuUnderTest};
