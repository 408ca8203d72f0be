//! Puts Cupel on a server, exchanges it for another version, and gets back from a bad one.
//!
//! ```text
//! Facts -> Plan (or refusals) -> Applier -> journal, disk, systemd
//!                                   '-> Exchange, in a unit of its own, by the old version
//! ```
//!
//! # Invariants
//! - Planning and doing are different types; a plan leaves nothing to decide.
//! - A power cut at any moment leaves a version that works: tested at every side effect.
//! - Nothing is written of a release before a trusted key's signature over it was verified.
//! - All paths are beneath a root that tests choose; systemd and programs are behind a trait.
//!
//! # What is absent
//! The command line, asking, and the service's protocol: those are the agent's.

pub mod apply;
pub mod contents;
pub mod disk;
pub mod error;
pub mod exchange;
pub mod facts;
pub mod journal;
pub mod layout;
pub mod plan;
pub mod push;
pub mod release;
pub mod system;
#[cfg(test)]
mod tests;
pub mod version;
pub mod watch;
pub mod wish;

pub use apply::{Applier, Lock};
pub use contents::{SystemFiles, Terms};
pub use disk::Disk;
pub use error::InstallError;
pub use exchange::Exchange;
pub use facts::Facts;
pub use journal::Journal;
pub use layout::Layout;
pub use plan::{Plan, Refusals};
#[cfg(test)]
use release::program as whole_program;
pub use release::{Architecture, Release, ReleaseError};
pub use system::{Answer, Live, System};
pub use version::Version;
