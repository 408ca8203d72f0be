//! One node, whole.

use cupel_model::wire::{Dropped, WantedState};

use super::Sqlite;
use super::apply::Head;
use super::nodes::{LINE, summary};
use super::row::Columns as _;
use crate::clock;
use crate::record::{NodeRecord, SnapshotInfo, Stopped};
use crate::store::{Error, FindingFilter, StoredSnapshot, Want};

/// Most open findings in a record.
const MOST_FINDINGS: u32 = 500;

impl Sqlite {
    /// All that is known of a node.
    pub async fn node(&self, id: &str) -> Result<Option<NodeRecord>, Error> {
        let mut sql = format!("SELECT {LINE}");
        sql.push_str(
            ", n.id_source, n.manufacturer, n.board_serial, n.tenancy, n.kernel_release,
               n.driver_version, n.cupel_version, n.reported_verdict, n.verdict_since,
               n.stopping_at, n.stopping_why, n.wanted_json, n.silence_until, n.revision,
               n.coverage_json, b.boot, l.sequence, l.made_at, l.uptime, l.next_within,
               l.told_etag, l.refused, l.upgrade_json, l.dropped_heartbeats, l.dropped_fulls, l.dropped_changes,
               e.differences_json
             FROM nodes n JOIN live l ON l.node_key = n.key JOIN boots b ON b.key = n.boot_key
             LEFT JOIN expected e ON e.key = n.expected_key
             WHERE n.id = ?1",
        );
        let Some(row) = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id)
            .fetch_optional(&self.readers)
            .await?
        else {
            return Ok(None);
        };
        let key = row.int("key")?;
        let stopped = match row.maybe_time("stopping_at")? {
            Some(at) => Some(Stopped {
                at,
                why: row.maybe_text("stopping_why")?.unwrap_or_default(),
            }),
            None => None,
        };
        let node = summary(&row)?;
        let identity = self.identity_of(id).await?;
        let late_at = self.late_at(id).await?;
        let filter = FindingFilter {
            open: Some(true),
            node: Some(id.to_owned()),
            ..FindingFilter::default()
        };
        let want = Want {
            after: None,
            limit: MOST_FINDINGS,
        };
        let mut open_findings = self.findings(&filter, want).await?.items;
        open_findings.sort_by_key(|finding| {
            let inner = &finding.tracked.finding;
            (std::cmp::Reverse(inner.severity), inner.mode, inner.since)
        });
        Ok(Some(NodeRecord {
            id_source: row.maybe_word("id_source", "a source of an id")?,
            manufacturer: row.maybe_text("manufacturer")?,
            board_serial: row.maybe_text("board_serial")?,
            identity: identity.map(|identity| identity.shown()),
            tenancy: row.maybe_word("tenancy", "a tenancy")?,
            kernel_release: row.maybe_text("kernel_release")?,
            driver_version: row.maybe_text("driver_version")?,
            cupel_version: row.text("cupel_version")?,
            boot: row.text("boot")?,
            sequence: row.count("sequence")?,
            made_at: row.time("made_at")?,
            uptime_seconds: clock::seconds(row.int("uptime")?),
            next_within_seconds: clock::seconds(row.int("next_within")?),
            late_at: clock::time(late_at),
            reported_verdict: row.maybe_verdict("reported_verdict")?,
            verdict_since: row.time("verdict_since")?,
            stopped,
            dropped: Dropped {
                heartbeats: row.count("dropped_heartbeats")?,
                fulls: row.count("dropped_fulls")?,
                changes: row.count("dropped_changes")?,
            },
            wanted: row.json("wanted_json", "wishes")?,
            wanted_state: WantedState {
                etag: row.maybe_text("told_etag")?,
                refused: row.maybe_text("refused")?,
                upgrade: row.maybe_json("upgrade_json", "what came of an upgrade")?,
            },
            silence_until: row.maybe_time("silence_until")?,
            revision: row.int("revision")?,
            differences: row
                .maybe_json("differences_json", "differences")?
                .unwrap_or_default(),
            coverage: row.maybe_json("coverage_json", "a coverage")?,
            snapshot: self.snapshot_info(key).await?,
            bringup: self.newest_bringup(key).await?,
            open_findings,
            parts: self.parts_of(key).await?,
            node,
        }))
    }

    async fn late_at(&self, id: &str) -> Result<i64, Error> {
        let mut reader = self.readers.acquire().await?;
        let head = Head::load(&mut reader, id).await?;
        Ok(head.map_or(0, |head| head.silence().late_at(0)))
    }

    async fn snapshot_info(&self, key: i64) -> Result<Option<SnapshotInfo>, Error> {
        let row = sqlx::query(
            "SELECT taken_at, received_at, hash, size FROM snapshots WHERE node_key = ?1
             ORDER BY received_at DESC, key DESC LIMIT 1",
        )
        .bind(key)
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| {
            Ok(SnapshotInfo {
                taken_at: row.time("taken_at")?,
                received_at: row.time("received_at")?,
                hash: row.text("hash")?,
                size_bytes: row.count("size")?,
            })
        })
        .transpose()
    }

    async fn newest_bringup(
        &self,
        key: i64,
    ) -> Result<Option<cupel_model::wire::BringupSummary>, Error> {
        let row = sqlx::query(
            "SELECT summary_json FROM bringups WHERE node_key = ?1
             ORDER BY finished_at DESC, key DESC LIMIT 1",
        )
        .bind(key)
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| row.json("summary_json", "a bring-up"))
            .transpose()
    }

    /// The newest snapshot of a node.
    pub async fn snapshot(&self, id: &str) -> Result<Option<StoredSnapshot>, Error> {
        let row = sqlx::query(
            "SELECT s.taken_at, s.hash, s.size, s.zstd
             FROM snapshots s JOIN nodes n ON n.key = s.node_key WHERE n.id = ?1
             ORDER BY s.received_at DESC, s.key DESC LIMIT 1",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| {
            Ok(StoredSnapshot {
                taken_at: row.time("taken_at")?,
                hash: row.text("hash")?,
                zstd: row.bytes("zstd")?,
                size: usize::try_from(row.int("size")?).unwrap_or_default(),
            })
        })
        .transpose()
    }

    /// Whether there is a node with this id.
    pub async fn has_node(&self, id: &str) -> Result<bool, Error> {
        let row = sqlx::query("SELECT 1 FROM nodes WHERE id = ?1")
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.is_some())
    }
}
