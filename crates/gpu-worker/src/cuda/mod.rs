//! The CUDA driver: its functions by their symbols, and what they give, owned.
//!
//! # Invariants
//! - The library is loaded by the path that was given. Every symbol is optional; one that is
//!   missing is an error of the call that needs it.
//! - Before each call the board is told its name, so that a hang has one.
//! - What was allocated is given back when it is dropped, unless the driver was abandoned: after a
//!   hang or a lost GPU no destructor calls it again.
//!
//! # What is absent
//! The CUDA runtime, managed memory, graphs. Nothing is called that waits for the GPU: events are
//! asked whether they have happened.

pub mod args;
pub mod codes;
mod context;
pub mod images;
mod library;
mod memory;
mod stream;

pub use context::{Context, Function};
pub use library::{Cuda, CudaError};
pub use memory::{DeviceMemory, PinnedMemory};
pub use stream::{Event, Stream};
