//! PCI functions: who they are, their links, AER counters, and where a technician finds them.
//!
//! # Invariants
//! - A link that says `Unknown` or all ones is a device that is gone: failed, never 255 lanes.
//! - AER files that are not there are absent, not zero: with firmware-first handling the kernel
//!   does not see the errors.
//! - The list is sorted by address.

mod aer;
mod bus;
mod functions;
mod link;
mod slots;
mod vpd;

pub use aer::parse as parse_aer;
pub use bus::{Bus, collect};
pub use functions::{has_nvidia_gpu, upstream_of};
pub use slots::Slots;
pub use vpd::{Vpd, VpdError, parse as parse_vpd};
