//! Burn-in: load that proves itself. Stages, their schedule, their oracles and the verdict.
//!
//! # Invariants
//! - Bits are compared, never tolerances.
//! - Every run plants faults in the data that it tests and does not tell the detector where. A
//!   planted fault that is not found at its word and bit means that the detector is broken, and
//!   then the run fails, whatever else it found.
//! - Short coverage, a failed allocation, a stage that died, hung or was cancelled: incomplete or
//!   fail, never pass.
//! - A limit without a trustworthy source is called uncalibrated; none is invented.
//! - Stages that do not disturb each other run at once; the schedule says why each runs when.
//! - When [`run`] returns, the threads of its stages have ended and their memory is given back,
//!   but for those that were given up, which the result names.
//!
//! # What is absent
//! No terminal: progress is one stream of [`Progress`] events, and whoever calls prints it. No
//! lease: the caller has one. No file is written.

mod bandwidth;
mod blocked;
mod counters;
mod cpu;
mod fault;
mod floors;
mod gpu;
mod host;
mod host_watch;
mod memory;
mod nvme;
mod peers;
mod plan;
mod progress;
mod rdma;
mod recorder;
mod resource;
mod result;
mod run;
mod schedule;
mod stage;
mod stage_kind;

pub use blocked::Blocked;
pub use counters::changes;
pub use cpu::Kernel;
pub use fault::{CpuFault, FaultPlan, MemoryFault, MemoryFaultKind};
pub use floors::Floors;
pub use gpu::{GpuMismatch, GpuSet, GpuUnderTest};
pub use host::{Expects, Host};
pub use memory::{Pattern, Phase};
pub use nvme::DriveUnderTest;
pub use peers::{PeerComparison, PeerMember};
pub use plan::{
    Budget, Plan, PlanError, PlanKind, parse_duration, parse_gpus, parse_share, parse_stages,
};
pub use progress::Progress;
pub use rdma::AdapterUnderTest;
pub use resource::{Claim, Resource, Use};
pub use result::{
    BurnInResult, BurnInVerdict, CounterChange, CounterMeaning, Coverage, CpuMismatch, Detector,
    DriveMismatch, FailureClass, Floor, Machine, MachineGpu, Matrix, Measured, MemoryMismatch,
    Mismatch, Outcome, Persistence, Preflight, PreflightState, Proof, Series, StageResult, Word,
};
pub use run::{GRACE, Run, run};
pub use schedule::{Schedule, Slot};
pub use stage::{Sample, Stage, StageSpec, Stopped, Watch};
pub use stage_kind::{StageKind, StageName};
