//! One node.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use cupel_model::wire::FindingChange;
use cupel_model::{Snapshot, Timestamp};

use super::super::App;
use super::super::guard::Caller;
use super::super::nodes::Segment;
use super::super::problem::Problem;
use super::lines::{component, expectation, standing};
use super::{context, page};
use crate::clock::{self, SECOND};
use crate::pages::{self, view};
use crate::record::{
    ExpectationState, ExpectedRecord, Happened, HistoryEntry, HistoryKind, IdentityState,
    NodeIdentity, NodeRecord, NodeSummary, PartSummary, Presence,
};
use crate::store::Want;

/// How far plots look back, in microseconds: a week.
const BACK: i64 = 7 * 86_400 * SECOND;

/// Changes and events on the page.
const LINES: u32 = 50;

/// `GET /nodes/{id}`: a node, or by its chassis serial what should be there and is not.
pub async fn node(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Segment(id): Segment,
) -> Response {
    let made = make(&app, &caller, &id).await;
    page(&app, made)
}

async fn make(app: &App, caller: &Caller, id: &str) -> Result<String, Problem> {
    if let Some(record) = app.store().node(id).await? {
        return found(app, caller, record).await;
    }
    let missing = match app.store().expected_entry(id).await? {
        Some(entry) => match &entry.node {
            Some(node) => {
                if let Some(record) = app.store().node(node).await? {
                    return found(app, caller, record).await;
                }
                Some(entry)
            }
            None => Some(entry),
        },
        None => None,
    };
    match missing {
        Some(entry) => Ok(pages::node(&expected(app, caller, entry))),
        None => Err(Problem::not_found(
            "no node with this id has reported, and no chassis with this serial is expected",
        )),
    }
}

fn place(node: &NodeSummary) -> view::Place {
    view::Place {
        rack: view::RackPlace {
            region: node.region.clone(),
            site: node.site.clone(),
            row: node.row.clone(),
            rack: node.rack.clone(),
        },
        unit: node.unit,
        height_units: node.height_units,
    }
}

/// How a node stands.
pub fn standing_of(node: &NodeSummary) -> view::Standing {
    standing(crate::derive::standing(node.verdict, node.presence))
}

/// A node's line on its own page.
fn line(record: &NodeRecord) -> view::NodeLine {
    let node = &record.node;
    view::NodeLine {
        id: node.id.clone(),
        hostname: node.hostname.clone(),
        serial: node.chassis_serial.clone().or_else(|| node.serial.clone()),
        place: place(node),
        standing: standing_of(node),
        expectation: expectation(node.expectation, &record.differences),
        lifecycle: node.lifecycle,
        in_use: node.in_use,
        platform: node.platform.clone(),
        worst: None,
        more_findings: 0,
        last_report: Some(node.last_report_at),
    }
}

fn part(part: PartSummary) -> view::NodePart {
    let place = part.place.as_ref();
    view::NodePart {
        kind: component(part.kind),
        slot: place.and_then(|place| place.slot.clone()),
        since: place.map(|place| place.from),
        present: place.is_some_and(|place| place.missing_since.is_none()),
        name: part.model,
        serial: Some(part.serial),
        part_number: part.part_number,
        firmware: part.firmware,
    }
}

/// What happened to findings, as the nodes tell it; how each is now is in the record.
fn change(
    entry: HistoryEntry,
    tracked: Option<&cupel_model::wire::Tracked>,
) -> Option<FindingChange> {
    let Happened::Finding {
        change,
        why,
        code,
        component,
        severity,
        summary,
        ..
    } = entry.happened
    else {
        return None;
    };
    let mut tracked = tracked?.clone();
    tracked.finding.code = code;
    tracked.finding.component = *component;
    tracked.finding.severity = severity;
    tracked.finding.summary = summary;
    Some(FindingChange {
        at: entry.at,
        change,
        why,
        tracked,
    })
}

/// The event that an entry is about.
fn event(happened: Happened) -> Option<cupel_model::wire::NodeEvent> {
    if let Happened::Event { event } = happened {
        Some(*event)
    } else {
        None
    }
}

async fn changes(app: &App, id: &str) -> Result<Vec<FindingChange>, Problem> {
    let want = Want {
        after: None,
        limit: LINES,
    };
    let page = app
        .store()
        .history(id, &[HistoryKind::Finding], want)
        .await?;
    let mut changes = Vec::new();
    for entry in page.items {
        let key = match &entry.happened {
            Happened::Finding { ticket, .. } => ticket.trim_start_matches('F').parse().ok(),
            Happened::Verdict { .. }
            | Happened::Boot { .. }
            | Happened::Bringup { .. }
            | Happened::Event { .. }
            | Happened::Part { .. }
            | Happened::Record { .. }
            | Happened::Stopping { .. }
            | Happened::Identity { .. } => None,
        };
        let finding = match key {
            Some(key) => app.store().finding(key).await?,
            None => None,
        };
        changes.extend(change(entry, finding.as_ref().map(|f| &f.tracked)));
    }
    Ok(changes)
}

async fn snapshot(app: &App, id: &str) -> Result<Option<Box<Snapshot>>, Problem> {
    let Some(stored) = app.store().snapshot(id).await? else {
        return Ok(None);
    };
    let read = tokio::task::spawn_blocking(move || {
        let json = zstd::bulk::decompress(&stored.zstd, stored.size).ok()?;
        serde_json::from_slice(&json).ok().map(Box::new)
    });
    Ok(read.await.ok().flatten())
}

