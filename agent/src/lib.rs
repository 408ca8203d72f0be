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

pub mod cli;
pub mod context;
pub mod exit;
mod logging;
pub mod output;
