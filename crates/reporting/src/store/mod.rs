//! What is kept over restarts: state, and the spool of reports.

mod change;
mod encode;
mod error;
mod file;
mod memory;
mod numbers;
mod outbox;
mod report_rows;
mod rows;
mod schema;
mod spool;
mod state_rows;
#[cfg(test)]
mod tests;

pub use change::{Change, EventRow, KernelCursor, Remembered, SetAside, WantedDocument};
pub(crate) use error::chain;
pub use error::{CommitError, OpenError};
pub use outbox::{Committed, Opened, Outbox, StartsAt, State, Stats};
pub use spool::{Class, Limits, RefusedReport, Spooled};
