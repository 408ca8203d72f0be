//! RDMA devices and their ports: `/sys/class/infiniband`.
//!
//! # Invariants
//! - Every file of `counters` and `hw_counters` becomes a counter; a counter at the maximum of its
//!   register has saturated.
//! - `N/A (no PMA)` is unsupported, not zero.
//! - Devices are sorted by name, ports by number, counters by name.

mod counters;
mod devices;
pub mod perftest;

pub use counters::{parse as parse_counter, width_of};
pub use devices::{Adapter, collect, names, one};
