//! A kernel log becomes events: XID, SXid, GPUs off the bus, PCIe errors, machine checks, NVMe,
//! mlx5, and what else tells of a sick GPU server.
//!
//! Bytes go into a [`Decoder`] in whatever format and chunks they come; [`Event`]s come out, and
//! [`Folder`] folds repeats. The [`catalogue`] holds NVIDIA's published facts as data.
//!
//! # Invariants
//! - Streaming, in constant memory, at millions of lines a second: lines without a word of
//!   interest are skipped unread.
//! - Nothing is invented: an address, code, pid or time in an event was in its lines.
//! - Any input is read to its end; none panics.
//! - An unknown code asks for a person; it is never harmless.
//!
//! # What is absent
//! No I/O beyond a reader that is handed in, no clock, no judgement over several events (an XID 48
//! beside a 63, an XID 45 after another): that is `health`'s.
//!
//! # Codes
//! | Code | Kind | Severity | Action | Meaning |
//! |---|---|---|---|---|
//! | `xid.N` | xid | by code | by code | [`catalogue::xid`]; 74, 144-150 and 154 also by their text |
//! | `sxid.N` | sxid | Fatal: critical, else warning | reset-fabric, else run-diagnostic | NVSwitch error |
//! | `gpu.off-bus` | off-bus | critical | reboot-node | a GPU no longer answers, said without an XID |
//! | `pcie.aer-corrected` | aer | info | none | corrected PCIe error |
//! | `pcie.aer-nonfatal` | aer | warning | run-diagnostic | uncorrected, the link survived |
//! | `pcie.aer-fatal` | aer | critical | reboot-node | uncorrected, the link is not reliable |
//! | `pcie.aer-recovered` | aer | info | none | recovery worked |
//! | `pcie.aer-recovery-failed` | aer | critical | reboot-node | recovery failed |
//! | `pcie.dpc` | aer | critical | reboot-node | a port cut off what is below it |
//! | `mce.corrected`, `mce.logged`, `mce.storm` | mce | info, info, warning | none, run-diagnostic | corrected machine checks |
//! | `mce.deferred`, `mce.uncorrected`, `mce.fatal` | mce | warning, critical, critical | run-diagnostic | uncorrected machine checks |
//! | `mce.page-offlined`, `mce.page-lost` | mce | warning, critical | run-diagnostic, replace-part | a page with an uncorrectable error |
//! | `mce.process-killed` | mce | warning | run-diagnostic | a process used such a page |
//! | `edac.corrected`, `edac.uncorrected` | edac | info, critical | none, replace-part | memory controller errors |
//! | `ghes.corrected`, `.info`, `.recoverable`, `.fatal`, `.unknown` | ghes | by firmware's word | run-diagnostic, replace-part | firmware-first records |
//! | `ghes.previous-boot-…` | ghes | as above | as above | the same, kept by BERT over a reboot |
//! | `nvme.timeout`, `nvme.controller-reset`, `nvme.command-failed`, `nvme.io-error` | nvme | warning | run-diagnostic | a command or transfer failed |
//! | `nvme.controller-down` | nvme | critical | run-diagnostic | the controller stopped |
//! | `nvme.reset-failed`, `nvme.medium-error` | nvme | critical | replace-part | the drive is gone, or lost data |
//! | `mlx5.health-compromised`, `.firmware-error`, `.hardware-error`, `.firmware-hung`, `.device-failed` | mlx5 | critical | by code | the adapter or its firmware failed |
//! | `mlx5.command-timeout`, `.command-failed`, `.tx-timeout` | mlx5 | warning | run-diagnostic | the adapter does not do as told |
//! | `mlx5.cable-error`, `.cable-unplugged`, `.link-down` | mlx5 | warning | check-cable | the port's far side |
//! | `mlx5.high-temperature`, `.insufficient-power` | mlx5 | warning | run-diagnostic, reseat | the port's surroundings |
//! | `mlx5.recovered`, `.cable-plugged`, `.link-up` | mlx5 | info | none | all-clear |
//! | `oom.invoked`, `oom.kill`, `oom.cgroup-kill` | oom | warning | check-app | memory ran out; the victim is named |
//! | `oom.reaped` | oom | info | none | the victim's memory is free |
//! | `lockup.soft`, `lockup.hard` | lockup | critical | reboot-node | a processor is stuck |
//! | `lockup.rcu-stall`, `lockup.workqueue` | lockup | warning | run-diagnostic | a processor or queue is late |
//! | `hung-task` | hung-task | warning | run-diagnostic | a task sleeps uninterruptibly |
//! | `thermal.cpu-throttled`, `.cpu-normal`, `.critical` | thermal | warning, info, critical | run-diagnostic, none | processor and platform heat |
//! | `driver.init-failed`, `.gpu-lost` | driver | critical | reboot-node | the NVIDIA driver lost or never got a GPU |
//! | `driver.probe-failed`, `.vbios-unreadable` | driver | critical | run-diagnostic | a device did not start |
//! | `driver.bar-invalid` | driver | critical | contact-vendor | firmware gave the GPU no address space |
//! | `driver.version-mismatch`, `.unsupported-gpu` | driver | warning | update-driver | versions do not fit |
//! | `driver.bound-elsewhere`, `.peermem-error` | driver | warning | run-diagnostic | another driver, peer memory |
//! | `kernel.panic`, `kernel.oops` | other | critical | reboot-node | the kernel itself |
//! | `filesystem.error`, `iommu.fault` | other | warning | run-diagnostic | file system, bad DMA |
//! | `pcie.slot-link-down`, `.slot-empty`, `.slot-power-fault` | other | warning, warning, critical | reseat | hot-plug slot |
//! | `pcie.device-inaccessible` | other | critical | reboot-node | a device does not answer configuration reads |
//! | `pcie.bandwidth-limited` | other | info | run-diagnostic | the link is narrower or slower than the device |

pub mod catalogue;
pub mod decoder;
pub mod fold;
mod format;
mod message;
mod needles;
mod version;

use cupel_model::{Event, Timestamp};

pub use decoder::{Counts, Decoder};
pub use fold::{Folder, fold};
pub use version::{DriverVersion, DriverVersionError};

/// What the log does not say by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The NVIDIA driver, which decides how NVLink5 errors are read. Where it is not given, the
    /// line with which the driver loads is believed, if the log has it.
    pub driver: Option<DriverVersion>,
    /// When the machine booted: gives seconds since boot a time. Without it theirs is null.
    pub boot_time: Option<Timestamp>,
    /// The present: gives a date without a year one. Without it their time is null.
    pub now: Option<Timestamp>,
    /// Seconds east of UTC of times without a zone (`dmesg -T`, syslog).
    pub utc_offset_seconds: i32,
}

/// Decodes a whole log at once.
pub fn decode_all(bytes: &[u8], options: Options) -> (Vec<Event>, Counts) {
    let mut events = Vec::new();
    let mut decoder = Decoder::new(options);
    decoder.feed(bytes, |event| events.push(event));
    let counts = decoder.finish(|event| events.push(event));
    (events, counts)
}
