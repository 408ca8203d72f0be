//! One finding from its first observation to its end, and what is remembered of it for a day.
//!
//! # Invariants
//! - `since` is set when it is raised and never changes; no two occurrences of one id share it, and
//!   `last_seen` is never before it, whatever the wall clock does.
//! - Spans are measured on the tracker's own time line, which only grows.

use std::time::Duration;

use cupel_model::wire::{ChangeKind, FindingChange, Tracked};
use cupel_model::{Confidence, Finding, Snapshot, Timestamp};
use serde::{Deserialize, Serialize};

use super::absence::{self, Facts, span};
use super::identity::{merged, wording};
use super::moment::Moment;
use super::parts::{self, Mark};
use super::settings::Settings;
use crate::registry::{self, Basis};

/// Flaps are counted over this.
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// So many arrivals of one finding are remembered; more count as this many.
const ARRIVALS: usize = 64;

/// What the check of a finding came to in a judgement that does not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Judged: it is not there.
    Ran,
    /// It does not apply now.
    Skipped,
    /// It could not be told, for this part or another.
    Unknown,
}

/// One judgement, with the place in time where it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judgement<'a> {
    pub moment: &'a Moment,
    /// On the tracker's time line.
    pub now: Duration,
    pub snapshot: &'a Snapshot,
    pub settings: &'a Settings,
}

impl Judgement<'_> {
    fn window(&self, code: &str) -> Duration {
        let window = registry::find(code).map_or(Duration::ZERO, |check| check.window.length);
        window.min(self.settings.longest_window)
    }
}

/// Where a finding is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Phase {
    /// Raised and not cleared.
    Open,
    /// Cleared; kept for a day, so that coming back is known as such.
    Cleared,
    /// Cleared by an operator while the kernel log of this boot still tells of it.
    Dismissed,
}

/// Judgements in a row that did not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Absence {
    /// The first of them.
    since: Duration,
    judgements: u32,
}

/// One finding over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Life {
    pub tracked: Tracked,
    phase: Phase,
    /// When this occurrence was raised.
    raised: Duration,
    /// Since when it has been observed without a judgement that did not show it.
    streak: Duration,
    absence: Option<Absence>,
    /// When it was raised or came back, oldest first.
    arrivals: Vec<Duration>,
    /// `since` of its occurrences, oldest first.
    occurrences: Vec<Timestamp>,
    cleared_at: Option<Timestamp>,
    /// Counters of its GPU when it was last looked at.
    mark: Mark,
    /// They went backwards since it was last observed.
    reset: bool,
    /// Where its part sits, as the snapshot calls it.
    place: Option<String>,
}

impl Life {
    /// A finding that is observed for the first time.
    pub fn raise(
        id: String,
        finding: &Finding,
        judgement: &Judgement<'_>,
    ) -> (Self, FindingChange) {
        let tracked = Tracked {
            id,
            finding: finding.clone(),
            last_seen: judgement.moment.at,
            boot: judgement.moment.boot.clone(),
            observed: true,
            flaps: 0,
            waits_for: None,
        };
        let mut life = Self {
            tracked,
            phase: Phase::Cleared,
            raised: judgement.now,
            streak: judgement.now,
            absence: None,
            arrivals: Vec::new(),
            occurrences: Vec::new(),
            cleared_at: None,
            mark: Mark::default(),
            reset: false,
            place: None,
        };
        let change = life.begin(finding, judgement);
        (life, change)
    }

    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether an operator has cleared just what `finding` says.
    pub fn is_dismissed(&self, finding: &Finding) -> bool {
        let known = &self.tracked.finding;
        self.phase == Phase::Dismissed
            && known.severity == finding.severity
            && known.evidence == finding.evidence
    }

    /// A new occurrence.
    fn begin(&mut self, finding: &Finding, judgement: &Judgement<'_>) -> FindingChange {
        let at = judgement.moment.at;
        // The source's own time, unless it lies before the end of the last occurrence.
        let own = finding
            .since
            .filter(|own| *own <= at && self.cleared_at.is_none_or(|cleared| *own > cleared));
        let mut since = own.unwrap_or(at);
        while self.occurrences.contains(&since) {
            since =
                Timestamp::from_microseconds(since.microseconds() + 1).unwrap_or(Timestamp::EPOCH);
        }
        remember(&mut self.occurrences, since);
        self.phase = Phase::Open;
        self.raised = judgement.now;
        self.streak = judgement.now;
        self.arrive(judgement.now);
        self.tracked.finding = Finding {
            since: Some(since),
            confidence: Confidence::Provisional,
            ..finding.clone()
        };
        self.see(judgement);
        let window = judgement.window(&finding.code);
        if finding.confidence == Confidence::Confirmed
            && (window.is_zero() || self.flaps(judgement))
        {
            self.tracked.finding.confidence = Confidence::Confirmed;
        }
        let why = match self.tracked.flaps {
            0 => "observed".to_owned(),
            1 => "observed again, for the second time within 24 hours".to_owned(),
            more => format!("observed again; it came back {more} times within 24 hours"),
        };
        self.change(judgement.moment, ChangeKind::Raised, why)
    }

