//! The pages, as pure functions from the values in [`view`] to HTML.
//!
//! # Invariants
//! - No I/O, no clock, no state: the same view gives the same bytes.
//! - Whatever a machine told is escaped, and what steers or reorders text is replaced.
//! - Every state has a symbol and a word; colour only repeats them.
//! - A page with its style sheet and script stays below 100 KB: lists are bounded and say what they
//!   leave out.
//! - What is not known is a word, never an empty cell or a 0.
//!
//! # What is absent
//! Queries, routes, sessions. No foreign code: one style sheet and one script, both here.

mod assets;
mod filters;
mod fleet;
mod heat;
mod href;
mod login;
mod node;
mod nodes;
mod part;
mod problem;
mod rack;
mod search;
mod shell;
mod text;
mod topology;
pub mod view;
mod words;

pub use assets::{Asset, SECURITY_HEADERS, assets};
pub use fleet::fleet;
pub use login::login;
pub use node::node;
pub use part::part;
pub use problem::problem;
pub use rack::rack;
pub use search::search;
