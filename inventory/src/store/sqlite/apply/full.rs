//! What a full report does: identity, snapshot, parts, findings.

use sqlx::SqliteConnection;

use super::{Context, Head, Noted, finding, identity, part};
use crate::ingest::Full;
use crate::store::sqlite::place;
use crate::store::sqlite::row::{Columns as _, counted, to_json, to_word};
use crate::store::{Error, Retention};

const DAY: i64 = 86_400 * crate::clock::SECOND;

/// Applies it, or keeps what a late one knows.
pub async fn apply(
    c: &mut SqliteConnection,
    context: &Context<'_>,
    head: &mut Head,
    full: &Full,
    retention: &Retention,
    noted: &mut Noted,
) -> Result<(), Error> {
    if !context.forgotten {
        keep_snapshot(c, context, full, retention).await?;
    }
    if !context.newest {
        noted.findings = finding::recall(c, context, head, &full.findings).await?;
        if noted.findings {
            super::recount(c, head).await?;
        }
        return Ok(());
    }
    let moved = identify(c, context, head, full).await?;
    if moved {
        place::refresh(c, head.key).await?;
    }
    noted.snapshot = head.hash.as_deref() != Some(&full.hash);
    noted.parts = parts(c, context, full).await?;
    noted.findings = finding::reconcile(c, context, head, &full.findings).await?;
    let board = full.identity.board_serial.as_deref();
    noted.findings |= identity::look_at_board(c, head, board, context.now).await?;
    if noted.findings {
        super::recount(c, head).await?;
    }
    head.hash = Some(full.hash.clone());
    head.full_sequence = Some(context.report.sequence);
    head.full_made_at = Some(context.report.made_at);
    head.reported_verdict = Some(full.verdict);
    head.hostname.clone_from(&full.identity.hostname);
    Ok(())
}

async fn parts(
    c: &mut SqliteConnection,
    context: &Context<'_>,
    full: &Full,
) -> Result<bool, Error> {
    let row = sqlx::query("SELECT parts_digest FROM nodes WHERE key = ?1")
        .bind(context.node_key)
        .fetch_one(&mut *c)
        .await?;
    let before = row.maybe_bytes("parts_digest")?;
    if before.as_ref() == Some(&full.parts_digest) {
        return Ok(false);
    }
    let at = context.believed(full.taken_at.microseconds());
    part::reconcile(c, context, &full.parts, at, before.is_some()).await?;
    sqlx::query("UPDATE nodes SET parts_digest = ?2 WHERE key = ?1")
        .bind(context.node_key)
        .bind(&full.parts_digest)
        .execute(&mut *c)
        .await?;
    Ok(true)
}

/// Writes who the node is. Gives whether something changed by which it is found or placed.
async fn identify(
    c: &mut SqliteConnection,
    context: &Context<'_>,
    head: &Head,
    full: &Full,
) -> Result<bool, Error> {
    let who = &full.identity;
    let row = sqlx::query(
        "SELECT serial, chassis_serial, platform, hostname, reported_domain, full_made_at
         FROM nodes WHERE key = ?1",
    )
    .bind(head.key)
    .fetch_one(&mut *c)
    .await?;
    let before = [
        row.maybe_text("serial")?,
        row.maybe_text("chassis_serial")?,
        row.maybe_text("platform")?,
        row.maybe_text("hostname")?,
        row.maybe_text("reported_domain")?,
    ];
    let after = [
        &who.serial,
        &who.chassis_serial,
        &who.platform,
        &who.hostname,
        &who.nvlink_domain,
    ];
    let moved = head.hash.is_none() || before.iter().zip(after).any(|(a, b)| a != b);
    sqlx::query(
        "UPDATE nodes SET id_source = ?2, hostname = ?3, manufacturer = ?4, product = ?5,
            serial = ?6, chassis_serial = ?7, board_serial = ?8, platform = ?9, tenancy = ?10,
            gpu_model = ?11, gpu_count = ?12, driver_version = ?13, kernel_release = ?14,
            reported_domain = ?15, coverage_json = ?16, hash = ?17, full_sequence = ?18,
            full_made_at = ?19
         WHERE key = ?1",
    )
    .bind(head.key)
    .bind(who.id_source.map(to_word))
    .bind(&who.hostname)
    .bind(&who.manufacturer)
    .bind(&who.product)
    .bind(&who.serial)
    .bind(&who.chassis_serial)
    .bind(&who.board_serial)
    .bind(&who.platform)
    .bind(who.tenancy.map(to_word))
    .bind(&who.gpu_model)
    .bind(i64::from(who.gpu_count))
    .bind(&who.driver_version)
    .bind(&who.kernel_release)
    .bind(&who.nvlink_domain)
    .bind(to_json(&full.coverage)?)
    .bind(&full.hash)
    .bind(context.report.sequence)
    .bind(context.report.made_at)
    .execute(&mut *c)
    .await?;
    Ok(moved)
}

/// Keeps the snapshot, and lets go of those that are too many: beside the newest, one a day.
async fn keep_snapshot(
    c: &mut SqliteConnection,
    context: &Context<'_>,
    full: &Full,
    retention: &Retention,
) -> Result<(), Error> {
    // A late one stands where it was made, so that it is not taken for the newest.
    let stands_at = if context.newest {
        context.now
    } else {
        context.believed(context.report.made_at).min(context.now)
    };
    sqlx::query(
        "INSERT INTO snapshots (node_key, received_at, taken_at, size, hash, zstd)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(context.node_key)
    .bind(stands_at)
    .bind(full.taken_at.microseconds())
    .bind(counted(
        u64::try_from(full.snapshot_bytes).unwrap_or(u64::MAX),
    ))
    .bind(&full.hash)
    .bind(&full.snapshot)
    .execute(&mut *c)
    .await?;
    let rows = sqlx::query(
        "SELECT key, received_at FROM snapshots WHERE node_key = ?1
         ORDER BY received_at DESC, key DESC",
    )
    .bind(context.node_key)
    .fetch_all(&mut *c)
    .await?;
    let newest = usize::try_from(retention.snapshots.max(1)).unwrap_or(usize::MAX);
    let oldest_day = context.now.div_euclid(DAY) - i64::from(retention.daily_snapshots);
    for (index, row) in rows.iter().enumerate().skip(newest) {
        let day =
            |row: &sqlx::sqlite::SqliteRow| Ok::<_, Error>(row.int("received_at")?.div_euclid(DAY));
        // Of each day the first is kept: it does not move while the day goes on.
        let first_of_day = match rows.get(index + 1) {
            Some(older) => day(older)? != day(row)?,
            None => true,
        };
        if !first_of_day || day(row)? <= oldest_day {
            sqlx::query("DELETE FROM snapshots WHERE key = ?1")
                .bind(row.int("key")?)
                .execute(&mut *c)
                .await?;
        }
    }
    Ok(())
}
