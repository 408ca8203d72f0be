//! From JSON to a report that was checked.

use cupel_model::units::Seconds;
use cupel_model::wire::{
    BringupSummary, ChangeKind, Dropped, GpuVitals, NodeEvent, Tracked, WantedState,
};
use cupel_model::{CheckReport, SCHEMA_VERSION, Snapshot, Timestamp, Verdict};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::incoming::{Full, Incoming, IncomingBody, RawChange, RawFinding};
use super::scan::{ScanError, scan};
use super::{Identity, SeenPart, digest_of};
use crate::clock;
use crate::name;

/// Largest sequence: what every JSON reader keeps exactly.
const LARGEST_SEQUENCE: u64 = 1 << 53;

/// Longest time to the next report, in seconds: a week.
const LONGEST_NEXT: f64 = 7.0 * 86_400.0;

/// Most findings, changes or events in one report.
const MOST: usize = 10_000;

/// Most GPUs in a heartbeat.
const MOST_GPUS: usize = 1024;

/// Largest finding or bring-up, as JSON.
const LARGEST_FINDING: usize = 256 << 10;

/// Longest name of a finding, code, hash or version.
const LONGEST_NAME: usize = 512;

/// Longest sentence.
const LONGEST_SENTENCE: usize = 8 << 10;

/// Why a report is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no JSON.
    #[error("is no JSON: {detail}")]
    NotJson {
        /// The parser's word, with line and column.
        detail: String,
    },
    /// It nests too deep or has too many values.
    #[error(transparent)]
    TooMuch(#[from] ScanError),
    /// A value is not what it must be.
    #[error("{path}: {detail}")]
    Value {
        /// Where, e.g. `body.snapshot.gpus[3].pci`.
        path: String,
        /// What is wrong.
        detail: String,
    },
}

fn refuse<T>(path: &str, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Value {
        path: path.to_owned(),
        detail: detail.into(),
    })
}

#[derive(Deserialize)]
struct Envelope<'a> {
    schema_version: u32,
    cupel_version: String,
    node: String,
    boot: String,
    sequence: u64,
    made_at: Timestamp,
    uptime_seconds: Seconds,
    next_within_seconds: Seconds,
    wanted: WantedState,
    dropped: Dropped,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KindWord {
    Full,
    Heartbeat,
    Changes,
    Bringup,
    Stopping,
}

#[derive(Deserialize)]
struct KindOf {
    kind: KindWord,
}

#[derive(Deserialize)]
struct FullBody<'a> {
    hash: String,
    #[serde(borrow)]
    snapshot: &'a RawValue,
    #[serde(borrow)]
    check: &'a RawValue,
    #[serde(borrow)]
    findings: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct HeartbeatBody {
    hash: String,
    verdict: Verdict,
    gpus: Vec<GpuVitals>,
}

#[derive(Deserialize)]
struct ChangesBody<'a> {
    verdict: Verdict,
    #[serde(borrow)]
    changes: Vec<ChangeBody<'a>>,
    events: Vec<NodeEvent>,
}

#[derive(Deserialize)]
struct ChangeBody<'a> {
    at: Timestamp,
    change: ChangeKind,
    why: String,
    #[serde(borrow)]
    tracked: &'a RawValue,
}

#[derive(Deserialize)]
struct BringupBody<'a> {
    #[serde(borrow)]
    summary: &'a RawValue,
}

#[derive(Deserialize)]
struct StoppingBody {
    why: String,
}

/// Parses what borrows from its JSON; the refusal says where this began.
fn typed<'a, T: Deserialize<'a>>(json: &'a str, at: &str) -> Result<T, Refusal> {
    serde_json::from_str::<T>(json).map_err(|error| {
        let detail = error.to_string();
        if error.is_syntax() || error.is_eof() {
            return Refusal::NotJson { detail };
        }
        Refusal::Value {
            path: if at.is_empty() { "report" } else { at }.to_owned(),
            detail,
        }
    })
}

