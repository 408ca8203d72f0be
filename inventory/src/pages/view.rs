//! What the pages show: plain values, filled from the store by whoever serves them.
//!
//! # Invariants
//! - No clock and no query here: "now" is a field, lists come sorted as their comment says.
//! - What is not known is `None`, never an empty text or 0; the pages write it as a word.
//! - Texts are as the machine told them: the pages make them harmless.
//!
//! # What is absent
//! Numbers that can be counted from the rest.

use cupel_model::snapshot::Tenancy;
use cupel_model::wire::{
    BringupSummary, Dropped, FindingChange, GpuVitals, Lifecycle, NodeEvent, Tracked,
};
use cupel_model::{
    Component, ComponentKind, Confidence, Coverage, Mode, Severity, Snapshot, Timestamp, Verdict,
};
use serde::{Deserialize, Serialize};

/// What every page needs.
#[derive(Clone, Debug)]
pub struct Context {
    /// The server's time when the page is made: ages are told from it.
    pub now: Timestamp,
    /// Version of the inventory.
    pub version: String,
    /// Name of the token that the reader signed in with; `None` where nobody is signed in.
    pub signed_in: Option<String>,
}

/// How a node stands: what decides its colour, its word and its place in a list. A node has exactly
/// one; the order is from worst to best and is the order of every list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It reports, and its verdict is unhealthy.
    Unhealthy,
    /// It reported before, is late, and nobody said that it would be.
    Silent,
    /// It is expected and has never reported.
    Missing,
    /// It reports, and something that must be known could not be determined.
    Unknown,
    /// It reports, and its verdict is degraded.
    Degraded,
    /// It is silent, or was never seen, and that is expected: stopped in good order, maintenance,
    /// retired.
    Quiet,
    /// It reports, and its verdict is healthy.
    Healthy,
}

impl Standing {
    /// All of them, worst first.
    pub const ALL: [Self; 7] = [
        Self::Unhealthy,
        Self::Silent,
        Self::Missing,
        Self::Unknown,
        Self::Degraded,
        Self::Quiet,
        Self::Healthy,
    ];

    /// How a node stands that reports with this verdict.
    pub fn reporting(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Healthy => Self::Healthy,
            Verdict::Degraded => Self::Degraded,
            Verdict::Unknown => Self::Unknown,
            Verdict::Unhealthy => Self::Unhealthy,
        }
    }

    /// Whether someone must look.
    pub fn is_sick(self) -> bool {
        match self {
            Self::Unhealthy | Self::Silent | Self::Missing | Self::Unknown | Self::Degraded => true,
            Self::Quiet | Self::Healthy => false,
        }
    }
}

/// What was found against what should have arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expectation {
    /// Nobody has told the inventory what should arrive.
    #[default]
    NoList,
    /// It is on the list and as the list says.
    AsExpected,
    /// It reports and is not on the list.
    Unexpected,
    /// It is on the list, and something is other than the list says.
    Mismatched(Vec<Mismatch>),
}

/// One thing that is other than expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What: `platform`, `rack`, …
    pub what: String,
    /// What the list says.
    pub expected: String,
    /// What was found; `None` when nothing was.
    pub found: Option<String>,
}

/// Where a node stands. What is not set is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RackPlace {
    /// Region.
    pub region: Option<String>,
    /// Site.
    pub site: Option<String>,
    /// Row.
    pub row: Option<String>,
    /// Rack.
    pub rack: Option<String>,
}

/// Where in a rack a node stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which rack.
    pub rack: RackPlace,
    /// Lowest unit that it fills, counted from 1 at the bottom.
    pub unit: Option<u32>,
    /// How many units it fills; drawn as one when not known.
    pub height_units: Option<u32>,
}

