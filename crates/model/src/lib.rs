//! What every part of Cupel speaks: ids, units, readings, snapshots, events, findings, platforms
//! and the worker protocol.
//!
//! # Invariants
//! - The serialised form of every type here is the documented JSON contract; a change of meaning
//!   needs a new [`SCHEMA_VERSION`] and an ADR.
//! - Unknown is never zero: whatever comes from a machine is a [`Reading`].
//! - Collections are lists of objects with a `name` or `index`, sorted by a stable key.
//!
//! # What is absent
//! No I/O, no clock, no async, no logic of a domain. Time comes in as a [`Timestamp`].

pub mod enrolment;
pub mod event;
pub mod finding;
pub mod pci;
pub mod platform;
pub mod reading;
pub mod report;
pub mod shared;
pub mod snapshot;
pub mod time;
pub mod units;
pub mod wire;
pub mod worker;
pub mod worker_burnin;

pub use event::{Event, EventKind, LogSource};
pub use finding::{
    Clears, Component, ComponentKind, Confidence, Evidence, Finding, Impact, Mode, Performer,
    Remedy, RemedyAction, Scope, Severity, Urgency,
};
pub use pci::PciAddress;
pub use platform::Platform;
pub use reading::{Counter, Reading};
pub use report::{CheckReport, Coverage, NotRun, Verdict};
pub use shared::Shared;
pub use snapshot::Snapshot;
pub use time::Timestamp;

/// Version of the JSON that leaves Cupel. Additions are free; a changed meaning raises it.
pub const SCHEMA_VERSION: u32 = 1;
