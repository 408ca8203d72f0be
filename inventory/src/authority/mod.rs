//! The inventory as a certificate authority: what gives nodes an identity.
//!
//! # Invariants
//! - The authority's key is in the data directory, for its user alone, and is in no answer and no
//!   log.
//! - Of a signing request the public key alone counts; what stands in a certificate is decided here.
//! - A node's certificate is good for showing who it is, and for nothing else; it signs no other.
//!
//! # What is absent
//! Who may have a certificate: that is the store's and the join token's business. Lists of revoked
//! certificates: the inventory is the only one that is shown them, and looks in its own store.

mod issue;
mod keeper;
mod request;

pub use issue::{Issued, Policy, ServerCertificate};
pub use keeper::{Authority, CERTIFICATE_FILE, KEY_FILE};
pub use request::{NodeKey, RequestError};

use std::path::PathBuf;

/// Why the authority could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file of it.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
    /// A file of it that holds something else.
    #[error("{path} is not what the authority wrote; restore it from a backup")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rcgen::Error,
    },
    /// The certificate is there and the key is not.
    #[error(
        "{certificate} is there without {key}: restore both from a backup, or remove the \
         certificate to begin a new authority, by which every node must be enrolled anew"
    )]
    NoKey {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Key and certificate belong to different authorities.
    #[error("{key} is not the key of {certificate}: restore both from the same backup")]
    OtherKey {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A name that no certificate can be made for.
    #[error("{0:?} is neither a host name nor an address")]
    Name(String),
    /// Nothing can be made for so long, or at such a time.
    #[error("no certificate can be made for this time: look at the clock of this machine")]
    Time,
    /// A certificate or key could not be made.
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}
