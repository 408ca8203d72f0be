//! The store in numbers, for metrics.

use super::Sqlite;
use super::row::{Columns as _, severity};
use crate::store::{Error, Figures};

impl Sqlite {
    /// Counts of nodes, findings and entries, and the size of the files.
    pub async fn figures(&self) -> Result<Figures, Error> {
        let nodes = sqlx::query(
            "SELECT verdict, state, count(*) AS nodes FROM nodes GROUP BY verdict, state",
        )
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(|row| {
            Ok((
                row.verdict("verdict")?,
                row.text("state")?,
                row.count("nodes")?,
            ))
        })
        .collect::<Result<Vec<_>, Error>>()?;
        let findings = sqlx::query(
            "SELECT severity, count(*) AS open FROM findings WHERE closed_at IS NULL
             GROUP BY severity",
        )
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(|row| Ok((severity(row.int("severity")?), row.count("open")?)))
        .collect::<Result<Vec<_>, Error>>()?;
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM nodes WHERE presence >= 2) AS silent,
                (SELECT count(*) FROM nodes WHERE expected_key IS NULL) AS unexpected,
                count(*) AS total, coalesce(sum(node_key IS NULL), 0) AS missing,
                coalesce(sum(differences_json IS NOT NULL), 0) AS mismatched
             FROM expected",
        )
        .fetch_one(&self.readers)
        .await?;
        let (identities, identity_ends) = self.identity_figures().await?;
        let total = row.count("total")?;
        let missing = row.count("missing")?;
        let mismatched = row.count("mismatched")?;
        let present = total.saturating_sub(missing).saturating_sub(mismatched);
        let size = |suffix: &str| {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            std::fs::metadata(path).map_or(0, |file| file.len())
        };
        Ok(Figures {
            nodes,
            silent: row.count("silent")?,
            findings,
            expected: [missing, present, mismatched],
            unexpected: if total > 0 {
                row.count("unexpected")?
            } else {
                0
            },
            identities,
            identity_ends,
            database_bytes: size(""),
            log_bytes: size("-wal"),
        })
    }
}
