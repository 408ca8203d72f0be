//! The store in SQLite: the only place with SQL for it.
//!
//! # Invariants
//! - One connection writes. Reports are written by one task, as many as are waiting in one
//!   transaction; whatever else writes takes the same connection, one after the other.
//! - Readers have connections of their own and see committed states (WAL).
//! - A commit is on the disk before anybody is told of it (`synchronous = FULL`).
//!
//! # What is absent
//! Meaning: what follows from what is in [`crate::derive`] and [`crate::boots`].

mod apply;
mod backup;
mod care;
mod changes;
mod expected;
mod failure;
mod figures;
mod findings;
mod fleet;
mod history;
mod identities;
mod joins;
mod nodes;
mod parts;
mod patch;
mod place;
mod polled;
mod prune;
mod record;
mod row;
mod schema;
mod summary;
mod sweep;
#[cfg(test)]
mod tests;
mod tokens;
mod transaction;
mod writer;

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::{Mutex, mpsc, watch};

use super::{Error, Options};
use crate::clock::Clock;

/// Name of the database in its directory.
const FILE: &str = "inventory.sqlite";

/// How long a connection waits for another process that writes.
const BUSY: Duration = Duration::from_secs(10);

/// Connections that read.
const READERS: u32 = 8;

/// An open database.
#[derive(Debug)]
pub struct Sqlite {
    writer: Arc<Mutex<SqliteConnection>>,
    readers: SqlitePool,
    queue: mpsc::Sender<writer::Job>,
    changed: watch::Sender<i64>,
    clock: Clock,
    path: PathBuf,
    retention: std::sync::RwLock<super::Retention>,
}

/// What the schema was when the database was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Before; 0: there was no database.
    pub before: i64,
    /// Now.
    pub now: i64,
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .busy_timeout(BUSY)
        .foreign_keys(false)
        .statement_cache_capacity(256)
        .pragma("cache_size", "-65536")
        .pragma("journal_size_limit", "67108864")
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
}

/// Makes the directory and the file, for this user alone.
fn prepare(data: &Path) -> Result<PathBuf, Error> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(Error::file("create the directory", data))?;
    let path = data.join(FILE);
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .map_err(Error::file("open", &path))?;
    Ok(path)
}

impl Sqlite {
    /// Opens or makes the database, brings its schema up to date, and begins to write.
    pub async fn open(asked: &Options) -> Result<(Arc<Self>, Opened), Error> {
        let path = prepare(&asked.data)?;
        let mut connection = options(&path).connect().await?;
        let before = schema::version(&mut connection).await?;
        if before > 0 && before < schema::known() && !asked.migrate {
            return Err(Error::Older {
                found: before,
                known: schema::known(),
            });
        }
        schema::migrate(&mut connection).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .min_connections(1)
            .acquire_timeout(Duration::from_secs(30))
            .test_before_acquire(false)
            .connect_with(options(&path).pragma("query_only", "ON"))
            .await?;
        let (queue, jobs) = mpsc::channel(writer::WAITING);
        let sqlite = Arc::new(Self {
            writer: Arc::new(Mutex::new(connection)),
            readers,
            queue,
            changed: watch::Sender::new(0),
            clock: asked.clock.clone(),
            path,
            retention: std::sync::RwLock::default(),
        });
        tokio::spawn(writer::run(Arc::downgrade(&sqlite), jobs));
        let now = schema::known();
        Ok((sqlite, Opened { before, now }))
    }

    /// The directory that the database lies in.
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// What is kept for how long.
    pub fn retention(&self) -> super::Retention {
        self.retention
            .read()
            .map_or_else(|poisoned| **poisoned.get_ref(), |held| *held)
    }

    /// Sets what is kept for how long.
    pub fn retain(&self, retention: super::Retention) {
        if let Ok(mut held) = self.retention.write() {
            *held = retention;
        }
    }

    /// Number of the newest change, and wakes up when there is a newer one.
    pub fn watch(&self) -> watch::Receiver<i64> {
        self.changed.subscribe()
    }

    /// Wakes whoever listens, if there are changes that nobody was told of.
    pub async fn tell(&self) -> Result<(), Error> {
        let (_, newest) = self.changes_kept().await?;
        self.changed.send_if_modified(|told| {
            let newer = newest > *told;
            *told = newest.max(*told);
            newer
        });
        Ok(())
    }

    /// Ends in good order: what was accepted is written before this returns.
    pub async fn close(&self) {
        self.readers.close().await;
        let mut writer = self.writer.lock().await;
        let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut *writer)
            .await;
    }
}
