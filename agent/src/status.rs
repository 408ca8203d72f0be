//! What the service says of itself and its node: `cupel status --output json` and `/v1/status`.
//!
//! # Invariants
//! - It is made from what was published; asking for it reads nothing of the machine.
//! - It holds no secret: of the inventory's address only the host, of tokens nothing.
//! - `allocation` is what the scheduler's hook is told.
//!
//! # What is absent
//! The Snapshot (`/v1/snapshot`) and numbers over time (`/metrics`).

use cupel_model::enrolment::KeyProtection;
use cupel_model::snapshot::{Node, Tenancy};
use cupel_model::units::{Bytes, Seconds};
use cupel_model::wire::{Dropped, Lifecycle, Tracked, UpgradeState, UpgradeWish};
use cupel_model::{CheckReport, Coverage, Timestamp, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that the service says of itself and its node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Version of this JSON.
    pub schema_version: u32,
    /// Version of the cupel that runs.
    pub cupel_version: String,
    /// When this was said, by the node's clock.
    pub said_at: Timestamp,
    /// When the service began.
    pub started_at: Timestamp,
    /// How long it has run, by a clock that never jumps.
    pub uptime_seconds: Seconds,
    /// Which node.
    pub node: Node,
    /// Who owns it, by configuration.
    pub tenancy: Tenancy,
    /// Name of the matching platform; null when none matches.
    pub platform: Option<String>,
    /// The verdict; unknown before the first judgement.
    pub verdict: Verdict,
    /// When the newest snapshot was judged; null before the first judgement.
    pub judged_at: Option<Timestamp>,
    /// Whether work may be given to the node.
    pub allocation: Allocation,
    /// Every finding that is not cleared, worst first.
    pub findings: Vec<Tracked>,
    /// What was and was not looked at.
    pub coverage: Coverage,
    /// Every source, by name.
    pub sources: Vec<Source>,
    /// The kernel log.
    pub log: Log,
    /// Reports to the inventory.
    pub inventory: Inventory,
    /// What the inventory knows this node by; null when it was never enrolled.
    pub identity: Option<Identity>,
    /// What the inventory wants of the node.
    pub wanted: WantedOfNode,
    /// Where what is remembered is kept.
    pub storage: Storage,
    /// Until when the driver is released (`cupel release`); null when it is not.
    pub released_until: Option<Timestamp>,
    /// The configuration.
    pub configuration: Configuration,
}

/// Whether work may be given to the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Allocation {
    /// Whether it may.
    pub allowed: bool,
    /// Why not, in a line; null when it may.
    pub why: Option<String>,
}

/// One source of the snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// When it last gave something; null when it never did.
    pub read_at: Option<Timestamp>,
    /// Age of what it gave, by a clock that never jumps; null when it gave nothing.
    pub age_seconds: Option<Seconds>,
    /// How long its last read took; null before the first.
    pub took_seconds: Option<Seconds>,
    /// Why its last read gave nothing; null when it gave something.
    pub why: Option<String>,
}

/// The kernel log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Log {
    /// Records read since the service began.
    pub records: u64,
    /// Records that the kernel overwrote before they were read.
    pub lost: u64,
    /// When the last event happened that means something; null when there was none.
    pub last_event_at: Option<Timestamp>,
    /// Why it cannot be read; null when it can.
    pub why: Option<String>,
}

/// How reporting stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// No inventory is configured.
    NotConfigured,
    /// Nothing waits: all that was reported is acknowledged.
    Delivered,
    /// Reports wait: the inventory is away, slow, or about to be asked.
    Waiting,
    /// The inventory refused the last report.
    Refused,
}

/// Reports to the inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inventory {
    /// How reporting stands.
    pub state: Delivery,
    /// Host of the inventory's address; null when none is configured.
    pub host: Option<String>,
    /// Reports that wait.
    pub waiting: u64,
    /// Their size on disk.
    pub waiting_bytes: Bytes,
    /// When the oldest of them was made; null when none waits.
    pub oldest_waiting_since: Option<Timestamp>,
    /// When the inventory last acknowledged a report; null when it never did.
    pub last_delivered_at: Option<Timestamp>,
    /// Why the last attempt failed; null when it did not.
    pub last_error: Option<String>,
    /// Reports dropped for lack of space since the service began.
    pub dropped: Dropped,
}

