//! What a report does to the store.
//!
//! # Invariants
//! - A report is stored once: its name (boot, sequence) is taken in the same transaction.
//! - Only a report that is newer than all before it, of the boot that the node runs, changes what is
//!   known of the node now. An older one is kept: its findings and events go into the history.
//! - Of a report whose name may have been forgotten only that is done which does no harm twice; it
//!   is answered as a duplicate, so that the node lets go of it.

mod event;
mod finding;
mod full;
mod head;
mod identity;
mod judge;
mod order;
mod own;
mod part;

pub use finding::{Step, recount};
pub use head::{HEAD, Head, presence, wishes};
pub use identity::{
    BOARD, CODES, ELSEWHERE, Elsewhere, How, SHARED, settle_identity, shown_elsewhere,
};
pub use judge::{judge, judge_quietly, tell_node, write_history};

use sqlx::SqliteConnection;

use super::row::counted;
use crate::clock::SECOND;
use crate::ingest::{Incoming, IncomingBody};
use crate::record::Happened;
use crate::store::{Error, Ingested, Retention};
use order::Order;

/// One sample is kept in this time.
const SAMPLE: i64 = 300 * SECOND;

/// How far a node's clock may be ahead of the server's before it is not believed.
const AHEAD: i64 = 600 * SECOND;

/// A report on its way into the store.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The report.
    pub report: &'a Incoming,
    /// Its node.
    pub node_key: i64,
    /// Its boot.
    pub boot_key: i64,
    /// Whether it is newer than all before it, of the boot that the node runs.
    pub newest: bool,
    /// Whether its name may have been forgotten: what counts is not counted again.
    pub forgotten: bool,
    /// When a full report that is newer than this one was made, if one was.
    pub outdated_at: Option<i64>,
    /// The server's clock.
    pub now: i64,
}

impl Context<'_> {
    /// A time that the node told, unless its clock is far ahead.
    pub fn believed(&self, time: i64) -> i64 {
        if time > self.now.saturating_add(AHEAD) {
            self.now
        } else {
            time
        }
    }
}

/// Writes a report, or finds that it is written.
pub async fn apply(
    c: &mut SqliteConnection,
    report: &Incoming,
    now: i64,
    retention: &Retention,
) -> Result<Ingested, Error> {
    let known = Head::load(c, &report.node).await?;
    let is_new = known.is_none();
    let mut head = match known {
        Some(head) => head,
        None => Head::create(c, report, now).await?,
    };
    let (mut twin, mut twins) = (None, false);
    let order = if is_new {
        order::first(c, &head, report, now).await?
    } else {
        order::place(c, &mut head, report, now, &mut twin).await?
    };
    let context = match order {
        Order::Duplicate => {
            return Ok(Ingested {
                duplicate: true,
                late: false,
                send_full: wants_full(&head, report),
                wanted: wanted(c, &head, report).await?,
            });
        }
        Order::Stored(context) => context,
    };
    if is_new {
        super::identities::recall(c, &report.node, head.key).await?;
    }
    if let Some(twin) = &twin {
        twins = identity::two_run(c, &head, &report.boot, twin, now).await?;
    }
    let mut noted = Noted {
        new: is_new,
        booted: context.newest && head.boot_before.is_some(),
        ..Noted::default()
    };
    if context.newest && !is_new {
        head.advance(c, report, now).await?;
    }
    if !context.forgotten && !is_new {
        head.add_dropped(c, report).await?;
    }
    match &report.body {
        IncomingBody::Heartbeat { gpus, verdict, .. } => {
            sample(c, &context, &head, gpus).await?;
            if context.newest {
                head.reported_verdict = Some(*verdict);
            }
        }
        IncomingBody::Full(full) => {
            full::apply(c, &context, &mut head, full, retention, &mut noted).await?;
        }
        IncomingBody::Changes {
            verdict,
            changes,
            events,
        } => {
            for change in changes {
                noted.findings |= finding::step(c, &context, &head, &Step::of(change)).await?;
            }
            for event in events {
                noted.events |= event::add(c, &context, event).await?;
            }
            if noted.findings {
                recount(c, &mut head).await?;
            }
            if context.newest {
                head.reported_verdict = Some(*verdict);
            }
        }
        IncomingBody::Bringup { summary, json } => {
            noted.bringup = bringup(c, &context, summary, json).await?;
        }
        IncomingBody::Stopping { why } => {
            write_history(
                c,
                head.key,
                context.believed(report.made_at),
                &Happened::Stopping { why: why.clone() },
            )
            .await?;
            if context.newest {
                head.stopping_at = Some(now);
                head.stopping_why = Some(why.clone());
                noted.stopping = true;
            }
        }
    }
    if twins {
        recount(c, &mut head).await?;
    }
    if context.newest {
        if !noted.stopping {
            head.stopping_at = None;
            head.stopping_why = None;
        }
        let judged = judge(c, &mut head, now, now, None).await?;
        noted.verdict = judged.verdict;
        noted.state = judged.state;
    } else if twins {
        let judged = judge_quietly(c, &mut head, now, "two machines report as this node").await?;
        noted.verdict = judged.verdict;
        noted.state = judged.state;
    }
    if let Some(what) = noted.what() {
        tell_node(c, &head, what, now).await?;
    }
    Ok(Ingested {
        duplicate: context.forgotten,
        late: !context.newest,
        send_full: context.newest && wants_full(&head, report),
        wanted: wanted(c, &head, report).await?,
    })
}

