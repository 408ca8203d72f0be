//! Which reports are made, and when; and what is written down with them.
//!
//! # Invariants
//! - Findings that changed are reported at once, with the events that came until then. Events alone
//!   are reported once in a while: a storm makes a few reports with large counts.
//! - The events of a report, the cursor behind them and their rows on disk are one change.
//! - Without an inventory no report is made, and everything else is the same.

use std::collections::BTreeMap;
use std::time::Duration;

use cupel_health::track::Moment;
use cupel_model::units::{Celsius, Watts};
use cupel_model::wire::{
    Body, BringupSummary, Dropped, FindingChange, GpuVitals, NodeEvent, Report,
};
use cupel_model::{Event, Reading, SCHEMA_VERSION, Snapshot, Verdict};
use cupel_reporting::{Change, KernelCursor};
use serde::{Deserialize, Serialize};

use super::{Engine, FIRST};
use crate::service::fingerprint::fingerprint;
use crate::service::protocol::Happened;

/// Least time between two reports of events alone.
const EVENTS_GAP: Duration = Duration::from_secs(1);

/// The same while they keep coming: the storm is told in large counts.
const STORM_GAP: Duration = Duration::from_secs(5);

/// Least time between two full reports, unless one is asked for.
const FULL_GAP: Duration = Duration::from_secs(2);

/// How often the memory of the findings is written down when none changes: windows and holds are
/// in it.
const MEMORY: Duration = Duration::from_secs(300);

/// Events in one report.
const EVENTS: usize = 200;

/// Changes in one report.
const CHANGES: usize = 200;

/// Name of the note about the last full report.
const FULL_NOTE: &str = "last-full";

/// The last full report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LastFull {
    hash: String,
    boot: String,
    since_boot_seconds: f64,
}

/// What was reported, and what is to be.
#[derive(Default)]
pub struct Plan {
    changes: Vec<FindingChange>,
    earlier: Vec<NodeEvent>,
    journal_cursor: Option<String>,
    bringups: Vec<BringupSummary>,
    last_full: Option<(String, Duration)>,
    full_asked: bool,
    last_report: Option<Duration>,
    last_events: Option<Duration>,
    events_gap: Duration,
    last_memory: Option<Duration>,
    memory_changed: bool,
    /// When the next heartbeat or full report is due.
    due: Duration,
}

impl Plan {
    /// With what is on disk about the last full report of this boot.
    pub fn restore(notes: &BTreeMap<String, String>, boot: &str, now: Duration) -> Self {
        let last: Option<LastFull> = notes
            .get(FULL_NOTE)
            .and_then(|text| serde_json::from_str(text).ok());
        let last_full = last.filter(|last| last.boot == boot).and_then(|last| {
            let at = Duration::try_from_secs_f64(last.since_boot_seconds).ok()?;
            Some((last.hash, at.min(now)))
        });
        Self {
            last_full,
            events_gap: EVENTS_GAP,
            ..Self::default()
        }
    }

    /// Findings changed.
    pub fn changed(&mut self, changes: Vec<FindingChange>) {
        self.memory_changed |= !changes.is_empty();
        self.changes.extend(changes);
    }

    /// The inventory asks for a full report.
    pub fn full_asked(&mut self) {
        self.full_asked = true;
    }

    /// What was read of earlier boots, and how far.
    pub fn earlier(&mut self, events: Vec<NodeEvent>, cursor: Option<String>) {
        self.earlier.extend(events);
        self.journal_cursor = cursor.or(self.journal_cursor.take());
    }

    /// A bring-up ended.
    pub fn bringup(&mut self, summary: BringupSummary) {
        self.bringups.push(summary);
    }

    /// Whether a full report was made and nothing is left to be made.
    pub fn has_told_all(&self) -> bool {
        self.last_full.is_some()
            && self.changes.is_empty()
            && self.earlier.is_empty()
            && self.bringups.is_empty()
            && !self.full_asked
    }

    /// How long until something is due.
    pub fn wait(&self, now: Duration) -> Duration {
        let mut wait = self.due.saturating_sub(now);
        if !self.changes.is_empty() || self.full_asked {
            wait = wait.min(Duration::from_millis(500));
        }
        wait.min(self.events_gap)
    }
}

fn since(now: &Moment, last: Option<Duration>) -> Option<Duration> {
    last.map(|last| now.since_boot.saturating_sub(last))
}

/// Two changes as one, the later on top of the earlier.
pub fn joined(mut earlier: Change, later: Change) -> Change {
    fn over<T>(slot: &mut Option<T>, later: Option<T>) {
        if later.is_some() {
            *slot = later;
        }
    }
    over(&mut earlier.tracker, later.tracker);
    over(&mut earlier.kernel_cursor, later.kernel_cursor);
    over(&mut earlier.journal_cursor, later.journal_cursor);
    over(&mut earlier.wanted, later.wanted);
    for row in later.events {
        match earlier.events.iter_mut().find(|known| known.key == row.key) {
            Some(known) => *known = row,
            None => earlier.events.push(row),
        }
    }
    earlier.events_gone.extend(later.events_gone);
    earlier.notes.extend(later.notes);
    earlier.reports.extend(later.reports);
    earlier
}

