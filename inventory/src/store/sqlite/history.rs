//! What happened to a node, and what it measured.

use cupel_model::units::{Celsius, Watts};
use cupel_model::wire::{GpuVitals, NodeEvent};
use sqlx::QueryBuilder;
use sqlx::sqlite::{Sqlite as Db, SqliteRow};

use super::Sqlite;
use super::row::{Columns as _, to_word};
use crate::clock;
use crate::record::{Cursor, Happened, HistoryEntry, HistoryKind, Page};
use crate::store::{Error, Sample, Want};

fn entry(row: &SqliteRow) -> Result<HistoryEntry, Error> {
    let happened = if row.text("kind")? == "event" {
        Happened::Event {
            event: Box::new(event(row)?),
        }
    } else {
        row.json("data_json", "an entry of a history")?
    };
    Ok(HistoryEntry {
        at: row.time("at")?,
        happened,
    })
}

/// An event with its sums.
fn event(row: &SqliteRow) -> Result<NodeEvent, Error> {
    let mut event: cupel_model::Event = row.json("event_json", "an event")?;
    event.repeats = row.count("repeats")?;
    event.first = row.maybe_time("first")?;
    event.last = row.maybe_time("last")?;
    Ok(NodeEvent {
        boot: row.text("event_boot")?,
        event,
    })
}

impl Sqlite {
    /// A page of a node's history, newest first; `kinds`: only these, all when it is empty.
    pub async fn history(
        &self,
        id: &str,
        kinds: &[HistoryKind],
        want: Want,
    ) -> Result<Page<HistoryEntry>, Error> {
        let mut query = QueryBuilder::<Db>::new(
            "SELECT h.key, h.at, h.kind, h.data_json, e.boot AS event_boot, e.repeats, e.first,
                e.last, e.event_json
             FROM history h LEFT JOIN events e ON h.kind = 'event' AND e.key = h.ref
             WHERE h.node_key = (SELECT key FROM nodes WHERE id = ",
        );
        query.push_bind(id.to_owned()).push(")");
        if kinds.is_empty() {
            query.push(" AND h.kind != 'standing'");
        } else {
            query.push(" AND h.kind IN (");
            let mut list = query.separated(", ");
            for kind in kinds {
                list.push_bind(to_word(kind));
            }
            query.push(")");
        }
        if let Some(after) = want.after {
            query.push(" AND (h.at, h.key) < (");
            query.push_bind(after.first).push(", ");
            query.push_bind(after.then).push(")");
        }
        query.push(" ORDER BY h.at DESC, h.key DESC LIMIT ");
        query.push_bind(i64::from(want.limit) + 1);
        let rows = query.build().fetch_all(&self.readers).await?;
        let items = rows
            .iter()
            .map(|row| Ok((row.int("key")?, entry(row)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let page = Page::cut(items, want.limit, |(key, entry)| Cursor {
            first: entry.at.microseconds(),
            then: *key,
        });
        Ok(page.map(|(_, entry)| entry))
    }

    /// How many entries of this kind a node's history has.
    pub async fn history_count(&self, id: &str, kind: HistoryKind) -> Result<u64, Error> {
        let row = sqlx::query(
            "SELECT count(*) AS kept FROM history
             WHERE kind = ?2 AND node_key = (SELECT key FROM nodes WHERE id = ?1)",
        )
        .bind(id)
        .bind(to_word(kind))
        .fetch_one(&self.readers)
        .await?;
        row.count("kept")
    }

    /// How a node stood: when, and its standing from then on, oldest first. The first is the last
    /// one before `from`.
    pub async fn standings(&self, id: &str, from: i64) -> Result<Vec<(i64, i64)>, Error> {
        let rows = sqlx::query(
            "SELECT at, ref FROM history
             WHERE kind = 'standing' AND node_key = (SELECT key FROM nodes WHERE id = ?1)
                AND at >= coalesce((SELECT max(at) FROM history WHERE kind = 'standing'
                    AND node_key = (SELECT key FROM nodes WHERE id = ?1) AND at <= ?2), ?2)
             ORDER BY at, key LIMIT 5000",
        )
        .bind(id)
        .bind(from)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| Ok((row.int("at")?, row.int("ref")?)))
            .collect()
    }

    /// Measurements of a node, oldest first.
    pub async fn samples(&self, id: &str, from: i64, to: i64) -> Result<Vec<Sample>, Error> {
        let rows = sqlx::query(
            "SELECT at, gpus_json FROM samples
             WHERE node_key = (SELECT key FROM nodes WHERE id = ?1) AND at BETWEEN ?2 AND ?3
             ORDER BY at",
        )
        .bind(id)
        .bind(from)
        .bind(to)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let gpus: Vec<(u32, Option<f64>, Option<f64>)> =
                    row.json("gpus_json", "measurements")?;
                Ok(Sample {
                    at: clock::time(row.int("at")?),
                    gpus: gpus
                        .into_iter()
                        .map(|(index, celsius, watts)| GpuVitals {
                            index,
                            temperature_celsius: celsius.and_then(|t| Celsius::new(t).ok()),
                            power_watts: watts.and_then(|p| Watts::new(p).ok()),
                        })
                        .collect(),
                })
            })
            .collect()
    }
}