/// What about a node changed, for those who listen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noted {
    /// It was not known.
    pub new: bool,
    /// It runs another boot.
    pub booted: bool,
    /// Its verdict.
    pub verdict: bool,
    /// Its state or presence.
    pub state: bool,
    /// It says that it stops.
    pub stopping: bool,
    /// Its parts.
    pub parts: bool,
    /// A bring-up ended.
    pub bringup: bool,
    /// Its snapshot says something else.
    pub snapshot: bool,
    /// Its findings.
    pub findings: bool,
    /// Its events.
    pub events: bool,
}

impl Noted {
    /// The weightiest word; findings have lines of their own.
    fn what(self) -> Option<&'static str> {
        [
            (self.new, "new"),
            (self.booted, "boot"),
            (self.verdict, "verdict"),
            (self.stopping, "stopping"),
            (self.state, "state"),
            (self.parts, "parts"),
            (self.bringup, "bringup"),
            (self.snapshot, "snapshot"),
            (self.events, "events"),
        ]
        .into_iter()
        .find_map(|(is, word)| is.then_some(word))
    }
}

/// Whether the report names a hash that is not known.
fn wants_full(head: &Head, report: &Incoming) -> bool {
    match &report.body {
        IncomingBody::Heartbeat { hash, .. } => head.hash.as_deref() != Some(hash),
        IncomingBody::Full(_)
        | IncomingBody::Changes { .. }
        | IncomingBody::Bringup { .. }
        | IncomingBody::Stopping { .. } => false,
    }
}

/// The wishes, unless the node has them.
async fn wanted(
    c: &mut SqliteConnection,
    head: &Head,
    report: &Incoming,
) -> Result<Option<serde_json::Value>, Error> {
    use super::row::Columns as _;
    if report.wanted.etag.as_deref() == Some(&head.wanted_etag) {
        return Ok(None);
    }
    let row = sqlx::query("SELECT wanted_json FROM nodes WHERE key = ?1")
        .bind(head.key)
        .fetch_one(&mut *c)
        .await?;
    row.json("wanted_json", "wishes").map(Some)
}

async fn sample(
    c: &mut SqliteConnection,
    context: &Context<'_>,
    head: &Head,
    gpus: &[cupel_model::wire::GpuVitals],
) -> Result<(), Error> {
    let slot = context.believed(context.report.made_at).div_euclid(SAMPLE);
    if gpus.is_empty() || (context.newest && slot == head.sampled) {
        return Ok(());
    }
    let tenths = |value: f64| (value * 10.0).round() / 10.0;
    let values: Vec<_> = gpus
        .iter()
        .map(|gpu| {
            (
                gpu.index,
                gpu.temperature_celsius.map(|t| tenths(t.get())),
                gpu.power_watts.map(|p| tenths(p.get())),
            )
        })
        .collect();
    sqlx::query("INSERT OR IGNORE INTO samples (node_key, at, gpus_json) VALUES (?1, ?2, ?3)")
        .bind(head.key)
        .bind(slot.saturating_mul(SAMPLE))
        .bind(super::row::to_json(&values)?)
        .execute(&mut *c)
        .await?;
    if context.newest {
        sqlx::query("UPDATE live SET sampled = ?2 WHERE node_key = ?1")
            .bind(head.key)
            .bind(slot)
            .execute(&mut *c)
            .await?;
    }
    Ok(())
}

async fn bringup(
    c: &mut SqliteConnection,
    context: &Context<'_>,
    summary: &cupel_model::wire::BringupSummary,
    json: &str,
) -> Result<bool, Error> {
    let finished_at = context.believed(summary.finished_at.microseconds());
    let added = sqlx::query(
        "INSERT OR IGNORE INTO bringups (node_key, started_at, finished_at, verdict, summary_json)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(context.node_key)
    .bind(summary.started_at.microseconds())
    .bind(finished_at)
    .bind(super::row::verdict_number(summary.verdict))
    .bind(json)
    .execute(&mut *c)
    .await?
    .rows_affected()
        > 0;
    if added {
        let happened = Happened::Bringup {
            summary: summary.clone(),
        };
        write_history(c, context.node_key, finished_at, &happened).await?;
    }
    Ok(added)
}

/// Sums of what was dropped, as the database keeps them.
fn dropped(report: &Incoming) -> [i64; 3] {
    let dropped = &report.dropped;
    [dropped.heartbeats, dropped.fulls, dropped.changes].map(counted)
}
