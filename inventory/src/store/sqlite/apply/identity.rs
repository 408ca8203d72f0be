//! What the inventory finds about identities: shown elsewhere, on another main board, on two
//! machines at once.
//!
//! # Invariants
//! - None of these is closed by silence: the first two stay until the machine is enrolled anew, the
//!   identity is revoked, or a person accepts the machine as it is.

use cupel_model::Component;
use cupel_model::finding::{
    Clears, Confidence, Evidence, Finding, Impact, Mode, Performer, Remedy, RemedyAction, Scope,
    Severity, Urgency,
};
use cupel_model::wire::Tracked;
use sqlx::SqliteConnection;

use super::Head;
use super::finding::recount;
use super::judge::judge_quietly;
use super::own::{raise, settle};
use crate::clock;
use crate::store::Error;

/// The identity was shown by a machine that calls itself another node.
pub const ELSEWHERE: &str = "node.identity-elsewhere";

/// The node has another main board than was enrolled.
pub const BOARD: &str = "node.board-replaced";

/// Two running machines report as this node.
pub const SHARED: &str = "node.identity-shared";

/// All of them.
pub const CODES: [&str; 3] = [ELSEWHERE, BOARD, SHARED];

/// The id of one of these conditions; a node has each once.
pub fn id_of(code: &str) -> String {
    format!("{code}/node")
}

/// A machine that shows an identity that it should not have.
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere<'a> {
    /// How that is known.
    pub how: How<'a>,
    /// Where it reports from.
    pub address: Option<&'a str>,
}

/// How it is known that an identity is where it should not be.
#[derive(Clone, Copy, Debug)]
pub enum How<'a> {
    /// The machine calls itself this.
    OtherName(&'a str),
    /// What it shows was superseded then, by another key.
    OlderCopy(&'a str),
}

impl<'a> How<'a> {
    /// What is in the finding of this and of no other.
    pub fn mark(self) -> &'a str {
        match self {
            Self::OtherName(mark) | Self::OlderCopy(mark) => mark,
        }
    }
}

struct Told {
    code: &'static str,
    severity: Severity,
    impact: Impact,
    urgency: Urgency,
    clears: Clears,
    summary: String,
    evidence: Vec<Evidence>,
    remedy: Vec<(RemedyAction, String)>,
}

fn tracked(head: &Head, told: Told, now: i64) -> Tracked {
    let remedy = told.remedy.into_iter().map(|(action, text)| Remedy {
        action,
        by: Performer::Human,
        text,
    });
    Tracked {
        id: id_of(told.code),
        finding: Finding {
            code: told.code.to_owned(),
            component: Component::node(),
            severity: told.severity,
            impact: told.impact,
            urgency: told.urgency,
            scope: Scope::Node,
            confidence: Confidence::Confirmed,
            mode: Mode::Enforce,
            summary: told.summary,
            evidence: told.evidence,
            remedy: remedy.collect(),
            since: Some(clock::time(now)),
            clears: told.clears,
        },
        last_seen: clock::time(now),
        boot: head.boot.clone(),
        observed: true,
        flaps: 0,
        waits_for: None,
    }
}

fn elsewhere(head: &Head, shown: Elsewhere<'_>) -> Told {
    let Elsewhere { how, address } = shown;
    let from = address.map_or_else(String::new, |address| format!(" ({address})"));
    let id = &head.id;
    let (summary, evidence, own) = match how {
        How::OtherName(by) => (
            format!(
                "The identity of this node was shown by a machine that calls itself {by}{from}: \
                 its disk was moved or copied, or its main board was replaced"
            ),
            Evidence::value("shown_by", by),
            format!(
                "Find the machine{from}. If it should be a node of its own, enrol it anew: \
                 `cupel-inventory join create`, then `cupel enrol` there; then `cupel-inventory \
                 identity accept {id}`"
            ),
        ),
        How::OlderCopy(since) => (
            format!(
                "An older copy of this node's identity is still in use{from}: it was enrolled anew \
                 at {since}, by another machine or by this one, and what had the identity before \
                 goes on to report"
            ),
            Evidence::value("superseded_at", since),
            format!(
                "Find both machines{from}. If the one that was enrolled last is this node, switch \
                 off the copy or enrol it as a node of its own; then `cupel-inventory identity \
                 accept {id}`"
            ),
        ),
    };
    let mut evidence = vec![evidence];
    evidence.extend(address.map(|address| Evidence::value("address", address)));
    Told {
        code: ELSEWHERE,
        severity: Severity::Warning,
        impact: Impact::None,
        urgency: Urgency::Now,
        clears: Clears::Operator,
        summary,
        evidence,
        remedy: vec![
            (RemedyAction::RunDiagnostic, own),
            (
                RemedyAction::RunDiagnostic,
                format!(
                    "If the disk or its copy is not where it should be: `cupel-inventory identity \
                     revoke {id}`, then enrol this node anew"
                ),
            ),
            (
                RemedyAction::None,
                format!("If it is settled: `cupel-inventory identity accept {id}`"),
            ),
        ],
    }
}