impl Engine {
    fn is_configured(&self) -> bool {
        self.rules.settings.inventory.url.value.is_some()
    }

    fn node_id(&self) -> Option<String> {
        let (snapshot, _) = self.latest.as_ref()?;
        snapshot.node.id.value().cloned()
    }

    /// A report with this body; the disk fills in its number.
    fn envelope(&self, node: &str, now: &Moment, body: Body) -> Report {
        Report {
            schema_version: SCHEMA_VERSION,
            cupel_version: env!("CARGO_PKG_VERSION").to_owned(),
            node: node.to_owned(),
            boot: now.boot.clone(),
            sequence: 0,
            made_at: now.at,
            uptime_seconds: now.since_boot.into(),
            next_within_seconds: self.rules.settings.inventory.heartbeat.value.into(),
            wanted: self.wanted_state.clone(),
            dropped: Dropped::default(),
            body,
        }
    }

    fn verdict(&self) -> Verdict {
        self.latest
            .as_ref()
            .map_or(Verdict::Unknown, |(_, report)| report.verdict)
    }

    /// Makes the reports that are due, and writes down what belongs to them.
    pub(super) fn report(&mut self, now: &Moment) {
        if self.latest.is_none() {
            return;
        }
        let node = self.node_id().filter(|_| self.is_configured());
        let mut change = Change::default();
        self.report_changes(now, node.as_deref(), &mut change);
        self.write_memory(now, &mut change);
        if let Some(node) = &node {
            for summary in std::mem::take(&mut self.reports.bringups) {
                let body = Body::Bringup { summary };
                change.reports.push(self.envelope(node, now, body));
            }
            self.report_full(now, node, &mut change);
            self.report_heartbeat(now, node, &mut change);
        }
        if change != Change::default() {
            if !change.reports.is_empty() {
                self.reports.last_report = Some(now.since_boot);
            }
            self.commit(change);
        }
        self.reports.due = self.next_due(now);
    }

    fn next_due(&self, now: &Moment) -> Duration {
        if !self.is_configured() {
            return now.since_boot + MEMORY;
        }
        let inventory = &self.rules.settings.inventory;
        let heartbeat = self.reports.last_report.unwrap_or_default() + inventory.heartbeat.value;
        let last_full = self.reports.last_full.as_ref().map(|(_, at)| *at);
        heartbeat.min(last_full.unwrap_or_default() + inventory.full.value)
    }

    /// Findings that changed and events that came.
    fn report_changes(&mut self, now: &Moment, node: Option<&str>, change: &mut Change) {
        let plan = &self.reports;
        let gap = since(now, plan.last_events);
        let events_due = (self.log.has_fresh() || !plan.earlier.is_empty())
            && gap.is_none_or(|gap| gap >= plan.events_gap);
        if plan.changes.is_empty() && !events_due {
            return;
        }
        let fresh = self.log.take_fresh();
        if !fresh.is_empty() {
            // Still coming after the shorter time: a storm.
            let storm = gap.is_some_and(|gap| gap < STORM_GAP + EVENTS_GAP);
            self.reports.events_gap = if storm { STORM_GAP } else { EVENTS_GAP };
            self.reports.last_events = Some(now.since_boot);
        }
        for event in &fresh {
            let _ = self.outlets.happened.send(Happened::Event {
                event: Box::new(event.clone()),
            });
        }
        change.events = self.log.rows_to_write();
        change.kernel_cursor = self.log.cursor().map(|sequence| KernelCursor {
            boot: now.boot.clone(),
            sequence,
        });
        change.journal_cursor = self.reports.journal_cursor.take();
        if let Some(cursor) = &change.journal_cursor {
            self.journal_cursor = Some(cursor.clone());
        }
        let mut events: Vec<NodeEvent> = std::mem::take(&mut self.reports.earlier);
        events.extend(fresh.into_iter().map(|event| NodeEvent {
            boot: now.boot.clone(),
            event,
        }));
        let changes = std::mem::take(&mut self.reports.changes);
        if let Some(node) = node {
            let bodies = in_parts(self.verdict(), changes, events);
            let reports = bodies
                .into_iter()
                .map(|body| self.envelope(node, now, body));
            change.reports.extend(reports);
        }
    }

    fn write_memory(&mut self, now: &Moment, change: &mut Change) {
        let plan = &self.reports;
        let old = since(now, plan.last_memory).is_none_or(|age| age >= MEMORY);
        if !plan.memory_changed && !old {
            return;
        }
        change.tracker = serde_json::to_string(&self.tracker.state()).ok();
        self.reports.memory_changed = false;
        self.reports.last_memory = Some(now.since_boot);
    }

