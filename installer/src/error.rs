//! What can go wrong while installing.

use std::io;
use std::path::PathBuf;

use crate::system::SystemError;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The disk.
    #[error("cannot {what} {}", path.display())]
    Disk {
        /// What was being done.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A test cut the power.
    #[error("the power was cut before: {0}")]
    PowerCut(String),
    /// systemd, or a program that was run.
    #[error("{what}")]
    System {
        /// What was being done.
        what: String,
        /// Why not.
        #[source]
        source: SystemError,
    },
    /// Somebody else is at it.
    #[error("another install, upgrade or uninstall is under way")]
    Locked,
    /// The journal is none.
    #[error("the journal {} cannot be used: {why}", path.display())]
    Journal {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A version that is not whole.
    #[error("version {version} is not whole: {why}")]
    NotWhole {
        /// Which.
        version: String,
        /// What is missing or different.
        why: String,
    },
    /// The new version does not prove itself.
    #[error("the new version does not pass its self-test: {0}")]
    SelfTest(String),
    /// It is a version, and not one that is wanted.
    #[error("{0}")]
    Unwanted(String),
    /// The service does not come up.
    #[error("the service did not become healthy: {0}")]
    Unhealthy(String),
    /// It failed, and nothing is left of the attempt but configuration.
    #[error("it failed, and everything was put back")]
    PutBack(#[source] Box<InstallError>),
}
