//! Nodes, in a line and whole.

use cupel_model::snapshot::{IdSource, Tenancy};
use cupel_model::wire::{BringupSummary, Dropped, Lifecycle, Wanted, WantedState};
use cupel_model::{Coverage, Timestamp, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Difference, FindingRecord, NodeIdentity, PartSummary};

/// What a node is to whoever gives it work (CNP04).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not yet in service.
    Provisioning,
    /// In service, and fit.
    Running,
    /// In service, and not at its best or not known to be.
    Degraded,
    /// Not to be given work: someone must act, or is acting.
    MaintenanceRequired,
    /// It said a moment ago that it stops.
    Stopping,
    /// It said that it stops, and has.
    Stopped,
    /// Taken out, and still reporting.
    Terminating,
    /// Taken out.
    Terminated,
}

/// Whether a node is heard.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// It reports when it should.
    Reporting,
    /// It does not, and that is expected.
    Quiet,
    /// It is late: `node.silent`, a warning.
    Late,
    /// It is very late: `node.silent`, critical.
    Lost,
}

/// What was found against what should have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectationState {
    /// Nobody has told the inventory what should arrive.
    NoList,
    /// On the list, and as it says.
    AsExpected,
    /// On the list, and something is other than it says.
    Mismatched,
    /// Not on the list.
    Unexpected,
}

/// Open findings by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FindingCounts {
    /// Critical.
    pub critical: u32,
    /// Warning.
    pub warning: u32,
    /// Info.
    pub info: u32,
}

/// A node in a line (CAP02).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeSummary {
    /// Stable through reboot, service and reinstallation.
    pub id: String,
    /// Host name, last told.
    pub hostname: Option<String>,
    /// System serial number (service tag).
    pub serial: Option<String>,
    /// Serial number of the chassis.
    pub chassis_serial: Option<String>,
    /// Product name: the hardware type.
    pub product: Option<String>,
    /// Name of the matching platform.
    pub platform: Option<String>,
    /// Product name of its GPUs.
    pub gpu_model: Option<String>,
    /// How many GPUs it last told of; null when it has told nothing yet.
    pub gpu_count: Option<u32>,
    /// The verdict, the inventory's own findings counted in.
    pub verdict: Verdict,
    /// Whether the verdict is healthy.
    pub healthy: bool,
    /// What it is to whoever gives it work.
    pub state: State,
    /// Whether it is heard.
    pub presence: Presence,
    /// What the operator wants of it.
    pub lifecycle: Lifecycle,
    /// Whether an open finding forbids giving it work.
    pub blocks_allocation: bool,
    /// Open findings.
    pub findings: FindingCounts,
    /// Whether it was expected.
    pub expectation: ExpectationState,
    /// Region.
    pub region: Option<String>,
    /// Site.
    pub site: Option<String>,
    /// Row.
    pub row: Option<String>,
    /// Rack.
    pub rack: Option<String>,
    /// Lowest unit that it fills.
    pub unit: Option<u32>,
    /// How many units it fills.
    pub height_units: Option<u32>,
    /// NVLink domain.
    pub nvlink_domain: Option<String>,
    /// Ids of the switches above it: leaf, spine, core.
    pub switch_path: Option<Vec<String>>,
    /// Account that it is reserved for.
    pub account: Option<String>,
    /// Project.
    pub project: Option<String>,
    /// Instance id.
    pub instance: Option<String>,
    /// Whether work runs on it.
    pub in_use: Option<bool>,
    /// When it was handed over to production.
    pub handover_at: Option<Timestamp>,
    /// When it first reported: its creation time.
    pub first_seen: Timestamp,
    /// When it last reported, by the server's clock.
    pub last_report_at: Timestamp,
}

/// The newest snapshot of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotInfo {
    /// When it was taken, by the node's clock.
    pub taken_at: Timestamp,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Hash of what matters in it, as the node made it.
    pub hash: String,
    /// Its size as JSON.
    pub size_bytes: u64,
}

/// A farewell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stopped {
    /// When it was received.
    pub at: Timestamp,
    /// Why.
    pub why: String,
}

/// All that is known of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeRecord {
    /// The node in a line.
    #[serde(flatten)]
    pub node: NodeSummary,
    /// Where the id comes from.
    pub id_source: Option<IdSource>,
    /// Maker.
    pub manufacturer: Option<String>,
    /// Serial number of the main board.
    pub board_serial: Option<String>,
    /// Its identity; null when it was never enrolled.
    pub identity: Option<NodeIdentity>,
    /// Who owns it.
    pub tenancy: Option<Tenancy>,
    /// Version of the kernel.
    pub kernel_release: Option<String>,
    /// Version of the NVIDIA driver.
    pub driver_version: Option<String>,
    /// Version of cupel.
    pub cupel_version: String,
    /// Boot id that it runs.
    pub boot: String,
    /// Sequence of the newest report.
    pub sequence: u64,
    /// When the newest report was made, by the node's clock.
    pub made_at: Timestamp,
    /// Time since boot, then.
    pub uptime_seconds: f64,
    /// After how long without a report it is late, as it said.
    pub next_within_seconds: f64,
    /// When it is late, by the server's clock.
    pub late_at: Timestamp,
    /// What it last said of itself; null when it has not yet.
    pub reported_verdict: Option<Verdict>,
    /// Since when the verdict holds.
    pub verdict_since: Timestamp,
    /// Its farewell, if that was the last it said.
    pub stopped: Option<Stopped>,
    /// Reports that it had to drop, over its life.
    pub dropped: Dropped,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// What it has of that.
    pub wanted_state: WantedState,
    /// Until when silence is expected.
    pub silence_until: Option<Timestamp>,
    /// Grows with every setting.
    pub revision: i64,
    /// What is other than expected.
    pub differences: Vec<Difference>,
    /// What the newest full report did and did not look at.
    pub coverage: Option<Coverage>,
    /// The newest snapshot.
    pub snapshot: Option<SnapshotInfo>,
    /// The newest bring-up.
    pub bringup: Option<BringupSummary>,
    /// Open findings, worst first.
    pub open_findings: Vec<FindingRecord>,
    /// Parts that are in it, by kind and slot.
    pub parts: Vec<PartSummary>,
}
