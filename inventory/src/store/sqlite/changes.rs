//! The stream of changes.

use super::Sqlite;
use super::row::Columns as _;
use crate::record::Change;
use crate::store::Error;

impl Sqlite {
    /// Changes after this one, oldest first: the kind of event, and the change.
    pub async fn changes_after(&self, id: i64, limit: u32) -> Result<Vec<(String, Change)>, Error> {
        let rows = sqlx::query(
            "SELECT c.key, c.at, c.kind, c.what, c.verdict, c.finding_json, n.id AS node,
                n.region, n.site, n.row, n.rack
             FROM changes c LEFT JOIN nodes n ON n.key = c.node_key
             WHERE c.key > ?1 ORDER BY c.key LIMIT ?2",
        )
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let change = Change {
                    id: Some(row.int("key")?),
                    at: row.time("at")?,
                    node: row.maybe_text("node")?,
                    region: row.maybe_text("region")?,
                    site: row.maybe_text("site")?,
                    row: row.maybe_text("row")?,
                    rack: row.maybe_text("rack")?,
                    what: row.text("what")?,
                    verdict: row.maybe_verdict("verdict")?,
                    finding: row.maybe_json("finding_json", "a change of a finding")?,
                };
                Ok((row.text("kind")?, change))
            })
            .collect()
    }

    /// The first and last change that are kept; the last one that ever was when none is.
    pub async fn changes_kept(&self) -> Result<(i64, i64), Error> {
        let row = sqlx::query(
            "SELECT coalesce(min(key), 0) AS first, coalesce(max(key), (SELECT seq FROM
                sqlite_sequence WHERE name = 'changes'), 0) AS last FROM changes",
        )
        .fetch_one(&self.readers)
        .await?;
        Ok((row.int("first")?, row.int("last")?))
    }
}
