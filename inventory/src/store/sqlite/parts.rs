//! Parts: of a node, by serial number, by a piece of it.

use sqlx::QueryBuilder;
use sqlx::sqlite::{Sqlite as Db, SqliteRow};

use super::Sqlite;
use super::nodes::contains;
use super::row::Columns as _;
use crate::record::{PartRecord, PartSummary, Parts, Placement};
use crate::store::{Error, FindingFilter, Want};

/// Most findings with a part.
const MOST_FINDINGS: u32 = 200;

/// Most places in the record of a part.
const MOST_PLACES: i64 = 1000;

fn summary(row: &SqliteRow, place: Option<Placement>) -> Result<PartSummary, Error> {
    Ok(PartSummary {
        kind: row.word("kind", "a kind of part")?,
        serial: row.text("serial")?,
        model: row.maybe_text("model")?,
        part_number: row.maybe_text("part_number")?,
        uuid: row.maybe_text("uuid")?,
        firmware: row.maybe_text("firmware")?,
        first_seen: row.time("first_seen")?,
        place,
    })
}

fn placement(row: &SqliteRow) -> Result<Placement, Error> {
    Ok(Placement {
        node: row.text("node")?,
        hostname: row.maybe_text("hostname")?,
        slot: row.maybe_text("slot")?,
        pci: row.maybe_text("pci")?,
        from: row.time("since")?,
        until: row.maybe_time("until")?,
        missing_since: row.maybe_time("missing_since")?,
    })
}

impl Sqlite {
    /// Parts that are in a node, by kind and slot.
    pub(super) async fn parts_of(&self, node_key: i64) -> Result<Vec<PartSummary>, Error> {
        let rows = sqlx::query(
            "SELECT q.*, p.slot, p.pci, p.since, p.until, p.missing_since, n.id AS node, n.hostname
             FROM placements p JOIN parts q ON q.key = p.part_key JOIN nodes n ON n.key = p.node_key
             WHERE p.node_key = ?1 AND p.until IS NULL",
        )
        .bind(node_key)
        .fetch_all(&self.readers)
        .await?;
        let mut parts = rows
            .iter()
            .map(|row| summary(row, Some(placement(row)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        parts.sort_by_key(|part| {
            let slot = part.place.as_ref().and_then(|place| place.slot.clone());
            (part.kind, slot, part.serial.clone())
        });
        Ok(parts)
    }

    /// All parts with this serial number.
    pub async fn parts(&self, serial: &str) -> Result<Parts, Error> {
        let rows =
            sqlx::query("SELECT * FROM parts WHERE serial = ?1 ORDER BY kind, maker LIMIT 20")
                .bind(serial)
                .fetch_all(&self.readers)
                .await?;
        let mut parts = Vec::new();
        for row in &rows {
            let places = sqlx::query(
                "SELECT p.slot, p.pci, p.since, p.until, p.missing_since, n.id AS node, n.hostname
                 FROM placements p JOIN nodes n ON n.key = p.node_key
                 WHERE p.part_key = ?1
                 ORDER BY p.until IS NULL DESC, p.since DESC, p.key DESC LIMIT ?2",
            )
            .bind(row.int("key")?)
            .bind(MOST_PLACES)
            .fetch_all(&self.readers)
            .await?;
            let placements = places
                .iter()
                .map(placement)
                .collect::<Result<Vec<_>, Error>>()?;
            let filter = FindingFilter {
                serial: Some(serial.to_owned()),
                ..FindingFilter::default()
            };
            let want = Want {
                after: None,
                limit: MOST_FINDINGS,
            };
            parts.push(PartRecord {
                part: summary(row, placements.first().cloned())?,
                placements,
                findings: self.findings(&filter, want).await?.items,
            });
        }
        Ok(Parts { parts })
    }

    /// Parts whose serial number, part number or UUID contains the text, by serial number.
    pub async fn search_parts(&self, text: &str, limit: u32) -> Result<Vec<PartSummary>, Error> {
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM parts q WHERE 1");
        contains(&mut query, &["q.serial", "q.part_number", "q.uuid"], text);
        query.push(" ORDER BY q.serial, q.kind LIMIT ");
        query.push_bind(i64::from(limit));
        let rows = query.build().fetch_all(&self.readers).await?;
        let mut parts = Vec::new();
        for row in &rows {
            let place = sqlx::query(
                "SELECT p.slot, p.pci, p.since, p.until, p.missing_since, n.id AS node, n.hostname
                 FROM placements p JOIN nodes n ON n.key = p.node_key WHERE p.part_key = ?1
                 ORDER BY p.until IS NULL DESC, p.since DESC, p.key DESC LIMIT 1",
            )
            .bind(row.int("key")?)
            .fetch_optional(&self.readers)
            .await?;
            let place = place.as_ref().map(placement).transpose()?;
            parts.push(summary(row, place)?);
        }
        Ok(parts)
    }
}
