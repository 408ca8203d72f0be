//! Where parts are: each in one place at a time.
//!
//! # Invariants
//! - A part has at most one open placement, wherever.
//! - A part that its node no longer sees stays in its place, missing, until something else is there
//!   or it shows up elsewhere: a GPU that fell off the bus is still in its socket.

use sqlx::SqliteConnection;

use super::{Context, write_history};
use crate::ingest::SeenPart;
use crate::record::{Happened, PartKind, PartMove};
use crate::store::Error;
use crate::store::sqlite::row::{Columns as _, to_word};

struct Placed {
    key: i64,
    kind: PartKind,
    serial: String,
    maker: String,
    model: Option<String>,
    slot: Option<String>,
    pci: Option<String>,
    missing: bool,
}

async fn placed(c: &mut SqliteConnection, node_key: i64) -> Result<Vec<Placed>, Error> {
    let rows = sqlx::query(
        "SELECT p.key, q.kind, q.serial, q.maker, q.model, p.slot, p.pci, p.missing_since
         FROM placements p JOIN parts q ON q.key = p.part_key
         WHERE p.node_key = ?1 AND p.until IS NULL",
    )
    .bind(node_key)
    .fetch_all(&mut *c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Placed {
                key: row.int("key")?,
                kind: row.word("kind", "a kind of part")?,
                serial: row.text("serial")?,
                maker: row.text("maker")?,
                model: row.maybe_text("model")?,
                slot: row.maybe_text("slot")?,
                pci: row.maybe_text("pci")?,
                missing: row.maybe_int("missing_since")?.is_some(),
            })
        })
        .collect()
}

/// Makes the places what the node sees. `tell`: whether arrivals are news, which they are not when
/// the node reports for the first time.
pub async fn reconcile(
    c: &mut SqliteConnection,
    context: &Context<'_>,
    seen: &[SeenPart],
    at: i64,
    tell: bool,
) -> Result<(), Error> {
    let mut before = placed(c, context.node_key).await?;
    let mut arrived = Vec::new();
    for part in seen {
        let key = upsert(c, part, at).await?;
        let same = before.iter().position(|placed| {
            placed.kind == part.kind && placed.serial == part.serial && placed.maker == part.maker
        });
        let Some(index) = same else {
            arrived.push((key, part));
            continue;
        };
        let placed = before.swap_remove(index);
        if placed.slot != part.slot {
            end(c, placed.key, at).await?;
            insert(c, context.node_key, key, part, at).await?;
            told(c, context.node_key, part, PartMove::Moved, at).await?;
        } else if placed.missing || placed.pci != part.pci {
            sqlx::query("UPDATE placements SET pci = ?2, missing_since = NULL WHERE key = ?1")
                .bind(placed.key)
                .bind(&part.pci)
                .execute(&mut *c)
                .await?;
            if placed.missing {
                told(c, context.node_key, part, PartMove::Back, at).await?;
            }
        }
    }
    // What is left is not seen. It has left where something else sits in its slot.
    for placed in before {
        let replaced = placed.slot.is_some()
            && seen
                .iter()
                .any(|part| part.kind == placed.kind && part.slot == placed.slot);
        let moved = if replaced {
            end(c, placed.key, at).await?;
            PartMove::Left
        } else if placed.missing {
            continue;
        } else {
            sqlx::query("UPDATE placements SET missing_since = ?2 WHERE key = ?1")
                .bind(placed.key)
                .bind(at)
                .execute(&mut *c)
                .await?;
            PartMove::Missing
        };
        let happened = Happened::Part {
            part: placed.kind,
            serial: placed.serial,
            model: placed.model,
            slot: placed.slot,
            moved,
        };
        write_history(c, context.node_key, at, &happened).await?;
    }
    for (key, part) in arrived {
        leave_elsewhere(c, key, part, at).await?;
        insert(c, context.node_key, key, part, at).await?;
        if tell {
            told(c, context.node_key, part, PartMove::Arrived, at).await?;
        }
    }
    Ok(())
}

/// Ends the placement of a part in another node, if it has one.
async fn leave_elsewhere(
    c: &mut SqliteConnection,
    part_key: i64,
    part: &SeenPart,
    at: i64,
) -> Result<(), Error> {
    let rows = sqlx::query(
        "SELECT key, node_key, slot FROM placements WHERE part_key = ?1 AND until IS NULL",
    )
    .bind(part_key)
    .fetch_all(&mut *c)
    .await?;
    for row in rows {
        end(c, row.int("key")?, at).await?;
        let was = SeenPart {
            slot: row.maybe_text("slot")?,
            ..part.clone()
        };
        told(c, row.int("node_key")?, &was, PartMove::Left, at).await?;
    }
    Ok(())
}

async fn end(c: &mut SqliteConnection, key: i64, at: i64) -> Result<(), Error> {
    sqlx::query("UPDATE placements SET until = max(since, ?2) WHERE key = ?1")
        .bind(key)
        .bind(at)
        .execute(&mut *c)
        .await?;
    Ok(())
}

async fn insert(
    c: &mut SqliteConnection,
    node_key: i64,
    part_key: i64,
    part: &SeenPart,
    at: i64,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO placements (part_key, node_key, slot, pci, since) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(part_key)
    .bind(node_key)
    .bind(&part.slot)
    .bind(&part.pci)
    .bind(at)
    .execute(&mut *c)
    .await?;
    Ok(())
}

async fn upsert(c: &mut SqliteConnection, part: &SeenPart, at: i64) -> Result<i64, Error> {
    let row = sqlx::query(
        "INSERT INTO parts (kind, serial, maker, model, part_number, uuid, firmware, first_seen)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (serial, kind, maker) DO UPDATE SET
            model = coalesce(excluded.model, model),
            part_number = coalesce(excluded.part_number, part_number),
            uuid = coalesce(excluded.uuid, uuid),
            firmware = coalesce(excluded.firmware, firmware)
         RETURNING key",
    )
    .bind(to_word(part.kind))
    .bind(&part.serial)
    .bind(&part.maker)
    .bind(&part.model)
    .bind(&part.part_number)
    .bind(&part.uuid)
    .bind(&part.firmware)
    .bind(at)
    .fetch_one(&mut *c)
    .await?;
    row.int("key")
}

async fn told(
    c: &mut SqliteConnection,
    node_key: i64,
    part: &SeenPart,
    moved: PartMove,
    at: i64,
) -> Result<(), Error> {
    let happened = Happened::Part {
        part: part.kind,
        serial: part.serial.clone(),
        model: part.model.clone(),
        slot: part.slot.clone(),
        moved,
    };
    write_history(c, node_key, at, &happened).await
}
