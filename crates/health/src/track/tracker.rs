//! All findings of a node over time.

use std::collections::BTreeSet;
use std::time::Duration;

use cupel_model::wire::{FindingChange, Tracked};
use cupel_model::{CheckReport, Finding, Mode, Snapshot, Verdict};
use serde::{Deserialize, Serialize};

use super::identity;
use super::life::{Judgement, Life, Standing};
use super::matching::matching;
use super::moment::Moment;
use super::settings::Settings;
use crate::evaluate::worst_first;
use crate::modes::Modes;
use crate::registry;

/// Version of the state as it is stored.
const VERSION: u32 = 1;

/// The memory of a tracker, to be stored and restored. Its JSON is nobody else's business.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackerState {
    version: u32,
    last: Option<Moment>,
    now: Duration,
    lives: Vec<Life>,
    untracked: usize,
}

/// A state that cannot be gone on from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Another version of Cupel wrote it.
    #[error("state of findings has version {0}, this cupel knows {VERSION}")]
    Version(u32),
    /// Two findings have one id.
    #[error("state of findings has {0:?} twice")]
    Twice(String),
}

/// The findings of a node with their life over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tracker {
    settings: Settings,
    /// The newest moment that it was told of.
    last: Option<Moment>,
    /// Own time line: grows with the time between moments, over restarts and reboots.
    now: Duration,
    /// Open findings, and those of the last day.
    lives: Vec<Life>,
    untracked: usize,
}

impl Tracker {
    /// A tracker that knows nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// A tracker that goes on where another ended.
    ///
    /// # Errors
    /// [`StateError`] for a state that no tracker of this version has written.
    pub fn restore(settings: Settings, state: TrackerState) -> Result<Self, StateError> {
        let TrackerState {
            version,
            last,
            now,
            lives,
            untracked,
        } = state;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let mut ids = BTreeSet::new();
        for life in &lives {
            if !ids.insert(life.tracked.id.as_str()) {
                return Err(StateError::Twice(life.tracked.id.clone()));
            }
        }
        Ok(Self {
            settings,
            last,
            now,
            lives,
            untracked,
        })
    }

    /// What must be kept over a restart.
    pub fn state(&self) -> TrackerState {
        TrackerState {
            version: VERSION,
            last: self.last.clone(),
            now: self.now,
            lives: self.lives.clone(),
            untracked: self.untracked,
        }
    }

    /// Takes in one judgement and says what changed, in the order in which it happened.
    pub fn update(
        &mut self,
        report: &CheckReport,
        snapshot: &Snapshot,
        moment: &Moment,
    ) -> Vec<FindingChange> {
        self.advance(moment);
        let judgement = Judgement {
            moment,
            now: self.now,
            snapshot,
            settings: &self.settings,
        };
        let found = self.matches(&report.findings);
        let mut seen = vec![false; self.lives.len()];
        let mut open = self.lives.iter().filter(|life| life.is_open()).count();
        let mut ids: BTreeSet<String> = self.ids();
        let mut changes = Vec::new();
        self.untracked = 0;
        for (finding, found) in report.findings.iter().zip(found) {
            let life = found.and_then(|at| {
                if let Some(seen) = seen.get_mut(at) {
                    *seen = true;
                }
                self.lives.get_mut(at)
            });
            let known = life
                .as_ref()
                .is_some_and(|life| life.is_open() || life.is_dismissed(finding));
            if !known && open >= self.settings.most {
                self.untracked += 1;
                continue;
            }
            if let Some(life) = life {
                open += usize::from(!life.is_open());
                let told = life.observe(finding, &judgement);
                // What stays dismissed takes no place.
                open -= usize::from(!life.is_open());
                changes.extend(told);
            } else {
                open += 1;
                let id = unique(identity::id(finding), &mut ids);
                let (life, change) = Life::raise(id, finding, &judgement);
                self.lives.push(life);
                changes.push(change);
            }
        }
        let unseen = self.lives.iter_mut().zip(seen).filter(|(_, seen)| !seen);
        for (life, _) in unseen {
            let standing = standing(report, &life.tracked.finding.code);
            changes.extend(life.miss(standing, &judgement));
        }
        self.forget();
        changes
    }

    /// An operator clears a finding and says why; `None` when no such finding is open.
    ///
    /// What lasts is raised again by the next judgement. What only the kernel log of this boot tells
    /// of stays cleared until the log tells more of it.
    pub fn clear(&mut self, id: &str, because: &str, moment: &Moment) -> Option<FindingChange> {
        self.advance(moment);
        let mut open = self.lives.iter_mut().filter(|life| life.is_open());
        let life = open.find(|life| life.tracked.id == id)?;
        Some(life.dismiss(because, moment))
    }

