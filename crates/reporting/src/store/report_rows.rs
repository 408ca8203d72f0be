//! Rows of reports: those that wait, and those that were refused.
//!
//! # Invariants
//! - A report that stands in the file is not written a second time.

use cupel_model::Timestamp;
use cupel_model::wire::Dropped;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::numbers::{count, number};
use super::rows::Settled;
use super::spool::{
    Candidate, Class, Cleared, Name, Parcel, RefusedReport, Shelf, Spooled, Totals,
};

/// Refused reports that are kept.
pub(super) const REFUSED_KEPT: usize = 20;

/// Largest refused report whose bytes are kept with it.
pub(super) const REFUSED_BYTES: usize = 256 << 10;

pub(super) fn totals(connection: &Connection) -> rusqlite::Result<Totals> {
    let mut totals = Totals::default();
    let mut statement = connection.prepare("SELECT class, size FROM report")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        totals.add(row.get(0)?, count(row, 1)?);
    }
    Ok(totals)
}

pub(super) fn oldest_after(
    connection: &Connection,
    id: i64,
) -> rusqlite::Result<Option<(i64, Name)>> {
    connection
        .prepare_cached("SELECT id, boot, sequence FROM report WHERE id > ?1 ORDER BY id LIMIT 1")?
        .query_row([id], |row| {
            let name = Name {
                boot: row.get(1)?,
                sequence: count(row, 2)?,
            };
            Ok((row.get(0)?, name))
        })
        .optional()
}

/// When the oldest report was made; `None` where there is none, or an earlier version wrote it.
pub(super) fn oldest_made_at(
    connection: &Connection,
    after: i64,
) -> rusqlite::Result<Option<Timestamp>> {
    let made_at: Option<i64> = connection
        .prepare_cached(
            "SELECT made_at_microseconds FROM report WHERE id > ?1 ORDER BY id LIMIT 1",
        )?
        .query_row([after], |row| row.get(0))
        .optional()?;
    Ok(made_at
        .filter(|microseconds| *microseconds != 0)
        .and_then(|microseconds| Timestamp::from_microseconds(microseconds).ok()))
}

pub(super) fn spooled(connection: &Connection, id: i64) -> rusqlite::Result<Spooled> {
    connection
        .prepare_cached("SELECT node, boot, sequence, class, body FROM report WHERE id = ?1")?
        .query_row([id], |row| {
            Ok(Spooled {
                node: row.get(0)?,
                boot: row.get(1)?,
                sequence: count(row, 2)?,
                class: row.get(3)?,
                bytes: row.get(4)?,
            })
        })
}

pub(super) fn insert_refused(
    transaction: &Transaction<'_>,
    refused: &RefusedReport,
    body: Option<&[u8]>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO refused (boot, sequence, class, size, at_microseconds, why, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            refused.boot,
            number(refused.sequence),
            refused.class,
            number(refused.bytes),
            refused.at.microseconds(),
            refused.why,
            body,
        ])?;
    transaction
        .prepare_cached(
            "DELETE FROM refused WHERE id NOT IN
                (SELECT id FROM refused ORDER BY id DESC LIMIT ?1)",
        )?
        .execute([i64::try_from(REFUSED_KEPT).unwrap_or(i64::MAX)])
        .map(drop)
}

pub(super) fn refused(connection: &Connection) -> rusqlite::Result<Vec<RefusedReport>> {
    connection
        .prepare(
            "SELECT boot, sequence, class, size, at_microseconds, why FROM refused
             ORDER BY id DESC",
        )?
        .query_map([], |row| {
            Ok(RefusedReport {
                boot: row.get(0)?,
                sequence: count(row, 1)?,
                class: row.get(2)?,
                bytes: count(row, 3)?,
                at: Timestamp::from_microseconds(row.get(4)?).unwrap_or(Timestamp::EPOCH),
                why: row.get(5)?,
            })
        })?
        .collect()
}

/// The reports in the file, within a transaction.
pub(super) struct Disk<'a> {
    transaction: &'a Transaction<'a>,
    totals: Totals,
    in_hand: Option<&'a Name>,
}

impl<'a> Disk<'a> {
    pub fn new(
        transaction: &'a Transaction<'a>,
        totals: Totals,
        in_hand: Option<&'a Name>,
    ) -> Self {
        Self {
            transaction,
            totals,
            in_hand,
        }
    }

