//! Judging: what is known becomes a snapshot, the snapshot a judgement, the judgement findings with
//! memory.

use std::sync::Arc;
use std::time::Duration;

use cupel_hardware::collect::Source;
use cupel_health::track::{Moment, Settings as TrackSettings, Tracker, TrackerState};
use cupel_model::snapshot::{GpuEvent, Snapshot};
use cupel_model::units::Seconds;
use cupel_model::{Finding, Mode, Reading};

use super::Engine;
use crate::gather;
use crate::service::protocol::Happened;
use crate::service::sample::Sample;

/// Age of the sample that rates are made with: at least this, at most twice this.
const BASELINE: Duration = Duration::from_secs(60);

/// Most events of the driver that are kept.
const GPU_EVENTS: usize = 1024;

/// The memory of the findings, from what is on disk. What cannot be used is told and left.
pub fn tracker(kept: Option<&str>) -> Tracker {
    let settings = TrackSettings::default();
    let Some(text) = kept else {
        return Tracker::new(settings);
    };
    let restored = serde_json::from_slice::<TrackerState>(text.as_bytes())
        .map_err(|error| error.to_string())
        .and_then(|kept| {
            Tracker::restore(settings.clone(), kept).map_err(|error| error.to_string())
        });
    restored.unwrap_or_else(|why| {
        tracing::warn!("the memory of findings cannot be used, it begins anew: {why}");
        Tracker::new(settings)
    })
}

/// Adds what the driver told to what it told before, the newest kept.
pub fn join_gpu_events(kept: &mut Reading<Vec<GpuEvent>>, told: Reading<Vec<GpuEvent>>) {
    match (&mut *kept, told) {
        (Reading::Value(kept), Reading::Value(new)) => {
            for event in new {
                let known = kept.iter_mut().find(|known| {
                    (known.index, &known.kind, known.xid, &known.pci)
                        == (event.index, &event.kind, event.xid, &event.pci)
                });
                match known {
                    Some(known) => known.repeats = known.repeats.saturating_add(event.repeats),
                    None => kept.push(event),
                }
            }
            let surplus = kept.len().saturating_sub(GPU_EVENTS);
            kept.drain(..surplus);
        }
        // Nothing that was told is forgotten because the driver does not answer now.
        (Reading::Value(_), _) => {}
        (_, told) => *kept = told,
    }
}

impl Engine {
    /// The machine as it is known now, with its past.
    fn snapshot(&self, now: &Moment) -> Option<Snapshot> {
        let tenancy = self.rules.settings.tenancy.value;
        let mut snapshot = self.fragments.assemble(now.at, tenancy)?;
        // The uptime goes on after it was read.
        if let (Reading::Value(uptime), Some(read)) = (
            &mut snapshot.node.uptime_seconds,
            self.fragments.get(Source::Node),
        ) {
            let since = now.since_boot.saturating_sub(read.since_boot);
            if let Ok(sum) = Seconds::new(uptime.get() + since.as_secs_f64()) {
                *uptime = sum;
            }
        }
        snapshot.kernel_log = self.log.events().to_vec();
        snapshot.kernel_log_records = self.log.known_records();
        snapshot.gpu_events = self.gpu_events.clone();
        snapshot.remembered.clone_from(&self.remembered);
        Some(snapshot)
    }

    /// The sample that rates are made with, and its age.
    fn previous(&self, now: &Moment) -> Option<(Seconds, Sample)> {
        let (at, sample) = self.baselines.front()?;
        let elapsed = now.since_boot.saturating_sub(*at);
        (elapsed >= BASELINE / 2).then(|| (elapsed.into(), sample.clone()))
    }

