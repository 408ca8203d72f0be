//! The outbox on a thread of its own: a disk that hangs delays no judgement.
//!
//! # Invariants
//! - Changes are kept in the order in which they were given.
//! - What the disk did not take is told to the engine, which says so to whoever asks.
//! - Giving a change never waits. A disk that hangs for long makes the engine hold changes back and
//!   join them, so that memory stays bounded.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use cupel_hardware::clock;
use cupel_model::snapshot::RememberedPart;
use cupel_model::wire::{Body, Report};
use cupel_reporting::{Change, CommitError, Outbox, Spooled, State, Stats};
use tokio::sync::{Notify, oneshot};

use super::input::{Input, Inputs};
use crate::state;

/// How soon a disk that took nothing is tried again, also when nothing new is given.
const RETRY: Duration = Duration::from_secs(2);

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

/// One thing for the disk.
pub(super) enum Job {
    /// Keep a change.
    Commit(Box<Change>),
    /// Which report is next.
    Next(oneshot::Sender<Option<Spooled>>),
    /// A report arrived.
    Acknowledge {
        /// Of this boot.
        boot: String,
        /// Its number.
        sequence: u64,
    },
    /// A report was refused for good.
    Refuse {
        /// Of this boot.
        boot: String,
        /// Its number.
        sequence: u64,
        /// Why.
        why: String,
    },
    /// Say when all of this is done.
    Flush(SyncSender<bool>),
    /// Remember parts.
    Parts(Box<Parts>),
    /// What stood in this file is part of a change that was given before.
    Forget(PathBuf),
}

/// Parts to be remembered, and where.
pub(super) struct Parts {
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

    /// One that does nothing: what it is given, the test takes.
    #[cfg(test)]
    pub(super) fn of_a_test(waiting: usize) -> (Self, Receiver<Job>) {
        let (jobs, todo) = sync_channel(waiting);
        let ready = Arc::new(Notify::new());
        (Self { jobs, ready }, todo)
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

    /// Removes a file whose content is part of what was given before, once that is on disk. One
    /// that stays is there at the next start.
    pub fn forget(&self, path: &Path) -> bool {
        self.jobs.try_send(Job::Forget(path.to_owned())).is_ok()
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

/// What the engine was told last, and what it has not heard yet.
#[derive(Default)]
struct Telling {
    told: Option<(State, Stats)>,
    /// Kept until the engine has heard of it: it must write everything again.
    begun_anew: Option<String>,
    late: bool,
}

impl Telling {
    /// Tells the engine what is new. Its queue may be full: then it is told later.
    fn tell(&mut self, outbox: &Outbox, inputs: &Inputs) {
        let now = (outbox.state().clone(), outbox.stats());
        if self.begun_anew.is_none() && self.told.as_ref() == Some(&now) {
            return;
        }
        let (state, stats) = now.clone();
        let news = News {
            waiting: waiting(&stats),
            state,
            stats,
            begun_anew: self.begun_anew.clone(),
        };
        self.late = !inputs.offer(Input::Stored(news));
        if !self.late {
            self.told = Some(now);
            self.begun_anew = None;
        }
    }
}

fn work(mut outbox: Outbox, todo: &Receiver<Job>, inputs: &Inputs, ready: &Notify) {
    let mut telling = Telling::default();
    loop {
        let waits = telling.late || *outbox.state() != State::Saved;
        let job = if waits {
            todo.recv_timeout(RETRY)
        } else {
            todo.recv().map_err(RecvTimeoutError::from)
        };
        match job {
            Ok(job) => {
                let begun_anew = do_one(job, &mut outbox, ready);
                telling.begun_anew = begun_anew.or(telling.begun_anew);
            }
            Err(RecvTimeoutError::Timeout) => {
                if *outbox.state() != State::Saved {
                    outbox.flush(clock::now());
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
        telling.tell(&outbox, inputs);
    }
}

/// Does one job; the reason, when what was kept before is gone.
fn do_one(job: Job, outbox: &mut Outbox, ready: &Notify) -> Option<String> {
    match job {
        Job::Commit(change) => {
            let begun_anew = commit(outbox, *change);
            ready.notify_one();
            return begun_anew;
        }
        Job::Next(answer) => {
            // Nobody waits any more when the service ends.
            let _ = answer.send(outbox.next(clock::now()));
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
        }
        Job::Forget(path) => {
            if *outbox.state() == State::Saved
                && let Err(error) = std::fs::remove_file(&path)
            {
                tracing::warn!("cannot remove {}: {error}", path.display());
            }
        }
        Job::Flush(answer) => {
            let saved = outbox.flush(clock::now());
            // Nobody waits any more: it took too long.
            let _ = answer.send(saved);
        }
    }
    None
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