/// As [`typed`], for what owns its values: the refusal says where in it.
fn owned<T: DeserializeOwned>(json: &str, at: &str) -> Result<T, Refusal> {
    match serde_json::from_str(json) {
        Ok(value) => Ok(value),
        Err(plain) => {
            let mut reader = serde_json::Deserializer::from_str(json);
            let inner = match serde_path_to_error::deserialize::<_, T>(&mut reader) {
                Ok(_) => ".".to_owned(),
                Err(error) => error.path().to_string(),
            };
            let path = match (at, inner.as_str()) {
                (at, ".") => at.to_owned(),
                ("", inner) => inner.to_owned(),
                (at, inner) if inner.starts_with('[') => format!("{at}{inner}"),
                (at, inner) => format!("{at}.{inner}"),
            };
            Err(Refusal::Value {
                path,
                detail: plain.to_string(),
            })
        }
    }
}

fn short(path: &str, text: &str, most: usize) -> Result<(), Refusal> {
    if text.len() > most {
        return refuse(path, format!("has {} bytes, at most {most}", text.len()));
    }
    Ok(())
}

fn few(path: &str, count: usize, most: usize) -> Result<(), Refusal> {
    if count > most {
        return refuse(path, format!("has {count} items, at most {most}"));
    }
    Ok(())
}

fn finding(raw: &RawValue, at: &str) -> Result<RawFinding, Refusal> {
    short(at, raw.get(), LARGEST_FINDING)?;
    let tracked: Tracked = owned(raw.get(), at)?;
    short(&format!("{at}.id"), &tracked.id, LONGEST_NAME)?;
    if tracked.id.is_empty() {
        return refuse(&format!("{at}.id"), "is empty");
    }
    let Some(since) = tracked.finding.since else {
        return refuse(&format!("{at}.finding.since"), "is null");
    };
    short(
        &format!("{at}.finding.code"),
        &tracked.finding.code,
        LONGEST_NAME,
    )?;
    Ok(RawFinding {
        since,
        json: raw.get().to_owned(),
        tracked,
    })
}

fn full(json: &str, node: &str) -> Result<IncomingBody, Refusal> {
    let body: FullBody<'_> = typed(json, "body")?;
    short("body.hash", &body.hash, LONGEST_NAME)?;
    few("body.findings", body.findings.len(), MOST)?;
    let snapshot: Snapshot = owned(body.snapshot.get(), "body.snapshot")?;
    let check: CheckReport = owned(body.check.get(), "body.check")?;
    match snapshot.node.id.value() {
        Some(id) if id == node => {}
        Some(_) => return refuse("body.snapshot.node.id", "is another node than the report's"),
        None => return refuse("body.snapshot.node.id", "is not known"),
    }
    let findings = body
        .findings
        .iter()
        .enumerate()
        .map(|(index, raw)| finding(raw, &format!("body.findings[{index}]")))
        .collect::<Result<Vec<_>, _>>()?;
    let parts = SeenPart::all(&snapshot);
    let text = body.snapshot.get();
    let compressed = zstd::bulk::compress(text.as_bytes(), 3).map_err(|error| Refusal::Value {
        path: "body.snapshot".to_owned(),
        detail: error.to_string(),
    })?;
    Ok(IncomingBody::Full(Box::new(Full {
        hash: body.hash,
        taken_at: snapshot.taken_at,
        identity: Identity::of(&snapshot, check.platform.as_deref()),
        parts_digest: digest_of(&parts),
        parts,
        verdict: check.verdict,
        findings,
        coverage: check.coverage,
        snapshot: compressed,
        snapshot_bytes: text.len(),
    })))
}

fn changes(json: &str) -> Result<IncomingBody, Refusal> {
    let body: ChangesBody<'_> = typed(json, "body")?;
    few("body.changes", body.changes.len(), MOST)?;
    few("body.events", body.events.len(), MOST)?;
    for (index, event) in body.events.iter().enumerate() {
        let at = format!("body.events[{index}]");
        if !name::is_id(&event.boot) {
            return refuse(&format!("{at}.boot"), "is no boot id");
        }
        short(&format!("{at}.event.code"), &event.event.code, LONGEST_NAME)?;
        short(
            &format!("{at}.event.raw"),
            &event.event.raw,
            LARGEST_FINDING,
        )?;
    }
    let changes = body
        .changes
        .iter()
        .enumerate()
        .map(|(index, change)| {
            let at = format!("body.changes[{index}]");
            short(&format!("{at}.why"), &change.why, LONGEST_SENTENCE)?;
            Ok(RawChange {
                at: change.at,
                change: change.change,
                why: change.why.clone(),
                finding: finding(change.tracked, &format!("{at}.tracked"))?,
            })
        })
        .collect::<Result<Vec<_>, Refusal>>()?;
    Ok(IncomingBody::Changes {
        verdict: body.verdict,
        changes,
        events: body.events,
    })
}

