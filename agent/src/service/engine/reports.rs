//! Which reports are made, and when; and what is written down with them.
//!
//! # Invariants
//! - Findings that changed are reported at once, with the events that came until then. Events alone
//!   are reported once in a while: a storm makes a few reports with large counts.
//! - The events of a report, the cursor behind them and their rows on disk are one change.
//! - Without an inventory no report is made, and everything else is the same.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cupel_hardware::journal::Followed;
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

/// Most reports that wait for the disk to have room for them.
const HELD_REPORTS: usize = 256;

/// Name of the note about the last full report.
const FULL_NOTE: &str = "last-full";

/// Name of the note about how far the kernel log of each boot was followed.
const FOLLOWED_NOTE: &str = "followed";

/// Earlier boots of which that is kept: as many as the journal is asked for.
const FOLLOWED_BOOTS: usize = 3;

/// How far the kernel log of a boot was followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FollowedBoot {
    boot: String,
    microseconds: u64,
}

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
    /// Of earlier boots.
    followed: Vec<FollowedBoot>,
    bringups: Vec<BringupSummary>,
    /// The file that one of them is in until its report is on disk.
    pub(super) bringup_file: Option<PathBuf>,
    last_full: Option<(String, Duration)>,
    full_asked: bool,
    last_report: Option<Duration>,
    last_events: Option<Duration>,
    events_gap: Duration,
    last_memory: Option<Duration>,
    memory_changed: bool,
    /// What was kept is gone: everything is written again.
    anew: bool,
    /// When the next report is due, or something is to be written, in time since boot.
    due: Option<Duration>,
}

impl Plan {
    /// With what is on disk about the last full report of this boot.
    pub fn restore(notes: &BTreeMap<String, String>, boot: &str, now: Duration) -> Self {
        let last: Option<LastFull> = notes
            .get(FULL_NOTE)
            .and_then(|text| serde_json::from_slice(text.as_bytes()).ok());
        let last_full = last.filter(|last| last.boot == boot).and_then(|last| {
            let at = Duration::try_from_secs_f64(last.since_boot_seconds).ok()?;
            Some((last.hash, at.min(now)))
        });
        let mut followed: Vec<FollowedBoot> = notes
            .get(FOLLOWED_NOTE)
            .and_then(|text| serde_json::from_slice(text.as_bytes()).ok())
            .unwrap_or_default();
        followed.retain(|followed| followed.boot != boot);
        followed.drain(..followed.len().saturating_sub(FOLLOWED_BOOTS));
        Self {
            last_full,
            followed,
            events_gap: EVENTS_GAP,
            ..Self::default()
        }
    }

    /// What was followed of earlier boots while they lasted: their journals need not tell it.
    pub fn followed(&self) -> Vec<Followed> {
        let followed = self.followed.iter().map(|followed| Followed {
            boot: followed.boot.clone(),
            to: Duration::from_micros(followed.microseconds),
        });
        followed.collect()
    }

    /// Findings changed.
    pub fn changed(&mut self, changes: Vec<FindingChange>) {
        self.memory_changed |= !changes.is_empty();
        self.changes.extend(changes);
    }

    /// What was kept is gone, the spool with it: everything is written again, and the inventory
    /// learns it from a full report.
    pub fn begin_anew(&mut self) {
        (self.anew, self.full_asked) = (true, true);
    }

