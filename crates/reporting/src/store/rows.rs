//! What is read from and written to the open file.
//!
//! # Invariants
//! - A batch is written whole or not at all.
//! - A report that stands in the file is not written a second time.

use std::path::PathBuf;

use cupel_model::Timestamp;
use cupel_model::wire::Dropped;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{
    Connection, OptionalExtension, Row, ToSql, Transaction, TransactionBehavior, params,
};

use super::change::{EventRow, KernelCursor, Remembered, WantedDocument};
use super::error::StoreError;
use super::file;
use super::memory::{Backlog, Waiting};
use super::spool::{
    Candidate, Class, Cleared, Limits, Name, RefusedReport, Shelf, Spooled, Totals, make_room, sum,
};

/// Refused reports that are kept.
pub(super) const REFUSED_KEPT: usize = 20;

/// Largest refused report whose bytes are kept with it.
pub(super) const REFUSED_BYTES: usize = 256 << 10;

/// Free pages in the file beyond which some are given back to the file system: 4 MiB.
const FREE_PAGES: i64 = 1024;

/// Names in `memory`.
const TRACKER: &str = "tracker";
const CURSOR_BOOT: &str = "kernel-cursor.boot";
const CURSOR_SEQUENCE: &str = "kernel-cursor.sequence";
const JOURNAL: &str = "journal-cursor";
const WANTED_ETAG: &str = "wanted.etag";
const WANTED_JSON: &str = "wanted.json";
const LAST_BOOT: &str = "last.boot";
const LAST_SEQUENCE: &str = "last.sequence";
const DROPPED: &str = "dropped";
const NOTE: &str = "note/";

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
        store.totals = store.did("count the reports", totals(&store.connection))?;
        Ok(store)
    }

    fn did<T>(&self, action: &'static str, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        result.map_err(|source| StoreError::Sqlite {
            action,
            path: self.path.clone(),
            source,
        })
    }

    /// What waits in it.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What is kept, the events of `boot` alone.
    pub fn remembered(&self, boot: &str) -> Result<Remembered, StoreError> {
        self.did("read the state", remembered(&self.connection, boot))
    }

    /// The last sequence of `boot`, and what was dropped and not told.
    pub fn counters(&self, boot: &str) -> Result<(Option<u64>, Dropped), StoreError> {
        self.did("read the counters", counters(&self.connection, boot))
    }

    /// The oldest report that is not settled.
    pub fn oldest(&mut self, settled: &[Settled]) -> Result<Option<Spooled>, StoreError> {
        loop {
            let found = self.did(
                "read the spool",
                oldest_after(&self.connection, self.settled_to),
            )?;
            let Some((id, name)) = found else {
                return Ok(None);
            };
            if settled.iter().any(|settled| settled.name == name) {
                self.settled_to = id;
                continue;
            }
            return self
                .did("read a report", spooled(&self.connection, id))
                .map(Some);
        }
    }

    /// Writes a batch; gives back what was dropped to make room for it.
    pub fn write(&mut self, batch: &Batch<'_>) -> Result<Cleared, StoreError> {
        let written = write(&mut self.connection, self.totals, batch);
        let (totals, cleared) = self.did("write", written)?;
        self.totals = totals;
        self.settled_to = 0;
        Ok(cleared)
    }

    /// Gives free pages back, a part at a time.
    pub fn give_back(&self) -> Result<(), StoreError> {
        self.did("give space back", give_back(&self.connection))
    }

    /// Reports that were refused, newest first.
    pub fn refused(&self) -> Result<Vec<RefusedReport>, StoreError> {
        self.did("read the refused reports", refused(&self.connection))
    }
}

/// A number as SQLite keeps it.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number that is not below zero.
struct Count(u64);

impl FromSql for Count {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let value = value.as_i64()?;
        u64::try_from(value)
            .map(Self)
            .map_err(|_| FromSqlError::OutOfRange(value))
    }
}

impl FromSql for Class {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::from_name(value.as_str()?).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for Class {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(self.name().into())
    }
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, Count>(column).map(|count| count.0)
}

