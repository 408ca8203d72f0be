//! The only crate that touches the machine: files, ioctls, D-Bus, commands and GPU workers become
//! a [`Snapshot`](cupel_model::Snapshot).
//!
//! # Invariants
//! - Every file is opened through a [`root::Root`]. Beneath a root other than `/` nothing else is
//!   touched: no file outside it, no command, no ioctl, no D-Bus.
//! - Collection never judges and seldom fails: what cannot be read is a
//!   [`Reading`](cupel_model::Reading) that says why.
//! - Each source has its own thread and deadline; one that hangs costs only its own readings.
//! - Every read has a cap. Parsers of outside bytes are pure functions that never panic.
//!
//! # What is absent
//! No judgement, no platform knowledge, no terminal. No driver library is loaded in this process.

pub mod amx;
pub mod clock;
pub mod collect;
pub mod command;
pub mod cpus;
pub mod deadline;
pub mod drive;
pub mod edac;
pub mod error;
pub mod filesystems;
pub mod gpu;
pub mod guardian;
pub mod host_memory;
pub mod host_sensors;
pub mod hwmon;
pub mod ipmi;
pub mod journal;
pub mod kernel;
pub mod kmsg;
pub mod memory;
pub mod network;
pub mod node;
pub mod nvme;
pub mod nvswitch;
pub mod own;
pub mod pci;
pub mod place;
pub mod processor;
pub mod rdma;
pub mod root;
pub mod services;
pub mod smbios;
pub mod streaming;
pub mod sysfs;
pub mod systemd;
pub mod systemd_hold;
#[cfg(test)]
mod testing;

pub use error::ReadError;
pub use root::Root;
