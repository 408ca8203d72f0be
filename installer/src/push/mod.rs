//! Many nodes at once, from a technician's machine, over the system's `ssh`.
//!
//! ```text
//! RACK.toml -> Rack -> crew of threads -> each node: look, copy, install or upgrade, confirm
//!                                     '-> news -> table, logs, summary
//! ```
//!
//! # Invariants
//! - What is on a node already is not done again: a second push does only what is missing.
//! - Nothing secret is on a command line: files travel over standard input, readable by the user
//!   alone.
//! - One node that hangs or fails delays no other.

mod crew;
mod node;
mod rack;
mod remote;
#[cfg(test)]
mod tests;

pub use crew::{News, push};
pub use node::{Done, Failed, Load, Stage};
pub use rack::{Node, Rack, RackError, parse};
pub use remote::{Remote, RemoteError, Ssh};
