//! The worker burns in fake GPUs: clean ones, and ones with every fault there is.
//!
//! The fake driver runs the worker's own kernels on the processor, so that a fault has to come all
//! the way: from a cell or a product, through the kernel's log, to the right place in the outcome.

mod clean;
mod cuda_results;
mod detection;
mod faults;
mod real_driver;
mod worker;
