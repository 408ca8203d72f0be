//! What comes to the engine, from everywhere, in one queue.
//!
//! # Invariants
//! - The queue is bounded: a storm of log lines waits at its source, it does not grow here. Of the
//!   log there are at most [`LOG_BATCHES`] batches in it, since each may be thousands of events.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use cupel_hardware::collect::Fragment;
use cupel_hardware::journal::EarlierBoots;
use cupel_hardware::kmsg::Batch;
use cupel_model::Reading;
use cupel_model::snapshot::GpuEvent;
use cupel_model::wire::UpgradeState;
use tokio::sync::oneshot;

use super::protocol::{Ask, Reply};

/// Most inputs that wait.
const WAITING: usize = 256;

/// Most batches of the log that wait.
const LOG_BATCHES: usize = 4;

/// Places for what is large.
#[derive(Clone, Debug, Default)]
pub struct Places(Arc<(Mutex<usize>, Condvar)>);

impl Places {
    /// Waits for one of them.
    pub fn take(&self) -> Place {
        let (taken, freed) = &*self.0;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken >= LOG_BATCHES {
            taken = freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken += 1;
        Place(self.clone())
    }
}

/// One place, until it is dropped.
#[derive(Debug)]
pub struct Place(Places);

impl Drop for Place {
    fn drop(&mut self) {
        let (taken, freed) = &*self.0.0;
        *taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        freed.notify_one();
    }
}

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
    /// The kernel log brought something, which holds its place until it is taken in.
    Log(Batch, Option<Place>),
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
    /// How the node's identity stands.
    Identity(Option<Box<crate::status::Identity>>),
    /// The disk took, or did not take, what it was given.
    Stored(super::store::News),
    /// How a wished upgrade stands.
    Upgrade(UpgradeState),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_waited_for_until_one_is_free() {
        let places = Places::default();
        let mut held: Vec<Place> = (0..LOG_BATCHES).map(|_| places.take()).collect();
        let (sender, receiver) = sync_channel(1);
        let own = places.clone();
        let waits = std::thread::spawn(move || {
            let place = own.take();
            sender.send(()).expect("the test listens");
            drop(place);
        });
        let early = receiver.recv_timeout(Duration::from_millis(50));
        assert_eq!(early, Err(RecvTimeoutError::Timeout));
        held.pop();
        assert_eq!(receiver.recv_timeout(Duration::from_secs(30)), Ok(()));
        waits.join().expect("thread");
    }
}
