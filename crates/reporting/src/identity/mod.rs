//! The identity of a node: a key that never leaves it, and the certificate that the inventory gave
//! for it.
//!
//! ```text
//! JoinFile, Key -> enrol -> Enrolment -> IdentityDocument -> IdentityDirectory
//!                           renew <- NodeIdentity <---------------/
//! ```
//!
//! # Invariants
//! - The private key leaves memory in one way: into [`IdentityDirectory`], which keeps it for root
//!   alone, plain or sealed. It is in no message, `Debug` included.
//! - After a power cut or a kill at any moment the old identity or the new one is there, whole; a
//!   key that was shown to the inventory is not lost before there is an answer.
//! - An answer is believed only if it is of this node, for this key; and a renewal only if it comes
//!   with the authority that the identity has: another one comes with a join file alone.
//!
//! # What is absent
//! How a key is sealed and opened, which needs a program of the system; and when to renew.

mod ask;
mod directory;
mod document;
mod join;
mod key;
mod place;

pub use ask::{EnrolError, enrol, renew};
pub use directory::{IdentityDirectory, IdentityError, KeyFile, Lock};
pub use document::{IdentityDocument, NodeIdentity, is_same_authority, is_same_inventory};
pub use join::parse_join;
pub use key::{Key, KeyError};
pub use place::ParseError;
