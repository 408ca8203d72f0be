//! Drives: read in whole or in part, timed, tested by themselves; written only when they are named
//! and nothing uses them.

mod histogram;
mod plan;
mod read;
mod self_test;
#[cfg(test)]
mod tests;
mod write;

pub use plan::DriveUnderTest;
pub(crate) use read::ReadStage;
pub(crate) use write::{Target, WriteStage};
