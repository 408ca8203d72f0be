//! What came of a burn-in: measured, covered, found, proven.

mod burn_in;
mod machine;
mod measured;
mod mismatch;
mod outcome;
mod preflight;
mod stage;
mod word;

pub use burn_in::BurnInResult;
pub(crate) use burn_in::{detector, verdict};
pub use machine::{Machine, MachineGpu};
pub use measured::{CounterChange, CounterMeaning, Coverage, Floor, Matrix, Measured, Series};
pub use mismatch::{CpuMismatch, DriveMismatch, MemoryMismatch, Mismatch, Persistence};
pub use outcome::{BurnInVerdict, Detector, FailureClass, Outcome, Proof};
pub use preflight::{Preflight, PreflightState};
pub use stage::StageResult;
pub use word::Word;
