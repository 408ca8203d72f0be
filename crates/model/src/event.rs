//! Something that happened, as the kernel log told it.
//!
//! An event is not a finding: an XID of a job that crashed is an event; a condition that someone
//! must act on is a finding, made from events by a rule.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::{RemedyAction, Severity};
use crate::pci::PciAddress;
use crate::time::Timestamp;

/// What kind of thing an event is about.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// NVIDIA GPU driver error with an XID code.
    Xid,
    /// NVSwitch error with an SXid code.
    Sxid,
    /// A GPU that no longer answers on the bus, reported without an XID.
    OffBus,
    /// PCIe Advanced Error Reporting.
    Aer,
    /// Machine check exception.
    Mce,
    /// Memory controller error (EDAC).
    Edac,
    /// Firmware-first hardware error (GHES, CPER, BERT).
    Ghes,
    /// NVMe controller.
    Nvme,
    /// NVIDIA ConnectX or BlueField adapter (mlx5).
    Mlx5,
    /// Out of memory.
    Oom,
    /// Soft or hard lockup, or an RCU stall.
    Lockup,
    /// A task in uninterruptible sleep for too long.
    HungTask,
    /// Processor or platform thermal event.
    Thermal,
    /// A device driver's own trouble (NVRM without a code, firmware load, probe failure).
    Driver,
    /// Anything else that means something.
    Other,
}

/// Who wrote the record.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum LogSource {
    /// The kernel (syslog facility 0).
    Kernel,
    /// A program that wrote into the kernel log; it can write what it likes.
    User,
    /// The format does not tell.
    Unknown,
}

/// NVIDIA's published recovery actions, in its own words; `None` where the cell is blank.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct CatalogueActions {
    /// Resolution bucket, immediate action.
    pub immediate: Option<String>,
    /// Resolution bucket, investigatory action.
    pub investigatory: Option<String>,
}

/// Which of the two bit layouts of `intrInfo` was used.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Nvlink5Layout {
    /// Drivers below R575: unit in bits 9:5.
    V1,
    /// Drivers from R575: unit in bits 6:0.
    V2,
    /// The driver's version is unknown and the two layouts disagree.
    #[serde(rename = "ambiguous")]
    Ambiguous,
}

/// One reading of an NVLink5 error (XID 144 to 150) by NVIDIA's rules.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Nvlink5Candidate {
    /// The layout this reading used; `V1` or `V2`.
    pub layout: Nvlink5Layout,
    /// The catalogue's sub-code, e.g. `NETIR_LINK_EVT/NETIR_LINK_DOWN`.
    pub unit: Option<String>,
    /// The catalogue's word: `Fatal`, `Non-fatal`, …
    pub severity: Option<String>,
    /// The catalogue's immediate action.
    pub immediate: Option<String>,
    /// The catalogue's investigatory action.
    pub investigatory: Option<String>,
}

/// An NVLink5 error (XID 144 to 150), decoded by driver version.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Nvlink5 {
    /// The catalogue's sub-code, e.g. `NETIR_LINK_EVT/NETIR_LINK_DOWN`; null when no rule matches.
    pub unit: Option<String>,
    /// Which layout was used.
    pub layout: Nvlink5Layout,
    /// Link number as the line gives it; -1 is "no link".
    pub link: Option<i32>,
    /// The catalogue's word, even where the line's own differs.
    pub severity: Option<String>,
    /// The catalogue's immediate action.
    pub immediate: Option<String>,
    /// The catalogue's investigatory action.
    pub investigatory: Option<String>,
    /// Both readings, when the layout is ambiguous.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Nvlink5Candidate>,
}

/// One message of the kernel log that means something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When, by the log; null where the source has no wall clock.
    pub time: Option<Timestamp>,
    /// Who wrote the record.
    pub source: LogSource,
    /// What kind of thing it is about.
    pub kind: EventKind,
    /// The device, where the message names one.
    pub pci: Option<PciAddress>,
    /// MIG instance suffix, e.g. `GPU-I:05`.
    pub mig: Option<String>,
    /// XID code, only for kind `xid`.
    pub xid: Option<u32>,
    /// SXid code, only for kind `sxid`.
    pub sxid: Option<u32>,
    /// NVIDIA's mnemonic, verbatim; null for SXid and where the cell is blank.
    pub mnemonic: Option<String>,
    /// NVIDIA's published actions; null for what is not in the catalogue.
    pub nvidia: Option<CatalogueActions>,
    /// NVLink5 decode for XID 144 to 150.
    pub nvlink5: Option<Nvlink5>,
    /// Cupel's stable code, e.g. `xid.79`, `gpu.off-bus`, `pcie.aer-fatal`.
    pub code: String,
    /// What to do, mildest first step.
    pub action: RemedyAction,
    /// How bad it is by itself.
    pub severity: Severity,
    /// Process id, where the message names one.
    pub pid: Option<u32>,
    /// Process name, where the message names one.
    pub process: Option<String>,
    /// How often, when folded; 1 otherwise.
    pub repeats: u64,
    /// First occurrence; equals `time` unless folded.
    pub first: Option<Timestamp>,
    /// Last occurrence; equals `time` unless folded.
    pub last: Option<Timestamp>,
    /// The message as it was written; the lines of one message are joined by `\n`.
    pub raw: String,
}
