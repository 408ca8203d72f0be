//! Where a report stands among those of its node: stored before, newest, or late.

use sqlx::SqliteConnection;

use super::{Context, Head, write_history};
use crate::boots::{Heard, Witness, both_run, supersedes};
use crate::ingest::{Incoming, Kind};
use crate::record::Happened;
use crate::store::Error;
use crate::store::sqlite::row::Columns as _;

/// What a report is to what is stored.
#[derive(Debug)]
pub enum Order<'a> {
    /// It is stored.
    Duplicate,
    /// It is stored now.
    Stored(Context<'a>),
}

/// A report as a witness of its boot.
pub fn witness(report: &Incoming, now: i64) -> Witness {
    Witness {
        made_at: report.made_at,
        received_at: now,
        uptime: report.uptime,
    }
}

/// A boot that was not known.
pub async fn new_boot(
    c: &mut SqliteConnection,
    node_key: i64,
    report: &Incoming,
    now: i64,
) -> Result<i64, Error> {
    let done = sqlx::query(
        "INSERT INTO boots
            (node_key, boot, first_received, sequence, made_at, received_at, uptime)
         VALUES (?1, ?2, ?3, ?4, ?5, ?3, ?6)",
    )
    .bind(node_key)
    .bind(&report.boot)
    .bind(now)
    .bind(report.sequence)
    .bind(report.made_at)
    .bind(report.uptime)
    .execute(&mut *c)
    .await?;
    Ok(done.last_insert_rowid())
}

struct Boot {
    key: i64,
    first_received: i64,
    sequence: i64,
    witness: Witness,
    floors: [i64; 2],
}

async fn known_boot(
    c: &mut SqliteConnection,
    node_key: i64,
    boot: &str,
) -> Result<Option<Boot>, Error> {
    let row = sqlx::query(
        "SELECT key, first_received, sequence, made_at, received_at, uptime, floor_heartbeats,
            floor_others
         FROM boots WHERE node_key = ?1 AND boot = ?2",
    )
    .bind(node_key)
    .bind(boot)
    .fetch_optional(&mut *c)
    .await?;
    row.map(|row| {
        Ok(Boot {
            key: row.int("key")?,
            first_received: row.int("first_received")?,
            sequence: row.int("sequence")?,
            witness: Witness {
                made_at: row.int("made_at")?,
                received_at: row.int("received_at")?,
                uptime: row.int("uptime")?,
            },
            floors: [row.int("floor_heartbeats")?, row.int("floor_others")?],
        })
    })
    .transpose()
}

/// When the first report of a boot was received.
async fn first_received(c: &mut SqliteConnection, boot_key: i64) -> Result<i64, Error> {
    sqlx::query("SELECT first_received FROM boots WHERE key = ?1")
        .bind(boot_key)
        .fetch_one(&mut *c)
        .await?
        .int("first_received")
}

/// Takes the name of a report. `false`: it is taken, by the same report.
async fn take_name(
    c: &mut SqliteConnection,
    boot_key: i64,
    report: &Incoming,
    now: i64,
) -> Result<bool, Error> {
    let taken = sqlx::query(
        "INSERT OR IGNORE INTO reports (boot_key, sequence, kind, received_at, digest)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(boot_key)
    .bind(report.sequence)
    .bind(kind_number(report))
    .bind(now)
    .bind(&report.digest[..])
    .execute(&mut *c)
    .await?
    .rows_affected()
        > 0;
    if taken {
        return Ok(true);
    }
    match stored_digest(c, boot_key, report.sequence).await? {
        Some(digest) if digest == report.digest => Ok(false),
        Some(_) | None => Err(Error::OtherContent),
    }
}

async fn stored_digest(
    c: &mut SqliteConnection,
    boot_key: i64,
    sequence: i64,
) -> Result<Option<Vec<u8>>, Error> {
    let row = sqlx::query("SELECT digest FROM reports WHERE boot_key = ?1 AND sequence = ?2")
        .bind(boot_key)
        .bind(sequence)
        .fetch_optional(&mut *c)
        .await?;
    row.map(|row| row.bytes("digest")).transpose()
}

fn kind_number(report: &Incoming) -> i64 {
    i64::from(report.kind() != Kind::Heartbeat)
}

/// The first report of a new node: its boot is there, made from it.
pub async fn first<'a>(
    c: &mut SqliteConnection,
    head: &Head,
    report: &'a Incoming,
    now: i64,
) -> Result<Order<'a>, Error> {
    take_name(c, head.boot_key, report, now).await?;
    Ok(Order::Stored(Context {
        report,
        node_key: head.key,
        boot_key: head.boot_key,
        newest: true,
        forgotten: false,
        outdated_at: None,
        now,
    }))
}

