//! Which reports are kept when not all can be.
//!
//! # Invariants
//! - Dropped in this order: heartbeats beyond the number that is of use, then, while there are too
//!   many bytes, the oldest heartbeats, the oldest fulls but the newest, the oldest changes, and
//!   the newest full only when it does not fit by itself.
//! - The report that is being sent is not dropped: its answer would come too late to be counted.
//! - A dropped report gives back the count that it was to tell, so that the sum of `dropped` over
//!   all reports that arrive is the number of those that never will.

use cupel_model::Timestamp;
use cupel_model::wire::{Body, Dropped};

/// How much a report is worth when space is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Dropped first.
    Heartbeat,
    /// Everything; a newer one makes it old.
    Full,
    /// Changes, bring-ups and farewells: what is told only once.
    Changes,
}

impl Class {
    /// All of them, the one that is dropped first before the others.
    pub const ALL: [Self; 3] = [Self::Heartbeat, Self::Full, Self::Changes];

    /// Of a report's body.
    pub fn of(body: &Body) -> Self {
        match body {
            Body::Heartbeat { .. } => Self::Heartbeat,
            Body::Full { .. } => Self::Full,
            Body::Changes { .. } | Body::Bringup { .. } | Body::Stopping { .. } => Self::Changes,
        }
    }

    /// Its name, as it stands in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::Full => "full",
            Self::Changes => "changes",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// One report of this class, as a count of what was dropped.
    pub(super) fn one(self) -> Dropped {
        let mut dropped = Dropped::default();
        match self {
            Self::Heartbeat => dropped.heartbeats = 1,
            Self::Full => dropped.fulls = 1,
            Self::Changes => dropped.changes = 1,
        }
        dropped
    }
}

/// The sum of two counts.
pub(super) fn sum(a: Dropped, b: Dropped) -> Dropped {
    Dropped {
        heartbeats: a.heartbeats.saturating_add(b.heartbeats),
        fulls: a.fulls.saturating_add(b.fulls),
        changes: a.changes.saturating_add(b.changes),
    }
}

/// A report that waits to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spooled {
    /// Stable id of the node in it.
    pub node: String,
    /// Boot id in it; perhaps an earlier one.
    pub boot: String,
    /// Sequence in it.
    pub sequence: u64,
    /// Its class.
    pub class: Class,
    /// JSON compressed with zstd: the request's body.
    pub bytes: Vec<u8>,
}

/// Name of a report on this node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub boot: String,
    pub sequence: u64,
}

/// A report with the count that it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parcel {
    pub report: Spooled,
    /// By the node's clock.
    pub made_at: Timestamp,
    pub carries: Dropped,
}

impl Parcel {
    pub fn is(&self, name: &Name) -> bool {
        self.report.sequence == name.sequence && self.report.boot == name.boot
    }
}

/// A report that the inventory refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedReport {
    /// Boot id in it.
    pub boot: String,
    /// Sequence in it.
    pub sequence: u64,
    /// Its class.
    pub class: Class,
    /// Its size.
    pub bytes: u64,
    /// When the answer came, by the node's clock.
    pub at: Timestamp,
    /// The inventory's reason.
    pub why: String,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of reports on disk.
    pub disk_bytes: u64,
    /// Bytes of reports in memory while the disk takes none.
    pub memory_bytes: u64,
    /// Heartbeats; more than an hour of them tells nothing that a full report does not.
    pub heartbeats: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            disk_bytes: 64 << 20,
            memory_bytes: 4 << 20,
            heartbeats: 60,
        }
    }
}

/// A number of reports and their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub count: u64,
    pub bytes: u64,
}

/// What waits, by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals([Amount; 3]);

impl Totals {
    fn index(class: Class) -> usize {
        match class {
            Class::Heartbeat => 0,
            Class::Full => 1,
            Class::Changes => 2,
        }
    }

    pub fn of(&self, class: Class) -> Amount {
        self.0[Self::index(class)]
    }

    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|amount| amount.bytes).sum()
    }

    pub fn add(&mut self, class: Class, bytes: u64) {
        let amount = &mut self.0[Self::index(class)];
        amount.count += 1;
        amount.bytes += bytes;
    }

    pub fn remove(&mut self, class: Class, bytes: u64) {
        let amount = &mut self.0[Self::index(class)];
        amount.count = amount.count.saturating_sub(1);
        amount.bytes = amount.bytes.saturating_sub(bytes);
    }
}

/// A report that could be dropped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Where it lies on its shelf; grows with age's opposite: an older one has a smaller place.
    pub place: i64,
    pub bytes: u64,
    pub carries: Dropped,
}

/// Where reports lie: the file, or memory.
pub(super) trait Shelf {
    type Error;
    fn totals(&self) -> Totals;
    /// The oldest of a class, the one in hand and the one at `not_at` left out.
    fn oldest(&self, class: Class, not_at: Option<i64>) -> Result<Option<Candidate>, Self::Error>;
    /// Where the newest full lies.
    fn newest_full(&self) -> Result<Option<i64>, Self::Error>;
    fn remove(&mut self, class: Class, candidate: Candidate) -> Result<(), Self::Error>;
}

/// What a clearing came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cleared {
    /// What is to be told now: the dropped reports and what those were to tell.
    pub to_tell: Dropped,
    /// The dropped reports alone.
    pub dropped: Dropped,
}

impl Cleared {
    /// One report, and what it was to tell.
    pub fn of(class: Class, carries: Dropped) -> Self {
        Self {
            to_tell: sum(class.one(), carries),
            dropped: class.one(),
        }
    }

    /// Adds another clearing.
    pub fn and(&mut self, other: Self) {
        self.to_tell = sum(self.to_tell, other.to_tell);
        self.dropped = sum(self.dropped, other.dropped);
    }
}

/// Drops what is beyond the limits.
pub(super) fn make_room<S: Shelf>(
    shelf: &mut S,
    bytes: u64,
    heartbeats: u64,
) -> Result<Cleared, S::Error> {
    let mut cleared = Cleared::default();
    let mut drop = |shelf: &mut S, class: Class, candidate: Candidate| {
        shelf.remove(class, candidate)?;
        cleared.and(Cleared::of(class, candidate.carries));
        Ok(())
    };
    while shelf.totals().of(Class::Heartbeat).count > heartbeats {
        let Some(candidate) = shelf.oldest(Class::Heartbeat, None)? else {
            break;
        };
        drop(shelf, Class::Heartbeat, candidate)?;
    }
    while shelf.totals().bytes() > bytes {
        let newest = shelf.newest_full()?;
        let mut victim = None;
        for (class, not_at) in [
            (Class::Heartbeat, None),
            (Class::Full, newest),
            (Class::Changes, None),
            (Class::Full, None),
        ] {
            if let Some(candidate) = shelf.oldest(class, not_at)? {
                victim = Some((class, candidate));
                break;
            }
        }
        let Some((class, candidate)) = victim else {
            break;
        };
        drop(shelf, class, candidate)?;
    }
    Ok(cleared)
}
