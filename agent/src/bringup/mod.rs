//! Bring-up: inspect, check, burn in, check again, verdict.

mod report;

pub use report::{BringupReport, Phase, StepRecord, StepState};