    /// What stands beside the body of every report is another now: the next is due.
    pub fn soon(&mut self) {
        self.last_report = None;
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

    /// When something is due, in time since boot; `None` before the first judgement.
    pub fn due(&self) -> Option<Duration> {
        self.due
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
    // What a later report makes needless is left out, and there is an end to it: a disk that hangs
    // for days must not fill the memory.
    let full = later.reports.iter().any(is_full);
    let any = !later.reports.is_empty();
    earlier
        .reports
        .retain(|report| !(full && is_full(report) || any && is_heartbeat(report)));
    earlier.reports.extend(later.reports);
    let surplus = earlier.reports.len().saturating_sub(HELD_REPORTS);
    if surplus > 0 {
        tracing::warn!("{surplus} reports are dropped: the disk takes nothing");
        earlier.reports.drain(..surplus);
    }
    earlier
}

fn is_full(report: &Report) -> bool {
    matches!(report.body, Body::Full { .. })
}

fn is_heartbeat(report: &Report) -> bool {
    matches!(report.body, Body::Heartbeat { .. })
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
        let bringup = self.report_bringups(now, node.as_deref(), &mut change);
        if let Some(node) = &node {
            self.report_full(now, node, &mut change);
            self.report_heartbeat(now, node, &mut change);
        }
        if change != Change::default() {
            if !change.reports.is_empty() {
                self.reports.last_report = Some(now.since_boot);
            }
            self.commit(change);
        }
        if let Some(file) = bringup
            && self.held.is_none()
        {
            self.outlets.store.forget(&file);
        }
        self.reports.due = Some(self.next_due(now));
    }

    /// Bring-ups that ended; the file that one of them was in.
    fn report_bringups(
        &mut self,
        now: &Moment,
        node: Option<&str>,
        change: &mut Change,
    ) -> Option<PathBuf> {
        let node = node?;
        for summary in std::mem::take(&mut self.reports.bringups) {
            let body = Body::Bringup { summary };
            change.reports.push(self.envelope(node, now, body));
        }
        self.reports.bringup_file.take()
    }

    /// Whether every source was read, or has had its time.
    fn is_complete(&self, now: &Moment) -> bool {
        self.fragments.missing().is_empty()
            || now.since_boot.saturating_sub(self.began.since_boot) >= FIRST
    }

    /// When the next report is due, or something is to be written.
    fn next_due(&self, now: &Moment) -> Duration {
        let plan = &self.reports;
        let after =
            |last: Option<Duration>, gap: Duration| last.unwrap_or_default().saturating_add(gap);
        let mut due = after(plan.last_memory, MEMORY);
        if self.has_events() {
            due = due.min(after(plan.last_events, plan.events_gap));
        }
        if !self.is_configured() || self.node_id().is_none() {
            return due;
        }
        let inventory = &self.rules.settings.inventory;
        if !self.is_complete(now) {
            due = due.min(self.began.since_boot.saturating_add(FIRST));
        } else if let Some((hash, at)) = &plan.last_full {
            let news = plan.full_asked || self.hash.as_ref().is_some_and(|new| new != hash);
            let gap = if news { FULL_GAP } else { inventory.full.value };
            due = due.min(after(Some(*at), gap));
        }
        if plan.last_full.is_some() {
            due = due.min(after(plan.last_report, inventory.heartbeat.value));
        }
        due
    }

    /// Whether events wait that stand in no report yet, and in a judgement.
    fn has_events(&self) -> bool {
        !self.dirty && (self.log.has_fresh() || !self.reports.earlier.is_empty())
    }

    /// Findings that changed and events that came.
    fn report_changes(&mut self, now: &Moment, node: Option<&str>, change: &mut Change) {
        let plan = &self.reports;
        let gap = since(now, plan.last_events);
        let events_due = self.has_events() && gap.is_none_or(|gap| gap >= plan.events_gap);
        if plan.changes.is_empty() && !events_due && !plan.anew {
            return;
        }
        let fresh = self.log.take_fresh();
        if !fresh.is_empty() {
            // Still coming after the shorter time: a storm.
            let storm = gap.is_some_and(|gap| gap < STORM_GAP + EVENTS_GAP);
            self.reports.events_gap = if storm { STORM_GAP } else { EVENTS_GAP };
            self.reports.last_events = Some(now.since_boot);
            self.told.events = self.log.events().into();
        }
        for event in &fresh {
            self.happened(Happened::Event {
                event: Box::new(event.clone()),
            });
        }
        change.events = self.log.rows_to_write();
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
        self.write_cursor(now, change);
    }

    /// How far the log was read, unless there are events that are not written.
    fn write_cursor(&mut self, now: &Moment, change: &mut Change) {
        if let Some(sequence) = self.log.cursor_to_write() {
            change.kernel_cursor = Some(KernelCursor {
                boot: now.boot.clone(),
                sequence,
            });
            self.write_followed(now, change);
        }
    }

    /// How far this boot was followed, for whoever reads its journal in a later one.
    fn write_followed(&self, now: &Moment, change: &mut Change) {
        let Some(to) = self.log.followed_to() else {
            return;
        };
        let mut all = self.reports.followed.clone();
        all.push(FollowedBoot {
            boot: now.boot.clone(),
            microseconds: u64::try_from(to.as_micros()).unwrap_or(u64::MAX),
        });
        if let Ok(note) = serde_json::to_string(&all) {
            change.notes.insert(FOLLOWED_NOTE.to_owned(), note);
        }
    }

    fn write_memory(&mut self, now: &Moment, change: &mut Change) {
        let old = since(now, self.reports.last_memory).is_none_or(|age| age >= MEMORY);
        if old || self.log.has_urgent_cursor() {
            self.write_cursor(now, change);
        }
        if !self.reports.memory_changed && !old && !self.reports.anew {
            return;
        }
        change.tracker = serde_json::to_string(&self.tracker.state()).ok();
        if std::mem::take(&mut self.reports.anew) {
            change.journal_cursor.clone_from(&self.journal_cursor);
            change.wanted = self.wanted.as_ref().and_then(super::controls::document);
        }
        // Nothing of the journal waits to be reported: how far it was read can be kept.
        if self.reports.earlier.is_empty()
            && let Some(cursor) = self.reports.journal_cursor.take()
        {
            self.journal_cursor = Some(cursor.clone());
            change.journal_cursor = Some(cursor);
        }
        self.reports.memory_changed = false;
        self.reports.last_memory = Some(now.since_boot);
    }

    fn report_full(&mut self, now: &Moment, node: &str, change: &mut Change) {
        let Some((snapshot, report)) = &self.latest else {
            return;
        };
        let age = since(now, self.reports.last_full.as_ref().map(|(_, at)| *at));
        let gap = age.is_none_or(|age| age >= FULL_GAP);
        if !self.is_complete(now) || !gap {
            return;
        }
        let hash = self
            .hash
            .get_or_insert_with(|| fingerprint(snapshot, report, &self.findings))
            .clone();
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
            findings: self.findings.to_vec(),
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
        // What came since the last judgement and report waits no longer.
        self.dirty = false;
        self.reports.last_events = None;
        self.report(&now);
        let mut change = Change {
            tracker: serde_json::to_string(&self.tracker.state()).ok(),
            ..Change::default()
        };
        if self.latest.is_some() {
            self.write_cursor(&now, &mut change);
        }
        if let Some(node) = self.node_id().filter(|_| self.is_configured()) {
            let body = Body::Stopping {
                why: why.to_owned(),
            };
            change.reports.push(self.envelope(&node, &now, body));
        }
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
