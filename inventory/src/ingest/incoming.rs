//! A report that was checked and taken apart, ready to be stored.

use cupel_model::wire::{
    BringupSummary, ChangeKind, Dropped, GpuVitals, NodeEvent, Tracked, WantedState,
};
use cupel_model::{Coverage, Timestamp, Verdict};

use super::{Identity, SeenPart};

/// What kind of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Still here.
    Heartbeat,
    /// Everything.
    Full,
    /// Findings and events.
    Changes,
    /// A bring-up ended.
    Bringup,
    /// The service ends.
    Stopping,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Heartbeat,
        Self::Full,
        Self::Changes,
        Self::Bringup,
        Self::Stopping,
    ];

    /// As on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::Full => "full",
            Self::Changes => "changes",
            Self::Bringup => "bringup",
            Self::Stopping => "stopping",
        }
    }
}

/// A finding with the JSON that it came as: fields that are not known here stay in it.
#[derive(Clone, Debug)]
pub struct RawFinding {
    /// What is known of it.
    pub tracked: Tracked,
    /// Since when: the half of its name that a report may not leave out.
    pub since: Timestamp,
    /// As it came.
    pub json: String,
}

/// One step in the life of a finding.
#[derive(Clone, Debug)]
pub struct RawChange {
    /// When, by the node's clock.
    pub at: Timestamp,
    /// What.
    pub change: ChangeKind,
    /// Why.
    pub why: String,
    /// The finding after it.
    pub finding: RawFinding,
}

/// A full report.
#[derive(Clone, Debug)]
pub struct Full {
    /// As in later heartbeats.
    pub hash: String,
    /// When the snapshot was taken.
    pub taken_at: Timestamp,
    /// Who the node is.
    pub identity: Identity,
    /// Its parts that have a serial number.
    pub parts: Vec<SeenPart>,
    /// Digest of `parts`.
    pub parts_digest: Vec<u8>,
    /// The verdict of the judgement, which is the one that heartbeats have.
    pub verdict: Verdict,
    /// Every finding that is not cleared.
    pub findings: Vec<RawFinding>,
    /// What was and was not looked at.
    pub coverage: Coverage,
    /// The snapshot's JSON as it came, compressed.
    pub snapshot: Vec<u8>,
    /// Its size before.
    pub snapshot_bytes: usize,
}

/// What a report says.
#[derive(Clone, Debug)]
pub enum IncomingBody {
    /// Everything.
    Full(Box<Full>),
    /// Still here.
    Heartbeat {
        /// Hash of the last full report.
        hash: String,
        /// The verdict now.
        verdict: Verdict,
        /// Measurements.
        gpus: Vec<GpuVitals>,
    },
    /// Findings and events.
    Changes {
        /// The verdict after it.
        verdict: Verdict,
        /// In their order.
        changes: Vec<RawChange>,
        /// Folded, of this report alone.
        events: Vec<NodeEvent>,
    },
    /// A bring-up ended.
    Bringup {
        /// What came of it.
        summary: Box<BringupSummary>,
        /// As it came.
        json: String,
    },
    /// The service ends.
    Stopping {
        /// Why.
        why: String,
    },
}

/// A report.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Stable id of the node.
    pub node: String,
    /// Boot id.
    pub boot: String,
    /// Grows within a boot; at most 2^53.
    pub sequence: i64,
    /// When it was made, by the node's clock, in microseconds.
    pub made_at: i64,
    /// Time since boot then, in microseconds.
    pub uptime: i64,
    /// Within what time the next one comes, in microseconds.
    pub next_within: i64,
    /// Version of cupel.
    pub cupel_version: String,
    /// What the node has of the wishes.
    pub wanted: WantedState,
    /// What it had to drop.
    pub dropped: Dropped,
    /// First half of the SHA-256 of its JSON: the same digest, the same report.
    pub digest: [u8; 16],
    /// What it says.
    pub body: IncomingBody,
}

impl Incoming {
    /// What kind of report.
    pub fn kind(&self) -> Kind {
        match &self.body {
            IncomingBody::Full(_) => Kind::Full,
            IncomingBody::Heartbeat { .. } => Kind::Heartbeat,
            IncomingBody::Changes { .. } => Kind::Changes,
            IncomingBody::Bringup { .. } => Kind::Bringup,
            IncomingBody::Stopping { .. } => Kind::Stopping,
        }
    }
}
