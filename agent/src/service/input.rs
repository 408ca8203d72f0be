//! What comes to the engine, from everywhere, in one queue.
//!
//! # Invariants
//! - The queue is bounded: a storm of log lines waits at its source, it does not grow here.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use cupel_hardware::collect::Fragment;
use cupel_hardware::journal::EarlierBoots;
use cupel_hardware::kmsg::Batch;
use cupel_model::Reading;
use cupel_model::snapshot::GpuEvent;
use tokio::sync::oneshot;

use super::protocol::{Ask, Reply};

/// Most inputs that wait.
const WAITING: usize = 256;

/// One thing that came.
#[derive(Debug)]
pub enum Input {
    /// A source was read.
    Read {
        /// What it gave.
        fragment: Box<Fragment>,
        /// How long reading took.
        took: Duration,
    },
    /// The kernel log brought something.
    Log(Batch),
    /// The kernel log cannot be read.
    LogUnreadable(Reading<u64>),
    /// What the driver told while it was watched.
    GpuEvents(Reading<Vec<GpuEvent>>),
    /// What the journal has of earlier boots.
    EarlierBoots(Reading<EarlierBoots>),
    /// The GPU driver was let go, or why it was not in time.
    Released,
    /// Somebody asks for something to be done.
    Asked(Ask, oneshot::Sender<Reply>),
    /// News of the delivery of reports.
    Delivery(super::deliver::News),
    /// The disk took, or did not take, what it was given.
    Stored(super::store::News),
    /// Read the configuration again.
    Reload,
    /// End.
    Stop(&'static str),
}

/// Where inputs are put.
#[derive(Clone, Debug)]
pub struct Inputs(SyncSender<Input>);

impl Inputs {
    /// Waits for room. `false`: the engine is gone.
    pub fn put(&self, input: Input) -> bool {
        self.0.send(input).is_ok()
    }

    /// Does not wait. `false`: the queue is full, or the engine is gone.
    pub fn offer(&self, input: Input) -> bool {
        self.0.try_send(input).is_ok()
    }
}

/// Where the engine takes them from.
#[derive(Debug)]
pub struct Queue(Receiver<Input>);

/// A queue and its entrance.
pub fn queue() -> (Inputs, Queue) {
    let (sender, receiver) = sync_channel(WAITING);
    (Inputs(sender), Queue(receiver))
}

impl Queue {
    /// The next input; `None` when nothing came in that time.
    ///
    /// # Errors
    /// Nobody is left to put anything in.
    pub fn next(&self, limit: Duration) -> Result<Option<Input>, Closed> {
        match self.0.recv_timeout(limit) {
            Ok(input) => Ok(Some(input)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Closed),
        }
    }

    /// What is there already.
    pub fn ready(&self) -> Option<Input> {
        self.0.try_recv().ok()
    }
}

/// Nobody is left to put anything in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("every source of the service has ended")]
pub struct Closed;
