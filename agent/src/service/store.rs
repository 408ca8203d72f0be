//! The outbox on a thread of its own: a disk that hangs delays no judgement.
//!
//! # Invariants
//! - Changes are kept in the order in which they were given.
//! - What the disk did not take is told to the engine, which says so to whoever asks.
//! - Giving a change never waits. A disk that hangs for long makes the engine hold changes back and
//!   join them, so that memory stays bounded.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use cupel_hardware::clock;
use cupel_model::snapshot::RememberedPart;
use cupel_model::wire::{Body, Report};
use cupel_reporting::{Change, CommitError, Outbox, Spooled, State, Stats};
use tokio::sync::{Notify, oneshot};

use super::input::{Input, Inputs};
use crate::state;

/// Jobs that may wait for the disk.
const WAITING: usize = 128;

/// Events of the kernel log that stay in a full report that would be too large otherwise.
const EVENTS_KEPT: usize = 256;

/// How things stand on the disk.
#[derive(Clone, Debug)]
pub struct News {
    /// Whether everything is on it.
    pub state: State,
    /// What waits.
    pub stats: Stats,
    /// When the oldest waiting report was made is not known to the disk; whether any waits is.
    pub waiting: u64,
    /// What was kept before is gone: everything must be given again. The reason.
    pub begun_anew: Option<String>,
}

enum Job {
    Commit(Box<Change>),
    Next(oneshot::Sender<Option<Spooled>>),
    Acknowledge {
        boot: String,
        sequence: u64,
    },
    Refuse {
        boot: String,
        sequence: u64,
        why: String,
    },
    Flush(SyncSender<bool>),
    Parts(Box<Parts>),
}

/// Parts to be remembered, and where.
struct Parts {
    directory: PathBuf,
    node: Option<String>,
    parts: Vec<RememberedPart>,
}

/// The way to the disk.
#[derive(Clone, Debug)]
pub struct Store {
    jobs: SyncSender<Job>,
    /// Told when a report may wait.
    pub ready: Arc<Notify>,
}

