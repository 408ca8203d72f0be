//! The rack in a box: a scenario (a platform and its faults) becomes a root tree, a fake driver
//! library and a kernel log that `cupel` reads like a server.
//!
//! # Invariants
//! - A fault changes a source: a register, a counter, a log line, a return code, a file. Nothing
//!   here knows Cupel's snapshot or its findings.
//! - What comes together on a real machine comes together here: all files are rendered from one
//!   [`Machine`](machine::Machine), so that a GPU off the bus is unreadable on PCI, lost to the
//!   driver, and in the kernel log.
//! - The same scenario gives the same bytes.
//! - Files are replaced atomically, and the kernel log only grows.
//!
//! # What is absent
//! No process is started here, and nothing outside the given directory is written. Serial numbers
//! are made up; the PCI topology of the DGX H100 follows a public Redfish tree, the others are
//! synthetic.

mod driver;
mod fault;
mod machine;
mod rack;
mod scenario;
mod scratch;
mod tree;

pub use driver::hide_symbols;
pub use fault::Fault;
pub use rack::Rack;
pub use scenario::{Expect, Scenario};
pub use scratch::scratch;