    /// It is observed: `finding` is what is said of it now.
    pub fn observe(&mut self, finding: &Finding, judgement: &Judgement<'_>) -> Vec<FindingChange> {
        if !self.is_open() {
            if self.is_dismissed(finding) {
                return Vec::new();
            }
            return vec![self.begin(finding, judgement)];
        }
        let returned = self.absence.is_some_and(|absence| absence.judgements > 0);
        if returned {
            self.arrive(judgement.now);
        }
        if returned || self.tracked.boot != judgement.moment.boot {
            self.streak = judgement.now;
        }
        let known = &self.tracked.finding;
        let now = Finding {
            since: known.since,
            confidence: known.confidence,
            component: merged(&known.component, &finding.component),
            ..finding.clone()
        };
        let differences = differences(known, &now);
        self.tracked.finding = now;
        self.see(judgement);
        let mut changes = Vec::new();
        if !differences.is_empty() {
            let why = differences.join("; ");
            changes.push((ChangeKind::Changed, why));
        }
        if let Some(why) = self.confirmed(finding, judgement) {
            self.tracked.finding.confidence = Confidence::Confirmed;
            changes.push((ChangeKind::Confirmed, why));
        }
        changes
            .into_iter()
            .map(|(kind, why)| self.change(judgement.moment, kind, why))
            .collect()
    }

    /// Why it counts as confirmed from now on, where it does.
    fn confirmed(&self, finding: &Finding, judgement: &Judgement<'_>) -> Option<String> {
        let told = self.tracked.finding.confidence == Confidence::Confirmed;
        // What the check itself calls provisional does not become certain by waiting.
        if told || finding.confidence == Confidence::Provisional {
            return None;
        }
        let window = judgement.window(&finding.code);
        if judgement.now.saturating_sub(self.streak) >= window {
            Some(match window {
                Duration::ZERO => "the check is certain of it now".to_owned(),
                window => format!("observed for {}", span(window)),
            })
        } else if self.flaps(judgement) {
            Some(format!(
                "it came back {} times within 24 hours",
                self.tracked.flaps
            ))
        } else {
            None
        }
    }

    /// A judgement does not show it.
    pub fn miss(&mut self, standing: Standing, judgement: &Judgement<'_>) -> Option<FindingChange> {
        let component = &self.tracked.finding.component;
        self.reset |= parts::was_reset(&mut self.mark, judgement.snapshot, component);
        if self.phase == Phase::Dismissed && standing == Standing::Ran {
            self.phase = Phase::Cleared;
        }
        if !self.is_open() {
            return None;
        }
        self.tracked.observed = false;
        let waits_for = match standing {
            Standing::Unknown => "the check could not be determined",
            Standing::Skipped => "the check did not apply",
            Standing::Ran => {
                return match absence::outcome(&self.absent(judgement)) {
                    Ok(why) => Some(self.end(Phase::Cleared, judgement.moment, why)),
                    Err(waits_for) => {
                        self.tracked.waits_for = Some(waits_for);
                        None
                    }
                };
            }
        };
        // What it was meanwhile is not known: its absence must be shown anew.
        if let Some(absence) = &mut self.absence {
            absence.judgements = 0;
        }
        self.tracked.waits_for = Some(waits_for.to_owned());
        None
    }

    /// Counts one more judgement without it, and gathers what decides.
    fn absent<'a>(&'a mut self, judgement: &Judgement<'a>) -> Facts<'a> {
        let absence = match self.absence {
            Some(absence) if absence.judgements > 0 => Absence {
                judgements: absence.judgements.saturating_add(1),
                ..absence
            },
            Some(_) | None => Absence {
                since: judgement.now,
                judgements: 1,
            },
        };
        self.absence = Some(absence);
        let flapping = self.flaps(judgement);
        let finding = &self.tracked.finding;
        let window = judgement.window(&finding.code);
        let hold = if flapping {
            judgement
                .settings
                .flapping_hold
                .max(judgement.settings.hold)
        } else {
            judgement.settings.hold
        };
        let component = &finding.component;
        Facts {
            clears: finding.clears,
            severity: finding.severity,
            rebooted: self.tracked.boot != judgement.moment.boot,
            reset: self.reset,
            listed: parts::lists(judgement.snapshot, component),
            successor: parts::successor(judgement.snapshot, component, self.place.as_deref()),
            place: self
                .place
                .as_deref()
                .map(|place| component.slot.as_deref().unwrap_or(place)),
            gone_for: judgement.now.saturating_sub(absence.since),
            judgements: absence.judgements,
            hold: hold.max(window),
            flapping,
        }
    }