/// Where the report stands. Makes its boot the node's when it is the newer one. `twin`: the boot
/// that the node ran until now, if this report shows that both run at the same time.
pub async fn place<'a>(
    c: &mut SqliteConnection,
    head: &mut Head,
    report: &'a Incoming,
    now: i64,
    twin: &mut Option<String>,
) -> Result<Order<'a>, Error> {
    let mut context = Context {
        report,
        node_key: head.key,
        boot_key: head.boot_key,
        newest: false,
        forgotten: false,
        outdated_at: None,
        now,
    };
    if report.boot == head.boot && report.sequence > head.sequence {
        // What comes nearly always. A name above the newest one cannot have been forgotten.
        if !take_name(c, head.boot_key, report, now).await? {
            return Ok(Order::Duplicate);
        }
        context.newest = true;
        return Ok(Order::Stored(context));
    }
    let boot = known_boot(c, head.key, &report.boot).await?;
    let mut before = None;
    match &boot {
        Some(boot) => {
            context.boot_key = boot.key;
            let floor = if kind_number(report) == 0 { 0 } else { 1 };
            context.forgotten = report.sequence <= boot.floors[floor]
                && stored_digest(c, boot.key, report.sequence).await?.is_none();
            before = (report.sequence > boot.sequence).then_some(boot.witness);
        }
        None => {
            let booted_at = report.made_at.saturating_sub(report.uptime);
            context.forgotten = head
                .forgotten_before
                .is_some_and(|before| booted_at < before);
            context.boot_key = new_boot(c, head.key, report, now).await?;
        }
    }
    if !context.forgotten && !take_name(c, context.boot_key, report, now).await? {
        return Ok(Order::Duplicate);
    }
    let other_boot = report.boot != head.boot;
    let goes_on = boot.is_none() || before.is_some();
    if other_boot && goes_on && !context.forgotten {
        let report_shows = witness(report, now);
        if let (Some(boot), Some(before)) = (&boot, before) {
            let heard = Heard {
                first_received: boot.first_received,
                newest: before,
            };
            let current = Heard {
                first_received: first_received(c, head.boot_key).await?,
                newest: head.witness,
            };
            if both_run(report_shows, heard, current) {
                *twin = Some(head.boot.clone());
            }
        }
        if supersedes(report_shows, before, head.witness) {
            change_boot(c, head, &context).await?;
            context.newest = true;
            return Ok(Order::Stored(context));
        }
        if before.is_some() {
            write_boot(c, context.boot_key, report.sequence, report_shows).await?;
        }
    }
    let outdated = match head.full_sequence {
        Some(full) => other_boot || report.sequence < full,
        None => false,
    };
    context.outdated_at = if outdated { head.full_made_at } else { None };
    Ok(Order::Stored(context))
}

async fn write_boot(
    c: &mut SqliteConnection,
    boot_key: i64,
    sequence: i64,
    newest: Witness,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE boots SET sequence = ?2, made_at = ?3, received_at = ?4, uptime = ?5
         WHERE key = ?1",
    )
    .bind(boot_key)
    .bind(sequence)
    .bind(newest.made_at)
    .bind(newest.received_at)
    .bind(newest.uptime)
    .execute(&mut *c)
    .await?;
    Ok(())
}

async fn change_boot(
    c: &mut SqliteConnection,
    head: &mut Head,
    context: &Context<'_>,
) -> Result<(), Error> {
    write_boot(c, head.boot_key, head.sequence, head.witness).await?;
    sqlx::query(
        "UPDATE nodes SET boot_key = ?2, full_sequence = NULL, full_made_at = NULL WHERE key = ?1",
    )
    .bind(head.key)
    .bind(context.boot_key)
    .execute(&mut *c)
    .await?;
    let previous = std::mem::replace(&mut head.boot, context.report.boot.clone());
    head.boot_key = context.boot_key;
    head.full_sequence = None;
    head.full_made_at = None;
    let happened = Happened::Boot {
        boot: head.boot.clone(),
        previous: Some(previous.clone()),
    };
    head.boot_before = Some(previous);
    write_history(
        c,
        head.key,
        context.believed(context.report.made_at),
        &happened,
    )
    .await
}
