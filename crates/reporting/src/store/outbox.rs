//! State and unsent reports: on disk while the disk takes them, in memory while it does not.
//!
//! # Invariants
//! - A change goes to disk in one transaction, together with everything that the disk would not
//!   take before it, in the order in which it came.
//! - A sequence is given out once: it grows over restarts, and with `starts.sequence` taken from
//!   the time since boot also over the loss of the file.
//! - Next is the oldest report, those of earlier boots first; one that is settled never comes again
//!   in this process, nor in a later one if the disk took the news.
//!
//! # What is absent
//! Threads: whoever shares an outbox puts a lock around it. A call takes as long as the disk takes
//! to sync.

use std::path::{Path, PathBuf};

use cupel_model::Timestamp;
use cupel_model::wire::Dropped;

use super::change::{Change, Remembered, SetAside};
use super::encode::encode;
use super::error::{CommitError, OpenError, StoreError, chain};
use super::file::Directory;
use super::memory::{Backlog, Waiting};
use super::report_rows::REFUSED_KEPT;
use super::rows::{Batch, Settled, Store};
use super::spool::{
    Class, Cleared, Limits, Name, RefusedReport, Shelf, Spooled, Totals, make_room, sum,
};

/// Largest first sequence, so that those after it fit SQLite's numbers; 140,000 years after boot.
const LARGEST_START: u64 = 1 << 62;

/// Where the numbers of reports begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartsAt {
    /// Boot id that the reports of this process have.
    pub boot: String,
    /// Least sequence: microseconds since boot when the process began.
    pub sequence: u64,
}

/// Whether what was committed is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// All of it.
    Saved,
    /// The newest of it is in memory alone.
    InMemory {
        /// What is wrong with the disk.
        why: String,
        /// Since when.
        since: Timestamp,
    },
}

/// What a commit came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Sequences of the reports, in their order.
    pub sequences: Vec<u64>,
    /// Whether all is on disk.
    pub saved: bool,
    /// The file was found damaged and was begun anew since the last commit: what was kept before
    /// this change is gone; commit the whole state again.
    pub set_aside: Option<SetAside>,
}

/// An outbox and what it remembers.
#[derive(Debug)]
pub struct Opened {
    /// The outbox.
    pub outbox: Outbox,
    /// What was kept; empty when the disk cannot be read.
    pub remembered: Remembered,
}

/// What an outbox holds, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Heartbeats that wait.
    pub waiting_heartbeats: u64,
    /// Full reports that wait.
    pub waiting_fulls: u64,
    /// Changes, bring-ups and farewells that wait.
    pub waiting_changes: u64,
    /// Bytes of all that wait.
    pub waiting_bytes: u64,
    /// When the oldest of them was made, by the node's clock.
    pub oldest_waiting: Option<Timestamp>,
    /// Dropped for lack of space since this process began.
    pub dropped: Dropped,
    /// Refused by the inventory since this process began.
    pub refused: u64,
}

/// State and unsent reports.
#[derive(Debug)]
pub struct Outbox {
    state_directory: PathBuf,
    boot: String,
    limits: Limits,
    directory: Option<Directory>,
    pub(super) store: Option<Store>,
    state: State,
    last_sequence: u64,
    /// Dropped, and in no report yet.
    to_tell: Dropped,
    backlog: Backlog,
    waiting: Waiting,
    settled: Vec<Settled>,
    /// To be told with the next commit.
    set_aside: Option<SetAside>,
    dropped: Dropped,
    refused: u64,
}

impl Outbox {
    /// Opens what is kept beneath `state_directory`, in a directory of its own. Whatever is wrong
    /// with the disk, there is an outbox: its [`State`] tells.
    ///
    /// # Errors
    /// Another process uses it.
    pub fn open(
        state_directory: &Path,
        starts: StartsAt,
        limits: Limits,
        now: Timestamp,
    ) -> Result<Opened, OpenError> {
        let mut outbox = Self {
            state_directory: state_directory.to_owned(),
            boot: starts.boot,
            limits,
            directory: None,
            store: None,
            state: State::Saved,
            last_sequence: starts.sequence.clamp(1, LARGEST_START) - 1,
            to_tell: Dropped::default(),
            backlog: Backlog::default(),
            waiting: Waiting::default(),
            settled: Vec::new(),
            set_aside: None,
            dropped: Dropped::default(),
            refused: 0,
        };
        let mut remembered = match outbox.recall(now) {
            Ok(remembered) => remembered,
            Err(StoreError::InUse(error)) => return Err(error),
            Err(error) => {
                outbox.trouble(&error, now);
                Remembered::default()
            }
        };
        remembered.set_aside = outbox.set_aside.take();
        Ok(Opened { outbox, remembered })
    }

