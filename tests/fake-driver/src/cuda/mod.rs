//! A CUDA driver that runs the GPU worker's own kernels on the processor.
//!
//! The kernels are compiled from the sources that the GPU's images are built from
//! (crates/gpu-worker/kernels), and the emulator stands for what only a GPU has. What is loaded as
//! an image is not looked at: machine code for a GPU never runs here.
//!
//! # Invariants
//! - A launch has ended when its function returns; events happen at once, unless the GPU hangs.
//! - Memory of a GPU is memory of the process between pages that nobody may touch, so that a kernel
//!   that leaves its buffers crashes.

mod emulator;
mod exports;
mod faults;
mod gpus;
mod launch;

pub use emulator::{kernel_layout, kernel_pattern};