/// A finding in one line.
#[derive(Clone, Debug, PartialEq)]
pub struct FindingLine {
    /// Stable code.
    pub code: String,
    /// Which part.
    pub component: Component,
    /// How bad.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
    /// Whether it counts for the verdict.
    pub mode: Mode,
    /// One sentence.
    pub summary: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Whether the newest judgement shows it; if not, it waits to be cleared.
    pub observed: bool,
}

impl From<&Tracked> for FindingLine {
    fn from(tracked: &Tracked) -> Self {
        let finding = &tracked.finding;
        Self {
            code: finding.code.clone(),
            component: finding.component.clone(),
            severity: finding.severity,
            confidence: finding.confidence,
            mode: finding.mode,
            summary: finding.summary.clone(),
            since: finding.since,
            observed: tracked.observed,
        }
    }
}

/// A node in one line or one box.
#[derive(Clone, Debug)]
pub struct NodeLine {
    /// Stable id; of a missing node that has none yet, what its page is found by
    /// (`/nodes/{id}`), e.g. its chassis serial.
    pub id: String,
    /// Host name; `None` where it is not known.
    pub hostname: Option<String>,
    /// Chassis serial, found or expected.
    pub serial: Option<String>,
    /// Where it stands.
    pub place: Place,
    /// How it stands.
    pub standing: Standing,
    /// Whether it is on the list of what should arrive, and as it says.
    pub expectation: Expectation,
    /// What the operator wants of it.
    pub lifecycle: Lifecycle,
    /// Whether work runs on it; `None` where nobody said.
    pub in_use: Option<bool>,
    /// Name of the platform, matched or expected.
    pub platform: Option<String>,
    /// The worst finding that is not cleared (enforced ones before observed ones).
    pub worst: Option<FindingLine>,
    /// How many findings there are beside the worst.
    pub more_findings: u32,
    /// When it last reported, by the server's clock.
    pub last_report: Option<Timestamp>,
}

/// How many nodes stand how. Each node is counted once in the first seven; `unexpected` and
/// `mismatched` count some of them again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// [`Standing::Unhealthy`].
    pub unhealthy: u32,
    /// [`Standing::Silent`].
    pub silent: u32,
    /// [`Standing::Missing`].
    pub missing: u32,
    /// [`Standing::Unknown`].
    pub unknown: u32,
    /// [`Standing::Degraded`].
    pub degraded: u32,
    /// [`Standing::Quiet`].
    pub quiet: u32,
    /// [`Standing::Healthy`].
    pub healthy: u32,
    /// [`Expectation::Unexpected`].
    pub unexpected: u32,
    /// [`Expectation::Mismatched`].
    pub mismatched: u32,
}

impl Counts {
    /// How many stand like that.
    pub fn of(&self, standing: Standing) -> u32 {
        match standing {
            Standing::Unhealthy => self.unhealthy,
            Standing::Silent => self.silent,
            Standing::Missing => self.missing,
            Standing::Unknown => self.unknown,
            Standing::Degraded => self.degraded,
            Standing::Quiet => self.quiet,
            Standing::Healthy => self.healthy,
        }
    }

    /// The place to count one standing in.
    pub fn of_mut(&mut self, standing: Standing) -> &mut u32 {
        match standing {
            Standing::Unhealthy => &mut self.unhealthy,
            Standing::Silent => &mut self.silent,
            Standing::Missing => &mut self.missing,
            Standing::Unknown => &mut self.unknown,
            Standing::Degraded => &mut self.degraded,
            Standing::Quiet => &mut self.quiet,
            Standing::Healthy => &mut self.healthy,
        }
    }

    /// All nodes.
    pub fn total(&self) -> u32 {
        Standing::ALL.iter().map(|s| self.of(*s)).sum()
    }

    /// Nodes that someone must look at.
    pub fn sick(&self) -> u32 {
        let sick = Standing::ALL.iter().filter(|s| s.is_sick());
        sick.map(|s| self.of(*s)).sum()
    }

    /// The worst standing of any of them; `None` where there are none.
    pub fn worst(&self) -> Option<Standing> {
        Standing::ALL.into_iter().find(|s| self.of(*s) > 0)
    }

