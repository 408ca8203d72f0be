//! Rows of state: all but the reports.

use cupel_model::wire::Dropped;
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::change::{EventRow, KernelCursor, Remembered, WantedDocument};
use super::numbers::Count;
use super::rows::Batch;

/// Names in `memory`.
const TRACKER: &str = "tracker";
const CURSOR_BOOT: &str = "kernel-cursor.boot";
const CURSOR_SEQUENCE: &str = "kernel-cursor.sequence";
const JOURNAL: &str = "journal-cursor";
const WANTED_ETAG: &str = "wanted.etag";
const WANTED_JSON: &str = "wanted.json";
const LAST_BOOT: &str = "last.boot";
const LAST_SEQUENCE: &str = "last.sequence";
const TO_TELL: &str = "dropped-to-tell";
const NOTE: &str = "note/";

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

pub(super) fn remembered(connection: &Connection, boot: &str) -> rusqlite::Result<Remembered> {
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
        .prepare("SELECT name, value FROM memory WHERE name GLOB ?1")?
        .query_map([format!("{NOTE}*")], |row| {
            let name: String = row.get(0)?;
            let name = name.strip_prefix(NOTE).unwrap_or(&name).to_owned();
            Ok((name, row.get(1)?))
        })?
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

pub(super) fn counters(
    connection: &Connection,
    boot: &str,
) -> rusqlite::Result<(Option<u64>, Dropped)> {
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
    let dropped = recall(connection, TO_TELL)?
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default();
    Ok((noted.max(queued.map(|count| count.0)), dropped))
}

pub(super) fn write(transaction: &Transaction<'_>, batch: &Batch<'_>) -> rusqlite::Result<()> {
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
    if recall(transaction, LAST_BOOT)?.as_deref() != Some(batch.boot) {
        keep(transaction, LAST_BOOT, batch.boot)?;
    }
    keep(transaction, LAST_SEQUENCE, &batch.last_sequence.to_string())
}

/// Keeps what was dropped and is in no report yet.
pub(super) fn keep_to_tell(
    transaction: &Transaction<'_>,
    to_tell: Dropped,
) -> rusqlite::Result<()> {
    let json = serde_json::to_string(&to_tell)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    keep(transaction, TO_TELL, &json)
}