    /// Adds a report. One whose name another one has cannot be kept and counts as dropped.
    pub fn insert(&mut self, parcel: &Parcel) -> rusqlite::Result<Cleared> {
        let report = &parcel.report;
        let size = u64::try_from(report.bytes.len()).unwrap_or(u64::MAX);
        let inserted = self
            .transaction
            .prepare_cached(
                "INSERT INTO report (node, boot, sequence, class, size, dropped_heartbeats,
                     dropped_fulls, dropped_changes, body, made_at_microseconds)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (boot, sequence) DO NOTHING",
            )?
            .execute(params![
                report.node,
                report.boot,
                number(report.sequence),
                report.class,
                number(size),
                number(parcel.carries.heartbeats),
                number(parcel.carries.fulls),
                number(parcel.carries.changes),
                report.bytes,
                parcel.made_at.microseconds(),
            ])?;
        if inserted > 0 {
            self.totals.add(report.class, size);
            return Ok(Cleared::default());
        }
        let is_there: bool = self
            .transaction
            .prepare_cached("SELECT body = ?3 FROM report WHERE boot = ?1 AND sequence = ?2")?
            .query_row(
                params![report.boot, number(report.sequence), report.bytes],
                |row| row.get(0),
            )?;
        Ok(if is_there {
            Cleared::default()
        } else {
            Cleared::of(report.class, parcel.carries)
        })
    }

    /// Takes a report out of the spool; gives back what it was to tell and has not.
    pub fn settle(&mut self, settled: &Settled) -> rusqlite::Result<Dropped> {
        let name = &settled.name;
        let found = self
            .transaction
            .prepare_cached(
                "SELECT id, class, size, dropped_heartbeats, dropped_fulls, dropped_changes,
                     CASE WHEN ?3 AND size <= ?4 THEN body END
                 FROM report WHERE boot = ?1 AND sequence = ?2",
            )?
            .query_row(
                params![
                    name.boot,
                    number(name.sequence),
                    settled.refused.is_some(),
                    i64::try_from(REFUSED_BYTES).unwrap_or(i64::MAX),
                ],
                |row| {
                    Ok((
                        candidate(row, 0, 2)?,
                        row.get::<_, Class>(1)?,
                        row.get::<_, Option<Vec<u8>>>(6)?,
                    ))
                },
            )
            .optional()?;
        let Some((candidate, class, body)) = found else {
            return Ok(Dropped::default());
        };
        self.remove(class, candidate)?;
        let Some((at, why)) = &settled.refused else {
            return Ok(Dropped::default());
        };
        let refused = RefusedReport {
            boot: name.boot.clone(),
            sequence: name.sequence,
            class,
            bytes: candidate.bytes,
            at: *at,
            why: why.clone(),
        };
        insert_refused(self.transaction, &refused, body.as_deref())?;
        Ok(candidate.carries)
    }
}

/// From `id` at one column, and `size` and the three counts at another and after it.
fn candidate(row: &Row<'_>, id: usize, size: usize) -> rusqlite::Result<Candidate> {
    Ok(Candidate {
        place: row.get(id)?,
        bytes: count(row, size)?,
        carries: Dropped {
            heartbeats: count(row, size + 1)?,
            fulls: count(row, size + 2)?,
            changes: count(row, size + 3)?,
        },
    })
}

impl Shelf for Disk<'_> {
    type Error = rusqlite::Error;

    fn totals(&self) -> Totals {
        self.totals
    }

    fn oldest(&self, class: Class, not_at: Option<i64>) -> rusqlite::Result<Option<Candidate>> {
        self.transaction
            .prepare_cached(
                "SELECT id, size, dropped_heartbeats, dropped_fulls, dropped_changes
                 FROM report
                 WHERE class = ?1 AND id IS NOT ?2 AND NOT (boot IS ?3 AND sequence IS ?4)
                 ORDER BY id LIMIT 1",
            )?
            .query_row(
                params![
                    class,
                    not_at,
                    self.in_hand.map(|name| &name.boot),
                    self.in_hand.map(|name| number(name.sequence)),
                ],
                |row| candidate(row, 0, 1),
            )
            .optional()
    }

    fn newest_full(&self) -> rusqlite::Result<Option<i64>> {
        self.transaction
            .prepare_cached("SELECT max(id) FROM report WHERE class = 'full'")?
            .query_row([], |row| row.get(0))
    }

    fn remove(&mut self, class: Class, candidate: Candidate) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("DELETE FROM report WHERE id = ?1")?
            .execute([candidate.place])?;
        self.totals.remove(class, candidate.bytes);
        Ok(())
    }
}