    /// Keeps two samples: one that is old enough, and one that will be.
    fn keep_baseline(&mut self, now: &Moment, snapshot: &Snapshot) {
        let newest = self.baselines.back().map(|(at, _)| *at);
        if newest.is_some_and(|at| now.since_boot.saturating_sub(at) < BASELINE) {
            return;
        }
        let sample = Sample::new(Snapshot {
            kernel_log: Vec::new(),
            remembered: Vec::new(),
            previous: None,
            ..snapshot.clone()
        });
        self.baselines.push_back((now.since_boot, sample));
        while self.baselines.len() > 2 {
            self.baselines.pop_front();
        }
    }

    /// Judges what is known.
    pub(super) fn judge(&mut self, now: &Moment) {
        (self.dirty, self.urgent) = (false, false);
        self.last_judgement = Some(now.since_boot);
        let Some(mut snapshot) = self.snapshot(now) else {
            return;
        };
        let previous = self.previous(now);
        if self.fragments.missing().is_empty() {
            self.keep_baseline(now, &snapshot);
        }
        let platform = match self.rules.platform.of(&snapshot) {
            Ok(platform) => platform,
            Err(error) => {
                tracing::debug!("{error}; name one in the configuration");
                None
            }
        };
        let modes = &self.rules.modes;
        let tracker = &mut self.tracker;
        let mut judge = |snapshot: &Snapshot| {
            let report = cupel_health::evaluate(snapshot, platform, modes);
            let changes = tracker.update(&report, snapshot, now);
            (report, changes)
        };
        let (report, changes) = match &previous {
            Some((elapsed, sample)) => sample.within(&mut snapshot, *elapsed, judge),
            None => judge(&snapshot),
        };
        self.previous = previous;
        let tracked = self.tracker.report(&report, &self.rules.modes);
        self.judgements = self.judgements.saturating_add(1);
        self.remember(&snapshot);
        for change in &changes {
            tracing::info!(
                "{} {}: {}",
                change.tracked.finding.code,
                words(change.change),
                change.tracked.finding.summary
            );
            self.happened(Happened::Finding {
                change: Box::new(change.clone()),
            });
        }
        self.reports.changed(changes);
        self.see_findings();
        self.latest = Some((Arc::new(snapshot), Arc::new(tracked)));
    }

    /// Every finding that is not cleared, in the modes that hold now: one that waits for its clear
    /// rule was judged in those of its time.
    pub(super) fn see_findings(&mut self) {
        let mut findings = self.tracker.findings();
        for tracked in &mut findings {
            let check = cupel_health::registry::find(&tracked.finding.code);
            if check.is_some_and(|check| self.rules.modes.of(check) == Mode::Observe) {
                tracked.finding.mode = Mode::Observe;
            }
        }
        self.findings = findings.into();
        self.hash = None;
    }

    /// A person said that this is over: a part that is missing is not waited for any longer.
    pub(super) fn forget(&mut self, finding: &Finding) {
        let parts = cupel_health::forget(&self.remembered, finding);
        let known = self.latest.as_ref().map(|(snapshot, _)| &snapshot.node.id);
        let node = known.and_then(|id| id.value().cloned());
        let directory = &self.outlets.state_directory;
        if parts.len() < self.remembered.len() {
            // Unwritten, it comes back with the next start of the service.
            self.outlets.store.remember(directory, node, parts.clone());
            self.remembered = parts;
        }
    }

    /// Remembers parts that are in good order, so that a lost one keeps its slot and serial.
    fn remember(&mut self, snapshot: &Snapshot) {
        let parts = cupel_health::remember(snapshot);
        let node = snapshot.node.id.value().cloned();
        let directory = &self.outlets.state_directory;
        if gather::is_news(&parts, &self.remembered)
            && self.outlets.store.remember(directory, node, parts.clone())
        {
            self.remembered = parts;
        }
    }
}

fn words(change: cupel_model::wire::ChangeKind) -> &'static str {
    use cupel_model::wire::ChangeKind;
    match change {
        ChangeKind::Raised => "raised",
        ChangeKind::Confirmed => "confirmed",
        ChangeKind::Changed => "changed",
        ChangeKind::Cleared => "cleared",
    }
}
