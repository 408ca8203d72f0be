//! The list of what should arrive.

use std::collections::HashMap;

use sqlx::{Row as _, SqliteConnection};

use super::Sqlite;
use super::place::{self, entry};
use super::row::{Columns as _, to_json};
use crate::record::{
    Cursor, ExpectedChange, ExpectedEntry, ExpectedList, ExpectedMode, ExpectedRecord,
    ExpectedState, Page, UnexpectedNode,
};
use crate::store::{Error, ListChanged, Want};

/// Most nodes that nobody expected in one answer.
const MOST_UNEXPECTED: i64 = 500;

impl Sqlite {
    /// Takes a new list. `revision`: the list that the sender had before him; without it nothing
    /// is removed.
    pub async fn put_expected(
        &self,
        entries: &[ExpectedEntry],
        mode: ExpectedMode,
        revision: Option<i64>,
        may_remove: bool,
    ) -> Result<ListChanged, Error> {
        let now = self.clock.microseconds();
        let mut transaction = self.begin().await?;
        let c = &mut *transaction;
        let stored = list_revision(c).await?;
        if revision.is_some_and(|revision| revision != stored) {
            return Ok(ListChanged::OtherRevision(stored));
        }
        let rows = sqlx::query("SELECT * FROM expected")
            .fetch_all(&mut *c)
            .await?;
        let mut before: HashMap<String, (i64, ExpectedEntry)> = HashMap::new();
        for row in &rows {
            let entry = entry(row)?;
            before.insert(entry.chassis_serial.clone(), (row.int("key")?, entry));
        }
        let mut change = ExpectedChange::default();
        for entry in entries {
            match before.remove(&entry.chassis_serial) {
                None => {
                    insert(c, entry).await?;
                    change.added += 1;
                }
                Some((key, old)) if old != *entry => {
                    update(c, key, entry).await?;
                    change.changed += 1;
                }
                Some(_) => {}
            }
        }
        if mode == ExpectedMode::Replace {
            change.removed = u64::try_from(before.len()).unwrap_or(u64::MAX);
            if change.removed > 0 && !may_remove {
                return Ok(ListChanged::WouldRemove(change.removed));
            }
            for (key, _) in before.into_values() {
                sqlx::query("DELETE FROM expected WHERE key = ?1")
                    .bind(key)
                    .execute(&mut *c)
                    .await?;
            }
        }
        let same = change.added + change.changed + change.removed == 0;
        change.revision = if same { stored } else { stored + 1 };
        change.total = sqlx::query("SELECT count(*) AS total FROM expected")
            .fetch_one(&mut *c)
            .await?
            .count("total")?;
        if !same {
            sqlx::query("UPDATE counters SET value = ?1 WHERE name = 'expected_revision'")
                .bind(change.revision)
                .execute(&mut *c)
                .await?;
            place::refresh_all(c).await?;
            sqlx::query("INSERT INTO changes (at, kind, what) VALUES (?1, 'node', 'expected')")
                .bind(now)
                .execute(&mut *c)
                .await?;
        }
        transaction.commit().await?;
        self.tell().await?;
        Ok(ListChanged::Done(change))
    }

