//! What is read from and written to the open file.
//!
//! # Invariants
//! - A batch is written whole or not at all.

use std::path::PathBuf;

use cupel_model::Timestamp;
use cupel_model::wire::Dropped;
use rusqlite::{Connection, TransactionBehavior};

use super::change::Remembered;
use super::error::StoreError;
use super::file;
use super::memory::{Backlog, Waiting};
use super::report_rows::{self, Disk};
use super::spool::{Cleared, Limits, Name, RefusedReport, Shelf, Spooled, Totals, make_room, sum};
use super::state_rows;

/// Free pages in the file beyond which some are given back to the file system: 4 MiB.
const FREE_PAGES: i64 = 1024;

/// What became of a report that was sent.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub name: Name,
    /// When and why it was refused; `None` when it arrived.
    pub refused: Option<(Timestamp, String)>,
}

/// What is to be written.
pub(super) struct Batch<'a> {
    pub boot: &'a str,
    pub last_sequence: u64,
    pub backlog: &'a Backlog,
    pub waiting: &'a Waiting,
    pub settled: &'a [Settled],
    pub to_tell: Dropped,
    pub limits: Limits,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    path: PathBuf,
    totals: Totals,
    /// Reports up to here are settled, although the file does not know it yet.
    settled_to: i64,
}

impl Store {
    /// Opens what is at `path`.
    pub fn open(path: PathBuf) -> Result<Self, StoreError> {
        let connection = file::open(&path)?;
        let mut store = Self {
            connection,
            path,
            totals: Totals::default(),
            settled_to: 0,
        };
        store.totals = store.did("count the reports", report_rows::totals(&store.connection))?;
        Ok(store)
    }

    fn did<T>(&self, action: &'static str, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        result.map_err(|cause| StoreError::Sqlite {
            action,
            path: self.path.clone(),
            cause,
        })
    }

    /// What waits in it.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What is kept, the events of `boot` alone.
    pub fn remembered(&self, boot: &str) -> Result<Remembered, StoreError> {
        self.did(
            "read the state",
            state_rows::remembered(&self.connection, boot),
        )
    }

    /// The last sequence of `boot`, and what was dropped and not told.
    pub fn counters(&self, boot: &str) -> Result<(Option<u64>, Dropped), StoreError> {
        self.did(
            "read the counters",
            state_rows::counters(&self.connection, boot),
        )
    }

    /// The oldest report that is not settled.
    pub fn oldest(&mut self, settled: &[Settled]) -> Result<Option<Spooled>, StoreError> {
        loop {
            let found = self.did(
                "read the spool",
                report_rows::oldest_after(&self.connection, self.settled_to),
            )?;
            let Some((id, name)) = found else {
                return Ok(None);
            };
            if settled.iter().any(|settled| settled.name == name) {
                self.settled_to = id;
                continue;
            }
            return self
                .did("read a report", report_rows::spooled(&self.connection, id))
                .map(Some);
        }
    }

    /// When the oldest report that is not settled was made.
    pub fn oldest_made_at(&self) -> Option<Timestamp> {
        report_rows::oldest_made_at(&self.connection, self.settled_to).unwrap_or_default()
    }

    /// Writes a batch; gives back what was dropped to make room for it.
    pub fn write(&mut self, batch: &Batch<'_>) -> Result<Cleared, StoreError> {
        let written = write(&mut self.connection, self.totals, batch);
        let (totals, cleared) = self.did("write", written)?;
        self.totals = totals;
        self.settled_to = 0;
        // The batch is kept whether or not this works.
        if let Err(error) = give_back(&self.connection) {
            tracing::debug!(%error, "no space was given back");
        }
        Ok(cleared)
    }

    /// Reports that were refused, newest first.
    pub fn refused(&self) -> Result<Vec<RefusedReport>, StoreError> {
        self.did(
            "read the refused reports",
            report_rows::refused(&self.connection),
        )
    }

    /// The connection, to play faults on.
    #[cfg(test)]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

fn write(
    connection: &mut Connection,
    totals: Totals,
    batch: &Batch<'_>,
) -> rusqlite::Result<(Totals, Cleared)> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut shelf = Disk::new(&transaction, totals, batch.waiting.in_hand.as_ref());
    let mut cleared = Cleared::default();
    for settled in batch.settled {
        let freed = shelf.settle(settled)?;
        cleared.to_tell = sum(cleared.to_tell, freed);
    }
    state_rows::write(&transaction, batch)?;
    for (refused, body) in &batch.backlog.refused {
        report_rows::insert_refused(&transaction, refused, body.as_deref())?;
    }
    for parcel in batch.waiting.iter() {
        cleared.and(shelf.insert(parcel)?);
    }
    cleared.and(make_room(
        &mut shelf,
        batch.limits.disk_bytes,
        batch.limits.heartbeats,
    )?);
    let totals = shelf.totals();
    state_rows::keep_to_tell(&transaction, sum(batch.to_tell, cleared.to_tell))?;
    transaction.commit()?;
    Ok((totals, cleared))
}

/// Gives free pages back to the file system, a part at a time.
fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    if free > FREE_PAGES {
        let mut statement = connection.prepare("PRAGMA incremental_vacuum(256)")?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(())
}