    fn recall(&mut self, now: Timestamp) -> Result<Remembered, StoreError> {
        let store = self.connect(now)?;
        let read = store.remembered(&self.boot);
        self.store = Some(store);
        match read {
            Err(error) if error.is_damage() => {
                self.put_away(&error, now)?;
                self.store = Some(self.connect(now)?);
                Ok(Remembered::default())
            }
            result => result,
        }
    }

    /// Keeps a change and queues its reports. Takes what is in `change`, whose `boot`, `sequence`
    /// and `dropped` of each report it fills in; after an error everything else is still there.
    ///
    /// # Errors
    /// A report is larger than the inventory takes. What is wrong with the disk is no error.
    pub fn commit(
        &mut self,
        change: &mut Change,
        now: Timestamp,
    ) -> Result<Committed, CommitError> {
        let mut last = self.last_sequence;
        let mut to_tell = self.to_tell;
        let mut parcels = Vec::with_capacity(change.reports.len());
        for (index, report) in change.reports.iter_mut().enumerate() {
            last = last.saturating_add(1);
            report.boot.clone_from(&self.boot);
            report.sequence = last;
            report.dropped = std::mem::take(&mut to_tell);
            parcels.push(encode(index, report)?);
        }
        change.reports.clear();
        self.last_sequence = last;
        self.to_tell = to_tell;
        self.backlog.merge(change);
        let mut sequences = Vec::with_capacity(parcels.len());
        for parcel in parcels {
            sequences.push(parcel.report.sequence);
            self.waiting.push(parcel);
        }
        let saved = self.flush(now);
        Ok(Committed {
            sequences,
            saved,
            set_aside: self.set_aside.take(),
        })
    }

