//! Findings over all nodes.

use sqlx::QueryBuilder;
use sqlx::sqlite::{Sqlite as Db, SqliteRow};

use super::Sqlite;
use super::row::{Columns as _, severity_number};
use crate::record::{Cursor, FindingRecord, FindingSource, Page, ticket};
use crate::store::{Error, FindingFilter, Want};

/// The columns of a record, from `findings f` and `nodes n`.
const COLUMNS: &str = "SELECT f.key, n.id AS node, n.hostname, f.source, f.opened_at, f.updated_at,
    f.closed_at, f.closed_why, f.account, f.tracked_json
    FROM findings f JOIN nodes n ON n.key = f.node_key WHERE 1";

fn record(row: &SqliteRow) -> Result<(i64, FindingRecord), Error> {
    let key = row.int("key")?;
    let record = FindingRecord {
        ticket: ticket(key),
        node: row.text("node")?,
        hostname: row.maybe_text("hostname")?,
        source: if row.int("source")? == 0 {
            FindingSource::Node
        } else {
            FindingSource::Inventory
        },
        opened_at: row.time("opened_at")?,
        updated_at: row.time("updated_at")?,
        closed_at: row.maybe_time("closed_at")?,
        closed_why: row.maybe_text("closed_why")?,
        account: row.maybe_text("account")?,
        tracked: row.json("tracked_json", "a finding")?,
    };
    Ok((key, record))
}

impl Sqlite {
    /// A page of findings, newest first.
    pub async fn findings(
        &self,
        filter: &FindingFilter,
        want: Want,
    ) -> Result<Page<FindingRecord>, Error> {
        let mut query = QueryBuilder::<Db>::new(COLUMNS);
        match filter.open {
            Some(true) => {
                query.push(" AND f.closed_at IS NULL");
            }
            Some(false) => {
                query.push(" AND f.closed_at IS NOT NULL");
            }
            None => {}
        }
        if let Some(code) = &filter.code {
            query.push(" AND f.code = ");
            query.push_bind(code.clone());
        }
        if let Some(severity) = filter.severity {
            query.push(" AND f.severity >= ");
            query.push_bind(severity_number(severity));
        }
        if let Some(node) = &filter.node {
            query.push(" AND f.node_key = (SELECT key FROM nodes WHERE id = ");
            query.push_bind(node.clone()).push(")");
        }
        if let Some(serial) = &filter.serial {
            query.push(" AND f.serial = ");
            query.push_bind(serial.clone());
        }
        if let Some(since) = filter.since {
            query.push(" AND f.opened_at >= ");
            query.push_bind(since.microseconds());
        }
        if let Some(after) = want.after {
            query.push(" AND f.key < ");
            query.push_bind(after.then);
        }
        query.push(" ORDER BY f.key DESC LIMIT ");
        query.push_bind(i64::from(want.limit) + 1);
        let rows = query.build().fetch_all(&self.readers).await?;
        let items = rows.iter().map(record).collect::<Result<Vec<_>, _>>()?;
        let page = Page::cut(items, want.limit, |(key, _)| Cursor {
            first: 0,
            then: *key,
        });
        Ok(page.map(|(_, record)| record))
    }

    /// The finding with this ticket.
    pub async fn finding(&self, key: i64) -> Result<Option<FindingRecord>, Error> {
        let mut query = QueryBuilder::<Db>::new(COLUMNS);
        query.push(" AND f.key = ");
        query.push_bind(key);
        let row = query.build().fetch_optional(&self.readers).await?;
        Ok(row
            .as_ref()
            .map(record)
            .transpose()?
            .map(|(_, record)| record))
    }
}
