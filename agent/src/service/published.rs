//! What the engine lets others see: the latest state, replaced as a whole.
//!
//! # Invariants
//! - Ages are those of the moment at which somebody asks, so that an engine that hangs is seen to.

use std::sync::Arc;
use std::time::Duration;

use cupel_hardware::clock;
use cupel_model::units::Seconds;
use cupel_model::wire::Tracked;
use cupel_model::{CheckReport, Event, Snapshot, Timestamp};

use super::protocol::Happened;
use super::sample::Sample;
use crate::metrics::{Own, View};
use crate::status::Status;

/// Something that happened, with its number in the life of the service.
pub type Numbered = (u64, Happened);

/// The latest state of the service.
#[derive(Clone, Debug)]
pub struct Published {
    /// When it was put together, as time since boot.
    pub at: Duration,
    /// The machine, without the sample before; `None` until it was read.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The sample before, and how much earlier it was taken.
    pub previous: Option<(Seconds, Sample)>,
    /// Its judgement, with the findings that wait for their clear rule.
    pub report: Option<Arc<CheckReport>>,
    /// Every finding that is not cleared, worst first.
    pub findings: Arc<[Tracked]>,
    /// What the service says of itself, with ages as of `at`.
    pub own: Own,
    /// The document that `cupel status` shows, with ages as of `at`.
    pub status: Status,
    /// What whoever follows has been told.
    pub told: Told,
}

/// What whoever follows from the beginning has been told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Events of the kernel log of this boot, folded.
    pub events: Arc<[Event]>,
    /// Number of the last thing that happened among them.
    pub last: u64,
}

impl Published {
    /// What metrics are made from. `own` is this one's, perhaps with what was read just now.
    pub fn view<'a>(&'a self, own: &'a Own) -> View<'a> {
        View {
            snapshot: self.snapshot.as_deref(),
            report: self.report.as_deref(),
            tracked: &self.findings,
            own,
        }
    }

    /// The document that `cupel status` shows.
    pub fn status(&self) -> Status {
        self.status_at(clock::now(), clock::since_boot())
    }

    pub(super) fn status_at(&self, now: Timestamp, since_boot: Duration) -> Status {
        let passed = since_boot.saturating_sub(self.at);
        let mut status = Status {
            said_at: now,
            ..self.status.clone()
        };
        status.uptime_seconds = later(status.uptime_seconds, passed);
        for source in &mut status.sources {
            source.age_seconds = source.age_seconds.map(|age| later(age, passed));
        }
        status
    }

    /// What the service says of itself.
    pub fn own(&self) -> Own {
        let passed = clock::since_boot().saturating_sub(self.at);
        let mut own = self.own.clone();
        for source in &mut own.sources {
            source.age_seconds = source.age_seconds.map(|age| later(age, passed));
        }
        own
    }

    /// The machine with the sample before: what gives the same judgement elsewhere.
    pub fn whole_snapshot(&self) -> Option<Snapshot> {
        let mut snapshot = Snapshot::clone(self.snapshot.as_deref()?);
        let previous = self.previous.as_ref();
        snapshot.previous = previous.and_then(|(elapsed, sample)| sample.copy(*elapsed));
        Some(snapshot)
    }

    /// Events of the kernel log of this boot.
    pub fn events(&self) -> &[Event] {
        self.snapshot
            .as_ref()
            .map_or(&[], |snapshot| &snapshot.kernel_log)
    }
}

fn later(age: Seconds, passed: Duration) -> Seconds {
    Seconds::new(age.get() + passed.as_secs_f64()).unwrap_or(age)
}