impl Store {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives none.
    pub fn start(outbox: Outbox, inputs: Inputs) -> std::io::Result<Self> {
        let (jobs, todo) = sync_channel(WAITING);
        let ready = Arc::new(Notify::new());
        let notify = Arc::clone(&ready);
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || work(outbox, &todo, &inputs, &notify))?;
        Ok(Self { jobs, ready })
    }

    /// Gives a change to be kept; comes back when the disk is so far behind that it must be held.
    ///
    /// # Errors
    /// The change.
    pub fn commit(&self, change: Change) -> Result<(), Box<Change>> {
        match self.jobs.try_send(Job::Commit(Box::new(change))) {
            Ok(()) => Ok(()),
            Err(
                TrySendError::Full(Job::Commit(change))
                | TrySendError::Disconnected(Job::Commit(change)),
            ) => Err(change),
            // Never: what comes back is what was sent.
            Err(_) => Ok(()),
        }
    }

    /// Remembers parts in good order. A help, not a need: a disk that is busy gets them next time.
    /// `false`: it is.
    pub fn remember(
        &self,
        directory: &Path,
        node: Option<String>,
        parts: Vec<RememberedPart>,
    ) -> bool {
        let parts = Box::new(Parts {
            directory: directory.to_owned(),
            node,
            parts,
        });
        self.jobs.try_send(Job::Parts(parts)).is_ok()
    }

    /// The oldest report that waits.
    pub async fn next(&self) -> Option<Spooled> {
        let (answer, answered) = oneshot::channel();
        self.send(Job::Next(answer)).await;
        answered.await.ok().flatten()
    }

    /// An answer named this report.
    pub async fn acknowledge(&self, boot: String, sequence: u64) {
        self.send(Job::Acknowledge { boot, sequence }).await;
    }

    /// The inventory refused this report for good.
    pub async fn refuse(&self, boot: String, sequence: u64, why: String) {
        self.send(Job::Refuse {
            boot,
            sequence,
            why,
        })
        .await;
    }

    async fn send(&self, job: Job) {
        let mut job = job;
        loop {
            match self.jobs.try_send(job) {
                Err(TrySendError::Full(back)) => job = back,
                Ok(()) | Err(TrySendError::Disconnected(_)) => return,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until everything given so far was tried; whether it is on disk.
    pub fn flush(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let (answer, answered) = sync_channel(1);
        let mut job = Job::Flush(answer);
        loop {
            match self.jobs.try_send(job) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < until => job = back,
                Err(_) => return false,
            }
            thread::sleep(Duration::from_millis(5));
        }
        let left = until.saturating_duration_since(Instant::now());
        answered.recv_timeout(left).unwrap_or(false)
    }
}

fn work(mut outbox: Outbox, todo: &Receiver<Job>, inputs: &Inputs, ready: &Notify) {
    let mut told = None;
    while let Ok(job) = todo.recv() {
        let mut begun_anew = None;
        match job {
            Job::Commit(change) => {
                begun_anew = commit(&mut outbox, *change);
                ready.notify_one();
            }
            Job::Next(answer) => {
                // Nobody waits any more when the service ends.
                let _ = answer.send(outbox.next(clock::now()));
                continue;
            }
            Job::Acknowledge { boot, sequence } => {
                outbox.acknowledge(&boot, sequence, clock::now());
            }
            Job::Refuse {
                boot,
                sequence,
                why,
            } => outbox.refuse(&boot, sequence, &why, clock::now()),
            Job::Parts(parts) => {
                let Parts {
                    directory,
                    node,
                    parts,
                } = *parts;
                state::remember(&directory, node.as_deref(), parts);
                continue;
            }
            Job::Flush(answer) => {
                let saved = outbox.flush(clock::now());
                let _ = answer.send(saved);
            }
        }
        let now = (outbox.state().clone(), outbox.stats());
        if begun_anew.is_some() || told.as_ref() != Some(&now) {
            let (state, stats) = now.clone();
            let news = News {
                waiting: waiting(&stats),
                state,
                stats,
                begun_anew,
            };
            // A full queue: the next news say the same.
            if inputs.offer(Input::Stored(news)) {
                told = Some(now);
            }
        }
    }
}

/// Reports that wait.
pub fn waiting(stats: &Stats) -> u64 {
    stats
        .waiting_heartbeats
        .saturating_add(stats.waiting_fulls)
        .saturating_add(stats.waiting_changes)
}

/// Keeps a change. A report that is too large is made smaller, and left out when that is not
/// enough: everything else of the change is kept.
fn commit(outbox: &mut Outbox, mut change: Change) -> Option<String> {
    loop {
        let index = match outbox.commit(&mut change, clock::now()) {
            Ok(committed) => {
                return committed.set_aside.map(|set_aside| {
                    format!("{} (kept as {})", set_aside.why, set_aside.path.display())
                });
            }
            Err(error) => {
                tracing::warn!("{error}");
                match error {
                    CommitError::TooLarge { index, .. } | CommitError::Unwritable { index, .. } => {
                        index
                    }
                }
            }
        };
        let smaller = change.reports.get_mut(index).is_some_and(make_smaller);
        if !smaller && index < change.reports.len() {
            tracing::warn!("a report that cannot be made smaller is left out");
            change.reports.remove(index);
        }
    }
}

/// Leaves out of a report what it can be read without; `false` when there is nothing left to leave
/// out.
fn make_smaller(report: &mut Report) -> bool {
    match &mut report.body {
        Body::Full { snapshot, .. } if snapshot.kernel_log.len() > EVENTS_KEPT => {
            let before = snapshot.kernel_log.len();
            snapshot.kernel_log.drain(..before - EVENTS_KEPT);
            snapshot.problems.push(cupel_model::snapshot::Problem {
                source: "kernel-log".to_owned(),
                why: format!(
                    "the oldest {} events are left out of this report",
                    before - EVENTS_KEPT
                ),
            });
            true
        }
        Body::Full { .. }
        | Body::Changes { .. }
        | Body::Heartbeat { .. }
        | Body::Bringup { .. }
        | Body::Stopping { .. } => false,
    }
}
