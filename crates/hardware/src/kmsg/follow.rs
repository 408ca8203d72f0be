//! The log as it grows.

use std::time::Duration;

use crate::error::ReadError;
use crate::root::Root;

/// One record, without the line break at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The kernel's number of it; none where the header is garbage.
    pub sequence: Option<u64>,
    /// Header, text, and the lines with its properties.
    pub bytes: &'a [u8],
}

/// What one step brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Records that were given.
    pub records: u64,
    /// Records that the kernel had overwritten before they could be read.
    pub lost: u64,
    /// The log is another one, from its start: what was read before is no longer in it.
    pub restarted: bool,
    /// A [`Waker`] was used.
    pub woken: bool,
}

/// Ends the waiting of a [`Follower`], from any thread.
#[derive(Clone, Debug)]
pub struct Waker(());

impl Waker {
    /// Ends this or the next waiting.
    pub fn wake(&self) {}
}

/// Follows the log.
pub struct Follower {
    root: Root,
}

impl Follower {
    /// Opens the log. `after` is the sequence number of the last record that was handled in this
    /// boot; without one the log is followed from the oldest record that there is.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn open(root: &Root, after: Option<u64>) -> Result<Self, ReadError> {
        let _ = after;
        Ok(Self { root: root.clone() })
    }

    /// What ends waiting.
    pub fn waker(&self) -> Waker {
        Waker(())
    }

    /// Gives the records that are there, a bounded number of them, oldest first. Where there are
    /// none it waits for some: at most for `limit`, without one until there are or it is woken.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn step(
        &mut self,
        limit: Option<Duration>,
        take: impl FnMut(Record<'_>),
    ) -> Result<Step, ReadError> {
        let _ = (limit, take, &self.root);
        Ok(Step::default())
    }
}
