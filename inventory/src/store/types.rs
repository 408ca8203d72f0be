//! What the store is asked, and what it answers, beside the records of the API.

use std::path::PathBuf;
use std::time::Duration;

use cupel_model::wire::{GpuVitals, Lifecycle};
use cupel_model::{Severity, Timestamp, Verdict};

use crate::auth::Scope;
use crate::clock::Clock;
use crate::record::{Cursor, IdentityState, State};

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory that it lies in.
    pub data: PathBuf,
    /// The time.
    pub clock: Clock,
    /// Whether an older schema is brought up to date; else it is refused.
    pub migrate: bool,
}

/// For how long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Names of heartbeats, by which a second delivery is known.
    pub heartbeats: Duration,
    /// Names of all other reports.
    pub reports: Duration,
    /// Measurements for plots.
    pub samples: Duration,
    /// Closed findings, events, verdicts, bring-ups and placements.
    pub history: Duration,
    /// The stream of changes.
    pub changes: Duration,
    /// Newest snapshots of a node.
    pub snapshots: u32,
    /// Days of which one snapshot a node is kept beside those.
    pub daily_snapshots: u32,
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

impl Default for Retention {
    fn default() -> Self {
        Self {
            heartbeats: Duration::from_secs(DAY),
            reports: Duration::from_secs(90 * DAY),
            samples: Duration::from_secs(14 * DAY),
            history: Duration::from_secs(400 * DAY),
            changes: Duration::from_secs(DAY),
            snapshots: 10,
            daily_snapshots: 30,
        }
    }
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Ingested {
    /// It was stored before.
    pub duplicate: bool,
    /// It is older than what is known of the node: kept, and nothing else changed.
    pub late: bool,
    /// The hash that it names is not known: a full report is wanted.
    pub send_full: bool,
    /// The wishes, when the node has others.
    pub wanted: Option<serde_json::Value>,
}

/// In which order nodes are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeOrder {
    /// As they first reported.
    #[default]
    FirstSeen,
    /// Worst verdict first.
    Worst,
}

/// Which nodes are wanted. Whatever is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct NodeFilter {
    /// With this verdict.
    pub verdict: Option<Verdict>,
    /// In this state.
    pub state: Option<State>,
    /// With this lifecycle.
    pub lifecycle: Option<Lifecycle>,
    /// Of this platform.
    pub platform: Option<String>,
    /// In this region.
    pub region: Option<String>,
    /// At this site.
    pub site: Option<String>,
    /// In this row.
    pub row: Option<String>,
    /// In this rack.
    pub rack: Option<String>,
    /// Reserved for this account.
    pub account: Option<String>,
    /// In this NVLink domain.
    pub nvlink_domain: Option<String>,
    /// Id, name, serial or instance contains this.
    pub q: Option<String>,
    /// Order.
    pub order: NodeOrder,
}

/// A page that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// After this place; from the beginning without it.
    pub after: Option<Cursor>,
    /// At most so many items.
    pub limit: u32,
}

/// Which findings are wanted.
#[derive(Clone, Debug, Default)]
pub struct FindingFilter {
    /// Open (`true`) or closed (`false`) ones alone.
    pub open: Option<bool>,
    /// With this code.
    pub code: Option<String>,
    /// This bad or worse.
    pub severity: Option<Severity>,
    /// Of this node.
    pub node: Option<String>,
    /// Of the part with this serial number.
    pub serial: Option<String>,
    /// Opened since.
    pub since: Option<Timestamp>,
}

/// Which maintenance events are wanted.
#[derive(Clone, Debug, Default)]
pub struct MaintenanceFilter {
    /// Open (`true`) or closed (`false`) ones alone.
    pub open: Option<bool>,
    /// Of this node.
    pub node: Option<String>,
    /// Of this account.
    pub account: Option<String>,
    /// Changed since.
    pub updated_since: Option<Timestamp>,
}

/// How a change of a node went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patched {
    /// It is done; the revision now.
    Done(i64),
    /// No such node.
    NoNode,
    /// It has another revision: this one.
    OtherRevision(i64),
}

/// How a new expected list went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListChanged {
    /// It is done.
    Done(crate::record::ExpectedChange),
    /// The list has another revision: this one.
    OtherRevision(i64),
    /// It would remove so many entries, and the revision was not named.
    WouldRemove(u64),
}

/// A snapshot as it is kept.
#[derive(Clone, Debug)]
pub struct StoredSnapshot {
    /// When it was taken.
    pub taken_at: Timestamp,
    /// Its hash, as the node made it.
    pub hash: String,
    /// JSON, as it came, compressed with zstd.
    pub zstd: Vec<u8>,
    /// Size of the JSON.
    pub size: usize,
}

/// Measurements of one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// By index.
    pub gpus: Vec<GpuVitals>,
}

/// A token without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its row.
    pub key: i64,
    /// Public half.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// The one node that it may report for; `None`: any.
    pub node: Option<String>,
    /// SHA-256 of its secret.
    pub hash: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, to the hour.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A token to be stored.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Public half.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// The one node that it may report for.
    pub node: Option<String>,
    /// SHA-256 of its secret.
    pub hash: [u8; 32],
}

/// What a sweep for silent nodes found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Findings that were raised.
    pub raised: u32,
    /// Findings that became critical.
    pub escalated: u32,
    /// Findings that were closed: silence is expected now, or of two machines one is left.
    pub closed: u32,
    /// Nodes whose state changed.
    pub changed: u32,
}

/// What was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names of reports.
    pub reports: u64,
    /// Rows of measurements.
    pub samples: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Entries of histories, closed findings, events, bring-ups and placements.
    pub history: u64,
    /// Lines of the stream of changes.
    pub changes: u64,
}

/// The store in numbers, for metrics.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Nodes by verdict and state word.
    pub nodes: Vec<(Verdict, String, u64)>,
    /// Nodes by presence: late or lost.
    pub silent: u64,
    /// Open findings by severity.
    pub findings: Vec<(Severity, u64)>,
    /// Expected entries: missing, present, mismatched.
    pub expected: [u64; 3],
    /// Nodes that nobody expected; 0 without a list.
    pub unexpected: u64,
    /// Nodes by what their identity is worth.
    pub identities: Vec<(IdentityState, u64)>,
    /// When the first of the active identities ends.
    pub identity_ends: Option<Timestamp>,
    /// Bytes of the database file.
    pub database_bytes: u64,
    /// Bytes of its write-ahead log.
    pub log_bytes: u64,
}
