//! Occurrences of findings: opened, changed, closed, and what is told of it.
//!
//! # Invariants
//! - One row an occurrence: node, tracked id, since.
//! - A report that is older than what is known of an occurrence adds to its history alone.
//! - A full report's list is the truth at its time: what it has is open, what it lacks is closed.

use std::collections::HashMap;

use cupel_model::finding::{Confidence, Mode};
use cupel_model::wire::{ChangeKind, Tracked};
use cupel_model::{Finding, Timestamp};
use sqlx::SqliteConnection;

use super::{Context, Head};
use crate::clock;
use crate::ingest::{RawChange, RawFinding};
use crate::record::{ChangedFinding, FindingSource, Happened, ticket};
use crate::store::Error;
use crate::store::sqlite::row::{Columns as _, severity, severity_number, to_json, to_word};

/// A step in the life of an occurrence.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// When, by whoever tells it.
    pub at: Timestamp,
    /// What.
    pub change: ChangeKind,
    /// Why.
    pub why: &'a str,
    /// The finding after it.
    pub tracked: &'a Tracked,
    /// Since when.
    pub since: Timestamp,
    /// As it came.
    pub json: &'a str,
    /// Who made it.
    pub source: FindingSource,
}

impl<'a> Step<'a> {
    /// From a report.
    pub fn of(change: &'a RawChange) -> Self {
        Self {
            at: change.at,
            change: change.change,
            why: &change.why,
            tracked: &change.finding.tracked,
            since: change.finding.since,
            json: &change.finding.json,
            source: FindingSource::Node,
        }
    }
}

struct Known {
    key: i64,
    open: bool,
    boot_key: i64,
    sequence: i64,
}

async fn find(
    c: &mut SqliteConnection,
    node_key: i64,
    id: &str,
    since: Timestamp,
) -> Result<Option<Known>, Error> {
    let row = sqlx::query(
        "SELECT key, closed_at, boot_key, sequence FROM findings
         WHERE node_key = ?1 AND tracked_id = ?2 AND since = ?3",
    )
    .bind(node_key)
    .bind(id)
    .bind(since.microseconds())
    .fetch_optional(&mut *c)
    .await?;
    row.map(|row| {
        Ok(Known {
            key: row.int("key")?,
            open: row.maybe_int("closed_at")?.is_none(),
            boot_key: row.int("boot_key")?,
            sequence: row.int("sequence")?,
        })
    })
    .transpose()
}

/// Takes a step. Gives whether it changed what is open, or how.
pub async fn step(
    c: &mut SqliteConnection,
    context: &Context<'_>,
    head: &Head,
    step: &Step<'_>,
) -> Result<bool, Error> {
    let known = find(c, context.node_key, &step.tracked.id, step.since).await?;
    let at = context.believed(step.at.microseconds());
    let cleared = step.change == ChangeKind::Cleared;
    let newer = context.newest
        || known.as_ref().is_none_or(|known| {
            known.boot_key == context.boot_key
                && context.report.sequence > known.sequence
                && context.outdated_at.is_none()
        });
    // A newer full report does not have it: it has ended since.
    let outdated = known.is_none() && context.outdated_at.is_some() && !cleared;
    let closed = match (cleared, context.outdated_at) {
        (true, _) => Some((at, step.why)),
        (false, Some(at)) if outdated => Some((at, "a later full report does not list it")),
        (false, _) => None,
    };
    let key = match &known {
        Some(known) if newer => {
            write(c, context, known.key, step, closed).await?;
            known.key
        }
        Some(known) => known.key,
        None => insert(c, context, head, step, closed).await?,
    };
    remember(c, context.node_key, key, step, at).await?;
    let was_open = known.as_ref().is_some_and(|known| known.open);
    let changed = newer && (closed.is_none() || was_open || context.newest);
    if changed {
        tell_finding(c, head, key, step.change, step.tracked, context.now).await?;
    }
    Ok(changed)
}

async fn insert(
    c: &mut SqliteConnection,
    context: &Context<'_>,
    head: &Head,
    step: &Step<'_>,
    closed: Option<(i64, &str)>,
) -> Result<i64, Error> {
    let finding = &step.tracked.finding;
    let done = sqlx::query(
        "INSERT INTO findings (node_key, source, tracked_id, since, code, component_kind, serial,
            severity, enforced, blocks, confirmed, tracked_json, opened_at, updated_at, closed_at,
            closed_why, account, handover_at, boot_key, sequence)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?14, ?15, ?16, ?17,
            ?18, ?19)",
    )
    .bind(context.node_key)
    .bind(source_number(step.source))
    .bind(&step.tracked.id)
    .bind(step.since.microseconds())
    .bind(&finding.code)
    .bind(to_word(finding.component.kind))
    .bind(&finding.component.serial)
    .bind(severity_number(finding.severity))
    .bind(finding.mode == Mode::Enforce)
    .bind(finding.blocks_allocation())
    .bind(finding.confidence == Confidence::Confirmed)
    .bind(step.json)
    .bind(context.now)
    .bind(closed.map(|(at, _)| at))
    .bind(closed.map(|(_, why)| why))
    .bind(&head.account)
    .bind(head.handover_at)
    .bind(context.boot_key)
    .bind(context.report.sequence)
    .execute(&mut *c)
    .await?;
    Ok(done.last_insert_rowid())
}

