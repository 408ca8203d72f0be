//! Burn-in: load that proves itself. Stages, their schedule, their oracles and the verdict.
//!
//! # Invariants
//! - Bits are compared, never tolerances.
//! - Every run plants faults in the data that it tests and does not tell the detector where. A
//!   planted fault that is not found at its word and bit means that the detector is broken, and
//!   then the run fails, whatever else it found.
//! - Short coverage, a failed allocation, a stage that died or was cancelled: incomplete, never
//!   pass.
//! - A limit without a trustworthy source is called uncalibrated; none is invented.
//! - When [`run`] returns, its threads have ended and its memory is given back.
//!
//! # What is absent
//! No GPU stage. No terminal: progress is one stream of [`Progress`] events, and whoever calls
//! prints it. No lease: the caller has one.

mod cpu;
mod fault;
mod memory;
mod plan;
mod progress;
mod result;
mod run;

pub use cpu::Kernel;
pub use fault::{CpuFault, FaultPlan, MemoryFault, MemoryFaultKind};
pub use memory::{Pattern, Phase};
pub use plan::{Plan, PlanError, PlanKind, StageKind, parse_duration, parse_share, parse_stages};
pub use progress::Progress;
pub use result::{
    BurnInResult, BurnInVerdict, Coverage, CpuMismatch, Detector, Floor, Measured, MemoryMismatch,
    Mismatch, Outcome, Persistence, Proof, StageResult, Word,
};
pub use run::{run, run_with_faults};
