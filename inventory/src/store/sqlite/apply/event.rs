//! Events of the kernel log, summed over reports.
//!
//! # Invariants
//! - What is the same message of the same boot is one row; counts are sums, times the outermost.
//! - A node has a bounded number of rows; beyond, messages of one kind and device share a row.

use cupel_model::wire::NodeEvent;
use sha2::{Digest as _, Sha256};
use sqlx::SqliteConnection;

use super::Context;
use crate::store::Error;
use crate::store::sqlite::row::{Columns as _, counted, to_json, to_word};

/// Most rows of a node.
const MOST: i64 = 10_000;

/// What stands in the place of texts that are not told apart any more.
const FURTHER: &str = "(further texts; the node has too many to list)";

fn fold(event: &NodeEvent, text: &str) -> Vec<u8> {
    let inner = &event.event;
    let pci = inner.pci.map(|pci| pci.to_string()).unwrap_or_default();
    let mut hasher = Sha256::new();
    for part in [
        event.boot.as_str(),
        &to_word(inner.source),
        &to_word(inner.kind),
        &inner.code,
        &pci,
        inner.mig.as_deref().unwrap_or_default(),
        text,
    ] {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()[..16].to_vec()
}

/// Adds an event to the sum. Gives whether anything changed.
pub async fn add(
    c: &mut SqliteConnection,
    context: &Context<'_>,
    event: &NodeEvent,
) -> Result<bool, Error> {
    let time = |time: Option<cupel_model::Timestamp>| {
        time.map(|time| context.believed(time.microseconds()))
    };
    let first = time(event.event.first.or(event.event.time));
    let last = time(event.event.last.or(event.event.time));
    let at = last.unwrap_or_else(|| context.believed(context.report.made_at));
    let repeats = counted(event.event.repeats).min(1 << 40);
    let mut known = find(c, context.node_key, &fold(event, &event.event.raw)).await?;
    let mut shared = None;
    if known.is_none() && rows(c, context.node_key).await? >= MOST {
        let mut further = event.clone();
        further.event.raw = FURTHER.to_owned();
        known = find(c, context.node_key, &fold(&further, FURTHER)).await?;
        shared = Some(further);
    }
    let event = shared.as_ref().unwrap_or(event);
    if let Some(key) = known {
        if context.forgotten {
            return Ok(false);
        }
        sqlx::query(
            "UPDATE events SET repeats = min(repeats + ?2, 1 << 52),
                first = min(coalesce(first, ?3), coalesce(?3, first)),
                last = max(coalesce(last, ?4), coalesce(?4, last)), received_at = ?5
             WHERE key = ?1",
        )
        .bind(key)
        .bind(repeats)
        .bind(first)
        .bind(last)
        .bind(context.now)
        .execute(&mut *c)
        .await?;
        sqlx::query("UPDATE history SET at = max(at, ?2) WHERE kind = 'event' AND ref = ?1")
            .bind(key)
            .bind(at)
            .execute(&mut *c)
            .await?;
        return Ok(true);
    }
    let key = sqlx::query(
        "INSERT INTO events
            (node_key, fold, boot, repeats, first, last, event_json, received_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(context.node_key)
    .bind(fold(event, &event.event.raw))
    .bind(&event.boot)
    .bind(repeats)
    .bind(first)
    .bind(last)
    .bind(to_json(&event.event)?)
    .bind(context.now)
    .execute(&mut *c)
    .await?
    .last_insert_rowid();
    sqlx::query("INSERT INTO history (node_key, at, kind, ref) VALUES (?1, ?2, 'event', ?3)")
        .bind(context.node_key)
        .bind(at)
        .bind(key)
        .execute(&mut *c)
        .await?;
    sqlx::query("UPDATE nodes SET events_kept = events_kept + 1 WHERE key = ?1")
        .bind(context.node_key)
        .execute(&mut *c)
        .await?;
    Ok(true)
}

async fn find(c: &mut SqliteConnection, node: i64, fold: &[u8]) -> Result<Option<i64>, Error> {
    let row = sqlx::query("SELECT key FROM events WHERE node_key = ?1 AND fold = ?2")
        .bind(node)
        .bind(fold)
        .fetch_optional(&mut *c)
        .await?;
    row.map(|row| row.int("key")).transpose()
}

async fn rows(c: &mut SqliteConnection, node: i64) -> Result<i64, Error> {
    let row = sqlx::query("SELECT events_kept FROM nodes WHERE key = ?1")
        .bind(node)
        .fetch_one(&mut *c)
        .await?;
    row.int("events_kept")
}
