//! Writes what follows from what is known of a node, and tells when it changed.

use cupel_model::Component;
use cupel_model::finding::{
    Clears, Confidence, Evidence, Finding, Impact, Mode, Performer, Remedy, RemedyAction, Scope,
    Severity, Urgency,
};
use cupel_model::wire::{ChangeKind, Tracked};
use sqlx::SqliteConnection;

use super::Head;
use super::finding::recount;
use super::head::presence_number;
use super::own::{settle, tell};
use crate::clock;
use crate::derive;
use crate::record::{Happened, Presence};
use crate::store::Error;
use crate::store::sqlite::row::{to_json, to_word, verdict_number};

/// Code of the finding that a node is silent.
pub const SILENT: &str = "node.silent";

/// Name of that condition; a node has one.
const SILENT_ID: &str = "node.silent/node";

/// Judges a node about which the inventory itself learned something. Silence is left as it is: the
/// sweep judges that, which knows since when the server listens.
pub async fn judge_quietly(
    c: &mut SqliteConnection,
    head: &mut Head,
    now: i64,
    why: &str,
) -> Result<Judged, Error> {
    let listening = if head.presence == Presence::Reporting {
        head.witness.received_at.max(now)
    } else {
        0
    };
    judge(c, head, now, listening, Some(why)).await
}

/// What changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// The verdict.
    pub verdict: bool,
    /// State, presence or standing.
    pub state: bool,
    /// `node.silent` was raised.
    pub raised: bool,
    /// It became critical.
    pub escalated: bool,
    /// It was closed.
    pub closed: bool,
}

/// Derives presence, verdict, state and standing anew and writes what changed. `why`: of a change
/// of verdict that no report told.
pub async fn judge(
    c: &mut SqliteConnection,
    head: &mut Head,
    now: i64,
    listening_since: i64,
    why: Option<&str>,
) -> Result<Judged, Error> {
    let silence = head.silence();
    let presence = silence.presence(now, listening_since);
    let mut judged = Judged::default();
    let was_silent = matches!(head.presence, Presence::Late | Presence::Lost);
    let is_silent = matches!(presence, Presence::Late | Presence::Lost);
    if was_silent && !is_silent {
        let why = match silence.expected(now) {
            Some(expected) if presence == Presence::Quiet => {
                format!("silence is expected: {expected}")
            }
            Some(_) | None => "the node reported again".to_owned(),
        };
        judged.closed = settle(c, head, SILENT_ID, &why, now).await?;
    }
    if is_silent && presence != head.presence {
        let begun = silent(head, presence, now);
        judged.raised = !was_silent;
        judged.escalated = was_silent;
        let change = if was_silent {
            ChangeKind::Changed
        } else {
            ChangeKind::Raised
        };
        let since = head.witness.received_at;
        tell(
            c,
            head,
            &begun,
            since,
            change,
            "no report came in time",
            now,
        )
        .await?;
    }
    if judged.raised || judged.escalated || judged.closed {
        recount(c, head).await?;
    }
    let verdict = head.verdict_when(presence);
    let standing = derive::standing(verdict, presence);
    let stopping_for = head.stopping_at.map(|at| now.saturating_sub(at));
    let state = derive::state(
        head.lifecycle,
        presence,
        verdict,
        head.blocking > 0,
        stopping_for,
    );
    judged.verdict = verdict != head.verdict;
    judged.state = state != head.state || presence != head.presence || standing != head.standing;
    if judged.verdict || judged.state || head.stored != (head.reported_verdict, head.stopping_at) {
        let facts = Facts {
            presence,
            verdict,
            standing,
            state,
        };
        write(c, head, now, &facts).await?;
        head.stored = (head.reported_verdict, head.stopping_at);
    }
    if judged.verdict {
        let happened = Happened::Verdict {
            from: Some(head.verdict),
            to: verdict,
            why: why.map(str::to_owned),
        };
        write_history(c, head.key, now, &happened).await?;
    }
    if standing != head.standing {
        sqlx::query(
            "INSERT INTO history (node_key, at, kind, ref) VALUES (?1, ?2, 'standing', ?3)",
        )
        .bind(head.key)
        .bind(now)
        .bind(standing)
        .execute(&mut *c)
        .await?;
    }
    head.verdict = verdict;
    head.presence = presence;
    head.standing = standing;
    head.state = state;
    Ok(judged)
}

struct Facts {
    presence: Presence,
    verdict: cupel_model::Verdict,
    standing: i64,
    state: crate::record::State,
}

