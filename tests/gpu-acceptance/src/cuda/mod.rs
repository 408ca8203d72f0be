//! The burn-in's worker on a real GPU, beside PyTorch on the same GPU in the same run.

mod jobs;
mod peer;
mod product;
mod table;

pub use jobs::{Options, run};
