//! Forgets what is old.
//!
//! # Invariants
//! - Open findings, nodes, parts, tokens, revoked keys and the expected list are never forgotten.
//! - Before the name of a report is forgotten, its boot's floor is raised to it, in one transaction.
//! - Work is done in small transactions, so that reports do not wait.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::Sqlite;
use super::row::Columns as _;
use crate::store::{Error, Pruned};

/// Rows deleted in one transaction.
const AT_ONCE: i64 = 2000;

/// Boots that are remembered of each node.
const BOOTS: i64 = 200;

fn before(now: i64, age: Duration) -> i64 {
    now.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX))
}

impl Sqlite {
    /// Forgets what is older than it must be kept.
    pub async fn prune(&self) -> Result<Pruned, Error> {
        let keep = self.retention();
        let now = self.clock.microseconds();
        let mut pruned = Pruned::default();
        let boots = sqlx::query("SELECT key FROM boots ORDER BY key")
            .fetch_all(&self.readers)
            .await?;
        let limits = [before(now, keep.heartbeats), before(now, keep.reports)];
        for chunk in boots.chunks(100) {
            let mut transaction = self.begin().await?;
            for row in chunk {
                pruned.reports += forget_names(&mut transaction, row.int("key")?, limits).await?;
            }
            transaction.commit().await?;
        }
        let oldest = before(now, keep.history);
        pruned.reports += self.forget_boots().await?;
        pruned.samples = self
            .delete(
                "DELETE FROM samples WHERE (node_key, at) IN (SELECT node_key, at FROM samples
                 WHERE at < ?1 LIMIT ?2)",
                before(now, keep.samples),
            )
            .await?;
        pruned.changes = self
            .delete(
                "DELETE FROM changes WHERE key IN (SELECT key FROM changes WHERE at < ?1 LIMIT ?2)",
                before(now, keep.changes),
            )
            .await?;
        for sql in [
            "DELETE FROM history WHERE key IN (SELECT h.key FROM history h WHERE h.at < ?1
                AND NOT (h.kind = 'finding' AND EXISTS (SELECT 1 FROM findings f
                    WHERE f.key = h.ref AND f.closed_at IS NULL)) LIMIT ?2)",
            "DELETE FROM findings WHERE key IN (SELECT key FROM findings
                WHERE closed_at < ?1 AND updated_at < ?1 LIMIT ?2)",
            "DELETE FROM bringups WHERE key IN (SELECT key FROM bringups b WHERE finished_at < ?1
                AND EXISTS (SELECT 1 FROM bringups c WHERE c.node_key = b.node_key
                    AND c.finished_at > b.finished_at) LIMIT ?2)",
            "DELETE FROM placements WHERE key IN (SELECT p.key FROM placements p WHERE p.until < ?1
                AND EXISTS (SELECT 1 FROM placements q WHERE q.part_key = p.part_key
                    AND q.since > p.since) LIMIT ?2)",
        ] {
            pruned.history += self.delete(sql, oldest).await?;
        }
        pruned.history += self.forget_events(oldest).await?;
        for sql in [
            "DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE expires_at < ?1
                LIMIT ?2)",
            "DELETE FROM login_codes WHERE hash IN (SELECT hash FROM login_codes
                WHERE expires_at < ?1 LIMIT ?2)",
        ] {
            self.delete(sql, now).await?;
        }
        // A key that was revoked is known for ever, and of each node the newest certificate.
        self.delete(
            "DELETE FROM identities WHERE key IN (SELECT i.key FROM identities i
                WHERE i.not_after < ?1 AND i.state != 'revoked'
                AND EXISTS (SELECT 1 FROM identities j WHERE j.node = i.node AND j.key > i.key)
                LIMIT ?2)",
            oldest,
        )
        .await?;
        pruned.snapshots = self.forget_snapshots(now).await?;
        let mut writer = self.writer.lock().await;
        for sql in ["PRAGMA incremental_vacuum(4000)", "PRAGMA optimize"] {
            sqlx::query(sql).fetch_all(&mut *writer).await?;
        }
        Ok(pruned)
    }

    /// Runs a statement that deletes at most `?2` rows until it finds none.
    async fn delete(&self, sql: &'static str, limit: i64) -> Result<u64, Error> {
        let mut all = 0;
        loop {
            let mut writer = self.writer.lock().await;
            let done = sqlx::query(sql)
                .bind(limit)
                .bind(AT_ONCE)
                .execute(&mut *writer)
                .await?
                .rows_affected();
            drop(writer);
            all += done;
            if done == 0 {
                return Ok(all);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn forget_events(&self, oldest: i64) -> Result<u64, Error> {
        let mut transaction = self.begin().await?;
        let done = sqlx::query("DELETE FROM events WHERE received_at < ?1")
            .bind(oldest)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        if done > 0 {
            sqlx::query(
                "DELETE FROM history WHERE kind = 'event' AND NOT EXISTS
                    (SELECT 1 FROM events e WHERE e.key = history.ref)",
            )
            .execute(&mut *transaction)
            .await?;
            sqlx::query(
                "UPDATE nodes SET events_kept = (SELECT count(*) FROM events e
                    WHERE e.node_key = nodes.key)",
            )
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(done)
    }

    /// Days that are too old to keep a snapshot of; the newest ones stay whatever their age.
    async fn forget_snapshots(&self, now: i64) -> Result<u64, Error> {
        let keep = self.retention();
        let days = u64::from(keep.daily_snapshots) * 86_400;
        let oldest = before(now, Duration::from_secs(days));
        let mut writer = self.writer.lock().await;
        let done = sqlx::query(
            "DELETE FROM snapshots WHERE received_at < ?1 AND key NOT IN
                (SELECT key FROM (SELECT key, row_number() OVER
                    (PARTITION BY node_key ORDER BY received_at DESC, key DESC) AS place
                 FROM snapshots) WHERE place <= ?2)",
        )
        .bind(oldest)
        .bind(i64::from(keep.snapshots.max(1)))
        .execute(&mut *writer)
        .await?;
        Ok(done.rows_affected())
    }

    /// Old boots of nodes that have very many; what they were is remembered by when they began.
    async fn forget_boots(&self) -> Result<u64, Error> {
        let many = sqlx::query("SELECT node_key FROM boots GROUP BY node_key HAVING count(*) > ?1")
            .bind(BOOTS)
            .fetch_all(&self.readers)
            .await?;
        let mut forgotten = 0;
        for row in many {
            let node = row.int("node_key")?;
            let mut transaction = self.begin().await?;
            let old = sqlx::query(
                "SELECT b.key, b.made_at - b.uptime AS booted_at FROM boots b
                 JOIN nodes n ON n.key = b.node_key
                 WHERE b.node_key = ?1 AND b.key != n.boot_key
                 ORDER BY b.received_at DESC, b.key DESC LIMIT -1 OFFSET ?2",
            )
            .bind(node)
            .bind(BOOTS)
            .fetch_all(&mut *transaction)
            .await?;
            for row in old {
                let key = row.int("key")?;
                sqlx::query(
                    "UPDATE nodes SET forgotten_before = max(coalesce(forgotten_before, ?2), ?2)
                     WHERE key = ?1",
                )
                .bind(node)
                .bind(row.int("booted_at")?.saturating_add(1))
                .execute(&mut *transaction)
                .await?;
                for sql in [
                    "DELETE FROM reports WHERE boot_key = ?1",
                    "DELETE FROM boots WHERE key = ?1",
                ] {
                    forgotten += sqlx::query(sql)
                        .bind(key)
                        .execute(&mut *transaction)
                        .await?
                        .rows_affected();
                }
            }
            transaction.commit().await?;
        }
        Ok(forgotten)
    }
}

/// Forgets the names of a boot's reports that came before these times: of heartbeats, and of others.
async fn forget_names(
    c: &mut SqliteConnection,
    boot_key: i64,
    limits: [i64; 2],
) -> Result<u64, Error> {
    let mut forgotten = 0;
    for (kind, limit) in (0_i64..).zip(limits) {
        let row = sqlx::query(
            "SELECT max(sequence) AS highest FROM reports
             WHERE boot_key = ?1 AND kind = ?2 AND received_at < ?3",
        )
        .bind(boot_key)
        .bind(kind)
        .bind(limit)
        .fetch_one(&mut *c)
        .await?;
        let Some(highest) = row.maybe_int("highest")? else {
            continue;
        };
        let floor = if kind == 0 {
            "UPDATE boots SET floor_heartbeats = max(floor_heartbeats, ?2) WHERE key = ?1"
        } else {
            "UPDATE boots SET floor_others = max(floor_others, ?2) WHERE key = ?1"
        };
        sqlx::query(floor)
            .bind(boot_key)
            .bind(highest)
            .execute(&mut *c)
            .await?;
        forgotten += sqlx::query(
            "DELETE FROM reports WHERE boot_key = ?1 AND kind = ?2 AND received_at < ?3",
        )
        .bind(boot_key)
        .bind(kind)
        .bind(limit)
        .execute(&mut *c)
        .await?
        .rows_affected();
    }
    Ok(forgotten)
}
