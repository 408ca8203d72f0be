//! What an answer means.
//!
//! # Invariants
//! - A report has arrived only if the answer is a success and names its node, boot and sequence.
//! - A report is given up only if the answer says so in a way that a proxy, a login page or a
//!   broken server does not: a problem document (RFC 9457) with a final status, or 413.
//! - What an answer asks for and is not understood takes nothing away from what it says about the
//!   report.

use std::time::Duration;

use cupel_model::wire::{self, Accepted, Wanted};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::store::{Spooled, WantedDocument};

/// Longest wait that the inventory can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(10 * 60);

/// Most characters of somebody else's text that are shown.
const SHOWN: usize = 300;

/// What came of sending a report.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is stored: acknowledge it.
    Delivered(Delivered),
    /// Not now: try the oldest again later.
    Later {
        /// What the inventory asked for.
        after: Option<Duration>,
        /// What happened, in a line.
        why: String,
    },
    /// Never: take it out of the way.
    Refused {
        /// The inventory's reason, in a line.
        why: String,
    },
}

/// What the inventory said to a report that it stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivered {
    /// It was stored before.
    pub duplicate: bool,
    /// A full report is asked for.
    pub send_full: bool,
    /// Other wishes than those that the report named.
    pub wanted: Option<WantedNews>,
    /// What else was asked for and is not understood, in words for the log.
    pub not_understood: Vec<String>,
}

/// Wishes that came with an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum WantedNews {
    /// They are understood.
    Understood {
        /// What they say.
        wanted: Box<Wanted>,
        /// As they came.
        document: WantedDocument,
    },
    /// They are not: go on by those of before, and tell this in `wanted.refused` of the next
    /// reports.
    Refused {
        /// What is wrong with them.
        why: String,
    },
}

/// What is read of an answer; each part by itself, so that one does not take the others along.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    accepted: &'a RawValue,
    #[serde(borrow, default)]
    duplicate: Option<&'a RawValue>,
    #[serde(borrow, default)]
    send: Option<&'a RawValue>,
    #[serde(borrow, default)]
    wanted: Option<&'a RawValue>,
}

/// RFC 9457.
#[derive(Deserialize)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
    status: Option<u16>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// The head of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub status: u16,
    pub retry_after: Option<&'a str>,
    pub location: Option<&'a str>,
}

/// What an answer means for `report`. `body` is an error where it could not be read to its end.
pub(super) fn judge(head: Head<'_>, body: Result<&[u8], &str>, report: &Spooled) -> Outcome {
    let status = head.status;
    let later = |why: String| Outcome::Later { after: None, why };
    match status {
        200..=299 => match body {
            Ok(body) => delivered(body, report),
            Err(why) => later(format!("the answer ({status}) broke off: {why}")),
        },
        300..=399 => later(format!(
            "the inventory answered {status}{}; redirects are not followed",
            head.location
                .map(|to| format!(" to {}", shown(to)))
                .unwrap_or_default()
        )),
        _ => {
            let problem = body.ok().and_then(|body| problem(status, body));
            let is_final = match status {
                413 => true,
                400 | 409 | 422 => problem.is_some(),
                // It was made when the machine was another node: no identity of this one is ever
                // good for it, and behind it the others would wait for ever.
                403 => body.is_ok_and(is_of_another_node),
                _ => false,
            };
            let why = match (&problem, body) {
                (Some(words), _) => format!("the inventory answered {status}: {words}"),
                (None, Ok(body)) => format!(
                    "{status} without a problem document, perhaps not the inventory's answer: {}",
                    shown(&String::from_utf8_lossy(body))
                ),
                (None, Err(why)) => format!("the inventory answered {status}, then: {why}"),
            };
            if is_final {
                return Outcome::Refused { why };
            }
            let after = head
                .retry_after
                .filter(|_| matches!(status, 429 | 503))
                .and_then(|text| text.trim().parse::<u64>().ok())
                .map(|seconds| Duration::from_secs(seconds).min(LONGEST_ASKED));
            Outcome::Later { after, why }
        }
    }
}

fn delivered(body: &[u8], report: &Spooled) -> Outcome {
    let later = |why: String| Outcome::Later { after: None, why };
    let raw: Raw<'_> = match serde_json::from_slice(body) {
        Ok(raw) => raw,
        Err(error) => {
            return later(format!(
                "the answer is no word of the inventory ({error}): {}",
                shown(&String::from_utf8_lossy(body))
            ));
        }
    };
    let accepted: Accepted = match serde_json::from_str(raw.accepted.get()) {
        Ok(accepted) => accepted,
        Err(error) => return later(format!("the answer names no report: {error}")),
    };
    if accepted.node != report.node
        || accepted.boot != report.boot
        || accepted.sequence != report.sequence
    {
        return later(format!(
            "the answer is about another report: {} of boot {} of node {}",
            accepted.sequence,
            shown(&accepted.boot),
            shown(&accepted.node)
        ));
    }
    let mut delivered = Delivered::default();
    if let Some(duplicate) = raw.duplicate {
        delivered.duplicate = duplicate.get() == "true";
    }
    if let Some(send) = raw.send {
        match serde_json::from_str::<Option<wire::Send>>(send.get()) {
            Ok(Some(wire::Send::Full)) => delivered.send_full = true,
            Ok(None) => {}
            Err(_) => delivered
                .not_understood
                .push(format!("send: {}", shown(send.get()))),
        }
    }
    delivered.wanted = raw.wanted.map(wanted);
    Outcome::Delivered(delivered)
}

fn wanted(raw: &RawValue) -> WantedNews {
    match serde_json::from_slice::<Wanted>(raw.get().as_bytes()) {
        Ok(wanted) => WantedNews::Understood {
            document: WantedDocument {
                etag: wanted.etag.clone(),
                json: raw.get().to_owned(),
            },
            wanted: Box::new(wanted),
        },
        Err(error) => WantedNews::Refused {
            why: shown(&error.to_string()),
        },
    }
}

/// What a problem document says, if the body is one about this status.
pub(crate) fn problem(status: u16, body: &[u8]) -> Option<String> {
    let problem: Problem = serde_json::from_slice(body).ok()?;
    if problem.status.is_some_and(|said| said != status) {
        return None;
    }
    if problem.title.is_none() && problem.kind.is_none() {
        return None;
    }
    let words: Vec<String> = [problem.title, problem.detail]
        .into_iter()
        .flatten()
        .collect();
    let words = if words.is_empty() {
        problem.kind.unwrap_or_default()
    } else {
        words.join(": ")
    };
    Some(shown(&words))
}

/// Whether a problem document says that the report is of another node than the identity.
fn is_of_another_node(body: &[u8]) -> bool {
    serde_json::from_slice::<Problem>(body)
        .ok()
        .and_then(|problem| problem.kind)
        .is_some_and(|kind| kind == "urn:cupel:identity-mismatch")
}

/// Somebody else's text: one line, not long, nothing that moves a cursor.
pub(crate) fn shown(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SHOWN)
        .collect();
    let clean = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().nth(SHOWN).is_some() {
        format!("{clean}…")
    } else {
        clean
    }
}
