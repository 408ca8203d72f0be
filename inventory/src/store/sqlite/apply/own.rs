//! Findings that the inventory makes by itself, beside those that nodes tell.
//!
//! # Invariants
//! - A node has at most one open occurrence of each.
//! - A node's reports neither change nor close them.

use cupel_model::wire::{ChangeKind, Tracked};
use sqlx::SqliteConnection;

use super::Head;
use super::finding::{close, source_number, tell_finding};
use crate::clock;
use crate::record::{FindingSource, Happened, ticket};
use crate::store::Error;
use crate::store::sqlite::row::{Columns as _, severity_number, to_json, to_word};

/// Time after which a condition that goes on is written again.
const AGAIN: i64 = 60 * clock::SECOND;

/// An occurrence that is open.
struct Open {
    key: i64,
    since: i64,
    updated_at: i64,
    tracked: Tracked,
}

async fn open(c: &mut SqliteConnection, node_key: i64, id: &str) -> Result<Option<Open>, Error> {
    let row = sqlx::query(
        "SELECT key, since, updated_at, tracked_json FROM findings
         WHERE node_key = ?1 AND tracked_id = ?2 AND source = 1 AND closed_at IS NULL",
    )
    .bind(node_key)
    .bind(id)
    .fetch_optional(&mut *c)
    .await?;
    row.map(|row| {
        Ok(Open {
            key: row.int("key")?,
            since: row.int("since")?,
            updated_at: row.int("updated_at")?,
            tracked: row.json("tracked_json", "a finding")?,
        })
    })
    .transpose()
}

/// Raises a finding, changes the one that is open, or notes that it goes on. Gives whether anything
/// about it is another now.
pub async fn raise(
    c: &mut SqliteConnection,
    head: &Head,
    tracked: &Tracked,
    why: &str,
    now: i64,
) -> Result<bool, Error> {
    let Some(known) = open(c, head.key, &tracked.id).await? else {
        tell(c, head, tracked, now, ChangeKind::Raised, why, now).await?;
        return Ok(true);
    };
    let mut tracked = tracked.clone();
    tracked.finding.since = Some(clock::time(known.since));
    let before = &known.tracked.finding;
    let same =
        before.summary == tracked.finding.summary && before.severity == tracked.finding.severity;
    if !same {
        let change = ChangeKind::Changed;
        tell(c, head, &tracked, known.since, change, why, now).await?;
        return Ok(true);
    }
    if now.saturating_sub(known.updated_at) >= AGAIN {
        sqlx::query("UPDATE findings SET tracked_json = ?2, updated_at = ?3 WHERE key = ?1")
            .bind(known.key)
            .bind(to_json(&tracked)?)
            .bind(now)
            .execute(&mut *c)
            .await?;
    }
    Ok(false)
}

/// Closes the finding with this id, if it is open. Gives whether it was.
pub async fn settle(
    c: &mut SqliteConnection,
    head: &Head,
    id: &str,
    why: &str,
    now: i64,
) -> Result<bool, Error> {
    let Some(known) = open(c, head.key, id).await? else {
        return Ok(false);
    };
    let at = clock::time(now);
    close(c, head, known.key, &known.tracked, at, why, now).await?;
    Ok(true)
}

/// Writes a finding, and tells of it. `since`, in microseconds, names the occurrence.
pub async fn tell(
    c: &mut SqliteConnection,
    head: &Head,
    tracked: &Tracked,
    since: i64,
    change: ChangeKind,
    why: &str,
    now: i64,
) -> Result<(), Error> {
    let finding = &tracked.finding;
    let row = sqlx::query(
        "INSERT INTO findings (node_key, source, tracked_id, since, code, component_kind,
            severity, enforced, blocks, confirmed, tracked_json, opened_at, updated_at, account,
            handover_at, boot_key, sequence)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, ?8, 1, ?9, ?10, ?10, ?11, ?12, ?13, ?14)
         ON CONFLICT (node_key, tracked_id, since) DO UPDATE SET severity = excluded.severity,
            blocks = excluded.blocks, tracked_json = excluded.tracked_json,
            updated_at = excluded.updated_at, closed_at = NULL, closed_why = NULL
         RETURNING key",
    )
    .bind(head.key)
    .bind(source_number(FindingSource::Inventory))
    .bind(&tracked.id)
    .bind(since)
    .bind(&finding.code)
    .bind(to_word(finding.component.kind))
    .bind(severity_number(finding.severity))
    .bind(finding.blocks_allocation())
    .bind(to_json(tracked)?)
    .bind(now)
    .bind(&head.account)
    .bind(head.handover_at)
    .bind(head.boot_key)
    .bind(head.sequence)
    .fetch_one(&mut *c)
    .await?;
    let key = row.int("key")?;
    let happened = Happened::Finding {
        ticket: ticket(key),
        change,
        why: why.to_owned(),
        code: finding.code.clone(),
        component: Box::new(finding.component.clone()),
        severity: finding.severity,
        summary: finding.summary.clone(),
    };
    sqlx::query(
        "INSERT OR IGNORE INTO history (node_key, at, kind, ref, what, data_json)
         VALUES (?1, ?2, 'finding', ?3, ?4, ?5)",
    )
    .bind(head.key)
    .bind(now)
    .bind(key)
    .bind(to_word(change))
    .bind(to_json(&happened)?)
    .execute(&mut *c)
    .await?;
    tell_finding(c, head, key, change, tracked, now).await
}
