//! What is exposed: the snapshot, its judgement, and what the service knows of itself.

use std::collections::BTreeMap;

use cupel_model::snapshot::GpuEvent;
use cupel_model::units::Seconds;
use cupel_model::wire::{Dropped, Tracked};
use cupel_model::{CheckReport, PciAddress, Snapshot, Timestamp};

/// All that one scrape tells.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The newest snapshot; none before the first.
    pub snapshot: Option<&'a Snapshot>,
    /// Findings that are not cleared.
    pub tracked: &'a [Tracked],
    /// The judgement with memory; none before the first, which is told as the verdict `unknown`.
    pub report: Option<&'a CheckReport>,
    /// The service itself.
    pub own: &'a Own,
}

/// What the service knows of itself. What is `None` or empty is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Own {
    /// When the service began.
    pub started_at: Option<Timestamp>,
    /// Snapshots judged since the start.
    pub judgements: u64,
    /// Every source, by name.
    pub sources: Vec<SourceState>,
    /// Records of the kernel log read since the start.
    pub kernel_log_records: u64,
    /// Records that the kernel had overwritten before they were read.
    pub kernel_log_lost: u64,
    /// What GPUs reported to the driver since the start.
    pub driver_events: DriverEvents,
    /// GPU workers that had to be replaced since the start.
    pub gpu_workers_replaced: u64,
    /// The service and its workers.
    pub processes: Vec<ProcessUse>,
    /// Whether what is remembered is on disk.
    pub state_saved: Option<bool>,
    /// Until when driver handles are let go.
    pub released_until: Option<Timestamp>,
    /// When the configuration that holds was loaded.
    pub configuration_loaded_at: Option<Timestamp>,
    /// Whether the newest configuration was refused.
    pub configuration_refused: bool,
    /// Reporting to the inventory; none when it is not configured.
    pub reporting: Option<Reporting>,
    /// The node's identity; none when it was never enrolled.
    pub identity: Option<IdentityUse>,
}

/// How the node's identity stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityUse {
    /// Whether reports are sent with it.
    pub is_good: bool,
    /// Until when it is good; none when it cannot be read.
    pub expires: Option<Timestamp>,
    /// Whether the last attempt to renew it failed.
    pub renewal_failed: bool,
}

/// One source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceState {
    /// Its name.
    pub name: String,
    /// Whether its last read gave something.
    pub up: bool,
    /// Age of what it last gave; none when it never gave anything.
    pub age_seconds: Option<Seconds>,
    /// How long its last read took.
    pub took_seconds: Option<Seconds>,
}

/// What one process costs.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessUse {
    /// `cupel`, `cupel-gpu-worker`. Several of one name are one entry.
    pub name: String,
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// User and system time.
    pub cpu_seconds: Option<Seconds>,
}

/// How reporting fares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reporting {
    /// Reports that wait.
    pub waiting: u64,
    /// When the oldest of them was made.
    pub oldest_waiting: Option<Timestamp>,
    /// Their size on disk.
    pub spool_bytes: u64,
    /// Reports that the inventory acknowledged since the start.
    pub delivered: u64,
    /// Answers that refused a report since the start.
    pub refused: u64,
    /// Attempts that got no usable answer since the start.
    pub failed: u64,
    /// Reports dropped for lack of space since the start.
    pub dropped: Dropped,
    /// The last acknowledgement.
    pub last_delivery: Option<Timestamp>,
}

/// Events that the driver told, counted by GPU, kind and XID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriverEvents {
    counts: BTreeMap<(Option<PciAddress>, u32, String, Option<u32>), u64>,
}

impl DriverEvents {
    /// Adds what came between two samples.
    pub fn add(&mut self, events: &[GpuEvent]) {
        for event in events {
            let key = (event.pci.get(), event.index, event.kind.clone(), event.xid);
            let count = self.counts.entry(key).or_default();
            *count = count.saturating_add(event.repeats);
        }
    }

    /// PCI address, NVML index, kind, XID, and how many.
    pub(super) fn iter(
        &self,
    ) -> impl Iterator<Item = (Option<PciAddress>, u32, &str, Option<u32>, u64)> {
        self.counts
            .iter()
            .map(|((pci, index, kind, xid), count)| (*pci, *index, kind.as_str(), *xid, *count))
    }
}