async fn write(
    c: &mut SqliteConnection,
    head: &Head,
    now: i64,
    facts: &Facts,
) -> Result<(), Error> {
    let row = sqlx::query(
        "UPDATE nodes SET
            verdict_since = iif(verdict = ?2, verdict_since, ?3), verdict = ?2,
            standing_since = iif(standing = ?4, standing_since, ?3), standing = ?4,
            presence = ?5, state = ?6, reported_verdict = ?7, stopping_at = ?8, stopping_why = ?9
         WHERE key = ?1",
    )
    .bind(head.key)
    .bind(verdict_number(facts.verdict))
    .bind(now)
    .bind(facts.standing)
    .bind(presence_number(facts.presence))
    .bind(to_word(facts.state))
    .bind(head.reported_verdict.map(verdict_number))
    .bind(head.stopping_at)
    .bind(&head.stopping_why);
    row.execute(&mut *c).await?;
    Ok(())
}

fn silent(head: &Head, presence: Presence, now: i64) -> Tracked {
    let lost = presence == Presence::Lost;
    let since = clock::time(head.witness.received_at);
    let name = head.hostname.as_deref().unwrap_or(&head.id);
    let limit = clock::seconds(
        if lost {
            head.silence().lost_at(0)
        } else {
            head.silence().late_at(0)
        }
        .saturating_sub(head.witness.received_at),
    );
    let seconds = clock::seconds(now.saturating_sub(head.witness.received_at));
    let remedy = |action, text: String| Remedy {
        action,
        by: Performer::Human,
        text,
    };
    Tracked {
        id: SILENT_ID.to_owned(),
        finding: Finding {
            code: SILENT.to_owned(),
            component: Component::node(),
            severity: if lost {
                Severity::Critical
            } else {
                Severity::Warning
            },
            impact: if lost {
                Impact::BlocksAllocation
            } else {
                Impact::None
            },
            urgency: if lost {
                Urgency::Now
            } else {
                Urgency::NextWindow
            },
            scope: Scope::Node,
            confidence: Confidence::Confirmed,
            mode: Mode::Enforce,
            summary: format!("{name} has not reported since {since}"),
            evidence: vec![
                Evidence::value("seconds_without_report", seconds)
                    .unit("s")
                    .limit(limit, "what the node named as the time to its next report"),
            ],
            remedy: vec![
                remedy(
                    RemedyAction::RunDiagnostic,
                    format!(
                        "Reach {name} over the network or its console: `systemctl status cupel`, \
                         `journalctl -u cupel`"
                    ),
                ),
                remedy(
                    RemedyAction::RestartService,
                    format!("If {name} is up: `systemctl restart cupel`"),
                ),
                remedy(
                    RemedyAction::PowerCycleNode,
                    format!(
                        "If {name} does not answer: look at its power and its BMC's event log, then power-cycle it"
                    ),
                ),
            ],
            since: Some(since),
            clears: Clears::WhileObserved,
        },
        last_seen: clock::time(now),
        boot: head.boot.clone(),
        observed: true,
        flaps: 0,
        waits_for: None,
    }
}

/// Writes an entry of a node's history that is about no finding and no event.
pub async fn write_history(
    c: &mut SqliteConnection,
    node_key: i64,
    at: i64,
    happened: &Happened,
) -> Result<(), Error> {
    let kind = match happened {
        Happened::Finding { .. } => "finding",
        Happened::Verdict { .. } => "verdict",
        Happened::Boot { .. } => "boot",
        Happened::Bringup { .. } => "bringup",
        Happened::Event { .. } => "event",
        Happened::Part { .. } => "part",
        Happened::Record { .. } => "record",
        Happened::Stopping { .. } => "stopping",
        Happened::Identity { .. } => "identity",
    };
    sqlx::query("INSERT INTO history (node_key, at, kind, data_json) VALUES (?1, ?2, ?3, ?4)")
        .bind(node_key)
        .bind(at)
        .bind(kind)
        .bind(to_json(happened)?)
        .execute(&mut *c)
        .await?;
    Ok(())
}

/// Tells those who listen what changed about a node.
pub async fn tell_node(
    c: &mut SqliteConnection,
    head: &Head,
    what: &str,
    now: i64,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO changes (at, node_key, kind, what, verdict) VALUES (?1, ?2, 'node', ?3, ?4)",
    )
    .bind(now)
    .bind(head.key)
    .bind(what)
    .bind(verdict_number(head.verdict))
    .execute(&mut *c)
    .await?;
    Ok(())
}