    /// An operator clears it.
    pub fn dismiss(&mut self, because: &str, moment: &Moment) -> FindingChange {
        let by_log = registry::find(&self.tracked.finding.code)
            .is_some_and(|check| check.basis == Basis::Log);
        // The log tells of it until the next boot; what is so now is raised again if it lasts.
        let phase = if by_log && self.tracked.observed {
            Phase::Dismissed
        } else {
            Phase::Cleared
        };
        self.end(phase, moment, because.to_owned())
    }

    fn end(&mut self, phase: Phase, moment: &Moment, why: String) -> FindingChange {
        self.phase = phase;
        self.absence = None;
        self.cleared_at = Some(moment.at);
        self.tracked.waits_for = None;
        self.change(moment, ChangeKind::Cleared, why)
    }

    fn change(&self, moment: &Moment, change: ChangeKind, why: String) -> FindingChange {
        FindingChange {
            at: moment.at,
            change,
            why,
            tracked: self.tracked.clone(),
        }
    }

    /// It is there now.
    fn see(&mut self, judgement: &Judgement<'_>) {
        let component = &self.tracked.finding.component;
        parts::was_reset(&mut self.mark, judgement.snapshot, component);
        self.reset = false;
        if let Some(place) = parts::place(judgement.snapshot, component) {
            self.place = Some(place);
        }
        self.absence = None;
        self.tracked.observed = true;
        self.tracked.waits_for = None;
        self.tracked.boot.clone_from(&judgement.moment.boot);
        let at = judgement.moment.at;
        self.tracked.last_seen = self.tracked.finding.since.map_or(at, |since| at.max(since));
        self.count(judgement.now);
    }

    fn arrive(&mut self, now: Duration) {
        remember(&mut self.arrivals, now);
    }

    /// Counts how often it came back within a day, this occurrence's own beginning left out.
    pub fn count(&mut self, now: Duration) {
        let recent = |then: &Duration| now.saturating_sub(*then) < DAY;
        self.arrivals.retain(recent);
        let own = usize::from(self.is_open() && recent(&self.raised));
        let flaps = self.arrivals.len().saturating_sub(own);
        self.tracked.flaps = u32::try_from(flaps).unwrap_or(u32::MAX);
    }

    fn flaps(&self, judgement: &Judgement<'_>) -> bool {
        self.tracked.flaps >= judgement.settings.flapping
    }

    /// Whether anything of it is still worth keeping.
    pub fn is_forgotten(&self) -> bool {
        self.phase == Phase::Cleared && self.arrivals.is_empty()
    }

    /// When it last arrived, for what is kept longest.
    pub fn last_arrival(&self) -> Duration {
        self.arrivals.last().copied().unwrap_or(self.raised)
    }
}

/// Adds one, and lets the oldest go where there are too many.
fn remember<T>(list: &mut Vec<T>, one: T) {
    if list.len() >= ARRIVALS {
        list.remove(0);
    }
    list.push(one);
}

/// What differs so that someone must hear of it: not what was measured.
fn differences(old: &Finding, new: &Finding) -> Vec<String> {
    let mut all = Vec::new();
    let mut word = |what: &str, old: String, new: String| {
        if old != new {
            all.push(format!("{what} was {old} and is {new}"));
        }
    };
    word("severity", name(&old.severity), name(&new.severity));
    word("impact", name(&old.impact), name(&new.impact));
    word("urgency", name(&old.urgency), name(&new.urgency));
    word("scope", name(&old.scope), name(&new.scope));
    word("mode", name(&old.mode), name(&new.mode));
    word("clear rule", name(&old.clears), name(&new.clears));
    if old.component != new.component {
        all.push("its part is known otherwise".to_owned());
    }
    // The log tells of codes: another number is another event there.
    let by_log = registry::find(&new.code).is_some_and(|check| check.basis == Basis::Log);
    let names = |finding: &Finding| -> Vec<String> {
        finding
            .evidence
            .iter()
            .map(|one| one.name.clone())
            .collect()
    };
    if wording(&old.summary) != wording(&new.summary) || (by_log && names(old) != names(new)) {
        all.push("what it says is another".to_owned());
    }
    all
}

/// A word of the contract, as it is written in JSON.
fn name(word: &impl Serialize) -> String {
    match serde_json::to_value(word) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}
