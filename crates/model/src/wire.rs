//! What travels between a node and the inventory: reports one way, answers the other.
//!
//! # Invariants
//! - A report is named by node, boot and sequence. The sequence only grows within a boot; it need
//!   not be without gaps. The same name with the same content is the same report; with another
//!   content it is refused.
//! - A node deletes a report only after an answer that names it.
//! - Whoever reads keeps fields that it does not know, and refuses states that it does not know.
//!
//! # What is absent
//! How reports are kept until they are delivered, and when one is made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::finding::Finding;
use crate::report::{CheckReport, Verdict};
use crate::snapshot::Snapshot;
use crate::time::Timestamp;
use crate::units::{Celsius, Seconds, Watts};

/// Largest report as it travels, compressed, in bytes.
pub const REPORT_BYTES: usize = 4 << 20;

/// Largest report after decompression, in bytes.
pub const REPORT_BYTES_EXPANDED: usize = 32 << 20;

/// A finding with its life over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tracked {
    /// Which condition of which part, in words: the same for every time that it comes. With
    /// `finding.since` it names one occurrence.
    pub id: String,
    /// The finding as it was last observed. `since` is when this occurrence began and never null;
    /// `confidence` says whether the check's window has passed.
    pub finding: Finding,
    /// When it was last observed.
    pub last_seen: Timestamp,
    /// In which boot it was last observed.
    pub boot: String,
    /// Whether the newest judgement shows it. A finding that is not observed stays until its clear
    /// rule is met.
    pub observed: bool,
    /// How often it came back within the last 24 hours, this occurrence left out.
    pub flaps: u32,
    /// Why it is still there although it is not observed; null while it is.
    pub waits_for: Option<String>,
}

/// What happened to a finding.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It was not there before.
    Raised,
    /// It was provisional and its check's window has passed.
    Confirmed,
    /// Severity, impact, mode, summary or place is another now.
    Changed,
    /// Its clear rule is met.
    Cleared,
}

/// One step in the life of a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FindingChange {
    /// When, by the node's clock.
    pub at: Timestamp,
    /// What happened.
    pub change: ChangeKind,
    /// Why, in a sentence.
    pub why: String,
    /// The finding after it.
    pub tracked: Tracked,
}

/// What a GPU was like when a heartbeat was made: for plots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GpuVitals {
    /// NVML index.
    pub index: u32,
    /// Of the core; null when it could not be read.
    pub temperature_celsius: Option<Celsius>,
    /// Drawn now; null when it could not be read.
    pub power_watts: Option<Watts>,
}

/// A bring-up or burn-in in short; the whole report stays on the node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BringupSummary {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// What it came to.
    pub verdict: Verdict,
    /// Why it is not healthy, worst first.
    pub reasons: Vec<String>,
    /// What was done, in order.
    pub steps: Vec<BringupStep>,
}

/// One step of a bring-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BringupStep {
    /// Its name.
    pub name: String,
    /// How long it took; null when it was interrupted.
    pub elapsed_seconds: Option<Seconds>,
    /// What came of it, in a line.
    pub detail: String,
}

/// What a report says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Body {
    /// Everything: on change, hourly, and when it is asked for.
    Full {
        /// Hash of what matters in `snapshot`, `check` and `findings`, measurements left out.
        hash: String,
        /// The machine.
        snapshot: Box<Snapshot>,
        /// Its judgement, with the findings that wait for their clear rule.
        check: Box<CheckReport>,
        /// Every finding that is not cleared. One that the inventory has open and that is not here
        /// is cleared.
        findings: Vec<Tracked>,
    },
    /// Still here, and nothing has changed since the full report with this hash.
    Heartbeat {
        /// As in the last full report.
        hash: String,
        /// The verdict now.
        verdict: Verdict,
        /// Measurements, by index.
        gpus: Vec<GpuVitals>,
    },
    /// Findings that were raised, confirmed, changed or cleared, and what the kernel log told
    /// meanwhile. A full report follows.
    Changes {
        /// The verdict after it.
        verdict: Verdict,
        /// In the order in which they happened.
        changes: Vec<FindingChange>,
        /// Events since the last report of this kind, folded; also those of earlier boots that
        /// were not told before.
        events: Vec<NodeEvent>,
    },
    /// A bring-up ended.
    Bringup {
        /// What came of it.
        summary: BringupSummary,
    },
    /// The service ends in good order: silence is expected.
    Stopping {
        /// Why: `SIGTERM`, `reboot`, …
        why: String,
    },
}

/// An event of the kernel log with its boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeEvent {
    /// Boot id of the log that it stands in.
    pub boot: String,
    /// What it was. `repeats`, `first` and `last` are those of this report alone: summed over
    /// reports they are the truth.
    pub event: Event,
}

/// Reports that a node had to drop for lack of space since the last one that was delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dropped {
    /// Heartbeats.
    pub heartbeats: u64,
    /// Full reports.
    pub fulls: u64,
    /// Changes, bring-ups and farewells.
    pub changes: u64,
}

/// What the node has of the inventory's wishes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WantedState {
    /// ETag of the wishes that it goes by; null when it has none.
    pub etag: Option<String>,
    /// Why it refused the newest ones; null when it did not.
    pub refused: Option<String>,
    /// What came of the upgrade that is wished; null when none is.
    #[serde(default)]
    pub upgrade: Option<UpgradeState>,
}

