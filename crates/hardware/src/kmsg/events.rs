//! The events of the log as it grows, with a cursor that can be stored beside them.

use std::time::Duration;

use cupel_model::Event;

use super::follow::{Follower, Record, Waker};
use crate::error::ReadError;
use crate::root::Root;

/// How long nothing must come before a message that may go on counts as whole.
pub const QUIET: Duration = Duration::from_millis(200);

/// Decodes records into events, each with the sequence number of its first record.
pub struct LogStream {}

impl LogStream {
    /// A stream for the log of `root`, after the record `after`.
    pub fn new(root: &Root, after: Option<u64>) -> Self {
        let _ = (root, after);
        Self {}
    }

    /// Takes one record.
    pub fn feed(&mut self, record: Record<'_>, sink: impl FnMut(u64, Event)) {
        let _ = (record, sink);
    }

    /// Hands out what was held back because it might go on: nothing came for [`QUIET`].
    pub fn flush(&mut self, sink: impl FnMut(u64, Event)) {
        let _ = sink;
    }

    /// Whether something is held back.
    pub fn holds(&self) -> bool {
        false
    }

    /// The record after which to go on another time: every event of it and of those before it has
    /// been handed out, and none of a later one.
    pub fn cursor(&self) -> Option<u64> {
        None
    }
}

/// What the log brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Events, each with the sequence number of its first record, in the order of these.
    pub events: Vec<(u64, Event)>,
    /// Where to go on another time, to be stored together with the events.
    pub cursor: Option<u64>,
    /// Records read.
    pub records: u64,
    /// Records that the kernel had overwritten before they could be read.
    pub lost: u64,
    /// The log is another one, from its start.
    pub restarted: bool,
    /// A [`Waker`] was used.
    pub woken: bool,
}

/// Follows the log and decodes it.
pub struct EventLog {
    follower: Follower,
    stream: LogStream,
}

impl EventLog {
    /// Opens the log of this boot. `after` is the cursor that was stored in this boot, if one was.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn open(root: &Root, after: Option<u64>) -> Result<Self, ReadError> {
        Ok(Self {
            follower: Follower::open(root, after)?,
            stream: LogStream::new(root, after),
        })
    }

    /// What ends waiting.
    pub fn waker(&self) -> Waker {
        self.follower.waker()
    }

    /// What came next, a bounded amount of it. Where there is nothing it waits: at most for
    /// `limit`, without one until something comes or it is woken.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn next(&mut self, limit: Option<Duration>) -> Result<Batch, ReadError> {
        let _ = (limit, &self.stream);
        Ok(Batch::default())
    }
}
