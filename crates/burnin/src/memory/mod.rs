//! Patterns over free memory: written, verified, inverted, verified.

mod detector;
mod pattern;
mod planting;
mod shard;
mod stage;
mod worker;

pub(crate) use detector::{Found, verify};
pub use pattern::{Pattern, Phase};
pub(crate) use stage::MemoryStage;