/// What came of a wished upgrade so far.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum UpgradeOutcome {
    /// Not begun: something is at work that is not disturbed, or its file could not be fetched and
    /// is fetched again.
    Waits,
    /// It is fetched, tests itself, or is watched.
    UnderWay,
    /// It runs.
    Done,
    /// It was not begun, and is not tried again until the wish is another one.
    Refused,
    /// It was tried, and the version before was put back; it is not tried again until the wish is
    /// another one.
    Reverted,
}

/// How a wished upgrade stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpgradeState {
    /// The version that is wished.
    pub version: String,
    /// What came of it.
    pub outcome: UpgradeOutcome,
    /// Why, in a line; null where there is nothing to say.
    pub why: Option<String>,
    /// Since when it stands so, by the node's clock.
    pub at: Timestamp,
}

/// What a node tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Version of this JSON.
    pub schema_version: u32,
    /// Version of the cupel that made it.
    pub cupel_version: String,
    /// Stable id of the node, as in the Snapshot.
    pub node: String,
    /// Kernel's boot id.
    pub boot: String,
    /// Grows within a boot.
    pub sequence: u64,
    /// When it was made, by the node's clock.
    pub made_at: Timestamp,
    /// Time since boot when it was made: what to go by when the clock jumps.
    pub uptime_seconds: Seconds,
    /// After how long without a report the node is late.
    pub next_within_seconds: Seconds,
    /// What the node has of the inventory's wishes.
    pub wanted: WantedState,
    /// What had to be dropped before it.
    pub dropped: Dropped,
    /// What it says.
    pub body: Body,
}

/// Which report an answer is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// Its node.
    pub node: String,
    /// Its boot.
    pub boot: String,
    /// Its sequence.
    pub sequence: u64,
}

/// What the inventory asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Send {
    /// A full report: the hash is not known.
    Full,
}

/// What the operator wants of a node.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Lifecycle {
    /// To be brought up.
    #[default]
    Provisioning,
    /// To do work.
    InService,
    /// Somebody works on it; silence is expected.
    Maintenance,
    /// Not to be touched, by anybody.
    Hold,
    /// Not to be given work: it is suspect.
    Quarantined,
    /// Taken out; silence is expected.
    Retired,
}

/// An upgrade that is wished. It is verified as if a person had asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpgradeWish {
    /// The version: its number (`0.2.0`), or its whole name (`0.2.0-3f9a1c02b7de`).
    pub version: String,
    /// Where its program is; its signature is beside it (`.minisig`).
    pub url: String,
    /// Whether it may be older than what runs.
    #[serde(default)]
    pub downgrade: bool,
}

/// What is wanted of a node. Fields that a reader does not know are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Wanted {
    /// Changes with the wishes.
    pub etag: String,
    /// What it is for.
    pub lifecycle: Lifecycle,
    /// Name of the firmware baseline; null when none is set.
    pub baseline: Option<String>,
    /// The version of Cupel that shall run; null when none is wished.
    #[serde(default)]
    pub upgrade: Option<UpgradeWish>,
    /// Whatever else is wished.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// What the inventory says to a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// Version of this JSON.
    pub schema_version: u32,
    /// The report that is stored.
    pub accepted: Accepted,
    /// Whether it was stored before.
    pub duplicate: bool,
    /// What the node is asked for.
    pub send: Option<Send>,
    /// The wishes, when they are not those that the node named; as they are stored, so that a
    /// reader can keep what it does not know.
    pub wanted: Option<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_keep_what_is_not_known_and_refuse_unknown_states() {
        let text = r#"{"etag":"7","lifecycle":"in-service","baseline":null,"upgrade":null,"colour":"red"}"#;
        let wanted: Wanted = serde_json::from_str(text).expect("wishes");
        assert_eq!(serde_json::to_string(&wanted).expect("json"), text);
        let unknown = text.replace("in-service", "levitating");
        let error = serde_json::from_str::<Wanted>(&unknown).expect_err("unknown state");
        assert!(error.to_string().contains("levitating"), "{error}");
        // Of an inventory that knows of no upgrades, and of one that wishes one.
        let older = text.replace(r#""upgrade":null,"#, "");
        let wanted: Wanted = serde_json::from_str(&older).expect("wishes");
        assert_eq!(wanted.upgrade, None);
        let wish = r#""upgrade":{"version":"0.2.0","url":"https://releases.example/cupel"},"#;
        let wanted: Wanted =
            serde_json::from_str(&text.replace(r#""upgrade":null,"#, wish)).expect("wishes");
        assert!(wanted.upgrade.is_some_and(|wish| !wish.downgrade));
    }

    #[test]
    fn what_came_of_an_upgrade_is_refused_where_it_is_not_known() {
        let older = r#"{"etag":null,"refused":null}"#;
        let state: WantedState = serde_json::from_str(older).expect("of an older node");
        assert_eq!(state, WantedState::default());
        let text =
            r#"{"version":"0.2.0","outcome":"exploded","why":null,"at":"2026-01-02T03:04:05Z"}"#;
        let error = serde_json::from_str::<UpgradeState>(text).expect_err("unknown outcome");
        assert!(error.to_string().contains("exploded"), "{error}");
        let text = text.replace("exploded", "under-way");
        serde_json::from_str::<UpgradeState>(&text).expect("an outcome");
    }

    #[test]
    fn a_body_names_its_kind() {
        let body = Body::Stopping {
            why: "SIGTERM".to_owned(),
        };
        let text = serde_json::to_string(&body).expect("json");
        assert_eq!(text, r#"{"kind":"stopping","why":"SIGTERM"}"#);
        assert_eq!(serde_json::from_str::<Body>(&text).expect("body"), body);
    }
}