fn body_of(json: &str, node: &str) -> Result<IncomingBody, Refusal> {
    let KindOf { kind } = owned(json, "body")?;
    match kind {
        KindWord::Full => full(json, node),
        KindWord::Changes => changes(json),
        KindWord::Heartbeat => {
            let body: HeartbeatBody = owned(json, "body")?;
            short("body.hash", &body.hash, LONGEST_NAME)?;
            few("body.gpus", body.gpus.len(), MOST_GPUS)?;
            Ok(IncomingBody::Heartbeat {
                hash: body.hash,
                verdict: body.verdict,
                gpus: body.gpus,
            })
        }
        KindWord::Bringup => {
            let body: BringupBody<'_> = typed(json, "body")?;
            short("body.summary", body.summary.get(), LARGEST_FINDING)?;
            let summary: BringupSummary = owned(body.summary.get(), "body.summary")?;
            Ok(IncomingBody::Bringup {
                summary: Box::new(summary),
                json: body.summary.get().to_owned(),
            })
        }
        KindWord::Stopping => {
            let body: StoppingBody = owned(json, "body")?;
            short("body.why", &body.why, LONGEST_SENTENCE)?;
            Ok(IncomingBody::Stopping { why: body.why })
        }
    }
}

/// A report from its JSON.
///
/// # Errors
/// [`Refusal`]: where, and why.
pub fn parse(json: &[u8]) -> Result<Incoming, Refusal> {
    scan(json)?;
    let text = std::str::from_utf8(json).map_err(|error| Refusal::NotJson {
        detail: format!("byte {} is not UTF-8", error.valid_up_to()),
    })?;
    let envelope: Envelope<'_> = typed(text, "")?;
    if envelope.schema_version != SCHEMA_VERSION {
        return refuse(
            "schema_version",
            format!(
                "is {}; this inventory reads {SCHEMA_VERSION}",
                envelope.schema_version
            ),
        );
    }
    for (path, id) in [("node", &envelope.node), ("boot", &envelope.boot)] {
        if !name::is_id(id) {
            return refuse(
                path,
                "is no id: want 8 to 64 lower-case letters, digits and hyphens",
            );
        }
    }
    if envelope.sequence > LARGEST_SEQUENCE {
        return refuse("sequence", format!("is above {LARGEST_SEQUENCE} (2^53)"));
    }
    if envelope.uptime_seconds.get() < 0.0 {
        return refuse("uptime_seconds", "is negative");
    }
    if envelope.next_within_seconds.get() <= 0.0 {
        return refuse("next_within_seconds", "is not above 0");
    }
    short("cupel_version", &envelope.cupel_version, LONGEST_NAME)?;
    short(
        "wanted.etag",
        envelope.wanted.etag.as_deref().unwrap_or_default(),
        LONGEST_NAME,
    )?;
    short(
        "wanted.refused",
        envelope.wanted.refused.as_deref().unwrap_or_default(),
        LONGEST_SENTENCE,
    )?;
    let body = body_of(envelope.body.get(), &envelope.node)?;
    let mut digest = [0_u8; 16];
    digest.copy_from_slice(&Sha256::digest(json)[..16]);
    Ok(Incoming {
        sequence: i64::try_from(envelope.sequence).unwrap_or(i64::MAX),
        made_at: envelope.made_at.microseconds(),
        uptime: clock::microseconds(envelope.uptime_seconds.get()),
        next_within: clock::microseconds(envelope.next_within_seconds.get().min(LONGEST_NEXT)),
        node: envelope.node,
        boot: envelope.boot,
        cupel_version: envelope.cupel_version,
        wanted: envelope.wanted,
        dropped: envelope.dropped,
        digest,
        body,
    })
}
