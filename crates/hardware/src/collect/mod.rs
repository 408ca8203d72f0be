//! What there is to read, source by source, and how it becomes one snapshot.
//!
//! A [`Machine`] gives a [`Reader`] for each [`Source`]. A reader is read at whatever cadence suits
//! its source and gives [`Fragment`]s; [`Fragments`] holds the newest of each and assembles them
//! into a snapshot. [`collect`] does all of it once.
//!
//! # Invariants
//! - Reading a source ends: at its deadline, or with what GPU workers are given.
//! - A source that is late costs its own readings, which say so; it is also listed as a problem.
//! - What belongs together is joined by PCI address: an adapter's slot and serial are those of its
//!   function.
//!
//! # What is absent
//! No cadence: that is the service's. No memory of earlier fragments beyond what does not change.

mod devices;
mod firmware;
mod fragment;
mod fragments;
mod late;
mod log;
mod machine;
mod once;
mod options;
mod reader;
mod source;

pub use fragment::{Data, Fragment};
pub use fragments::Fragments;
pub use machine::Machine;
pub use once::collect;
pub use options::{CollectOptions, Deadlines};
pub use reader::Reader;
pub use source::Source;