    /// The list with what became of it: a page of entries, perhaps of one state alone.
    pub async fn expected(
        &self,
        state: Option<ExpectedState>,
        want: Want,
    ) -> Result<ExpectedList, Error> {
        let counts = sqlx::query(
            "SELECT count(*) AS total, coalesce(sum(node_key IS NULL), 0) AS missing,
                coalesce(sum(node_key IS NOT NULL AND differences_json IS NULL), 0) AS present,
                coalesce(sum(differences_json IS NOT NULL), 0) AS mismatched,
                (SELECT value FROM counters WHERE name = 'expected_revision') AS revision,
                (SELECT count(*) FROM nodes WHERE expected_key IS NULL) AS unexpected
             FROM expected",
        )
        .fetch_one(&self.readers)
        .await?;
        let total = counts.count("total")?;
        let which = match state {
            None => "1",
            Some(ExpectedState::Missing) => "e.node_key IS NULL",
            Some(ExpectedState::Present) => "e.node_key IS NOT NULL AND e.differences_json IS NULL",
            Some(ExpectedState::Mismatched) => "e.differences_json IS NOT NULL",
        };
        let sql = format!(
            "SELECT e.*, n.id AS node FROM expected e LEFT JOIN nodes n ON n.key = e.node_key
             WHERE e.key > ?1 AND {which} ORDER BY e.key LIMIT ?2"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(want.after.map_or(i64::MIN, |after| after.then))
            .bind(i64::from(want.limit) + 1)
            .fetch_all(&self.readers)
            .await?;
        let items = rows
            .iter()
            .map(|row| Ok((row.int("key")?, record(row)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let page = Page::cut(items, want.limit, |(key, _)| Cursor {
            first: 0,
            then: *key,
        });
        let unexpected_nodes = if want.after.is_none() && total > 0 {
            self.unexpected().await?
        } else {
            Vec::new()
        };
        Ok(ExpectedList {
            revision: counts.int("revision")?,
            total,
            missing: counts.count("missing")?,
            present: counts.count("present")?,
            mismatched: counts.count("mismatched")?,
            unexpected: if total > 0 {
                counts.count("unexpected")?
            } else {
                0
            },
            next: page.next,
            items: page.items.into_iter().map(|(_, record)| record).collect(),
            unexpected_nodes,
        })
    }

    /// The entry with this serial number.
    pub async fn expected_entry(&self, serial: &str) -> Result<Option<ExpectedRecord>, Error> {
        let row = sqlx::query(
            "SELECT e.*, n.id AS node FROM expected e LEFT JOIN nodes n ON n.key = e.node_key
             WHERE e.chassis_serial = ?1",
        )
        .bind(serial)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(record).transpose()
    }

    /// Revision of the list.
    pub async fn expected_revision(&self) -> Result<i64, Error> {
        let mut reader = self.readers.acquire().await?;
        list_revision(&mut reader).await
    }

    async fn unexpected(&self) -> Result<Vec<UnexpectedNode>, Error> {
        let rows = sqlx::query(
            "SELECT id, hostname, chassis_serial, serial, first_seen FROM nodes
             WHERE expected_key IS NULL ORDER BY key LIMIT ?1",
        )
        .bind(MOST_UNEXPECTED)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(UnexpectedNode {
                    node: row.text("id")?,
                    hostname: row.maybe_text("hostname")?,
                    chassis_serial: row.maybe_text("chassis_serial")?,
                    serial: row.maybe_text("serial")?,
                    first_seen: row.time("first_seen")?,
                })
            })
            .collect()
    }
}

fn record(row: &sqlx::sqlite::SqliteRow) -> Result<ExpectedRecord, Error> {
    let node = row.maybe_text("node")?;
    let differences: Vec<_> = row
        .maybe_json("differences_json", "differences")?
        .unwrap_or_default();
    Ok(ExpectedRecord {
        state: match (&node, differences.is_empty()) {
            (None, _) => ExpectedState::Missing,
            (Some(_), true) => ExpectedState::Present,
            (Some(_), false) => ExpectedState::Mismatched,
        },
        node,
        differences,
        entry: entry(row)?,
    })
}

async fn list_revision(c: &mut SqliteConnection) -> Result<i64, Error> {
    let row = sqlx::query("SELECT value FROM counters WHERE name = 'expected_revision'")
        .fetch_one(&mut *c)
        .await?;
    Ok(row.try_get(0)?)
}

async fn insert(c: &mut SqliteConnection, entry: &ExpectedEntry) -> Result<(), Error> {
    let path = entry.switch_path.as_ref().map(to_json).transpose()?;
    sqlx::query(
        "INSERT INTO expected (chassis_serial, platform, hostname, region, site, row, rack, unit,
            height_units, nvlink_domain, switch_path_json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )
    .bind(&entry.chassis_serial)
    .bind(&entry.platform)
    .bind(&entry.hostname)
    .bind(&entry.region)
    .bind(&entry.site)
    .bind(&entry.row)
    .bind(&entry.rack)
    .bind(entry.unit)
    .bind(entry.height_units)
    .bind(&entry.nvlink_domain)
    .bind(path)
    .execute(&mut *c)
    .await?;
    Ok(())
}

async fn update(c: &mut SqliteConnection, key: i64, entry: &ExpectedEntry) -> Result<(), Error> {
    let path = entry.switch_path.as_ref().map(to_json).transpose()?;
    sqlx::query(
        "UPDATE expected SET platform = ?2, hostname = ?3, region = ?4, site = ?5, row = ?6,
            rack = ?7, unit = ?8, height_units = ?9, nvlink_domain = ?10, switch_path_json = ?11
         WHERE key = ?1",
    )
    .bind(key)
    .bind(&entry.platform)
    .bind(&entry.hostname)
    .bind(&entry.region)
    .bind(&entry.site)
    .bind(&entry.row)
    .bind(&entry.rack)
    .bind(entry.unit)
    .bind(entry.height_units)
    .bind(&entry.nvlink_domain)
    .bind(path)
    .execute(&mut *c)
    .await?;
    Ok(())
}
