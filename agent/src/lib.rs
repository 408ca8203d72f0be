//! The agent: command line, configuration, rendering and bring-up; wiring, no logic of the domains.
//!
//! # Invariants
//! - Data goes to standard output, everything else to standard error; only [`output`] and
//!   [`exit`] print.
//! - Every command ends with one of the codes of [`exit::Exit`].
//!
//! # What is absent
//! Reading the machine (`cupel-hardware`), judging it (`cupel-health`), burning it in
//! (`cupel-burnin`) and decoding its kernel log (`cupel-kernel-log`).

pub mod bringup;
pub mod burn_in;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod context;
pub mod exit;
pub mod gather;
pub mod identity;
pub mod install;
mod journal;
mod json;
mod logging;
pub mod metrics;
pub mod output;
pub mod platforms;
pub mod render;
pub mod scrub;
pub mod service;
pub mod snapshot_file;
pub mod state;
pub mod status;