    /// Every finding that is not cleared, worst first.
    pub fn findings(&self) -> Vec<Tracked> {
        let open = self.lives.iter().filter(|life| life.is_open());
        let mut all: Vec<Tracked> = open.map(|life| life.tracked.clone()).collect();
        all.sort_by(|a, b| worst_first(&a.finding, &b.finding).then_with(|| a.id.cmp(&b.id)));
        all
    }

    /// How many findings of the newest report were not tracked for lack of room.
    pub fn untracked(&self) -> usize {
        self.untracked
    }

    /// `report`, which the tracker was updated with, as a node that is watched tells it: with the
    /// findings that are tracked, those that wait for their clear rule among them, without those
    /// that an operator has cleared, and with the verdict that this makes.
    pub fn report(&self, report: &CheckReport, modes: &Modes) -> CheckReport {
        let found = self.matches(&report.findings);
        let mut findings: Vec<Finding> = Vec::new();
        for life in self.lives.iter().filter(|life| life.is_open()) {
            let mut finding = life.tracked.finding.clone();
            // What is not observed keeps the mode that it had; an operator's word is newer.
            let check = registry::find(&finding.code);
            if check.is_some_and(|check| modes.of(check) == Mode::Observe) {
                finding.mode = Mode::Observe;
            }
            findings.push(finding);
        }
        let told = report
            .findings
            .iter()
            .zip(found)
            .filter(|(finding, found)| {
                let life = found.and_then(|at| self.lives.get(at));
                !life.is_some_and(|life| life.is_open() || life.is_dismissed(finding))
            });
        findings.extend(told.map(|(finding, _)| finding.clone()));
        findings.sort_by(worst_first);
        let required_unknown = report.coverage.unknown.iter().any(|not_run| {
            registry::find(&not_run.check).is_none_or(|check| modes.of(check) == Mode::Enforce)
        });
        CheckReport {
            verdict: Verdict::of(&findings, required_unknown),
            findings,
            ..report.clone()
        }
    }

    fn matches(&self, findings: &[Finding]) -> Vec<Option<usize>> {
        matching(
            findings,
            self.lives.iter().map(|life| &life.tracked.finding),
        )
    }

    fn ids(&self) -> BTreeSet<String> {
        self.lives
            .iter()
            .map(|life| life.tracked.id.clone())
            .collect()
    }

    fn advance(&mut self, moment: &Moment) {
        let elapsed = self.last.as_ref().map(|last| moment.elapsed_since(last));
        self.now = self.now.saturating_add(elapsed.unwrap_or_default());
        let mut moment = moment.clone();
        // A moment from before the newest one measures nothing twice.
        if let Some(last) = self.last.take().filter(|last| last.boot == moment.boot) {
            moment.since_boot = moment.since_boot.max(last.since_boot);
        }
        self.last = Some(moment);
    }

    /// Lets go of what came and went more than a day ago, and of the oldest where there is too much.
    fn forget(&mut self) {
        for life in &mut self.lives {
            life.count(self.now);
        }
        self.lives.retain(|life| !life.is_forgotten());
        let mut past: Vec<Duration> = self
            .lives
            .iter()
            .filter(|life| !life.is_open())
            .map(Life::last_arrival)
            .collect();
        let mut surplus = past.len().saturating_sub(self.settings.most);
        if surplus > 0 {
            past.sort_unstable();
            let newest = past.get(surplus - 1).copied().unwrap_or_default();
            self.lives.retain(|life| {
                let goes = surplus > 0 && !life.is_open() && life.last_arrival() <= newest;
                surplus -= usize::from(goes);
                !goes
            });
        }
    }
}

/// What the check of a finding came to that this report does not show.
fn standing(report: &CheckReport, code: &str) -> Standing {
    let coverage = &report.coverage;
    if coverage.unknown.iter().any(|not_run| not_run.check == code) {
        Standing::Unknown
    } else if coverage.skipped.iter().any(|not_run| not_run.check == code) {
        Standing::Skipped
    } else if coverage.ran.iter().any(|ran| ran == code) || registry::find(code).is_none() {
        // A check that this version no longer has tells of nothing any more.
        Standing::Ran
    } else {
        Standing::Unknown
    }
}

/// `id`, or the first of `id/2`, `id/3`, … that no other finding has.
fn unique(id: String, taken: &mut BTreeSet<String>) -> String {
    let mut own = id.clone();
    let mut number = 2_usize;
    while !taken.insert(own.clone()) {
        own = format!("{id}/{number}");
        number += 1;
    }
    own
}