fn totals(connection: &Connection) -> rusqlite::Result<Totals> {
    let mut totals = Totals::default();
    let mut statement = connection.prepare("SELECT class, size FROM report")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        totals.add(row.get(0)?, count(row, 1)?);
    }
    Ok(totals)
}

fn recall(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT value FROM memory WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

fn keep(connection: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO memory (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute([name, value])
        .map(drop)
}

fn remembered(connection: &Connection, boot: &str) -> rusqlite::Result<Remembered> {
    let pair = |first: &str, second: &str| -> rusqlite::Result<Option<(String, String)>> {
        Ok(recall(connection, first)?.zip(recall(connection, second)?))
    };
    let events = connection
        .prepare("SELECT key, json FROM event WHERE boot = ?1 ORDER BY key")?
        .query_map([boot], |row| {
            Ok(EventRow {
                key: row.get(0)?,
                json: row.get(1)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let notes = connection
        .prepare("SELECT substr(name, ?2), value FROM memory WHERE name GLOB ?1")?
        .query_map(
            params![format!("{NOTE}*"), number(NOTE.len() as u64 + 1)],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Remembered {
        tracker: recall(connection, TRACKER)?,
        events,
        kernel_cursor: pair(CURSOR_BOOT, CURSOR_SEQUENCE)?.and_then(|(boot, sequence)| {
            sequence
                .parse()
                .ok()
                .map(|sequence| KernelCursor { boot, sequence })
        }),
        journal_cursor: recall(connection, JOURNAL)?,
        wanted: pair(WANTED_ETAG, WANTED_JSON)?.map(|(etag, json)| WantedDocument { etag, json }),
        notes,
        set_aside: None,
    })
}

fn counters(connection: &Connection, boot: &str) -> rusqlite::Result<(Option<u64>, Dropped)> {
    let noted = if recall(connection, LAST_BOOT)?.as_deref() == Some(boot) {
        recall(connection, LAST_SEQUENCE)?.and_then(|text| text.parse().ok())
    } else {
        None
    };
    let queued = connection.query_row(
        "SELECT max(sequence) FROM report WHERE boot = ?1",
        [boot],
        |row| row.get::<_, Option<Count>>(0),
    )?;
    let dropped = recall(connection, DROPPED)?
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default();
    Ok((noted.max(queued.map(|count| count.0)), dropped))
}

fn oldest_after(connection: &Connection, id: i64) -> rusqlite::Result<Option<(i64, Name)>> {
    connection
        .prepare_cached("SELECT id, boot, sequence FROM report WHERE id > ?1 ORDER BY id LIMIT 1")?
        .query_row([id], |row| {
            let name = Name {
                boot: row.get(1)?,
                sequence: count(row, 2)?,
            };
            Ok((row.get(0)?, name))
        })
        .optional()
}

fn spooled(connection: &Connection, id: i64) -> rusqlite::Result<Spooled> {
    connection
        .prepare_cached("SELECT node, boot, sequence, class, body FROM report WHERE id = ?1")?
        .query_row([id], |row| {
            Ok(Spooled {
                node: row.get(0)?,
                boot: row.get(1)?,
                sequence: count(row, 2)?,
                class: row.get(3)?,
                bytes: row.get(4)?,
            })
        })
}

fn write(
    connection: &mut Connection,
    totals: Totals,
    batch: &Batch<'_>,
) -> rusqlite::Result<(Totals, Cleared)> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut shelf = Disk {
        transaction: &transaction,
        totals,
        in_hand: batch.waiting.in_hand.as_ref(),
    };
    let mut cleared = Cleared::default();
    for settled in batch.settled {
        let freed = shelf.settle(settled)?;
        cleared.to_tell = sum(cleared.to_tell, freed);
    }
    write_state(&transaction, batch)?;
    for parcel in batch.waiting.iter() {
        shelf.insert(&parcel.report, parcel.carries)?;
    }
    let room = make_room(&mut shelf, batch.limits.disk_bytes, batch.limits.heartbeats)?;
    cleared.to_tell = sum(cleared.to_tell, room.to_tell);
    cleared.dropped = room.dropped;
    let totals = shelf.totals;
    let to_tell = sum(batch.to_tell, cleared.to_tell);
    let json = serde_json::to_string(&to_tell)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    keep(&transaction, DROPPED, &json)?;
    transaction.commit()?;
    Ok((totals, cleared))
}

fn write_state(transaction: &Transaction<'_>, batch: &Batch<'_>) -> rusqlite::Result<()> {
    let backlog = batch.backlog;
    let texts = [
        (TRACKER, backlog.tracker.as_deref()),
        (JOURNAL, backlog.journal_cursor.as_deref()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            keep(transaction, name, text)?;
        }
    }
    if let Some(cursor) = &backlog.kernel_cursor {
        keep(transaction, CURSOR_BOOT, &cursor.boot)?;
        keep(transaction, CURSOR_SEQUENCE, &cursor.sequence.to_string())?;
    }
    if let Some(wanted) = &backlog.wanted {
        keep(transaction, WANTED_ETAG, &wanted.etag)?;
        keep(transaction, WANTED_JSON, &wanted.json)?;
    }
    for (name, text) in &backlog.notes {
        keep(transaction, &format!("{NOTE}{name}"), text)?;
    }
    if !backlog.events.is_empty() {
        transaction
            .prepare_cached("DELETE FROM event WHERE boot <> ?1")?
            .execute([batch.boot])?;
    }
    for (key, json) in &backlog.events {
        match json {
            Some(json) => transaction
                .prepare_cached(
                    "INSERT INTO event (boot, key, json) VALUES (?1, ?2, ?3)
                     ON CONFLICT (boot, key) DO UPDATE SET json = excluded.json",
                )?
                .execute([batch.boot, key, json])?,
            None => transaction
                .prepare_cached("DELETE FROM event WHERE boot = ?1 AND key = ?2")?
                .execute([batch.boot, key])?,
        };
    }
    for (refused, bytes) in &backlog.refused {
        insert_refused(transaction, refused, bytes.as_deref())?;
    }
    if recall(transaction, LAST_BOOT)?.as_deref() != Some(batch.boot) {
        keep(transaction, LAST_BOOT, batch.boot)?;
    }
    keep(transaction, LAST_SEQUENCE, &batch.last_sequence.to_string())
}

fn insert_refused(
    transaction: &Transaction<'_>,
    refused: &RefusedReport,
    body: Option<&[u8]>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO refused (boot, sequence, class, size, at_microseconds, why, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            refused.boot,
            number(refused.sequence),
            refused.class,
            number(refused.bytes),
            refused.at.microseconds(),
            refused.why,
            body,
        ])?;
    transaction
        .prepare_cached(
            "DELETE FROM refused WHERE id NOT IN
                (SELECT id FROM refused ORDER BY id DESC LIMIT ?1)",
        )?
        .execute([i64::try_from(REFUSED_KEPT).unwrap_or(i64::MAX)])
        .map(drop)
}

fn refused(connection: &Connection) -> rusqlite::Result<Vec<RefusedReport>> {
    connection
        .prepare(
            "SELECT boot, sequence, class, size, at_microseconds, why FROM refused
             ORDER BY id DESC",
        )?
        .query_map([], |row| {
            Ok(RefusedReport {
                boot: row.get(0)?,
                sequence: count(row, 1)?,
                class: row.get(2)?,
                bytes: count(row, 3)?,
                at: Timestamp::from_microseconds(row.get(4)?).unwrap_or(Timestamp::EPOCH),
                why: row.get(5)?,
            })
        })?
        .collect()
}

fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    if free > FREE_PAGES {
        let mut statement = connection.prepare("PRAGMA incremental_vacuum(256)")?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(())
}

/// The reports in the file, within a transaction.
struct Disk<'a> {
    transaction: &'a Transaction<'a>,
    totals: Totals,
    in_hand: Option<&'a Name>,
}

impl Disk<'_> {
    fn insert(&mut self, report: &Spooled, carries: Dropped) -> rusqlite::Result<()> {
        let size = u64::try_from(report.bytes.len()).unwrap_or(u64::MAX);
        let inserted = self
            .transaction
            .prepare_cached(
                "INSERT INTO report (node, boot, sequence, class, size, dropped_heartbeats,
                     dropped_fulls, dropped_changes, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT (boot, sequence) DO NOTHING",
            )?
            .execute(params![
                report.node,
                report.boot,
                number(report.sequence),
                report.class,
                number(size),
                number(carries.heartbeats),
                number(carries.fulls),
                number(carries.changes),
                report.bytes,
            ])?;
        if inserted > 0 {
            self.totals.add(report.class, size);
        }
        Ok(())
    }

    /// Takes a report out of the spool; gives back what it was to tell and has not.
    fn settle(&mut self, settled: &Settled) -> rusqlite::Result<Dropped> {
        let name = &settled.name;
        let found = self
            .transaction
            .prepare_cached(
                "SELECT id, class, size, dropped_heartbeats, dropped_fulls, dropped_changes,
                     CASE WHEN ?3 AND size <= ?4 THEN body END
                 FROM report WHERE boot = ?1 AND sequence = ?2",
            )?
            .query_row(
                params![
                    name.boot,
                    number(name.sequence),
                    settled.refused.is_some(),
                    i64::try_from(REFUSED_BYTES).unwrap_or(i64::MAX),
                ],
                |row| {
                    Ok((
                        candidate(row, 0, 2)?,
                        row.get::<_, Class>(1)?,
                        row.get::<_, Option<Vec<u8>>>(6)?,
                    ))
                },
            )
            .optional()?;
        let Some((candidate, class, body)) = found else {
            return Ok(Dropped::default());
        };
        self.remove(class, candidate)?;
        let Some((at, why)) = &settled.refused else {
            return Ok(Dropped::default());
        };
        let refused = RefusedReport {
            boot: name.boot.clone(),
            sequence: name.sequence,
            class,
            bytes: candidate.bytes,
            at: *at,
            why: why.clone(),
        };
        insert_refused(self.transaction, &refused, body.as_deref())?;
        Ok(candidate.carries)
    }
}

/// From `id` at one column, and `size` and the three counts at another and after it.
fn candidate(row: &Row<'_>, id: usize, size: usize) -> rusqlite::Result<Candidate> {
    Ok(Candidate {
        place: row.get(id)?,
        bytes: count(row, size)?,
        carries: Dropped {
            heartbeats: count(row, size + 1)?,
            fulls: count(row, size + 2)?,
            changes: count(row, size + 3)?,
        },
    })
}

impl Shelf for Disk<'_> {
    type Error = rusqlite::Error;

    fn totals(&self) -> Totals {
        self.totals
    }

    fn oldest(&self, class: Class, not_at: Option<i64>) -> rusqlite::Result<Option<Candidate>> {
        self.transaction
            .prepare_cached(
                "SELECT id, size, dropped_heartbeats, dropped_fulls, dropped_changes
                 FROM report
                 WHERE class = ?1 AND id IS NOT ?2 AND NOT (boot IS ?3 AND sequence IS ?4)
                 ORDER BY id LIMIT 1",
            )?
            .query_row(
                params![
                    class,
                    not_at,
                    self.in_hand.map(|name| &name.boot),
                    self.in_hand.map(|name| number(name.sequence)),
                ],
                |row| candidate(row, 0, 1),
            )
            .optional()
    }

    fn newest_full(&self) -> rusqlite::Result<Option<i64>> {
        self.transaction
            .prepare_cached("SELECT max(id) FROM report WHERE class = 'full'")?
            .query_row([], |row| row.get(0))
    }

    fn remove(&mut self, class: Class, candidate: Candidate) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("DELETE FROM report WHERE id = ?1")?
            .execute([candidate.place])?;
        self.totals.remove(class, candidate.bytes);
        Ok(())
    }
}
