//! What the inventory tells: the shapes of its API, which are also what the store gives.
//!
//! # Invariants
//! - What nobody told is `None` and null in JSON; nothing is guessed.
//! - Additions are free; a changed meaning needs a new version of the API.
//!
//! # What is absent
//! SQL, HTTP, HTML.

mod expected;
mod finding;
mod history;
mod identity;
mod list;
mod lists;
mod node;
mod part;
mod settings;
mod summary;

pub use expected::*;
pub use finding::*;
pub use history::*;
pub use identity::*;
pub use list::*;
pub use lists::*;
pub use node::*;
pub use part::*;
pub use settings::*;
pub use summary::*;
