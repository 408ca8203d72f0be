//! A fleet in a box: an inventory and simulated nodes whose services report to it, as processes.
//!
//! # Invariants
//! - What runs here are the built programs, unchanged; they are told where they are by their own
//!   options, configuration and environment.
//! - Whatever was started ends when its handle is dropped, by its pid.
//! - Everything listens on loopback; everything written is below a directory of the caller's.

mod browser;
mod http;
mod inventory;
mod listen;
pub mod load;
mod node;
mod process;

pub use browser::{Browser, Scheme, chromium};
pub use http::{Answer, Api};
pub use inventory::{Inventory, write_secret};
pub use listen::Heard;
pub use node::{Node, NodeOptions};
pub use process::{Running, built, program};