/// 0 the node, 1 the inventory.
pub fn source_number(source: FindingSource) -> i64 {
    match source {
        FindingSource::Node => 0,
        FindingSource::Inventory => 1,
    }
}

async fn write(
    c: &mut SqliteConnection,
    context: &Context<'_>,
    key: i64,
    step: &Step<'_>,
    closed: Option<(i64, &str)>,
) -> Result<(), Error> {
    let finding = &step.tracked.finding;
    sqlx::query(
        "UPDATE findings SET serial = ?2, severity = ?3, enforced = ?4, blocks = ?5,
            confirmed = ?6, tracked_json = ?7, updated_at = ?8, closed_at = ?9, closed_why = ?10,
            boot_key = ?11, sequence = ?12
         WHERE key = ?1",
    )
    .bind(key)
    .bind(&finding.component.serial)
    .bind(severity_number(finding.severity))
    .bind(finding.mode == Mode::Enforce)
    .bind(finding.blocks_allocation())
    .bind(finding.confidence == Confidence::Confirmed)
    .bind(step.json)
    .bind(context.now)
    .bind(closed.map(|(at, _)| at))
    .bind(closed.map(|(_, why)| why))
    .bind(context.boot_key)
    .bind(context.report.sequence)
    .execute(&mut *c)
    .await?;
    Ok(())
}

/// Writes a step into the history, once.
async fn remember(
    c: &mut SqliteConnection,
    node_key: i64,
    key: i64,
    step: &Step<'_>,
    at: i64,
) -> Result<(), Error> {
    let finding = &step.tracked.finding;
    let happened = Happened::Finding {
        ticket: ticket(key),
        change: step.change,
        why: step.why.to_owned(),
        code: finding.code.clone(),
        component: Box::new(finding.component.clone()),
        severity: finding.severity,
        summary: finding.summary.clone(),
    };
    sqlx::query(
        "INSERT OR IGNORE INTO history (node_key, at, kind, ref, what, data_json)
         VALUES (?1, ?2, 'finding', ?3, ?4, ?5)",
    )
    .bind(node_key)
    .bind(at)
    .bind(key)
    .bind(to_word(step.change))
    .bind(to_json(&happened)?)
    .execute(&mut *c)
    .await?;
    Ok(())
}

/// Tells those who listen what happened to a finding.
pub async fn tell_finding(
    c: &mut SqliteConnection,
    head: &Head,
    key: i64,
    change: ChangeKind,
    tracked: &Tracked,
    now: i64,
) -> Result<(), Error> {
    let finding = ChangedFinding {
        id: tracked.id.clone(),
        ticket: ticket(key),
        code: tracked.finding.code.clone(),
        severity: tracked.finding.severity,
        summary: tracked.finding.summary.clone(),
    };
    sqlx::query(
        "INSERT INTO changes (at, node_key, kind, what, finding_json)
         VALUES (?1, ?2, 'finding', ?3, ?4)",
    )
    .bind(now)
    .bind(head.key)
    .bind(to_word(change))
    .bind(to_json(&finding)?)
    .execute(&mut *c)
    .await?;
    Ok(())
}

/// What became of a finding between two observations; `None`: nothing that matters.
fn difference(before: &Finding, after: &Finding) -> Option<(ChangeKind, &'static str)> {
    let confirmed = |finding: &Finding| finding.confidence == Confidence::Confirmed;
    if confirmed(after) && !confirmed(before) {
        return Some((ChangeKind::Confirmed, "the node's full report says so"));
    }
    let matters = |finding: &Finding| {
        (
            finding.severity,
            finding.impact,
            finding.mode,
            finding.confidence,
            finding.summary.clone(),
            finding.component.clone(),
        )
    };
    (matters(before) != matters(after))
        .then_some((ChangeKind::Changed, "the node's full report says so"))
}

