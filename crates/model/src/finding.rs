//! A condition that someone must act on: what is wrong, where exactly, and what to do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pci::PciAddress;
use crate::time::Timestamp;

/// How bad a condition is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing; nothing to do.
    Info,
    /// Someone should look.
    Warning,
    /// The component or node is unfit.
    Critical,
}

/// What the condition means for work on this node.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Impact {
    /// Nothing.
    None,
    /// Work runs, slower.
    DegradesPerformance,
    /// Results may be wrong or lost.
    RisksData,
    /// The node must not be given work.
    BlocksAllocation,
}

/// When to act.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    /// No action needed.
    None,
    /// In the next maintenance window.
    NextWindow,
    /// When the running job has ended.
    AfterJob,
    /// At once.
    Now,
}

/// How far the condition reaches.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// One job.
    Job,
    /// One GPU.
    Gpu,
    /// The node.
    Node,
    /// All nodes of an NVLink domain.
    NvlinkDomain,
    /// The rack.
    Rack,
}

/// Whether a condition has been seen long enough to be sure.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Seen, not yet confirmed by the rule's window.
    Provisional,
    /// Confirmed.
    Confirmed,
}

/// Whether a check's findings change the verdict.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Findings count.
    Enforce,
    /// Findings are reported and change no verdict.
    Observe,
}

/// What ends a finding.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Clears {
    /// It lasts as long as it is observed.
    WhileObserved,
    /// A GPU reset.
    GpuReset,
    /// A reboot.
    Reboot,
    /// A new part, by its serial.
    PartReplaced,
    /// A person says so.
    Operator,
}

/// What can be done about a condition, from the mildest to replacement.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum RemedyAction {
    /// Nothing.
    None,
    /// Look at the application.
    CheckApp,
    /// Start the application again.
    RestartApp,
    /// Reset the GPU.
    ResetGpu,
    /// Reset the NVLink fabric.
    ResetFabric,
    /// Restart a system service.
    RestartService,
    /// Reboot the node.
    RebootNode,
    /// Switch the node off and on through its BMC.
    PowerCycleNode,
    /// Take mains power away and give it back.
    AcCycleNode,
    /// Let running work end and give no new work.
    Drain,
    /// Reset the PCI bus above the device.
    ResetBus,
    /// Recover the IMEX domain.
    RecoverImex,
    /// Take the part out and put it back.
    Reseat,
    /// Check the cable and its ends.
    CheckCable,
    /// Clean the optic.
    CleanOptic,
    /// Bring the firmware to the baseline.
    UpdateFirmware,
    /// Bring the driver to the baseline.
    UpdateDriver,
    /// Run a targeted diagnostic.
    RunDiagnostic,
    /// Replace the part.
    ReplacePart,
    /// Open a case with the vendor.
    ContactVendor,
}

/// Who may take a step.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Performer {
    /// The agent by itself.
    Automatic,
    /// The agent, where the operator has switched it on.
    OptIn,
    /// A person.
    Human,
}

/// One step of the ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Remedy {
    /// What to do.
    pub action: RemedyAction,
    /// Who may do it.
    pub by: Performer,
    /// The step in a sentence, with the names of the parts in it.
    pub text: String,
}

/// What kind of part a finding is about.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ComponentKind {
    /// The whole node.
    Node,
    /// A GPU.
    Gpu,
    /// An NVLink of a GPU.
    Nvlink,
    /// An NVSwitch.
    Nvswitch,
    /// A port of an RDMA adapter.
    Rdma,
    /// A network port.
    Nic,
    /// A transceiver or cable.
    Optic,
    /// A PCIe device or link.
    Pcie,
    /// A memory module.
    Dimm,
    /// A processor.
    Cpu,
    /// An NVMe drive.
    Nvme,
    /// A power supply.
    Psu,
    /// A fan.
    Fan,
    /// The management controller.
    Bmc,
    /// A system service or kernel module.
    Service,
    /// A file system.
    Filesystem,
}

/// Which part, as a technician can find it: never by bus number alone.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Component {
    /// What kind of part.
    pub kind: ComponentKind,
    /// Its number among its kind (GPU index, NVLink number), where it has one.
    pub index: Option<u32>,
    /// Serial number; of a lost part the one last seen in this slot.
    pub serial: Option<String>,
    /// PCI address.
    pub pci: Option<PciAddress>,
    /// Physical slot: upstream port, module id or the platform's name for it.
    pub slot: Option<String>,
}

impl Component {
    /// A component of which nothing but the kind is known yet.
    pub fn of(kind: ComponentKind) -> Self {
        Self {
            kind,
            index: None,
            serial: None,
            pci: None,
            slot: None,
        }
    }

    /// The whole node.
    pub fn node() -> Self {
        Self::of(ComponentKind::Node)
    }
}

/// One measured or read value behind a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// What was measured, e.g. `current_link_width`.
    pub name: String,
    /// The value: a number, a text or a truth value.
    pub value: serde_json::Value,
    /// Its unit, e.g. `GT/s`; null for a bare count or a word.
    pub unit: Option<String>,
    /// The limit it was held against; null when there is none.
    pub limit: Option<serde_json::Value>,
    /// Where the limit comes from; null when there is none.
    pub limit_source: Option<String>,
}

impl Evidence {
    /// A value with no limit.
    pub fn value(name: &str, value: impl Into<serde_json::Value>) -> Self {
        Self {
            name: name.to_owned(),
            value: value.into(),
            unit: None,
            limit: None,
            limit_source: None,
        }
    }

    /// The same with a unit.
    #[must_use]
    pub fn unit(mut self, unit: &str) -> Self {
        self.unit = Some(unit.to_owned());
        self
    }

    /// The same, held against a limit.
    #[must_use]
    pub fn limit(mut self, limit: impl Into<serde_json::Value>, source: impl Into<String>) -> Self {
        self.limit = Some(limit.into());
        self.limit_source = Some(source.into());
        self
    }
}

/// A condition that someone must act on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Stable, dotted: `gpu.off-bus`, `nvlink.link-down`, `pcie.width`.
    pub code: String,
    /// Which part.
    pub component: Component,
    /// How bad.
    pub severity: Severity,
    /// What it means for work here.
    pub impact: Impact,
    /// When to act.
    pub urgency: Urgency,
    /// How far it reaches.
    pub scope: Scope,
    /// How sure.
    pub confidence: Confidence,
    /// Whether it counts for the verdict.
    pub mode: Mode,
    /// One sentence that names the part and the fault.
    pub summary: String,
    /// What was measured.
    pub evidence: Vec<Evidence>,
    /// What to do, mildest step first.
    pub remedy: Vec<Remedy>,
    /// Since when; null when the source has no time.
    pub since: Option<Timestamp>,
    /// What ends it.
    pub clears: Clears,
}

impl Finding {
    /// Whether this finding forbids giving work to the node.
    pub fn blocks_allocation(&self) -> bool {
        self.mode == Mode::Enforce && self.impact == Impact::BlocksAllocation
    }
}