    /// Adds the nodes of another count.
    pub fn add(&mut self, other: &Self) {
        for standing in Standing::ALL {
            *self.of_mut(standing) += other.of(standing);
        }
        self.unexpected += other.unexpected;
        self.mismatched += other.mismatched;
    }
}

/// Which nodes a list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Show {
    /// All, worst first.
    #[default]
    All,
    /// Those that someone must look at ([`Standing::is_sick`]) or that are not as expected.
    Sick,
    /// Only unhealthy ones.
    Unhealthy,
    /// Only silent ones.
    Silent,
    /// Only missing ones.
    Missing,
    /// Only unknown ones.
    Unknown,
    /// Only degraded ones.
    Degraded,
    /// Only those whose silence is expected.
    Quiet,
    /// Only healthy ones.
    Healthy,
    /// Only unexpected ones.
    Unexpected,
    /// Only mismatched ones.
    Mismatched,
}

/// The query of the fleet's page: `/?show=sick&region=…&q=…`. An empty text is as good as none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FleetQuery {
    /// Which nodes.
    pub show: Show,
    /// Of this region.
    pub region: Option<String>,
    /// Of this site.
    pub site: Option<String>,
    /// Of this row.
    pub row: Option<String>,
    /// Of this rack.
    pub rack: Option<String>,
    /// Of this platform.
    pub platform: Option<String>,
    /// With this lifecycle (`in-service`, …).
    pub lifecycle: Option<String>,
    /// With a finding of this code that is not cleared.
    pub code: Option<String>,
    /// Name, serial or id contains this.
    pub q: Option<String>,
    /// Cursor of the page, as `next` of the page before.
    pub after: Option<String>,
}

/// One rack in the heat grid.
#[derive(Clone, Debug)]
pub struct RackCounts {
    /// Which.
    pub place: RackPlace,
    /// Its nodes.
    pub counts: Counts,
}

/// How many nodes have a finding of one code.
#[derive(Clone, Debug)]
pub struct CodeCount {
    /// The code.
    pub code: String,
    /// Worst severity among them.
    pub severity: Severity,
    /// How many nodes.
    pub nodes: u32,
}

/// Nodes and their GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Nodes.
    pub nodes: u32,
    /// Their GPUs.
    pub gpus: u32,
}

/// The fleet: `/`.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// What every page needs.
    pub context: Context,
    /// What was asked for.
    pub query: FleetQuery,
    /// Delivered, healthy, reserved, in use; `None` where it is not known.
    pub capacity: Option<FleetCapacity>,
    /// Every rack that the query's region, site and row allow (its other fields do not matter), in
    /// any order. The counts on top are added up from these; nodes without a rack are in a rack of
    /// which everything is `None`.
    pub racks: Vec<RackCounts>,
    /// Codes of findings that are not cleared, most nodes first, at most a dozen; within the same
    /// limits as `racks`.
    pub codes: Vec<CodeCount>,
    /// Regions to choose from.
    pub regions: Vec<String>,
    /// Sites to choose from.
    pub sites: Vec<String>,
    /// Platforms to choose from.
    pub platforms: Vec<String>,
    /// One page of the nodes that the whole query allows, worst first ([`Standing`]'s order, then
    /// severity of the worst finding, then name), at most 100.
    pub nodes: Vec<NodeLine>,
    /// How many nodes the whole query allows, over all pages.
    pub matching: u32,
    /// How many of them are on the pages before this one.
    pub before: u32,
    /// Cursor of the next page; `None` on the last.
    pub next: Option<String>,
}

/// What the fleet has to give.
#[derive(Clone, Copy, Debug, Default)]
pub struct FleetCapacity {
    /// Handed over to production.
    pub delivered: Capacity,
    /// Of these, healthy.
    pub healthy: Capacity,
    /// Of these, reserved for an account.
    pub reserved: Capacity,
    /// Of these, with work on them.
    pub in_use: Capacity,
}

