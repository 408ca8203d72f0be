//! One machine: QEMU, its disk, and what can be done to both.

mod guest;
mod hardware;
mod power;
mod qmp;

pub use guest::{Ran, Started};
pub use hardware::{Drive, Hardware};
pub use power::{Machine, TPM_PROGRAM};