impl Inventory {
    /// Where no inventory is configured.
    pub fn not_configured() -> Self {
        Self {
            state: Delivery::NotConfigured,
            host: None,
            waiting: 0,
            waiting_bytes: Bytes(0),
            oldest_waiting_since: None,
            last_delivered_at: None,
            last_error: None,
            dropped: Dropped::default(),
        }
    }
}

/// Whether the node's identity is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityState {
    /// Reports are sent with it.
    Good,
    /// Its time is over by this node's clock; the inventory's clock decides.
    Expired,
    /// It is of another node.
    OtherNode,
    /// It is for another inventory than the one that is configured with a token.
    OtherInventory,
    /// Its key cannot be opened: it is sealed to another TPM.
    Sealed,
    /// It cannot be read.
    Damaged,
}

/// What the inventory knows this node by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// Whether it is used.
    pub state: IdentityState,
    /// What is wrong with it and what to do; null when nothing is.
    pub why: Option<String>,
    /// The node that it is of; this and what follows is null where it cannot be read.
    pub node: Option<String>,
    /// Host of the inventory that gave it.
    pub inventory: Option<String>,
    /// What its key is protected by.
    pub key_protection: Option<KeyProtection>,
    /// From when on it is good.
    pub issued_at: Option<Timestamp>,
    /// Until when it is good.
    pub not_after: Option<Timestamp>,
    /// From when on the next one is asked for.
    pub renew_after: Option<Timestamp>,
    /// Why the last attempt to renew it failed; null when it did not.
    pub renewal_error: Option<String>,
}

/// Host and port of an address.
pub fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    host.to_owned()
}

/// What the inventory wants of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WantedOfNode {
    /// What the node is for; null when the inventory has not said.
    pub lifecycle: Option<Lifecycle>,
    /// Name of the firmware baseline; null when none is set.
    pub baseline: Option<String>,
    /// The version of Cupel that shall run; null when none is wished.
    #[serde(default)]
    pub upgrade: Option<UpgradeWish>,
    /// What came of that so far; null when none is wished, or nothing is known yet.
    #[serde(default)]
    pub upgrade_state: Option<UpgradeState>,
    /// ETag of these wishes; null when there are none.
    pub etag: Option<String>,
    /// Why the newest wishes were refused; null when they were not.
    pub refused: Option<String>,
}

/// Where what is remembered is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Storage {
    /// Whether it is on disk. If not, findings and waiting reports are in memory and a restart
    /// loses them.
    pub saved: bool,
    /// Why it is in memory; null when it is saved.
    pub why: Option<String>,
}

/// The configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Configuration {
    /// When the one that holds was loaded.
    pub loaded_at: Timestamp,
    /// Why a newer one was refused; null when none was.
    pub refused: Option<String>,
}

impl Status {
    /// Exit code of `cupel status`: 1 when work must not be given, 3 when the verdict is unknown,
    /// else 0.
    pub fn exit_code(&self) -> u8 {
        if !self.allocation.allowed {
            1
        } else if self.verdict == Verdict::Unknown {
            3
        } else {
            0
        }
    }

    /// The judgement alone, as `cupel check` writes it, without events.
    pub fn report(&self) -> CheckReport {
        CheckReport {
            schema_version: self.schema_version,
            node: self.node.clone(),
            platform: self.platform.clone(),
            verdict: self.verdict,
            findings: self.findings.iter().map(|t| t.finding.clone()).collect(),
            events: Vec::new(),
            coverage: self.coverage.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_address_only_the_host_is_told() {
        for (url, told) in [
            ("https://inventory.example:8470", "inventory.example:8470"),
            (
                "https://user:secret@inventory.example/x?token=y",
                "inventory.example",
            ),
            ("http://127.0.0.1:8470/", "127.0.0.1:8470"),
        ] {
            assert_eq!(host(url), told);
        }
    }
}