fn board(head: &Head, enrolled: &str, found: &str) -> Told {
    let id = &head.id;
    Told {
        code: BOARD,
        severity: Severity::Warning,
        impact: Impact::None,
        urgency: Urgency::NextWindow,
        clears: Clears::Operator,
        summary: format!(
            "The main board is {found}, and {enrolled} was enrolled: was it replaced, or is this \
             another machine?"
        ),
        evidence: vec![
            Evidence::value("board_serial", found)
                .limit(enrolled, "the main board when the node was enrolled"),
        ],
        remedy: vec![
            (
                RemedyAction::None,
                format!(
                    "If the board was replaced: `cupel-inventory identity accept {id}`, else its \
                     certificate is not renewed"
                ),
            ),
            (
                RemedyAction::RunDiagnostic,
                format!(
                    "If nobody replaced it, find the machine: `cupel-inventory identity revoke \
                     {id}` takes the identity away"
                ),
            ),
        ],
    }
}

fn shared(head: &Head, one: &str, other: &str) -> Told {
    let id = &head.id;
    // The same words whichever of the two reports.
    let (one, other) = if one < other {
        (one, other)
    } else {
        (other, one)
    };
    Told {
        code: SHARED,
        severity: Severity::Critical,
        impact: Impact::BlocksAllocation,
        urgency: Urgency::Now,
        clears: Clears::WhileObserved,
        summary: format!(
            "Two running machines report as this node (boots {one} and {other}): a disk was \
             copied, or their makers gave both the same UUID"
        ),
        evidence: vec![
            Evidence::value("boot", one),
            Evidence::value("other_boot", other),
        ],
        remedy: vec![
            (
                RemedyAction::RunDiagnostic,
                "Find both: `cat /proc/sys/kernel/random/boot_id` on a machine tells which of the \
                 two it is"
                    .to_owned(),
            ),
            (
                RemedyAction::Drain,
                format!(
                    "Switch off the copy, or stop cupel there; `cupel-inventory identity revoke \
                     {id}` shuts both out. Then enrol the machine that should be this node anew"
                ),
            ),
        ],
    }
}

/// Notes that a machine shows the identity of this node that should not have it.
pub async fn shown_elsewhere(
    c: &mut SqliteConnection,
    head: &mut Head,
    shown: Elsewhere<'_>,
    now: i64,
) -> Result<bool, Error> {
    let told = tracked(head, elsewhere(head, shown), now);
    let why = match shown.how {
        How::OtherName(_) => "a report came with this identity and another name",
        How::OlderCopy(_) => "an identity was shown that is superseded",
    };
    let changed = raise(c, head, &told, why, now).await?;
    if changed {
        recount(c, head).await?;
        judge_quietly(c, head, now, "its identity was shown elsewhere").await?;
    }
    Ok(changed)
}

/// Holds the main board that a node tells against the one that was enrolled. Gives whether a finding
/// changed; the caller counts and judges.
pub async fn look_at_board(
    c: &mut SqliteConnection,
    head: &Head,
    told: Option<&str>,
    now: i64,
) -> Result<bool, Error> {
    let enrolled = crate::store::sqlite::identities::board(c, &head.id).await?;
    match (enrolled, told) {
        (Some(enrolled), Some(found)) if enrolled != found => {
            let told = tracked(head, board(head, &enrolled, found), now);
            raise(c, head, &told, "the node tells another main board", now).await
        }
        (Some(_), Some(_)) => {
            let why = "it has the main board that was enrolled";
            settle(c, head, &id_of(BOARD), why, now).await
        }
        // What is not known is no difference, and ends none.
        (None, _) | (_, None) => Ok(false),
    }
}

/// Notes that two boots of this node run at the same time. Gives whether a finding changed; the
/// caller counts and judges.
pub async fn two_run(
    c: &mut SqliteConnection,
    head: &Head,
    one: &str,
    other: &str,
    now: i64,
) -> Result<bool, Error> {
    let told = tracked(head, shared(head, one, other), now);
    let why = "both boots report, each at the pace of its own uptime";
    raise(c, head, &told, why, now).await
}

/// Closes what is open of these conditions, and judges the node.
pub async fn settle_identity(
    c: &mut SqliteConnection,
    head: &mut Head,
    codes: &[&str],
    why: &str,
    now: i64,
) -> Result<bool, Error> {
    let mut any = false;
    for code in codes {
        any |= settle(c, head, &id_of(code), why, now).await?;
    }
    if any {
        recount(c, head).await?;
        judge_quietly(c, head, now, why).await?;
    }
    Ok(any)
}