    /// The oldest report that waits. It comes again until it is acknowledged, refused or, once
    /// another is in hand, dropped.
    pub fn next(&mut self, now: Timestamp) -> Option<Spooled> {
        let found = match self.store.as_mut().map(|store| store.oldest(&self.settled)) {
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                if error.is_damage() {
                    // The next write finds a new file; until then there is memory.
                    if let Err(error) = self.put_away(&error, now) {
                        self.trouble(&error, now);
                    }
                } else {
                    self.trouble(&error, now);
                }
                None
            }
            None => None,
        };
        let found = found.or_else(|| self.waiting.first().map(|parcel| parcel.report.clone()));
        self.waiting.in_hand = found.as_ref().map(|report| Name {
            boot: report.boot.clone(),
            sequence: report.sequence,
        });
        found
    }

    /// An answer named this report: it is forgotten.
    pub fn acknowledge(&mut self, boot: &str, sequence: u64, now: Timestamp) {
        self.settle(boot, sequence, None, now);
    }

    /// The inventory refused this report for good: it is taken out of the way and kept among the
    /// last that were refused.
    pub fn refuse(&mut self, boot: &str, sequence: u64, why: &str, now: Timestamp) {
        tracing::warn!(boot, sequence, why, "the inventory refused a report");
        self.refused = self.refused.saturating_add(1);
        self.settle(boot, sequence, Some((now, why.to_owned())), now);
    }

    fn settle(
        &mut self,
        boot: &str,
        sequence: u64,
        refused: Option<(Timestamp, String)>,
        now: Timestamp,
    ) {
        let name = Name {
            boot: boot.to_owned(),
            sequence,
        };
        if self.waiting.in_hand.as_ref() == Some(&name) {
            self.waiting.in_hand = None;
        }
        match (self.waiting.take(&name), refused) {
            (None, refused) => self.settled.push(Settled { name, refused }),
            (Some(_), None) => {}
            (Some(parcel), Some((at, why))) => {
                self.to_tell = sum(self.to_tell, parcel.carries);
                let report = parcel.report;
                let refused = RefusedReport {
                    boot: report.boot,
                    sequence,
                    class: report.class,
                    bytes: u64::try_from(report.bytes.len()).unwrap_or(u64::MAX),
                    at,
                    why,
                };
                self.backlog.refuse(refused, report.bytes);
            }
        }
        self.flush(now);
    }

    /// Writes down what the disk has not taken yet; whether all is there now.
    pub fn flush(&mut self, now: Timestamp) -> bool {
        if self.state == State::Saved && self.store.is_some() && self.is_written() {
            return true;
        }
        let mut result = self.write(now);
        if let Err(error) = &result
            && error.is_damage()
        {
            result = self.put_away(error, now).and_then(|()| self.write(now));
        }
        match result {
            Ok(()) => {
                if self.state != State::Saved {
                    tracing::info!("the state is on disk again");
                    self.state = State::Saved;
                }
                true
            }
            Err(error) => {
                self.trouble(&error, now);
                self.free_what_arrived();
                let Ok(cleared) = make_room(
                    &mut self.waiting,
                    self.limits.memory_bytes,
                    self.limits.heartbeats,
                );
                self.count(cleared);
                false
            }
        }
    }

    fn is_written(&self) -> bool {
        self.settled.is_empty() && self.waiting.is_empty() && self.backlog == Backlog::default()
    }

    fn write(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let mut store = match self.store.take() {
            Some(store) => store,
            None => self.connect(now)?,
        };
        let batch = Batch {
            boot: &self.boot,
            last_sequence: self.last_sequence,
            backlog: &self.backlog,
            waiting: &self.waiting,
            settled: &self.settled,
            to_tell: self.to_tell,
            limits: self.limits,
        };
        let written = store.write(&batch);
        self.store = Some(store);
        self.count(written?);
        self.backlog = Backlog::default();
        self.waiting.clear();
        self.settled.clear();
        Ok(())
    }

    /// Takes reports that arrived off a full disk, so that there is room for what waits in memory.
    fn free_what_arrived(&mut self) {
        let Some(store) = self.store.as_mut().filter(|_| !self.settled.is_empty()) else {
            return;
        };
        let waiting = Waiting::none_but(self.waiting.in_hand.clone());
        // What reports in memory are to tell is not lost with them.
        let to_tell = self
            .waiting
            .iter()
            .fold(self.to_tell, |all, parcel| sum(all, parcel.carries));
        let batch = Batch {
            boot: &self.boot,
            last_sequence: self.last_sequence,
            backlog: &Backlog::default(),
            waiting: &waiting,
            settled: &self.settled,
            to_tell,
            limits: self.limits,
        };
        if let Ok(cleared) = store.write(&batch) {
            self.count(cleared);
            self.settled.clear();
        }
    }

    fn count(&mut self, cleared: Cleared) {
        self.to_tell = sum(self.to_tell, cleared.to_tell);
        self.dropped = sum(self.dropped, cleared.dropped);
    }

    /// Opens the file, and goes on where its numbers end.
    fn connect(&mut self, now: Timestamp) -> Result<Store, StoreError> {
        let directory = match &self.directory {
            Some(directory) => directory,
            None => self
                .directory
                .insert(Directory::open(&self.state_directory)?),
        };
        let open = || {
            let store = Store::open(directory.file())?;
            let counters = store.counters(&self.boot)?;
            Ok((store, counters))
        };
        let (store, (last, to_tell)) = match open() {
            Err(error) if StoreError::is_damage(&error) => {
                self.set_aside = Some(directory.set_aside(chain(&error), now)?);
                open()?
            }
            result => result?,
        };
        self.last_sequence = self.last_sequence.max(last.unwrap_or(0));
        self.to_tell = sum(self.to_tell, to_tell);
        Ok(store)
    }

    /// Closes a damaged file and gives it another name.
    fn put_away(&mut self, error: &StoreError, now: Timestamp) -> Result<(), StoreError> {
        self.store = None;
        if let Some(directory) = &self.directory {
            self.set_aside = Some(directory.set_aside(chain(error), now)?);
        }
        Ok(())
    }

    fn trouble(&mut self, error: &StoreError, now: Timestamp) {
        let text = chain(error);
        match &mut self.state {
            State::InMemory { why, .. } => *why = text,
            State::Saved => {
                tracing::warn!(why = text, "the state is kept in memory");
                self.state = State::InMemory {
                    why: text,
                    since: now,
                };
            }
        }
    }

    /// Whether what was committed is on disk.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What waits, and what did not get through.
    pub fn stats(&self) -> Stats {
        let shelves = [
            self.store.as_ref().map(Store::totals).unwrap_or_default(),
            self.waiting.totals(),
        ];
        let count = |class| shelves.iter().map(|totals| totals.of(class).count).sum();
        Stats {
            waiting_heartbeats: count(Class::Heartbeat),
            waiting_fulls: count(Class::Full),
            waiting_changes: count(Class::Changes),
            waiting_bytes: shelves.iter().map(Totals::bytes).sum(),
            oldest_waiting: self
                .store
                .as_ref()
                .and_then(Store::oldest_made_at)
                .or_else(|| self.waiting.first().map(|parcel| parcel.made_at)),
            dropped: self.dropped,
            refused: self.refused,
        }
    }

    /// The last reports that the inventory refused, newest first.
    pub fn refused(&self) -> Vec<RefusedReport> {
        let unsaved = self.backlog.refused.iter().rev();
        let mut all: Vec<_> = unsaved.map(|(refused, _)| refused.clone()).collect();
        all.extend(
            self.store
                .as_ref()
                .and_then(|store| store.refused().ok())
                .unwrap_or_default(),
        );
        all.truncate(REFUSED_KEPT);
        all
    }
}