/// Makes what is open what the list of a full report has. Gives whether anything changed.
pub async fn reconcile(
    c: &mut SqliteConnection,
    context: &Context<'_>,
    head: &Head,
    list: &[RawFinding],
) -> Result<bool, Error> {
    let rows = sqlx::query(
        "SELECT key, tracked_id, since, tracked_json FROM findings
         WHERE node_key = ?1 AND closed_at IS NULL AND source = 0",
    )
    .bind(context.node_key)
    .fetch_all(&mut *c)
    .await?;
    let mut open: HashMap<(String, i64), (i64, Tracked)> = HashMap::new();
    for row in &rows {
        let tracked = row.json("tracked_json", "a finding")?;
        let name = (row.text("tracked_id")?, row.int("since")?);
        open.insert(name, (row.int("key")?, tracked));
    }
    let made_at = clock::time(context.believed(context.report.made_at));
    let mut changed = false;
    for finding in list {
        let name = (finding.tracked.id.clone(), finding.since.microseconds());
        let seen = |change, why| Step {
            at: made_at,
            change,
            why,
            tracked: &finding.tracked,
            since: finding.since,
            json: &finding.json,
            source: FindingSource::Node,
        };
        match open.remove(&name) {
            None => {
                let raised = seen(ChangeKind::Raised, "the node's full report lists it");
                changed |= step(c, context, head, &raised).await?;
            }
            Some((key, before)) => match difference(&before.finding, &finding.tracked.finding) {
                Some((change, why)) => {
                    changed |= step(c, context, head, &seen(change, why)).await?;
                }
                None if before != finding.tracked => {
                    refresh(c, context, key, finding).await?;
                }
                None => {}
            },
        }
    }
    for (key, tracked) in open.into_values() {
        let why = "the node's full report no longer lists it";
        close(c, head, key, &tracked, made_at, why, context.now).await?;
        changed = true;
    }
    Ok(changed)
}

/// What a full report that came late knows of findings that nobody else told of.
pub async fn recall(
    c: &mut SqliteConnection,
    context: &Context<'_>,
    head: &Head,
    list: &[RawFinding],
) -> Result<bool, Error> {
    let mut changed = false;
    for finding in list {
        if find(c, context.node_key, &finding.tracked.id, finding.since)
            .await?
            .is_none()
        {
            let raised = Step {
                at: clock::time(context.believed(context.report.made_at)),
                change: ChangeKind::Raised,
                why: "a full report that came late lists it",
                tracked: &finding.tracked,
                since: finding.since,
                json: &finding.json,
                source: FindingSource::Node,
            };
            changed |= step(c, context, head, &raised).await?;
        }
    }
    Ok(changed)
}

/// Only the time of the last observation and the measured values are others.
async fn refresh(
    c: &mut SqliteConnection,
    context: &Context<'_>,
    key: i64,
    finding: &RawFinding,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE findings SET tracked_json = ?2, boot_key = ?3, sequence = ?4 WHERE key = ?1",
    )
    .bind(key)
    .bind(&finding.json)
    .bind(context.boot_key)
    .bind(context.report.sequence)
    .execute(&mut *c)
    .await?;
    Ok(())
}

/// Closes an occurrence that is open.
pub async fn close(
    c: &mut SqliteConnection,
    head: &Head,
    key: i64,
    tracked: &Tracked,
    at: Timestamp,
    why: &str,
    now: i64,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE findings SET closed_at = ?2, closed_why = ?3, updated_at = ?4 WHERE key = ?1",
    )
    .bind(key)
    .bind(at.microseconds())
    .bind(why)
    .bind(now)
    .execute(&mut *c)
    .await?;
    let cleared = Step {
        at,
        change: ChangeKind::Cleared,
        why,
        tracked,
        since: at,
        json: "",
        source: FindingSource::Node,
    };
    remember(c, head.key, key, &cleared, at.microseconds()).await?;
    tell_finding(c, head, key, ChangeKind::Cleared, tracked, now).await
}

/// Counts what is open.
pub async fn recount(c: &mut SqliteConnection, head: &mut Head) -> Result<(), Error> {
    let row = sqlx::query(
        "SELECT coalesce(sum(severity = 2), 0) AS critical,
            coalesce(sum(severity = 1), 0) AS warning, coalesce(sum(severity = 0), 0) AS info,
            coalesce(sum(blocks), 0) AS blocking,
            max(CASE WHEN source = 1 AND code != ?2 THEN severity END) AS own
         FROM findings WHERE node_key = ?1 AND closed_at IS NULL",
    )
    .bind(head.key)
    .bind(super::judge::SILENT)
    .fetch_one(&mut *c)
    .await?;
    head.blocking = row.int("blocking")?;
    let own = row.maybe_int("own")?;
    head.own = own.map(severity);
    sqlx::query(
        "UPDATE nodes SET critical = ?2, warning = ?3, info = ?4, blocking = ?5,
            own_severity = ?6
         WHERE key = ?1",
    )
    .bind(head.key)
    .bind(row.int("critical")?)
    .bind(row.int("warning")?)
    .bind(row.int("info")?)
    .bind(head.blocking)
    .bind(own)
    .execute(&mut *c)
    .await?;
    Ok(())
}
