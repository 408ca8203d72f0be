//! From the bytes of a request to a report that can be stored: bounded, checked, taken apart.
//!
//! # Invariants
//! - Nothing here needs more memory than its limits say, whatever the bytes are.
//! - A refusal names the place in the JSON and why; nothing of a refused report is kept.
//! - The snapshot goes into the store as it came, so that fields that are not known here stay.
//!
//! # What is absent
//! The store, HTTP, the clock.

mod expand;
mod identity;
mod incoming;
mod parse;
mod parts;
mod scan;

pub use expand::{Encoding, ExpandError, expand};
pub use identity::Identity;
pub use incoming::{Full, Incoming, IncomingBody, Kind, RawChange, RawFinding};
pub use parse::{Refusal, parse};
pub use parts::{SeenPart, digest_of};
pub use scan::{MOST_VALUES, ScanError, scan};