/// One rack: `/racks/{region}/{site}/{row}/{rack}`.
#[derive(Clone, Debug)]
pub struct Rack {
    /// What every page needs.
    pub context: Context,
    /// Which.
    pub place: RackPlace,
    /// How many units it has; `None`: drawn with 48, or more if a node stands higher.
    pub units: Option<u32>,
    /// Its nodes, in any order, missing ones too.
    pub nodes: Vec<NodeLine>,
    /// The rack before it in its row.
    pub previous: Option<RackPlace>,
    /// The rack after it in its row.
    pub next: Option<RackPlace>,
}

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

/// Where a part was.
#[derive(Clone, Debug)]
pub struct PartStay {
    /// In which node.
    pub node: String,
    /// That node's host name.
    pub hostname: Option<String>,
    /// Where that node stands.
    pub place: Place,
    /// In which slot.
    pub slot: Option<String>,
    /// From when.
    pub from: Timestamp,
    /// Until when; `None`: it is there now.
    pub until: Option<Timestamp>,
}

/// A finding that a part has or had.
#[derive(Clone, Debug)]
pub struct PartFinding {
    /// In which node.
    pub node: String,
    /// That node's host name.
    pub hostname: Option<String>,
    /// The finding.
    pub finding: FindingLine,
    /// When it was cleared; `None`: it is not.
    pub cleared: Option<Timestamp>,
}

/// One part: `/parts/{serial}`.
#[derive(Clone, Debug)]
pub struct Part {
    /// What every page needs.
    pub context: Context,
    /// Serial number.
    pub serial: String,
    /// What kind.
    pub kind: ComponentKind,
    /// Product name.
    pub name: Option<String>,
    /// Part number.
    pub part_number: Option<String>,
    /// UUID or GUID.
    pub uuid: Option<String>,
    /// Firmware last seen.
    pub firmware: Option<String>,
    /// Where it was, newest first.
    pub stays: Vec<PartStay>,
    /// Its findings, newest first.
    pub findings: Vec<PartFinding>,
}

/// A part that a search found.
#[derive(Clone, Debug)]
pub struct PartLine {
    /// Serial number.
    pub serial: String,
    /// What kind.
    pub kind: ComponentKind,
    /// Product name.
    pub name: Option<String>,
    /// Where it is, or was last.
    pub last: Option<PartStay>,
}

/// A search: `/search?q=…`.
#[derive(Clone, Debug)]
pub struct Search {
    /// What every page needs.
    pub context: Context,
    /// What was asked for; `None`: nothing yet.
    pub q: Option<String>,
    /// Nodes, at most 50, worst first.
    pub nodes: Vec<NodeLine>,
    /// Whether there are more nodes.
    pub more_nodes: bool,
    /// Parts, at most 50.
    pub parts: Vec<PartLine>,
    /// Whether there are more parts.
    pub more_parts: bool,
    /// Codes with findings that are not cleared, most nodes first.
    pub codes: Vec<CodeCount>,
}

/// Why somebody could not sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginError {
    /// No token was given.
    Empty,
    /// There is no such token, or it is revoked.
    Refused,
    /// The token may not read.
    Scope,
    /// Too many attempts.
    TooMany,
    /// The session has ended.
    Expired,
}

/// Signing in: `/login`.
#[derive(Clone, Debug)]
pub struct Login {
    /// What every page needs; nobody is signed in.
    pub context: Context,
    /// What went wrong before.
    pub error: Option<LoginError>,
    /// Where to go afterwards: a path of this server (`/…`).
    pub next: Option<String>,
}

/// A page that there is not: 403, 404, 500, …
#[derive(Clone, Debug)]
pub struct Problem {
    /// What every page needs.
    pub context: Context,
    /// HTTP status.
    pub status: u16,
    /// What happened and what to do, in a sentence; `None`: what the status says.
    pub detail: Option<String>,
}