fn identity(identity: &NodeIdentity) -> view::Identity {
    view::Identity {
        worth: match identity.state {
            IdentityState::Active => view::Worth::Good,
            IdentityState::Expired => view::Worth::Expired,
            IdentityState::Superseded => view::Worth::Superseded,
            IdentityState::Revoked => view::Worth::Revoked,
        },
        key: identity.key_protection,
        until: identity.not_after,
    }
}

/// The version that is wished, with what the node tells of it; of another wish it tells nothing.
fn upgrade(record: &NodeRecord) -> Option<view::Upgrade> {
    let version = record.wanted.upgrade.as_ref()?.version.clone();
    let told = record.wanted_state.upgrade.as_ref();
    let told = told.filter(|told| told.version == version);
    Some(view::Upgrade {
        outcome: told.map(|told| told.outcome),
        why: told.and_then(|told| told.why.clone()),
        version,
    })
}

async fn found(app: &App, caller: &Caller, record: NodeRecord) -> Result<String, Problem> {
    let id = record.node.id.clone();
    let store = app.store();
    let now = app.clock().microseconds();
    let from = now.saturating_sub(BACK);
    let want = Want {
        after: None,
        limit: LINES,
    };
    let kept = record.node.last_report_at;
    let events = store.history(&id, &[HistoryKind::Event], want).await?;
    let standings = store.standings(&id, from).await?;
    let samples = store.samples(&id, from, now).await?;
    let node = &record.node;
    let view = view::Node {
        context: context(app, Some(caller)),
        line: line(&record),
        standing_since: standings.last().map(|(at, _)| clock::time(*at)),
        verdict: record.reported_verdict,
        record: view::Record {
            account: node.account.clone(),
            project: node.project.clone(),
            instance: node.instance.clone(),
            in_use: node.in_use,
            handed_over: node.handover_at,
            nvlink_domain: node.nvlink_domain.clone(),
            switch_path: node.switch_path.clone(),
            baseline: record.wanted.baseline.clone(),
            identity: record.identity.as_ref().map(identity),
        },
        first_report: Some(node.first_seen),
        next_report_by: (node.presence == Presence::Reporting).then_some(record.late_at),
        stopped: record.stopped.as_ref().map(|stopped| stopped.why.clone()),
        cupel_version: Some(record.cupel_version.clone()),
        upgrade: upgrade(&record),
        wishes_refused: record.wanted_state.refused.clone(),
        dropped: record.dropped,
        findings: record
            .open_findings
            .iter()
            .map(|finding| finding.tracked.clone())
            .collect(),
        coverage: record.coverage.clone(),
        snapshot: snapshot(app, &id).await?,
        parts: record.parts.iter().cloned().map(part).collect(),
        history_from: clock::time(from).max(node.first_seen.min(kept)),
        standings: standings
            .iter()
            .map(|(at, number)| view::StandingChange {
                at: clock::time(*at),
                standing: standing(*number),
            })
            .collect(),
        vitals: samples
            .into_iter()
            .map(|sample| view::VitalsAt {
                at: sample.at,
                gpus: sample.gpus,
            })
            .collect(),
        changes: changes(app, &id).await?,
        changes_kept: store.history_count(&id, HistoryKind::Finding).await?,
        events: events
            .items
            .into_iter()
            .filter_map(|entry| event(entry.happened))
            .collect(),
        events_kept: store.history_count(&id, HistoryKind::Event).await?,
        bringup: record.bringup.clone(),
    };
    Ok(pages::node(&view))
}

/// What should be there and never reported.
fn expected(app: &App, caller: &Caller, entry: ExpectedRecord) -> view::Node {
    let now: Timestamp = app.clock().now();
    let wanted = entry.entry;
    view::Node {
        context: context(app, Some(caller)),
        line: view::NodeLine {
            id: wanted.chassis_serial.clone(),
            hostname: wanted.hostname,
            serial: Some(wanted.chassis_serial),
            place: view::Place {
                rack: view::RackPlace {
                    region: wanted.region,
                    site: wanted.site,
                    row: wanted.row,
                    rack: wanted.rack,
                },
                unit: wanted.unit,
                height_units: wanted.height_units,
            },
            standing: view::Standing::Missing,
            expectation: expectation(ExpectationState::AsExpected, &[]),
            lifecycle: cupel_model::wire::Lifecycle::Provisioning,
            in_use: None,
            platform: wanted.platform,
            worst: None,
            more_findings: 0,
            last_report: None,
        },
        standing_since: None,
        verdict: None,
        record: view::Record {
            nvlink_domain: wanted.nvlink_domain,
            switch_path: wanted.switch_path,
            ..view::Record::default()
        },
        first_report: None,
        next_report_by: None,
        stopped: None,
        cupel_version: None,
        upgrade: None,
        wishes_refused: None,
        dropped: cupel_model::wire::Dropped::default(),
        findings: Vec::new(),
        coverage: None,
        snapshot: None,
        parts: Vec::new(),
        history_from: now,
        standings: Vec::new(),
        vitals: Vec::new(),
        changes: Vec::new(),
        changes_kept: 0,
        events: Vec::new(),
        events_kept: 0,
        bringup: None,
    }
}
