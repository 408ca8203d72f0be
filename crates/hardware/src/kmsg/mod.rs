//! The kernel log of this boot: once from end to end ([`for_each`]), or followed ([`Follower`], and
//! with its events [`EventLog`]).
//!
//! # Invariants
//! - Records that the kernel has overwritten are counted and told, never passed over in silence.
//! - Under a root other than `/` the log is a file of raw records, one a line. Gaps in it are no
//!   loss: whoever wrote the file may have left records out.
//! - Following takes constant memory, and each record is read once.
//!
//! # What is absent
//! No meaning: that is `cupel_kernel_log`'s. No earlier boots: those are [`crate::journal`]'s.

mod events;
mod follow;
mod once;
mod tail;
mod wake;

pub use events::{Batch, EventLog, LogStream, QUIET};
pub use follow::{Follower, Record, Step};
pub use once::{Summary, for_each};
pub use wake::Waker;

use std::time::Duration;

const PATH: &str = "/dev/kmsg";

/// Longest record that the kernel writes, with its properties (`PRINTKRB_RECORD_MAX` and before it
/// `CONSOLE_EXT_LOG_MAX` are at most this).
const RECORD_BYTES: usize = 16 * 1024;

/// Sequence number of `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT`.
fn sequence(record: &[u8]) -> Option<u64> {
    number(record, 1)
}

/// Time since boot of such a record.
fn time(record: &[u8]) -> Option<Duration> {
    number(record, 2).map(Duration::from_micros)
}

fn number(record: &[u8], at: usize) -> Option<u64> {
    let header = record.split(|b| *b == b';').next()?;
    let field = header.split(|b| *b == b',').nth(at)?;
    std::str::from_utf8(field).ok()?.parse().ok()
}
