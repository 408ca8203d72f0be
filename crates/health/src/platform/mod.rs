//! Platform files: reading, recognising, deriving.
//!
//! # Invariants
//! - A bad file is refused with its name, line, key and value; nothing in it is guessed.
//! - Recognition is exact, and two platforms that fit are none.

mod derive;
mod error;
mod matching;
mod parse;
mod write;

pub use derive::{DeriveError, derive};
pub use error::PlatformError;
pub use matching::{Unmatched, matching};
pub use parse::{embedded, parse};
pub use write::to_toml;

/// Version of the file format.
pub const SCHEMA: u32 = 1;