    fn report_full(&mut self, now: &Moment, node: &str, change: &mut Change) {
        let Some((snapshot, report)) = &self.latest else {
            return;
        };
        let complete = self.fragments.missing().is_empty()
            || now.since_boot.saturating_sub(self.began.since_boot) >= FIRST;
        let age = since(now, self.reports.last_full.as_ref().map(|(_, at)| *at));
        let gap = age.is_none_or(|age| age >= FULL_GAP);
        if !complete || !gap {
            return;
        }
        let findings = self.tracker.findings();
        let hash = fingerprint(snapshot, report, &findings);
        let known = self.reports.last_full.as_ref().map(|(hash, _)| hash);
        let old = age.is_none_or(|age| age >= self.rules.settings.inventory.full.value);
        if known == Some(&hash) && !old && !self.reports.full_asked {
            return;
        }
        let body = Body::Full {
            hash: hash.clone(),
            snapshot: Box::new(Snapshot {
                previous: None,
                ..Snapshot::clone(snapshot)
            }),
            check: Box::new(report.as_ref().clone()),
            findings,
        };
        change.reports.push(self.envelope(node, now, body));
        let last = LastFull {
            hash: hash.clone(),
            boot: now.boot.clone(),
            since_boot_seconds: now.since_boot.as_secs_f64(),
        };
        if let Ok(note) = serde_json::to_string(&last) {
            change.notes.insert(FULL_NOTE.to_owned(), note);
        }
        self.reports.full_asked = false;
        self.reports.last_full = Some((hash, now.since_boot));
    }

    fn report_heartbeat(&mut self, now: &Moment, node: &str, change: &mut Change) {
        let due = since(now, self.reports.last_report)
            .is_none_or(|age| age >= self.rules.settings.inventory.heartbeat.value);
        let (Some((hash, _)), Some((snapshot, _))) = (&self.reports.last_full, &self.latest) else {
            return;
        };
        if !due || !change.reports.is_empty() {
            return;
        }
        let body = Body::Heartbeat {
            hash: hash.clone(),
            verdict: self.verdict(),
            gpus: vitals(snapshot),
        };
        change.reports.push(self.envelope(node, now, body));
    }

    /// The last report of a service that ends in good order, with everything that is not written.
    pub fn farewell(&mut self, why: &str) {
        let now = self.now();
        self.report(&now);
        let mut change = Change {
            tracker: serde_json::to_string(&self.tracker.state()).ok(),
            ..Change::default()
        };
        if let Some(node) = self.node_id().filter(|_| self.is_configured()) {
            let body = Body::Stopping {
                why: why.to_owned(),
            };
            change.reports.push(self.envelope(&node, &now, body));
        }
        self.commit(change);
    }

    /// Writes down everything anew: what was kept is gone.
    pub(super) fn commit_everything(&mut self) {
        let now = self.now();
        let change = Change {
            tracker: serde_json::to_string(&self.tracker.state()).ok(),
            events: self.log.rows_to_write(),
            kernel_cursor: self.log.cursor().map(|sequence| KernelCursor {
                boot: now.boot,
                sequence,
            }),
            journal_cursor: self.journal_cursor.clone(),
            wanted: self.wanted.as_ref().and_then(super::controls::document),
            ..Change::default()
        };
        // The spool is gone as well: the inventory learns everything from a full report.
        self.reports.full_asked();
        self.commit(change);
    }
}

/// Bodies of a size that any inventory takes, the changes first.
fn in_parts(verdict: Verdict, changes: Vec<FindingChange>, events: Vec<NodeEvent>) -> Vec<Body> {
    let mut changes = changes.into_iter().peekable();
    let mut events = events.into_iter().peekable();
    let mut bodies = Vec::new();
    while changes.peek().is_some() || events.peek().is_some() {
        bodies.push(Body::Changes {
            verdict,
            changes: changes.by_ref().take(CHANGES).collect(),
            events: events.by_ref().take(EVENTS).collect(),
        });
    }
    bodies
}

/// Measurements for plots.
fn vitals(snapshot: &Snapshot) -> Vec<GpuVitals> {
    let celsius = |reading: &Reading<Celsius>| reading.get();
    let watts = |reading: &Reading<Watts>| reading.get();
    let mut vitals: Vec<GpuVitals> = snapshot
        .gpus
        .iter()
        .filter_map(|gpu| {
            Some(GpuVitals {
                index: gpu.index.get()?,
                temperature_celsius: celsius(&gpu.thermal.temperature_celsius),
                power_watts: watts(&gpu.thermal.power_watts),
            })
        })
        .collect();
    vitals.sort_by_key(|gpu| gpu.index);
    vitals
}

/// Events of one earlier boot.
pub fn of_boot(boot: &str, events: Vec<Event>) -> impl Iterator<Item = NodeEvent> {
    events.into_iter().map(move |event| NodeEvent {
        boot: boot.to_owned(),
        event,
    })
}
