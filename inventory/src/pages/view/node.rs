//! One node in full.

use cupel_model::enrolment::KeyProtection;
use cupel_model::snapshot::Tenancy;
use cupel_model::wire::{
    BringupSummary, Dropped, FindingChange, GpuVitals, NodeEvent, Tracked, UpgradeOutcome,
};
use cupel_model::{ComponentKind, Coverage, Snapshot, Timestamp, Verdict};

use super::{Context, NodeLine, Standing};

/// What is known of a node beside what it tells. What is not set is `None`.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Account.
    pub account: Option<String>,
    /// Project.
    pub project: Option<String>,
    /// Instance.
    pub instance: Option<String>,
    /// Whether work runs on it.
    pub in_use: Option<bool>,
    /// When it was handed over to production.
    pub handed_over: Option<Timestamp>,
    /// NVLink domain.
    pub nvlink_domain: Option<String>,
    /// Switches above it, nearest first; `None` where nobody said.
    pub switch_path: Option<Vec<String>>,
    /// Name of the firmware baseline that is wanted of it.
    pub baseline: Option<String>,
    /// The certificate that it reports with; `None` when it was never enrolled.
    pub identity: Option<Identity>,
}

/// What the certificate of a node is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// It is good.
    Good,
    /// Its time is over.
    Expired,
    /// The node was enrolled anew.
    Superseded,
    /// It was taken away.
    Revoked,
}

/// The certificate that a node reports with.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// What it is worth.
    pub worth: Worth,
    /// What its key is protected by.
    pub key: KeyProtection,
    /// Until when it is good.
    pub until: Timestamp,
}

/// A version of cupel that is wished.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// Which.
    pub version: String,
    /// What came of it so far; `None` until the node tells.
    pub outcome: Option<UpgradeOutcome>,
    /// Why, in the node's words.
    pub why: Option<String>,
}

/// A part that is in a node now, or was there last.
#[derive(Clone, Debug)]
pub struct NodePart {
    /// What kind.
    pub kind: ComponentKind,
    /// Product name.
    pub name: Option<String>,
    /// Physical slot.
    pub slot: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Part number.
    pub part_number: Option<String>,
    /// Firmware.
    pub firmware: Option<String>,
    /// Since when it is in this slot.
    pub since: Option<Timestamp>,
    /// Whether the newest snapshot shows it; a lost part stays listed.
    pub present: bool,
}

/// From when on a node stood how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandingChange {
    /// From when.
    pub at: Timestamp,
    /// How; until the next change.
    pub standing: Standing,
}

/// What the GPUs were like at one moment.
#[derive(Clone, Debug)]
pub struct VitalsAt {
    /// When.
    pub at: Timestamp,
    /// By index.
    pub gpus: Vec<GpuVitals>,
}

/// One node: `/nodes/{id}`.
#[derive(Clone, Debug)]
pub struct Node {
    /// What every page needs.
    pub context: Context,
    /// Id, names, place, standing, lifecycle. `worst` and `more_findings` are not used.
    pub line: NodeLine,
    /// Since when it stands like that.
    pub standing_since: Option<Timestamp>,
    /// The verdict it last told; `None` when it never did. Of a silent node it is an old one.
    pub verdict: Option<Verdict>,
    /// What is known of it beside what it tells.
    pub record: Record,
    /// When it first reported, by the server's clock.
    pub first_report: Option<Timestamp>,
    /// When it is late.
    pub next_report_by: Option<Timestamp>,
    /// Why it said that it stops, when that was the last it said.
    pub stopped: Option<String>,
    /// Version of cupel that it last reported with.
    pub cupel_version: Option<String>,
    /// The version of cupel that is wished.
    pub upgrade: Option<Upgrade>,
    /// Why it refused the newest wishes.
    pub wishes_refused: Option<String>,
    /// What it had to drop, over all its reports.
    pub dropped: Dropped,
    /// Every finding that is not cleared, the server's own (`node.silent`) too, in any order.
    pub findings: Vec<Tracked>,
    /// What its newest full report did and did not look at.
    pub coverage: Option<Coverage>,
    /// The newest snapshot; `None` when there is none.
    pub snapshot: Option<Box<Snapshot>>,
    /// Its parts, in any order.
    pub parts: Vec<NodePart>,
    /// Beginning of the time that the history and the plots show; its end is now.
    pub history_from: Timestamp,
    /// How it stood, oldest first; the first may lie before `history_from`.
    pub standings: Vec<StandingChange>,
    /// Temperature and power, oldest first; any number, the plot thins them.
    pub vitals: Vec<VitalsAt>,
    /// What happened to findings, newest first, at most 50.
    pub changes: Vec<FindingChange>,
    /// How many changes are kept in all.
    pub changes_kept: u64,
    /// Events of the kernel log, folded over reports, newest first, at most 50.
    pub events: Vec<NodeEvent>,
    /// How many folded events are kept in all.
    pub events_kept: u64,
    /// The newest bring-up.
    pub bringup: Option<BringupSummary>,
}

impl Node {
    /// Who owns the node, by its newest snapshot.
    pub fn tenancy(&self) -> Option<Tenancy> {
        self.snapshot.as_ref().map(|snapshot| snapshot.tenancy)
    }
}
